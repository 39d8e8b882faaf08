"""A request that begins anew within the proxy, with other headers (Envoy: ``ActiveStream::recreateStream``).

What the client sees is one request; here the first stream ends and is logged, and a second one takes over the codec's
encoder, the body that was kept, and what the filter state holds of the request (not of its filters). The headers were
sanitised by the first one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.access_log.access_log import DOWNSTREAM_START
from proxeny.http.active_stream import METHOD, ActiveStream
from proxeny.http.header_sanitizing import is_upgrade
from proxeny.http.stats import CX_MAX_REQUESTS_REACHED
from proxeny.http.stream_logs import log_stream

if TYPE_CHECKING:
    from proxeny.kernel.buffer import Buffer
    from proxeny.kernel.headers import HeaderMap

INTERNAL_REDIRECT = "internal_redirect"
"""The details of a response that the client never sees."""


class RecreatedStream(ActiveStream):
    """A stream that some filter began."""

    __slots__ = ()

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The request, whole but for its body."""
        self.request_headers = headers
        info = self.stream_info
        if self.header_timer is not None:
            self.header_timer.disable()
        if self._wants_close(headers, info.protocol or ""):
            self.saw_connection_close = True
        self.is_head = headers.get(METHOD) == b"HEAD"
        self.remote_complete = True
        info.last_downstream_rx_ns = self.config.clock.monotonic_ns()
        if not self._check_request(headers, info.protocol or ""):
            return
        self.upgrade = is_upgrade(headers) or headers.get(METHOD) == b"CONNECT"
        route = self.get_route()
        config = self.config
        if config.match_upstream_scheme:
            info.match_upstream_scheme = True
        if not self._create_chain(headers, route):
            return
        if config.tracing is not None:
            config.tracing.begin(headers, info, route)
        if route is not None:
            entry = route.entry
            if entry.idle_timeout_ms is not None:
                self._set_idle_timeout(entry.idle_timeout_ms)
            if entry.limits_duration:
                self._limit_duration(entry.policy, headers)
        if config.logs_new_requests:
            log_stream(self, DOWNSTREAM_START)
        self.filter_headers(headers, end_stream)
        if self.idle_timer is not None and not self.destroyed:
            self.idle_timer.enable(self.idle_timeout_ms)
        if self.request_timer is not None:
            self.request_timer.disable()


def recreate_stream(stream: ActiveStream, response: HeaderMap, code: int, body: Buffer | None) -> None:
    """End ``stream`` with a response that nobody gets, and begin again with its (changed) request headers."""
    manager: Any = stream.manager
    encoder = stream.encoder
    headers = stream.request_headers
    assert headers is not None
    old = stream.stream_info
    old.response_code = code
    old.response_code_details = INTERNAL_REDIRECT
    stream.response_headers = response
    stream.local_complete = stream.codec_complete = True
    manager.destroy_stream(stream)
    again = RecreatedStream(manager, encoder)
    manager.streams.append(again)
    info = again.stream_info
    info.start_time, info.start_ns = old.start_time, old.start_ns
    info.protocol = old.protocol
    info.downstream_remote_address = old.downstream_remote_address
    info.bytes_received = old.bytes_received
    state = old.filter_state_map
    if state is not None:
        for name in state.kept:
            info.filter_state.keep(name, state[name])
    again.saw_connection_close = stream.saw_connection_close
    manager.requests += 1  # it counts as one more of the connection
    limit = again.config.max_requests_per_connection
    if limit and manager.requests >= limit and not manager.closing_after_response:
        again.config.stats.inc(CX_MAX_REQUESTS_REACHED)
        manager.close_after_response()
    again.decode_headers(headers, body is None)
    if body is not None and not again.local_complete and not again.destroyed:
        info.bytes_received += body.length  # as Envoy, which decodes it once more
        again.filter_data(body, True)
