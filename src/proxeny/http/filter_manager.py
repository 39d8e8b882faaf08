"""The filters of one request: runs the compiled chain, and is what each filter's callbacks talk to.

The common cases cost nothing extra: with a router alone in the chain the request goes straight to it and the response
straight to the codec; filters that look at headers only are called one after the other. The general iteration
(``filter_path``) exists only for requests whose chain needs it, and takes over where a filter stops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.http.codec import RequestDecoder
from proxeny.http.filter_path import CONTINUE, DecodePath, EncodePath
from proxeny.kernel.headers import HeaderMap
from proxeny.network.grpc_status import is_grpc_content_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.http.filter import StreamFilter
    from proxeny.http.filter_chain import FilterChain
    from proxeny.kernel.buffer import Buffer
    from proxeny.network.socket_options import SocketOption
    from proxeny.network.stream_info import StreamInfo


CONTENT_TYPE = b"content-type"
STATUS = b":status"
REMOVED_STATUS = "filter_removed_required_response_headers{missing_required_header:_:status}"


class ActiveFilter:
    """One filter's view of its stream: implements the decoder and the encoder callbacks of ``http.filter``.

    It does not know its filter, which holds it: they would be a cycle, one per filter and request.
    """

    __slots__ = ("connection", "dispatcher", "index", "manager", "stream_info")

    def __init__(self, manager: FilterManager, index: int) -> None:
        self.manager = manager
        self.index = index
        owner = self.manager  # which has a type in the map, as the argument has not
        self.stream_info = owner.stream_info
        self.connection = owner.connection
        self.dispatcher = owner.dispatcher

    # Both directions.

    @property
    def route(self) -> Any:
        """The matched route or None."""
        return self.manager.get_route()

    @property
    def stream_id(self) -> int:
        """The stream's random number, by which shares of requests are drawn."""
        return self.manager.get_stream_id()

    @property
    def upstream_options(self) -> tuple[SocketOption, ...]:
        """Options for the sockets of upstream connections that serve this request."""
        return self.manager.upstream_options

    def add_upstream_options(self, options: tuple[SocketOption, ...]) -> None:
        """More of them; the request then gets an upstream connection that was made with them."""
        self.manager.upstream_options += options

    def clear_route_cache(self) -> None:
        """Match again at the next use."""
        self.manager.clear_route_cache()

    def set_route(self, route: Any) -> None:
        """Use this route from now on."""
        self.manager.set_route(route)

    def request_route_config_update(self, on_updated: Callable[[bool], object]) -> Any:
        """Have routes looked for that this request might have; None: nobody knows of any."""
        return self.manager.request_route_config_update(on_updated)

    def per_filter_config(self) -> Any:
        """The most specific compiled per-route config of this filter, or None."""
        route = self.manager.get_route()
        return None if route is None else route.per_filter_config(self.manager.chain.names[self.index])

    @property
    def request_headers(self) -> HeaderMap | None:
        """The request's headers."""
        return self.manager.request_headers

    @property
    def response_headers(self) -> HeaderMap | None:
        """The response's headers."""
        return self.manager.response_headers

    def reset_stream(self) -> None:
        """End the stream without an answer."""
        self.manager.reset_stream()

    def send_local_reply(
        self,
        code: int,
        body: bytes,
        modify_headers: Callable[[HeaderMap], None] | None,
        grpc_status: int | None,
        details: str,
    ) -> None:
        """Answer from here."""
        self.manager.send_local_reply(code, body, modify_headers, grpc_status, details)

    # Decoding.

    def continue_decoding(self) -> None:
        """Go on behind this filter."""
        if self.manager.decode_path is not None:
            self.manager.decode_path.resume(self.index)

    def decoding_buffer(self) -> Buffer | None:
        """What is held of the request body."""
        path = self.manager.decode_path
        return None if path is None else path.buffered

    def add_decoded_data(self, data: Buffer, streaming: bool) -> None:
        """Add request body bytes."""
        self.manager.need_decode_path().add_data(self.index, data, streaming)

    def inject_decoded_data(self, data: Buffer, end_stream: bool) -> None:
        """Send request body bytes to the filters behind."""
        self.manager.need_decode_path().inject_data(self.index, data, end_stream)

    def encode_1xx_headers(self, headers: HeaderMap) -> None:
        """Send an informational response."""
        self.manager.encode_1xx(headers)

    def encode_headers(self, headers: HeaderMap, end_stream: bool, details: str) -> None:
        """Begin the response."""
        self.manager.encode_headers(headers, end_stream, details)

    def encode_data(self, data: Buffer, end_stream: bool) -> None:
        """Response body."""
        self.manager.encode_data(data, end_stream)

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """Response trailers."""
        self.manager.encode_trailers(trailers)

    def on_decoder_filter_above_write_buffer_high_watermark(self) -> None:
        """Stop reading from the client."""
        self.manager.request_data_too_large()

    def on_decoder_filter_below_write_buffer_low_watermark(self) -> None:
        """Read again."""
        self.manager.request_data_drained()

    def add_downstream_watermark_callbacks(self, callbacks: Any) -> None:
        """Hear of the client's write watermarks."""
        self.manager.add_watermark_callbacks(callbacks)

    def remove_downstream_watermark_callbacks(self, callbacks: Any) -> None:
        """No longer."""
        self.manager.remove_watermark_callbacks(callbacks)

    def set_decoder_buffer_limit(self, limit: int) -> None:
        """Bytes that may be held of the request."""
        self.manager.decoder_limit = limit

    def decoder_buffer_limit(self) -> int:
        """That limit."""
        return self.manager.decoder_limit

    # Encoding.

    def continue_encoding(self) -> None:
        """Go on behind this filter."""
        path = self.manager.encode_path
        if path is not None:
            path.resume(self.manager.chain.last - self.index)

    def encoding_buffer(self) -> Buffer | None:
        """What is held of the response body."""
        path = self.manager.encode_path
        return None if path is None else path.buffered

    def add_encoded_data(self, data: Buffer, streaming: bool) -> None:
        """Add response body bytes."""
        self.manager.need_encode_path().add_data(self.manager.chain.last - self.index, data, streaming)

    def add_encoded_trailers(self) -> HeaderMap:
        """Trailers of a response without any, to be filled."""
        manager = self.manager
        trailers = manager.response_trailers = HeaderMap()
        manager.need_encode_path().add_trailers(manager.chain.last - self.index, trailers)
        return trailers

    def inject_encoded_data(self, data: Buffer, end_stream: bool) -> None:
        """Send response body bytes to the filters behind."""
        self.manager.need_encode_path().inject_data(self.manager.chain.last - self.index, data, end_stream)

    def set_encoder_buffer_limit(self, limit: int) -> None:
        """Bytes that may be held of the response."""
        self.manager.encoder_limit = limit

    def encoder_buffer_limit(self) -> int:
        """That limit."""
        return self.manager.encoder_limit


