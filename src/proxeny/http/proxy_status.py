"""``proxy_status_config``: the ``Proxy-Status`` header (RFC 9209) of responses with a response flag
(Envoy: ``StreamInfo::ProxyStatusUtils``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.network.stream_info import FLAG_BITS
from proxeny.network.stream_info import ResponseFlag as Flag

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.stream_info import StreamInfo

PROXY_STATUS: Final = b"proxy-status"
STATUS: Final = b":status"

_ERRORS: Final = (
    (Flag.FAILED_LOCAL_HEALTH_CHECK, b"destination_unavailable"),
    (Flag.NO_HEALTHY_UPSTREAM, b"destination_unavailable"),
    (Flag.UPSTREAM_REQUEST_TIMEOUT, b"http_response_timeout"),
    (Flag.DURATION_TIMEOUT, b"connection_timeout"),
    (Flag.LOCAL_RESET, b"connection_timeout"),
    (Flag.UPSTREAM_REMOTE_RESET, b"connection_terminated"),
    (Flag.UPSTREAM_CONNECTION_FAILURE, b"connection_refused"),
    (Flag.UNAUTHORIZED_EXTERNAL_SERVICE, b"connection_refused"),
    (Flag.UPSTREAM_CONNECTION_TERMINATION, b"connection_terminated"),
    (Flag.OVERLOAD_MANAGER, b"connection_limit_reached"),
    (Flag.DROP_OVERLOAD, b"connection_limit_reached"),
    (Flag.FAULT_INJECTED, b"http_request_error"),
    (Flag.DOWNSTREAM_CONNECTION_TERMINATION, b"connection_terminated"),
    (Flag.DOWNSTREAM_REMOTE_RESET, b"connection_terminated"),
    (Flag.UPSTREAM_OVERFLOW, b"connection_limit_reached"),
    (Flag.NO_ROUTE_FOUND, b"destination_not_found"),
    (Flag.RATE_LIMITED, b"connection_limit_reached"),
    (Flag.RATE_LIMIT_SERVICE_ERROR, b"connection_limit_reached"),
    (Flag.UPSTREAM_RETRY_LIMIT_EXCEEDED, b"destination_unavailable"),
    (Flag.STREAM_IDLE_TIMEOUT, b"http_response_timeout"),
    (Flag.INVALID_ENVOY_REQUEST_HEADERS, b"http_request_error"),
    (Flag.DOWNSTREAM_PROTOCOL_ERROR, b"http_request_error"),
    (Flag.UPSTREAM_MAX_STREAM_DURATION_REACHED, b"http_response_timeout"),
    (Flag.NO_FILTER_CONFIG_FOUND, b"proxy_configuration_error"),
    (Flag.UPSTREAM_PROTOCOL_ERROR, b"http_protocol_error"),
    (Flag.NO_CLUSTER_FOUND, b"destination_unavailable"),
    (Flag.DNS_RESOLUTION_FAILED, b"dns_error"),
)
ERRORS: Final = tuple([(FLAG_BITS[flag], error) for flag, error in _ERRORS])
"""The error type by response flag; of several flags the first one here decides."""

RECOMMENDED_CODES: Final = {
    b"destination_unavailable": b"503",
    b"http_response_timeout": b"504",
    b"connection_timeout": b"504",
    b"connection_terminated": b"502",
    b"connection_refused": b"502",
    b"connection_limit_reached": b"503",
    b"destination_not_found": b"500",
    b"proxy_configuration_error": b"500",
    b"http_protocol_error": b"502",
    b"dns_error": b"502",
}
"""RFC 9209 section 2.3; the error types that are not here have no recommended code."""

_ESCAPES: Final = str.maketrans(
    {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\0": "\\0"}
)


class ProxyStatus:
    """The compiled ``ProxyStatusConfig``."""

    __slots__ = ("name", "remove_details", "remove_flags", "set_code")

    def __init__(self, config: Any, server_name: bytes, node_id: str) -> None:
        which = config.WhichOneof("proxy_name")
        self.name: bytes = server_name
        if which == "literal_proxy_name":
            self.name = config.literal_proxy_name.encode()
        elif which == "use_node_id":
            self.name = node_id.encode()
        self.remove_details: bool = config.remove_details
        self.remove_flags: bool = config.remove_response_flags
        self.set_code: bool = config.set_recommended_response_code

    def apply(self, headers: HeaderMap, info: StreamInfo) -> None:
        """Say in a response what went wrong; nothing where no flag tells of a failure."""
        flags = info.flags
        if not flags:
            return
        error = next((error for bit, error in ERRORS if flags & bit), None)
        if error is None:
            return
        text = self.name + b"; error=" + error
        if not self.remove_details and info.response_code_details:
            details = info.response_code_details
            if not self.remove_flags:
                details = f"{details}; {info.flags_short()}"
            text += b'; details="' + details.translate(_ESCAPES).encode("utf-8", "surrogateescape") + b'"'
        headers.append_value(PROXY_STATUS, text, b", ")
        if self.set_code and error in RECOMMENDED_CODES:
            headers.set(STATUS, RECOMMENDED_CODES[error])
