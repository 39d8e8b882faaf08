"""``DownstreamTlsContext`` and ``UpstreamTlsContext`` compiled to plain values, in main and in workers alike.

Nothing here touches libssl; ``context_builder`` makes the kernel's contexts. Whatever depends on a secret that has not
come yet is None.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.extensions.transport_sockets.tls import data_sources
from proxeny.extensions.transport_sockets.tls.certificates import OwnCertificate, compile_certificate
from proxeny.extensions.transport_sockets.tls.parameters import TLS_1_2, TLS_1_3, Parameters, compile_parameters
from proxeny.extensions.transport_sockets.tls.validation import Validation, compile_validation
from proxeny.secret.kinds import SESSION_TICKET_KEYS, TLS_CERTIFICATE, VALIDATION_CONTEXT

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

TICKET_KEY_BYTES: Final = 80
_LONGEST_ALPN: Final = 65535
_LONGEST_PROTOCOL: Final = 255


class Secrets(Protocol):
    """Where secrets and files are from."""

    def read(self, path: str) -> bytes:
        """The content of a file; OSError."""

    def find(self, kind: str, config: Any) -> Any | None:
        """The message that a ``SdsSecretConfig`` names; None: it has not come yet. ConfigError."""


@dataclass(frozen=True, slots=True)
class KeyLog:
    """Where secrets of sessions are written down, and of which connections."""

    path: str
    local: tuple[Network, ...]
    remote: tuple[Network, ...]


@dataclass(frozen=True, slots=True)
class CommonSettings:
    """What both sides have."""

    parameters: Parameters
    certificates: tuple[OwnCertificate, ...]
    validation: Validation | None
    """None: there is no validation context."""
    alpn: tuple[bytes, ...]
    key_log: KeyLog | None
    is_complete: bool
    """Whether every secret has come."""


@dataclass(frozen=True, slots=True)
class DownstreamSettings:
    """A server's."""

    common: CommonSettings
    require_client_certificate: bool
    ticket_keys: tuple[bytes, ...] | None
    """Empty: libssl's own; None: the secret has not come."""
    stateless_resumption: bool
    stateful_resumption: bool
    session_timeout_s: int | None
    ocsp_staple_policy: int
    full_scan_certs_on_sni_mismatch: bool
    prefer_client_ciphers: bool

    @property
    def is_complete(self) -> bool:
        """Whether every secret has come."""
        return self.common.is_complete and self.ticket_keys is not None


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """A client's."""

    common: CommonSettings
    sni: str
    auto_host_sni: bool
    auto_sni_san_validation: bool
    max_session_keys: int

    @property
    def is_complete(self) -> bool:
        """Whether every secret has come."""
        return self.common.is_complete


def compile_downstream_settings(config: Any, secrets: Secrets) -> DownstreamSettings:
    """Compile a ``DownstreamTlsContext``; ConfigError in Envoy's words."""
    common = _common(config.common_tls_context, secrets, TLS_1_3)
    kind = config.WhichOneof("session_ticket_keys_type")
    keys = _ticket_keys(config, kind, secrets)
    _check_server_certificates(config.common_tls_context, common)
    return DownstreamSettings(
        common=common,
        require_client_certificate=config.require_client_certificate.value,
        ticket_keys=keys,
        stateless_resumption=not config.disable_stateless_session_resumption,
        stateful_resumption=not config.disable_stateful_session_resumption,
        session_timeout_s=config.session_timeout.seconds if config.HasField("session_timeout") else None,
        ocsp_staple_policy=config.ocsp_staple_policy,
        full_scan_certs_on_sni_mismatch=config.full_scan_certs_on_sni_mismatch.value,
        prefer_client_ciphers=config.prefer_client_ciphers,
    )


def compile_upstream_settings(config: Any, secrets: Secrets) -> UpstreamSettings:
    """Compile an ``UpstreamTlsContext``; ConfigError in Envoy's words."""
    tls = config.common_tls_context
    if config.allow_renegotiation:
        raise UnsupportedFieldError("allow_renegotiation is not supported", "allow_renegotiation")
    common = _common(tls, secrets, TLS_1_2, config.auto_sni_san_validation)
    if "\0" in config.sni:
        raise ConfigError("SNI names containing NULL-byte are not allowed")
    if len(tls.tls_certificates) + len(tls.tls_certificate_sds_secret_configs) > 1:
        raise ConfigError("Multiple TLS certificates are not supported for client contexts")
    if config.auto_sni_san_validation and tls.WhichOneof("validation_context_type") is None:
        raise ConfigError("'auto_sni_san_validation' was configured without a validation context")
    return UpstreamSettings(
        common=common,
        sni=config.sni,
        auto_host_sni=config.auto_host_sni,
        auto_sni_san_validation=config.auto_sni_san_validation,
        max_session_keys=config.max_session_keys.value if config.HasField("max_session_keys") else 1,
    )


