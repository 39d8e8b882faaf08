"""The HTTP options towards a cluster: ``HttpProtocolOptions`` (typed options) or the legacy fields."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.config.loader import unpack_any
from proxeny.http.http1.settings import has_proper_case, preserve_case
from proxeny.upstream.dns_options import milliseconds

NAME: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

DEFAULT_IDLE_TIMEOUT_MS: Final = 3_600_000
"""Envoy: common_http_protocol_options.idle_timeout, 1 h."""
DEFAULT_MAX_HEADERS_COUNT: Final = 100
DEFAULT_MAX_HEADERS_KB: Final = 80


class UpstreamProtocol(IntEnum):
    """What is spoken to the hosts of a cluster (Envoy: ``ClusterInfo::upstreamHttpProtocol``)."""

    HTTP1 = 0
    HTTP2 = 1
    DOWNSTREAM = 2
    """What the client speaks: ``use_downstream_protocol_config``."""
    AUTO = 3
    """HTTP/2 or HTTP/1, as the TLS handshake says (ALPN): ``auto_config``."""


@dataclass(slots=True, frozen=True)
class HttpProtocolOptions:
    """Compiled HTTP options; equal ones are shared between clusters. None = no limit."""

    idle_timeout_ms: int | None = DEFAULT_IDLE_TIMEOUT_MS
    max_connection_duration_ms: int | None = None
    max_requests_per_connection: int = 0
    """0 = no limit."""
    max_headers_count: int = DEFAULT_MAX_HEADERS_COUNT
    max_response_headers_kb: int = DEFAULT_MAX_HEADERS_KB
    max_stream_duration_ms: int | None = None
    headers_with_underscores_action: int = 0
    enable_trailers: bool = False
    allow_chunked_length: bool = False
    send_fully_qualified_url: bool = False
    proper_case_headers: bool = False
    preserve_case_headers: bool = False
    proper_case_of_added_headers: bool = False
    forward_reason_phrase: bool = False
    override_stream_error_on_invalid_http_message: bool = False
    protocol: UpstreamProtocol = UpstreamProtocol.HTTP1
    http2: bytes = b""
    """The ``Http2ProtocolOptions``, serialized (``http.http2.settings`` compiles them)."""
    http2_configured: bool = False
    """Whether there are any."""

    @property
    def may_speak_http2(self) -> bool:
        """Whether some connection may be one of HTTP/2."""
        return self.protocol is not UpstreamProtocol.HTTP1

    def spoken_for(self, downstream_protocol: str | None) -> UpstreamProtocol:
        """What is spoken for a request that came by ``downstream_protocol``; None: it did not come by HTTP."""
        if self.protocol is not UpstreamProtocol.DOWNSTREAM:
            return self.protocol
        if downstream_protocol is None:
            return UpstreamProtocol.HTTP2 if self.http2_configured else UpstreamProtocol.HTTP1
        return UpstreamProtocol.HTTP1 if downstream_protocol.startswith("HTTP/1") else UpstreamProtocol.HTTP2


_UNSUPPORTED: Final = ("header_validation_config",)
_HTTP1: Final = "http_protocol_options"
_HTTP2: Final = "http2_protocol_options"
_HTTP3: Final = "http3_protocol_options"
_OVERRIDES: Final = ("http_filters", "request_mirror_policies", "retry_policy", "hash_policy")
"""What the router reads (``router.cluster_overrides``)."""

DEFAULT: Final = HttpProtocolOptions()
_shared: dict[HttpProtocolOptions, HttpProtocolOptions] = {DEFAULT: DEFAULT}
_SHARED_MAX: Final = 256

_LEGACY: Final = (
    "http_protocol_options",
    "http2_protocol_options",
    "common_http_protocol_options",
    "upstream_http_protocol_options",
    "max_requests_per_connection",
    "protocol_selection",
)


def compile(cluster: Any, present: dict[str, Any]) -> HttpProtocolOptions:
    """The options of ``cluster``; ``present`` are its set fields by name."""
    typed = _typed(present)
    if typed is None:
        if not any(field in present for field in _LEGACY):
            return DEFAULT
        return _share(_legacy(present))
    common = typed.common_http_protocol_options
    if "max_requests_per_connection" in present and common.HasField("max_requests_per_connection"):
        raise ConfigError(
            "Only one of max_requests_per_connection from Cluster or HttpProtocolOptions can be specified"
        )
    protocol, config = _protocol_of(typed, cluster.name)
    return _share(_from_parts(common, config, present, protocol))


def error_matcher(present: dict[str, Any]) -> Any:
    """The ``MatchPredicate`` that says which responses are errors to outlier detection; None: their status does."""
    typed = _typed(present) if "typed_extension_protocol_options" in present else None
    return typed.outlier_detection.error_matcher if typed is not None and _is_set(typed, "outlier_detection") else None


def speaks_http2(cluster: Any) -> bool:
    """Whether a Cluster message lets HTTP/2 be spoken to its hosts (Envoy: ``ClusterInfo::Features::HTTP2``)."""
    present = {field.name: value for field, value in cluster.ListFields()}
    typed = _typed(present)
    if typed is None:
        return "http2_protocol_options" in present
    which = typed.WhichOneof("upstream_protocol_options")
    return which == "auto_config" or (which is not None and _is_set(getattr(typed, which), _HTTP2))


def names_of(present: dict[str, Any]) -> Any:
    """The ``UpstreamHttpProtocolOptions`` message, None: there is none."""
    typed = _typed(present) if "typed_extension_protocol_options" in present else None
    if typed is None:
        return present.get("upstream_http_protocol_options")
    return typed.upstream_http_protocol_options if _is_set(typed, "upstream_http_protocol_options") else None


def overrides_of(present: dict[str, Any]) -> Any:
    """The HttpProtocolOptions message where it says something to the router, else None."""
    typed = _typed(present) if "typed_extension_protocol_options" in present else None
    return typed if typed is not None and any(_is_set(typed, field) for field in _OVERRIDES) else None


def _share(options: HttpProtocolOptions) -> HttpProtocolOptions:
    if len(_shared) >= _SHARED_MAX:
        return _shared.get(options, options)
    return _shared.setdefault(options, options)


def _typed(present: dict[str, Any]) -> Any:
    """The HttpProtocolOptions message among the typed options, or None; other names are refused."""
    found = None
    for name, packed in present.get("typed_extension_protocol_options", {}).items():
        if name != NAME:
            raise ConfigError(
                f"Didn't find a registered network or http filter or protocol options implementation for name: '{name}'"
            )
        found = unpack_any(packed)
        if found.DESCRIPTOR.full_name != NAME:
            raise ConfigError(f"Unable to unpack as {NAME}: [type: {found.DESCRIPTOR.full_name}]")
    return found


def _protocol_of(typed: Any, cluster_name: str) -> tuple[UpstreamProtocol, Any]:
    """What is spoken, and the message that has the options of the protocols."""
    for field in _UNSUPPORTED:
        if _is_set(typed, field):
            raise UnsupportedFieldError(f"{field} of HttpProtocolOptions is not supported (cluster '{cluster_name}')")
    which = typed.WhichOneof("upstream_protocol_options")
    if which is None:
        raise ConfigError("HttpProtocolOptionsValidationError.UpstreamProtocolOptions: field is required")
    config = getattr(typed, which)
    if _is_set(config, _HTTP3):
        if which == "auto_config" and not _is_set(config, "alternate_protocols_cache_options"):
            raise ConfigError("alternate protocols cache must be configured when HTTP/3 is enabled with auto_config")
        raise UnsupportedFieldError(f"{_HTTP3}: HTTP/3 is not spoken to upstreams (cluster '{cluster_name}')", _HTTP3)
    if which == "auto_config":
        return UpstreamProtocol.AUTO, config
    if which == "use_downstream_protocol_config":
        return UpstreamProtocol.DOWNSTREAM, config
    protocol = config.WhichOneof("protocol_config")
    if protocol is None:
        raise ConfigError("ExplicitHttpConfigValidationError.ProtocolConfig: field is required")
    return UpstreamProtocol.HTTP2 if protocol == _HTTP2 else UpstreamProtocol.HTTP1, config


def _is_set(message: Any, field: str) -> bool:
    return any(descriptor.name == field for descriptor, _ in message.ListFields())


def _legacy(present: dict[str, Any]) -> HttpProtocolOptions:
    protocol = UpstreamProtocol.DOWNSTREAM if present.get("protocol_selection", 0) == 1 else UpstreamProtocol.HTTP1
    if _HTTP2 in present and protocol is UpstreamProtocol.HTTP1:
        if _HTTP1 in present:
            raise ConfigError(
                "cluster: Both HTTP1 and HTTP2 options may only be configured with non-default "
                "'protocol_selection' values"
            )
        protocol = UpstreamProtocol.HTTP2
    return _from_parts(present.get("common_http_protocol_options"), None, present, protocol)


def _from_parts(common: Any, config: Any, present: dict[str, Any], protocol: UpstreamProtocol) -> HttpProtocolOptions:
    """``config`` has the options of the protocols; None: the cluster itself has."""
    values: dict[str, Any] = {"protocol": protocol}
    if "max_requests_per_connection" in present:
        values["max_requests_per_connection"] = present["max_requests_per_connection"].value
    if common is not None:
        _common_values(common, values)
    options = present if config is None else {field.name: value for field, value in config.ListFields()}
    if _HTTP1 in options:
        _http1_values(options[_HTTP1], values)
    if protocol is not UpstreamProtocol.HTTP1:
        values["http2_configured"] = _HTTP2 in options
        if _HTTP2 in options:
            values["http2"] = options[_HTTP2].SerializeToString(deterministic=True)
    return HttpProtocolOptions(**values)


def _common_values(common: Any, values: dict[str, Any]) -> None:
    for field, value in common.ListFields():
        name = field.name
        if name in ("idle_timeout", "max_connection_duration"):
            values[f"{name}_ms"] = milliseconds(value) or None
        elif name == "max_stream_duration":
            values["max_stream_duration_ms"] = milliseconds(value)
        elif name in ("max_requests_per_connection", "max_headers_count"):
            values[name] = value.value
        elif name == "max_response_headers_kb":
            values["max_response_headers_kb"] = value.value
        elif name == "headers_with_underscores_action":
            values[name] = value


def _http1_values(http1: Any, values: dict[str, Any]) -> None:
    for field, value in http1.ListFields():
        name = field.name
        if name in ("enable_trailers", "allow_chunked_length", "send_fully_qualified_url"):
            values[name] = value
        elif name == "override_stream_error_on_invalid_http_message":
            values[name] = value.value
        elif name == "header_key_format":
            values["proper_case_headers"] = has_proper_case(http1)
            preserve = preserve_case(http1)
            if preserve is not None:
                values["preserve_case_headers"] = True
                values["proper_case_of_added_headers"] = (
                    preserve.formatter_type_on_envoy_headers == preserve.PROPER_CASE
                )
                values["forward_reason_phrase"] = preserve.forward_reason_phrase
