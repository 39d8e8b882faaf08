"""Upstream HTTP filters: a chain that every attempt passes through between the router and its codec (Envoy:
``UpstreamRequest``'s filter manager and ``UpstreamCodecFilter``).

The chain is the cluster's (``HttpProtocolOptions.http_filters``), else the router's (``upstream_http_filters``). It
runs at once, while the pool still looks for a connection; what comes out at its end waits for the stream. Filters see
and change the request's own headers, so what they change is there for the next attempt as well. A local reply of theirs
goes to the client past the other upstream filters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.http.filter import FilterDataStatus, FilterHeadersStatus, FilterTrailersStatus, StreamFilter
from proxeny.http.filter_manager import FilterManager
from proxeny.router.upstream_request import UpstreamRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.http.codec import RequestEncoder
    from proxeny.http.filter_chain import FilterChain
    from proxeny.kernel.buffer import Buffer
    from proxeny.kernel.headers import HeaderMap
    from proxeny.router.filter import RouterFilter
    from proxeny.upstream.host import Host

CONTINUE: Final = FilterHeadersStatus.CONTINUE
VIA_UPSTREAM: Final = "via_upstream"


def start_filtered(router: RouterFilter, cluster: Any, host: Host, end_stream: bool) -> UpstreamRequest:
    """Begin an attempt where there may be upstream filters."""
    overrides = router.cluster.overrides
    chain: FilterChain | None = router.config.upstream_chain
    if overrides is not None and overrides.upstream_chain is not None:
        chain = overrides.upstream_chain
    attempt = UpstreamRequest(router, host, end_stream)
    if chain is not None:
        router.has_stream_timers = True  # it is always closed, then
        attempt = FilteredUpstreamRequest(router, host, end_stream, chain)
    router.upstream = attempt
    attempt.pending = router.pool_of(cluster, host).new_stream(attempt, attempt)
    if isinstance(attempt, FilteredUpstreamRequest):
        attempt.run_filters()
    return attempt


class UpstreamCodecFilter(StreamFilter):
    """The end of the chain: hands the request to the codec, or to what waits for one."""

    __slots__ = ()

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """The headers are through."""
        self._attempt.on_headers_filtered(headers, end_stream)
        return CONTINUE

    def decode_data(self, data: Buffer, end_stream: bool) -> FilterDataStatus:
        """Body that is through."""
        UpstreamRequest.accept_data(self._attempt, data, end_stream)
        return FilterDataStatus.STOP_ITERATION_NO_BUFFER

    def decode_trailers(self, trailers: HeaderMap) -> FilterTrailersStatus:
        """Trailers that are through."""
        UpstreamRequest.accept_trailers(self._attempt, trailers)
        return FilterTrailersStatus.STOP_ITERATION

    @property
    def _attempt(self) -> FilteredUpstreamRequest:
        manager: Any = self.decoder_callbacks.manager  # type: ignore[attr-defined]
        attempt: FilteredUpstreamRequest = manager.attempt
        return attempt


class FilteredUpstreamRequest(UpstreamRequest):
    """An attempt behind filters."""

    __slots__ = ("_filters", "_headers", "_started")

    def __init__(self, router: RouterFilter, host: Host, end_stream: bool, chain: FilterChain) -> None:
        UpstreamRequest.__init__(self, router, host, end_stream)
        self._filters: UpstreamFilterManager | None = UpstreamFilterManager(self, chain)
        self._headers: HeaderMap | None = None
        """The request's headers once the filters let them through."""
        self._started = False

    # The request.

    def run_filters(self) -> None:
        """The request's headers; the attempt may have failed already."""
        manager = self._filters
        if manager is not None and not self._started:
            self._started = True
            manager.filter_headers(self.router.request_headers, self.end_stream)

    def on_pool_ready(self, request_encoder: RequestEncoder, host: Host, codec_client: Any) -> None:
        """A stream: what waits for it goes out."""
        self.attach(request_encoder, host, codec_client)
        if self._headers is not None:
            self.send_headers(self._headers)

    def on_headers_filtered(self, headers: HeaderMap, end_stream: bool) -> None:
        """The last filter let the headers pass."""
        self._headers = headers
        self.end_stream = end_stream
        if self.encoder is not None:
            self.send_headers(headers)

    def accept_data(self, data: Buffer, end_stream: bool) -> None:
        """Request body, for the filters first."""
        if self._filters is not None:
            self._filters.remote_complete = end_stream
            self._filters.filter_data(data, end_stream)

    def accept_trailers(self, trailers: HeaderMap) -> None:
        """Request trailers, for the filters first."""
        if self._filters is not None:
            self._filters.remote_complete = True
            self._filters.filter_trailers(trailers)

    # The response.

    def decode_1xx_headers(self, headers: HeaderMap) -> None:
        """An informational response, for the filters first."""
        if self._filters is not None:
            self._filters.encode_1xx(headers)

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The response head, for the filters first."""
        if self._filters is not None:
            self._filters.local_complete = end_stream
            self._filters.encode_headers(headers, end_stream, VIA_UPSTREAM)

    def decode_data(self, data: Buffer, end_stream: bool) -> None:
        """Response body, for the filters first."""
        if self._filters is not None:
            self._filters.local_complete = end_stream
            self._filters.encode_data(data, end_stream)

    def decode_trailers(self, trailers: HeaderMap) -> None:
        """Response trailers, for the filters first."""
        if self._filters is not None:
            self._filters.local_complete = True
            self._filters.encode_trailers(trailers)

    # The end.

    def close(self) -> None:
        """See UpstreamRequest."""
        UpstreamRequest.close(self)
        manager, self._filters = self._filters, None
        if manager is not None:
            manager.destroy_filters()


class UpstreamFilterManager(FilterManager):
    """The filters of one attempt."""

    __slots__ = ("attempt",)

    def __init__(self, attempt: FilteredUpstreamRequest, chain: FilterChain) -> None:
        router = attempt.router
        callbacks = router.decoder_callbacks
        self.attempt = attempt
        self.connection = callbacks.connection
        self.dispatcher = callbacks.dispatcher
        self.stream_info = router.stream_info
        self.upstream_options = ()
        self.terminal = None
        self.decode_path = None
        self.encode_path = None
        self.request_headers = router.request_headers
        self.request_trailers = None
        self.response_headers = None
        self.response_trailers = None
        self.remote_complete = attempt.end_stream
        self.local_complete = False
        self.decoder_limit = self.encoder_limit = callbacks.decoder_buffer_limit()
        self.watermark_callbacks = None
        self.create_filters(chain.for_route(callbacks.route))

    def get_stream_id(self) -> int:
        """See FilterManager."""
        return self.attempt.router.decoder_callbacks.stream_id

    def get_route(self) -> Any:
        """See FilterManager."""
        return self.attempt.router.decoder_callbacks.route

    def clear_route_cache(self) -> None:
        """It is too late for another route."""

    def set_route(self, route: Any) -> None:
        """See above."""

    def reset_stream(self) -> None:
        """The client sees its stream end."""
        self.attempt.router.decoder_callbacks.reset_stream()

    def send_local_reply(
        self,
        code: int,
        body: bytes,
        modify_headers: Callable[[HeaderMap], None] | None,
        grpc_status: int | None,
        details: str,
    ) -> None:
        """Answered by the filters of the client's side."""
        self.abort_iteration()
        if self.encode_path is not None:
            self.encode_path.aborted = True
        self.attempt.router.decoder_callbacks.send_local_reply(code, body, modify_headers, grpc_status, details)

    def encode_1xx_out(self, headers: HeaderMap) -> None:
        """See FilterManager."""
        UpstreamRequest.decode_1xx_headers(self.attempt, headers)

    def encode_headers_out(self, headers: HeaderMap, end_stream: bool) -> None:
        """See FilterManager."""
        UpstreamRequest.decode_headers(self.attempt, headers, end_stream)

    def encode_data_out(self, data: Buffer, end_stream: bool) -> None:
        """See FilterManager."""
        UpstreamRequest.decode_data(self.attempt, data, end_stream)

    def encode_trailers_out(self, trailers: HeaderMap) -> None:
        """See FilterManager."""
        UpstreamRequest.decode_trailers(self.attempt, trailers)

    def request_too_large(self) -> None:
        """A filter buffers more of the request than the limit."""
        self.send_local_reply(413, b"Payload Too Large", None, None, "request_payload_too_large")

    def response_too_large(self) -> None:
        """A filter buffers more of the response than the limit."""
        self.send_local_reply(500, b"Internal Server Error", None, None, "response_payload_too_large")

    def request_data_too_large(self) -> None:
        """Back-pressure: the client is not read."""
        self.attempt.router.decoder_callbacks.on_decoder_filter_above_write_buffer_high_watermark()

    def request_data_drained(self) -> None:
        """It is read again."""
        self.attempt.router.decoder_callbacks.on_decoder_filter_below_write_buffer_low_watermark()

    def response_data_too_large(self) -> None:
        """Back-pressure: the upstream is not read."""
        self.attempt.pause_reading(True)

    def response_data_drained(self) -> None:
        """It is read again."""
        self.attempt.pause_reading(False)

    def add_watermark_callbacks(self, callbacks: Any) -> None:
        """Hear of the client's write watermarks."""
        self.attempt.router.decoder_callbacks.add_downstream_watermark_callbacks(callbacks)

    def remove_watermark_callbacks(self, callbacks: Any) -> None:
        """No longer."""
        self.attempt.router.decoder_callbacks.remove_downstream_watermark_callbacks(callbacks)