def _common(config: Any, secrets: Secrets, default_maximum: int, auto_sni_san: bool = False) -> CommonSettings:
    certificates = _certificates(config, secrets)
    validation, validation_came = _validation(config, secrets, auto_sni_san)
    for field in ("custom_handshaker", "custom_tls_certificate_selector"):
        if config.HasField(field):
            extension = getattr(config, field)
            type_name = extension.typed_config.type_url.rpartition("/")[2]
            raise ConfigError(
                f"Didn't find a registered implementation for '{extension.name}' with type URL: '{type_name}'"
            )
    return CommonSettings(
        parameters=compile_parameters(config.tls_params, default_maximum),
        certificates=tuple(one for one in certificates if one is not None),
        validation=validation,
        alpn=_alpn(list(config.alpn_protocols)),
        key_log=_key_log(config.key_log) if config.HasField("key_log") else None,
        # Of several certificates one is enough, as in Envoy.
        is_complete=validation_came and (not certificates or any([one is not None for one in certificates])),
    )


def _certificates(config: Any, secrets: Secrets) -> list[OwnCertificate | None]:
    """Those that are given, or those that are named; None for one that has not come."""
    found: list[OwnCertificate | None] = []
    for one in config.tls_certificates:
        fields = ("private_key_provider", "certificate_chain", "private_key", "pkcs12")
        if any(one.HasField(field) for field in fields):
            # Envoy's name for a bundle (PKCS #12) has nothing behind the underscore.
            has_chain = one.HasField("certificate_chain")
            name = _inline_name("unnamed_cert", one.certificate_chain) if has_chain else "unnamed_cert_"
            found.append(compile_certificate(one, secrets.read, name))
    if config.tls_certificates:
        return found
    for named in config.tls_certificate_sds_secret_configs:
        message = secrets.find(TLS_CERTIFICATE, named)
        found.append(None if message is None else compile_certificate(message, secrets.read, named.name))
    return found


def _inline_name(prefix: str, source: Any) -> str:
    """What statistics call something without a name: by the bytes that stand in the configuration."""
    digest = hashlib.sha256(source.inline_bytes).hexdigest()[:8]
    return f"{prefix}_{digest}"


def _check_server_certificates(config: Any, common: CommonSettings) -> None:
    if not config.tls_certificates and not config.tls_certificate_sds_secret_configs:
        raise ConfigError("No TLS certificates found for server context")
    if config.tls_certificates and config.tls_certificate_sds_secret_configs:
        raise ConfigError("SDS and non-SDS TLS certificates may not be mixed in server contexts")
    if config.tls_certificates and not common.certificates:
        raise ConfigError("Server TlsCertificates must have a certificate specified")


def _validation(config: Any, secrets: Secrets, auto_sni_san: bool) -> tuple[Validation | None, bool]:
    """The compiled context, and whether it has come."""
    kind = config.WhichOneof("validation_context_type")
    if kind == "validation_context":
        message = config.validation_context
        name = (
            _inline_name("unnamed_ca_cert", message.trusted_ca) if message.HasField("trusted_ca") else "unnamed_ca_cert"
        )
        return compile_validation(message, secrets.read, name, auto_sni_san), True
    if kind == "validation_context_sds_secret_config":
        named = config.validation_context_sds_secret_config
        message = secrets.find(VALIDATION_CONTEXT, named)
        if message is None:
            return None, False
        return compile_validation(message, secrets.read, named.name, auto_sni_san), True
    if kind == "combined_validation_context":
        named = config.combined_validation_context.validation_context_sds_secret_config
        found = secrets.find(VALIDATION_CONTEXT, named)
        if found is None:
            return None, False
        message = type(found)()
        message.CopyFrom(config.combined_validation_context.default_validation_context)
        message.MergeFrom(found)
        return compile_validation(message, secrets.read, named.name, auto_sni_san), True
    return None, True


def _ticket_keys(config: Any, kind: str | None, secrets: Secrets) -> tuple[bytes, ...] | None:
    if kind == "session_ticket_keys":
        message = config.session_ticket_keys
    elif kind == "session_ticket_keys_sds_secret_config":
        message = secrets.find(SESSION_TICKET_KEYS, config.session_ticket_keys_sds_secret_config)
        if message is None:
            return None
    else:
        return ()
    keys = tuple(data_sources.read_filled(one, secrets.read).data for one in message.keys)
    for key in keys:
        if len(key) != TICKET_KEY_BYTES:
            raise ConfigError(
                f"Incorrect TLS session ticket key length. Length {len(key)}, expected length {TICKET_KEY_BYTES}."
            )
    return keys


def _alpn(names: list[str]) -> tuple[bytes, ...]:
    """Commas within a name separate as well; empty names are none."""
    joined = ",".join(names).encode()
    protocols = joined.split(b",") if joined else []
    if len(joined) >= _LONGEST_ALPN or any(len(protocol) > _LONGEST_PROTOCOL for protocol in protocols):
        raise ConfigError("Invalid ALPN protocol string")
    return tuple(protocol for protocol in protocols if protocol)


def _key_log(config: Any) -> KeyLog:
    return KeyLog(config.path, _networks(config.local_address_range), _networks(config.remote_address_range))


def _networks(ranges: Any) -> tuple[Network, ...]:
    found = []
    for cidr in ranges:
        try:
            address = ipaddress.ip_address(cidr.address_prefix)
        except ValueError:
            combination = f"{cidr.address_prefix}/{cidr.prefix_len.value}"
            raise ConfigError(f"invalid ip/mask combo '{combination}' (format is <ip>/<# mask bits>)") from None
        bits = min(cidr.prefix_len.value, address.max_prefixlen)
        found.append(ipaddress.ip_network((address, bits), strict=False))
    return tuple(found)
