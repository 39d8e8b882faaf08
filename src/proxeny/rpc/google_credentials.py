"""How a ``google_grpc`` service says who we are and whom we trust (Envoy: ``google_grpc_creds_impl.cc``)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.anys import open_any
from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.config.message_types import type_name_of

if TYPE_CHECKING:
    import grpc

DEFAULT: Final = "envoy.grpc_credentials.default"
FILE_BASED: Final = "envoy.grpc_credentials.file_based_metadata"
_METADATA_CONFIG: Final = "envoy.config.grpc_credential.v3.FileBasedMetadataConfig"
_CALL_KINDS: Final = frozenset(("access_token", "from_plugin"))


def read_data_source(source: Any) -> bytes | None:
    """What a ``config.core.v3.DataSource`` holds, None when it is empty; ConfigError in Envoy's words."""
    kind = source.WhichOneof("specifier")
    if kind is None:
        return None
    if kind == "filename":
        path = source.filename
        try:
            data = Path(path).read_bytes()
        except FileNotFoundError:
            raise ConfigError(f"Invalid path: {path}") from None
        except OSError as error:
            raise ConfigError(f"unable to read file: {path}") from error
    elif kind == "environment_variable":
        value = os.environb.get(source.environment_variable.encode())
        if value is None:
            raise ConfigError(f"Environment variable doesn't exist: {source.environment_variable}")
        data = value
    else:
        data = source.inline_bytes if kind == "inline_bytes" else source.inline_string.encode()
    return data or None


class GoogleCredentials:
    """The credentials of a ``GrpcService.GoogleGrpc``; ConfigError for what is wrong or not served."""

    __slots__ = ("_chain", "_key", "_kind", "_plugins", "_roots", "_tokens")

    def __init__(self, google_grpc: Any) -> None:
        name = google_grpc.credentials_factory_name or DEFAULT
        if name not in (DEFAULT, FILE_BASED):
            raise ConfigError(f"Unknown google grpc credentials factory: {name}")
        channel = google_grpc.channel_credentials
        self._kind: str | None = channel.WhichOneof("credential_specifier")
        if self._kind == "google_default":
            raise UnsupportedFieldError("the channel credentials 'google_default' are not supported")
        ssl = channel.ssl_credentials
        self._roots = read_data_source(ssl.root_certs)
        self._key = read_data_source(ssl.private_key)
        self._chain = read_data_source(ssl.cert_chain)
        self._tokens: list[str] = []
        self._plugins: list[Any] = []
        for call in google_grpc.call_credentials:
            self._add(call, name)

    def _add(self, call: Any, factory: str) -> None:
        kind = call.WhichOneof("credential_specifier")
        if kind not in _CALL_KINDS:
            raise UnsupportedFieldError(f"the call credentials '{kind}' are not supported")
        if kind == "access_token":
            self._tokens.append(call.access_token)
        elif factory == FILE_BASED and call.from_plugin.name == FILE_BASED:
            self._plugins.append(_metadata_config(call.from_plugin.typed_config))
        # Envoy's factories pass over the plugins of others.

    def channel(self) -> grpc.ChannelCredentials:
        """What grpcio makes of them."""
        import grpc
        import grpc.experimental

        if self._kind == "ssl_credentials":
            made = grpc.ssl_channel_credentials(self._roots, self._key, self._chain)
        elif self._kind == "local_credentials":
            made = grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)
        else:
            made = grpc.experimental.insecure_channel_credentials()
        calls = [grpc.access_token_call_credentials(token) for token in self._tokens]
        calls += [grpc.metadata_call_credentials(_FileMetadata(config)) for config in self._plugins]
        return grpc.composite_channel_credentials(made, *calls) if calls else made


def _metadata_config(any_message: Any) -> Any:
    if type_name_of(any_message.type_url) != _METADATA_CONFIG:
        raise ConfigError(f"Unable to unpack as {_METADATA_CONFIG}: {any_message.type_url}")
    return open_any(any_message)


class _FileMetadata:
    """One header whose value is what a file says at the time of each call; called in grpcio's own thread."""

    def __init__(self, config: Any) -> None:
        self._source = config.secret_data
        self._key = config.header_key or "authorization"
        self._prefix = config.header_prefix

    def __call__(self, context: Any, callback: Any) -> None:
        try:
            secret = read_data_source(self._source) or b""
            callback(((self._key.lower(), self._prefix + secret.decode("utf-8", "surrogateescape")),), None)
        except ConfigError as error:
            callback((), error)
