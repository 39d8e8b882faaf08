"""The last requests of a worker that failed: refused or answered with an error by the proxy itself, or cut short.

A request that succeeds pays for one look at its flags and details (``ActiveStream.finish``). One that fails costs an
entry that refers to what there is anyway; only what is still there when the timer fires is put into words, at most
``MOST`` of them ``INTERVAL_MS`` apart, so that a flood of failures costs hardly more than a few.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

import msgspec

from proxeny.network.stream_info import FLAG_BITS, ResponseFlag

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.http.active_stream import ActiveStream
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.stream_info import StreamInfo

MOST: Final = 100
"""Failures that are kept of each worker."""
INTERVAL_MS: Final = 100
MOST_HEADERS: Final = 32
MOST_NAME: Final = 64
MOST_VALUE: Final = 128
MOST_PATH: Final = 512
VIA_UPSTREAM: Final = "via_upstream"
"""Details of a response that an upstream made, whatever its code."""
REDACTED: Final = "[redacted]"
_SENSITIVE: Final = frozenset(
    (
        b"authorization",
        b"proxy-authorization",
        b"cookie",
        b"set-cookie",
        b"x-api-key",
        b"x-auth-token",
        b"x-amz-security-token",
        b"x-forwarded-client-cert",
    )
)
"""Headers whose values are nobody's business."""
_NO_FAILURES: Final = FLAG_BITS[ResponseFlag.DELAY_INJECTED] | FLAG_BITS[ResponseFlag.RESPONSE_FROM_CACHE_FILTER]


class FailedRequest(msgspec.Struct, array_like=True, omit_defaults=True):
    """One failed request. Durations in microseconds from its beginning, -1 = did not happen."""

    time: float
    """Its beginning, seconds since the epoch."""
    worker: int
    listener: str
    filter_chain: str
    connection_manager: str
    """``stat_prefix``."""
    client: str
    """The client's address as logs show it (``%DOWNSTREAM_REMOTE_ADDRESS%``)."""
    local: str
    server_name: str
    protocol: str
    method: str
    scheme: str
    authority: str
    path: str
    headers: list[tuple[str, str]]
    """As they were in the end, shortened; values of sensitive ones are not here."""
    code: int
    """0: nothing was answered."""
    flags: str
    details: str
    route_found: bool
    virtual_host: str
    route: str
    cluster: str
    host: str
    attempts: int
    transport_failure: str
    termination_details: str
    bytes_received: int
    bytes_sent: int
    duration_us: int
    request_us: int
    """Until the request was complete."""
    upstream_us: int
    """Until it went upstream."""
    response_us: int
    """Until the upstream's answer began."""
    random_value: int


class RecentFailures:
    """Takes down failed requests and hands them on in batches; one for each worker."""

    __slots__ = ("_armed", "_entries", "_send", "_timer", "_worker")

    def __init__(
        self,
        create_timer: Callable[[Callable[[], object]], Any],
        send: Callable[[list[FailedRequest]], object],
        worker: int,
    ) -> None:
        self._entries: deque[tuple[StreamInfo, HeaderMap | None, Any, int]] = deque(maxlen=MOST)
        self._timer = create_timer(self._flush)
        self._armed = False
        self._send = send
        self._worker = worker

    def record(self, stream: ActiveStream) -> None:
        """A request ended, and not simply with an upstream's response: keep it if it failed."""
        info = stream.stream_info
        if not is_failure(info):
            return
        self._entries.append((info, stream.request_headers, stream.config, stream.stream_id))
        if not self._armed:
            self._armed = True
            self._timer.enable(INTERVAL_MS)

    def _flush(self) -> None:
        self._armed = False
        entries = [describe(*entry, self._worker) for entry in self._entries]
        self._entries.clear()
        self._send(entries)

    def close(self) -> None:
        """The worker ends."""
        self._timer.close()
        self._entries.clear()


def is_failure(info: StreamInfo) -> bool:
    """Whether the proxy itself ended a request badly: an error of its own, or a flag that says so."""
    if info.flags & ~_NO_FAILURES:
        return True
    if info.response_code_details == VIA_UPSTREAM:
        return False
    return not info.response_code or info.response_code >= 400


def describe(info: StreamInfo, headers: HeaderMap | None, config: Any, random_value: int, worker: int) -> FailedRequest:
    """A failed request in words."""
    connection, route, host, cluster = info.connection, info.route, info.upstream_host, info.upstream_cluster
    remote = info.downstream_remote_address

    def field(name: bytes, most: int = MOST_VALUE) -> str:
        value = headers.get(name) if headers is not None else None
        return "" if value is None else shorten(value, most)

    return FailedRequest(
        info.start_time,
        worker,
        config.context.listener_name,
        connection.filter_chain_name,
        config.stat_prefix.removeprefix("http.").removesuffix("."),
        remote.as_string(),
        connection.local_address.as_string(),
        connection.requested_server_name,
        info.protocol or "",
        field(b":method"),
        field(b":scheme"),
        field(b":authority", MOST_PATH),
        field(b":path", MOST_PATH),
        [] if headers is None else _shown(headers),
        info.response_code,
        info.flags_short(),
        info.response_code_details,
        route is not None,
        "" if route is None else route.virtual_host.name,
        info.route_name,
        "" if cluster is None else cluster.name,
        "" if host is None else host.address.as_string(),
        info.attempt_count,
        info.upstream_transport_failure_reason,
        connection.termination_details,
        info.bytes_received,
        info.bytes_sent,
        _since(info, info.end_ns),
        _since(info, info.last_downstream_rx_ns),
        _since(info, info.first_upstream_tx_ns),
        _since(info, info.first_upstream_rx_ns),
        random_value,
    )


def _since(info: StreamInfo, at_ns: int) -> int:
    return (at_ns - info.start_ns) // 1000 if at_ns else -1


def _shown(headers: HeaderMap) -> list[tuple[str, str]]:
    shown: list[tuple[str, str]] = []
    for name, value in headers.items()[: MOST_HEADERS + 4]:
        if not name.startswith(b":") and len(shown) < MOST_HEADERS:
            text = REDACTED if name in _SENSITIVE else shorten(value, MOST_VALUE)
            shown.append((shorten(name, MOST_NAME), text))
    return shown


def shorten(value: bytes, most: int) -> str:
    """As text, and no longer than ``most``."""
    if len(value) <= most:
        return value.decode("latin-1")
    return f"{value[: most - 3].decode('latin-1')}..."
