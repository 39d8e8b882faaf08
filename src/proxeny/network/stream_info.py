"""What is known of one request or connection (Envoy: ``envoy/stream_info/stream_info.h``), for logs and decisions."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from proxeny.network.filter_state import FilterState

if TYPE_CHECKING:
    from proxeny.network.address import Address
    from proxeny.network.ssl_connection import SslConnectionInfo


class ResponseFlag(Enum):
    """Envoy's response flags: short and long name, in Envoy's order of printing."""

    FAILED_LOCAL_HEALTH_CHECK = ("LH", "FailedLocalHealthCheck")
    NO_HEALTHY_UPSTREAM = ("UH", "NoHealthyUpstream")
    UPSTREAM_REQUEST_TIMEOUT = ("UT", "UpstreamRequestTimeout")
    LOCAL_RESET = ("LR", "LocalReset")
    UPSTREAM_REMOTE_RESET = ("UR", "UpstreamRemoteReset")
    UPSTREAM_CONNECTION_FAILURE = ("UF", "UpstreamConnectionFailure")
    UPSTREAM_CONNECTION_TERMINATION = ("UC", "UpstreamConnectionTermination")
    UPSTREAM_OVERFLOW = ("UO", "UpstreamOverflow")
    NO_ROUTE_FOUND = ("NR", "NoRouteFound")
    DELAY_INJECTED = ("DI", "DelayInjected")
    FAULT_INJECTED = ("FI", "FaultInjected")
    RATE_LIMITED = ("RL", "RateLimited")
    UNAUTHORIZED_EXTERNAL_SERVICE = ("UAEX", "UnauthorizedExternalService")
    RATE_LIMIT_SERVICE_ERROR = ("RLSE", "RateLimitServiceError")
    DOWNSTREAM_CONNECTION_TERMINATION = ("DC", "DownstreamConnectionTermination")
    UPSTREAM_RETRY_LIMIT_EXCEEDED = ("URX", "UpstreamRetryLimitExceeded")
    STREAM_IDLE_TIMEOUT = ("SI", "StreamIdleTimeout")
    INVALID_ENVOY_REQUEST_HEADERS = ("IH", "InvalidEnvoyRequestHeaders")
    DOWNSTREAM_PROTOCOL_ERROR = ("DPE", "DownstreamProtocolError")
    UPSTREAM_MAX_STREAM_DURATION_REACHED = ("UMSDR", "UpstreamMaxStreamDurationReached")
    RESPONSE_FROM_CACHE_FILTER = ("RFCF", "ResponseFromCacheFilter")
    NO_FILTER_CONFIG_FOUND = ("NFCF", "NoFilterConfigFound")
    DURATION_TIMEOUT = ("DT", "DurationTimeout")
    UPSTREAM_PROTOCOL_ERROR = ("UPE", "UpstreamProtocolError")
    NO_CLUSTER_FOUND = ("NC", "NoClusterFound")
    OVERLOAD_MANAGER = ("OM", "OverloadManagerTerminated")
    DNS_RESOLUTION_FAILED = ("DF", "DnsResolutionFailed")
    DROP_OVERLOAD = ("DO", "DropOverload")
    DOWNSTREAM_REMOTE_RESET = ("DR", "DownstreamRemoteReset")
    UNCONDITIONAL_DROP_OVERLOAD = ("UDO", "UnconditionalDropOverload")

    def __init__(self, short: str, long: str) -> None:
        self.short = short
        self.long = long


FLAG_ORDER = tuple(ResponseFlag)
FLAG_BITS = {flag: 1 << index for index, flag in enumerate(FLAG_ORDER)}
_BEFORE_OTHERS = (
    ResponseFlag.DELAY_INJECTED,
    ResponseFlag.FAULT_INJECTED,
    ResponseFlag.RATE_LIMITED,
    ResponseFlag.UNAUTHORIZED_EXTERNAL_SERVICE,
    ResponseFlag.RATE_LIMIT_SERVICE_ERROR,
    ResponseFlag.RESPONSE_FROM_CACHE_FILTER,
    ResponseFlag.UPSTREAM_RETRY_LIMIT_EXCEEDED,
    ResponseFlag.UPSTREAM_OVERFLOW,
)
_LAST = ResponseFlag.DOWNSTREAM_CONNECTION_TERMINATION
HTTP_FLAG_ORDER = (
    *_BEFORE_OTHERS,
    *[flag for flag in FLAG_ORDER if flag not in _BEFORE_OTHERS and flag is not _LAST],
    _LAST,
)
"""Envoy prints flags in the order in which they were set. A request's filters come first, then what a retry was refused
for, then the failure itself, at the end the client's disconnect; this is that order."""
for _flag, _bit in FLAG_BITS.items():
    _flag.bit = _bit  # type: ignore[attr-defined]