class FilterManager(RequestDecoder):
    """Base of the connection manager's ActiveStream: the filters and the state they share."""

    __slots__ = (
        "began_as_grpc",
        "chain",
        "connection",
        "decode_path",
        "decoder_limit",
        "dispatcher",
        "encode_path",
        "encoder_limit",
        "filters",
        "local_complete",
        "remote_complete",
        "request_headers",
        "request_trailers",
        "response_headers",
        "response_trailers",
        "stream_info",
        "terminal",
        "upstream_options",
        "watermark_callbacks",
    )

    began_as_grpc: bool
    """Whether the request was gRPC before filters that may change it saw it: local replies go by that."""
    chain: FilterChain
    connection: Any
    dispatcher: Any
    stream_info: StreamInfo
    filters: list[StreamFilter]
    terminal: StreamFilter | None
    """The last filter, if nobody before it sees more than headers: bodies go straight to it."""
    decode_path: DecodePath | None
    encode_path: EncodePath | None
    upstream_options: tuple[SocketOption, ...]
    """Options for the sockets of upstream connections that serve this request; first those of the connection."""
    request_headers: HeaderMap | None
    request_trailers: HeaderMap | None
    response_headers: HeaderMap | None
    response_trailers: HeaderMap | None
    remote_complete: bool
    local_complete: bool
    decoder_limit: int
    encoder_limit: int
    watermark_callbacks: list[Any] | None

    def create_filters(self, chain: FilterChain) -> None:
        """Make this request's filters."""
        self.chain = chain
        filters = []
        for index, create in enumerate(chain.create):
            filter_ = create()
            active = ActiveFilter(self, index)
            filter_.decoder_callbacks = active
            filter_.encoder_callbacks = active
            filters.append(filter_)
        self.filters = filters
        headers = self.request_headers
        self.began_as_grpc = (
            not chain.single and headers is not None and is_grpc_content_type(headers.get(CONTENT_TYPE))
        )
        if chain.direct_decode:
            self.terminal = filters[-1]
        else:
            self.decode_path = DecodePath(self, filters)
        if not chain.direct_encode:
            self.encode_path = EncodePath(self, filters[::-1])

    def need_decode_path(self) -> DecodePath:
        """The general decode iteration, made now if it was not."""
        path = self.decode_path
        if path is None:
            path = self.decode_path = DecodePath(self, self.filters)
            path.headers = self.request_headers
            path.complete = self.remote_complete
        return path

    def need_encode_path(self) -> EncodePath:
        """The general encode iteration, made now if it was not."""
        path = self.encode_path
        if path is None:
            path = self.encode_path = EncodePath(self, self.filters[::-1])
            path.headers = self.response_headers
            path.complete = self.local_complete
        return path

    # Requests on their way in.

    def filter_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """Run the decode path on the request's headers."""
        path = self.decode_path
        if path is not None:
            path.complete = end_stream
            path.run_headers(0, headers, end_stream)
        elif self.chain.single:
            terminal = self.terminal
            assert terminal is not None
            terminal.decode_headers(headers, end_stream)
        else:
            self._decode_headers_directly(headers, end_stream)

    def _decode_headers_directly(self, headers: HeaderMap, end_stream: bool) -> None:
        filters = self.filters
        last = self.chain.last
        for position in self.chain.decode_headers:
            status = filters[position].decode_headers(headers, end_stream)
            # Done, or answered, or reset by the filter.
            if position == last or self.response_headers is not None or self.filters is not filters:
                return
            if status is not CONTINUE or self.decode_path is not None:
                self.need_decode_path().take_over(position, status, headers, end_stream)
                return

    def filter_data(self, data: Buffer, end_stream: bool) -> None:
        """Run the decode path on body bytes."""
        path = self.decode_path
        if path is None:
            terminal = self.terminal
            assert terminal is not None
            terminal.decode_data(data, end_stream)
        else:
            path.complete = end_stream
            path.run_data(0, data, end_stream)

    def filter_trailers(self, trailers: HeaderMap) -> None:
        """Run the decode path on trailers."""
        path = self.decode_path
        if path is None:
            assert self.terminal is not None
            self.terminal.decode_trailers(trailers)
        else:
            path.complete = True
            path.run_trailers(0, trailers)

    # Responses on their way out.

    def encode_1xx(self, headers: HeaderMap) -> None:
        """Run an informational response through the filters."""
        for position in self.chain.encode_1xx_headers:
            self.filters[self.chain.last - position].encode_1xx_headers(headers)
        self.encode_1xx_out(headers)

    def encode_headers(self, headers: HeaderMap, end_stream: bool, details: str) -> None:
        """Run the response's headers through the encode path."""
        self.response_headers = headers
        self.stream_info.response_code_details = details
        path = self.encode_path
        if path is not None:
            path.complete = end_stream
            path.run_headers(0, headers, end_stream)
        elif self.chain.encode_headers:
            self._encode_headers_directly(headers, end_stream)
        else:
            self.encode_headers_out(headers, end_stream)

    def _encode_headers_directly(self, headers: HeaderMap, end_stream: bool) -> None:
        filters = self.filters
        last = self.chain.last
        for position in self.chain.encode_headers:
            status = filters[last - position].encode_headers(headers, end_stream)
            # Replaced by another answer, or reset by the filter.
            if self.response_headers is not headers or self.filters is not filters:
                return
            if status is not CONTINUE or self.encode_path is not None:
                self.need_encode_path().take_over(position, status, headers, end_stream)
                return
        self.encode_filtered_headers(headers, end_stream)

    def encode_filtered_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The head as the filters left it: it leaves, if they left a status."""
        if headers.get(STATUS):
            self.encode_headers_out(headers, end_stream)
        else:
            self.send_local_reply(502, b"missing required header: :status", None, None, REMOVED_STATUS)

    def encode_data(self, data: Buffer, end_stream: bool) -> None:
        """Run response body bytes through the encode path."""
        path = self.encode_path
        if path is None:
            self.encode_data_out(data, end_stream)
        else:
            path.complete = end_stream
            path.run_data(0, data, end_stream)

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """Run response trailers through the encode path."""
        self.response_trailers = trailers
        path = self.encode_path
        if path is None:
            self.encode_trailers_out(trailers)
        else:
            path.complete = True
            path.run_trailers(0, trailers)

    def abort_iteration(self) -> None:
        """Nothing more of the request is for the filters (a local reply took over, or the stream ended)."""
        if self.decode_path is not None:
            self.decode_path.aborted = True

    def destroy_filters(self) -> None:
        """Tell every filter that the stream is gone; hold no cycle afterwards."""
        for position in self.chain.on_destroy:
            self.filters[position].on_destroy()
        if self.decode_path is not None:
            self.decode_path.aborted = True
            self.decode_path.headers = None
        if self.encode_path is not None:
            self.encode_path.aborted = True
            self.encode_path.headers = None

    # What the stream (ActiveStream) supplies.

    def get_stream_id(self) -> int:
        """The stream's random number."""
        raise AssertionError("abstract")

    def get_route(self) -> Any:
        """The matched route or None."""
        raise AssertionError("abstract")

    def clear_route_cache(self) -> None:
        """Match again at the next use."""
        raise AssertionError("abstract")

    def set_route(self, route: Any) -> None:
        """Use this route from now on."""
        raise AssertionError("abstract")

    def request_route_config_update(self, on_updated: Callable[[bool], object]) -> Any:
        """Have routes looked for that this request might have; None: nobody knows of any."""
        return None

    def reset_stream(self) -> None:
        """End the stream without an answer."""
        raise AssertionError("abstract")

    def send_local_reply(
        self,
        code: int,
        body: bytes,
        modify_headers: Callable[[HeaderMap], None] | None,
        grpc_status: int | None,
        details: str,
    ) -> None:
        """Answer the request from here."""
        raise AssertionError("abstract")

    def encode_1xx_out(self, headers: HeaderMap) -> None:
        """An informational response leaves."""
        raise AssertionError("abstract")

    def encode_headers_out(self, headers: HeaderMap, end_stream: bool) -> None:
        """Response headers leave."""
        raise AssertionError("abstract")

    def encode_data_out(self, data: Buffer, end_stream: bool) -> None:
        """Response body bytes leave."""
        raise AssertionError("abstract")

    def encode_trailers_out(self, trailers: HeaderMap) -> None:
        """Response trailers leave."""
        raise AssertionError("abstract")

    def request_too_large(self) -> None:
        """A filter buffers more of the request than the limit."""
        raise AssertionError("abstract")

    def response_too_large(self) -> None:
        """A filter buffers more of the response than the limit."""
        raise AssertionError("abstract")

    def request_data_too_large(self) -> None:
        """Back-pressure: stop reading from the client."""
        raise AssertionError("abstract")

    def request_data_drained(self) -> None:
        """Read from the client again."""
        raise AssertionError("abstract")

    def response_data_too_large(self) -> None:
        """Back-pressure: stop the producer of the response."""
        raise AssertionError("abstract")

    def response_data_drained(self) -> None:
        """Let it produce again."""
        raise AssertionError("abstract")

    def add_watermark_callbacks(self, callbacks: Any) -> None:
        """Hear of the client's write watermarks."""
        raise AssertionError("abstract")

    def remove_watermark_callbacks(self, callbacks: Any) -> None:
        """No longer."""
        raise AssertionError("abstract")