class ConnectionInfo:
    """Addresses and identity of one downstream connection (Envoy: ``ConnectionInfoProvider``)."""

    __slots__ = (
        "connection_id",
        "detected_close_type",
        "direct_local_address",
        "direct_remote_address",
        "fd",
        "filter_chain",
        "ja3_hash",
        "ja4_hash",
        "listener",
        "local_address",
        "local_address_restored",
        "local_close_reason",
        "protocol",
        "remote_address",
        "requested_application_protocols",
        "requested_server_name",
        "ssl",
        "termination_details",
        "transport_failure_reason",
        "transport_protocol",
    )

    def __init__(self, local_address: Address, remote_address: Address, connection_id: int) -> None:
        self.local_address = local_address
        self.remote_address = remote_address
        self.direct_local_address = local_address
        self.direct_remote_address = remote_address
        self.local_address_restored = False
        self.connection_id = connection_id
        self.fd = -1
        """The socket, while it is open; only to ask the kernel about it."""
        self.listener: Any = None
        """The configuration of the listener that accepted it: ``name``, ``metadata``."""
        self.filter_chain: Any = None
        """The filter chain that was found: ``name``, ``metadata``."""
        self.requested_server_name = ""
        self.transport_protocol = "raw_buffer"
        """What the listener filters found; ``raw_buffer`` when they found nothing."""
        self.requested_application_protocols: tuple[str, ...] = ()
        self.ja3_hash = ""
        """MD5 of the ClientHello's JA3 string, hex; empty when it was not asked for (``tls_inspector``)."""
        self.ja4_hash = ""
        """The ClientHello's JA4 fingerprint; empty likewise."""
        self.ssl: SslConnectionInfo | None = None
        """What is known of the TLS session; None on a plain-text connection."""
        self.termination_details = ""
        self.transport_failure_reason = ""
        self.detected_close_type = "Normal"
        """``Normal``, ``LocalReset`` or ``RemoteReset``."""
        self.local_close_reason = ""
        """Why this side closed the connection, in Envoy's words."""
        self.protocol: str | None = None
        """What the connection speaks, once its codec has read something: ``HTTP/1.1``..."""

    @property
    def filter_chain_name(self) -> str:
        """The name of the filter chain; empty when none was found."""
        chain = self.filter_chain
        return "" if chain is None else chain.name


class StreamInfo:
    """One request's (or TCP session's) facts; times are ``time.monotonic_ns`` values, 0 = has not happened.

    ``start_time`` is the wall clock in seconds (float). ``response_code`` 0 = none. ``flags`` is a mask of
    ``ResponseFlag.bit``. ``upstream_*`` describe the last attempt. Sizes and addresses that a log may ask for are read
    from the streams and the connection when it does.
    """

    __slots__ = (
        "attempt_count",
        "attempted_hosts",
        "bytes_received",
        "bytes_sent",
        "connection",
        "custom_flags",
        "downstream_remote_address",
        "downstream_stream",
        "dynamic_metadata_map",
        "earlier_attempts",
        "end_ns",
        "filter_state_map",
        "first_downstream_tx_ns",
        "first_upstream_body_ns",
        "first_upstream_rx_ns",
        "first_upstream_tx_ns",
        "flags",
        "health_check",
        "last_downstream_rx_ns",
        "last_downstream_tx_ns",
        "last_upstream_rx_ns",
        "last_upstream_tx_ns",
        "match_upstream_scheme",
        "override_host",
        "protocol",
        "response_code",
        "response_code_details",
        "route",
        "route_name",
        "route_resolution_ns",
        "route_resolutions",
        "start_ns",
        "start_time",
        "stream_id",
        "time_points",
        "tracing",
        "unroutable",
        "upstream_addresses",
        "upstream_asked_ns",
        "upstream_cluster",
        "upstream_connection",
        "upstream_failed_ns",
        "upstream_host",
        "upstream_protocol",
        "upstream_stream",
        "upstream_transport_failure_reason",
        "upstream_wire_bytes_received",
        "upstream_wire_bytes_sent",
        "virtual_cluster",
        "wire_bytes_received",
        "wire_bytes_sent",
    )

    def __init__(self, connection: ConnectionInfo, start_time: float, start_ns: int) -> None:
        self.connection = connection
        self.downstream_remote_address: Address = connection.remote_address
        self.start_time = start_time
        self.start_ns = start_ns
        self.last_downstream_rx_ns = 0
        self.first_upstream_tx_ns = 0
        self.last_upstream_tx_ns = 0
        self.first_upstream_rx_ns = 0
        self.first_upstream_body_ns = 0
        self.last_upstream_rx_ns = 0
        self.first_downstream_tx_ns = 0
        self.last_downstream_tx_ns = 0
        self.end_ns = 0
        self.protocol: str | None = None
        self.response_code = 0
        self.response_code_details = ""
        self.flags = 0
        self.bytes_received = 0
        self.bytes_sent = 0
        self.wire_bytes_received = 0
        self.wire_bytes_sent = 0
        self.upstream_wire_bytes_received = 0
        self.upstream_wire_bytes_sent = 0
        self.route: Any = None
        self.route_name = ""
        self.upstream_host: Any = None
        self.upstream_cluster: Any = None
        self.override_host: Any = None
        """The host that a filter asks for (``upstream.override_host.OverrideHost``), None = any."""
        self.upstream_connection: Any = None
        self.upstream_addresses: tuple[Address | None, Address | None] | None = None
        """Local and remote address, where there is no connection (UDP)."""
        self.upstream_protocol: str | None = None
        self.upstream_transport_failure_reason = ""
        self.downstream_stream: Any = None
        """The codec's stream, which counts its bytes (``http.codec.Stream``); set for access logs."""
        self.upstream_stream: Any = None
        """That of the last attempt; None when it found no connection."""
        self.earlier_attempts: list[Any] | None = None
        """Byte counts of the attempts before the last one (``formatter.byte_counts``)."""
        self.attempted_hosts: list[Any] | None = None
        """The hosts a TCP session tried to connect to, in order."""
        self.upstream_asked_ns = 0
        """When the last attempt began to wait for a connection; 0: it found one at once."""
        self.upstream_failed_ns = 0
        """When that ended without one."""
        self.route_resolutions = 0
        self.route_resolution_ns = 0
        self.virtual_cluster: Any = None
        self.custom_flags = ""
        """Words of filters for ``%CUSTOM_FLAGS%``, joined by commas."""
        self.time_points: dict[str, int] | None = None
        """Further points in time for ``%COMMON_DURATION%``, by name."""
        self.attempt_count = 0
        self.health_check = False
        self.match_upstream_scheme = False
        """Whether the router gives the request the scheme of its upstream connection."""
        self.unroutable = False
        """No route matches, whatever the table says: ``x-forwarded-proto`` is empty."""
        self.tracing: Any = None
        """What was decided about tracing (``http.tracing.RequestTracing``); None where it is not configured."""
        self.stream_id: bytes = b""
        self.dynamic_metadata_map: dict[str, Any] | None = None
        self.filter_state_map: FilterState | None = None

    @property
    def dynamic_metadata(self) -> dict[str, Any]:
        """Dynamic metadata by namespace; made at the first use."""
        if self.dynamic_metadata_map is None:
            self.dynamic_metadata_map = {}
        return self.dynamic_metadata_map

    @property
    def filter_state(self) -> FilterState:
        """Filter state objects by name; made at the first use."""
        if self.filter_state_map is None:
            self.filter_state_map = FilterState()
        return self.filter_state_map

    def keep_attempt(self, request: Any) -> None:
        """The last attempt is followed by another one: keep what it sent, ``request``, and its stream for counting."""
        if self.upstream_stream is not None:
            if self.earlier_attempts is None:
                self.earlier_attempts = []
            self.earlier_attempts.append((self.upstream_stream, request))
            self.upstream_stream = None
        self.upstream_asked_ns = self.upstream_failed_ns = self.first_upstream_body_ns = 0

    @property
    def upstream_connection_id(self) -> int:
        """The last attempt's connection; 0 = none."""
        connection = self.upstream_connection
        return 0 if connection is None else connection.id

    @property
    def upstream_local_address(self) -> Address | None:
        """Our end of the last attempt's connection."""
        if self.upstream_addresses is not None:
            return self.upstream_addresses[0]
        connection = self.upstream_connection
        return None if connection is None else connection.connection_info.local_address

    @property
    def upstream_remote_address(self) -> Address | None:
        """The far end of the last attempt's connection."""
        if self.upstream_addresses is not None:
            return self.upstream_addresses[1]
        connection = self.upstream_connection
        return None if connection is None else connection.connection_info.remote_address

    def add_custom_flag(self, flag: str) -> None:
        """One more word for ``%CUSTOM_FLAGS%``."""
        self.custom_flags = f"{self.custom_flags},{flag}" if self.custom_flags else flag

    def set_time_point(self, name: str, now_ns: int) -> None:
        """A point in time of a filter's own, for ``%COMMON_DURATION%``."""
        if self.time_points is None:
            self.time_points = {}
        self.time_points[name] = now_ns

    def set_flag(self, flag: ResponseFlag) -> None:
        """Add one response flag."""
        self.flags |= FLAG_BITS[flag]

    def has_flag(self, flag: ResponseFlag) -> bool:
        """Whether ``flag`` was set."""
        return bool(self.flags & FLAG_BITS[flag])

    def flags_short(self) -> str:
        """The flags as access logs print them: ``-`` or short names joined by commas."""
        mask = self.flags
        if not mask:
            return "-"
        return ",".join([flag.short for flag in self._flag_order if mask & FLAG_BITS[flag]])

    def flags_long(self) -> str:
        """The flags' long names, likewise."""
        mask = self.flags
        if not mask:
            return "-"
        return ",".join([flag.long for flag in self._flag_order if mask & FLAG_BITS[flag]])

    @property
    def _flag_order(self) -> tuple[ResponseFlag, ...]:
        return FLAG_ORDER if self.protocol is None else HTTP_FLAG_ORDER
