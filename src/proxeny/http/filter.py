"""The HTTP filter contract (Envoy: ``envoy/http/filter.h``), for built-in and user filters alike.

A filter overrides only the hooks it needs: the chain is compiled, per configuration, into one tuple per hook that
holds only the filters which override it, so an untouched hook costs nothing.

Decode hooks run in configuration order, encode hooks in reverse. A hook may answer the request itself
(``decoder_callbacks.send_local_reply``) or pause it (a STOP status) and go on later
(``continue_decoding``/``continue_encoding``).
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol

from proxeny.kernel.timer import TimerTarget

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.kernel.buffer import Buffer
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.connection import Connection
    from proxeny.network.socket_options import SocketOption
    from proxeny.network.stream_info import StreamInfo


class FilterHeadersStatus(IntEnum):
    """What a filter wants after it saw headers."""

    CONTINUE = 0
    """Go on with the next filter."""
    STOP_ITERATION = 1
    """Hold the headers here; body data still reaches this filter (not those behind it)."""
    CONTINUE_AND_DONT_END_STREAM = 2
    """Go on, but the stream does not end here though the headers said so: a body will be injected."""
    STOP_ALL_ITERATION_AND_BUFFER = 3
    """Hold headers, buffer all that follows (above the limit: 413 / 500), until continue."""
    STOP_ALL_ITERATION_AND_WATERMARK = 4
    """Hold headers, buffer all that follows up to the watermark (then back-pressure), until continue."""


class FilterDataStatus(IntEnum):
    """What a filter wants after it saw body bytes."""

    CONTINUE = 0
    """Pass on (with all that was buffered)."""
    STOP_ITERATION_AND_BUFFER = 1
    """Keep these bytes with what is buffered; above the limit 413 (request) or 500 (response)."""
    STOP_ITERATION_AND_WATERMARK = 2
    """Keep them; above the limit apply back-pressure."""
    STOP_ITERATION_NO_BUFFER = 3
    """Do not pass on; the filter has taken what it needs, the bytes are dropped."""


class FilterTrailersStatus(IntEnum):
    """What a filter wants after it saw trailers."""

    CONTINUE = 0
    STOP_ITERATION = 1


class StreamFilterCallbacks(Protocol):
    """What both directions of a filter can ask of its stream."""

    connection: Connection
    stream_info: StreamInfo
    dispatcher: Any

    @property
    def stream_id(self) -> int:
        """The stream's random number, by which shares of requests are drawn."""

    @property
    def upstream_options(self) -> tuple[SocketOption, ...]:
        """Options for the sockets of upstream connections that serve this request."""

    def add_upstream_options(self, options: tuple[SocketOption, ...]) -> None:
        """More of them; the request then gets an upstream connection that was made with them."""

    @property
    def route(self) -> Any:
        """The matched route (``router.Route``) or None; cached until ``clear_route_cache``."""

    def clear_route_cache(self) -> None:
        """Match again at the next use (after a filter changed headers)."""

    def set_route(self, route: Any) -> None:
        """Use this route from now on."""

    def request_route_config_update(self, on_updated: Callable[[bool], object]) -> Any:
        """Have routes looked for that this request might have (Envoy: ``requestRouteConfigUpdate``).

        ``on_updated`` hears later whether some were found, unless what this returns is told to ``cancel``; None:
        nobody knows of any.
        """

    def per_filter_config(self) -> Any:
        """The most specific compiled per-route config of the calling filter, or None."""

    @property
    def request_headers(self) -> HeaderMap | None:
        """The request's headers once they arrived."""

    @property
    def response_headers(self) -> HeaderMap | None:
        """The response's headers once a filter or the upstream produced them."""

    def reset_stream(self) -> None:
        """End the stream without an answer."""


class StreamDecoderFilterCallbacks(StreamFilterCallbacks, Protocol):
    """What a decoder filter can ask of its stream."""

    def continue_decoding(self) -> None:
        """Go on behind this filter with all that was held."""

    def decoding_buffer(self) -> Buffer | None:
        """What is buffered of the request body."""

    def add_decoded_data(self, data: Buffer, streaming: bool) -> None:
        """Add body bytes as if they had been received (in decode_headers or decode_trailers)."""

    def inject_decoded_data(self, data: Buffer, end_stream: bool) -> None:
        """Send body bytes to the filters behind this one."""

    def send_local_reply(
        self,
        code: int,
        body: bytes,
        modify_headers: Callable[[HeaderMap], None] | None,
        grpc_status: int | None,
        details: str,
    ) -> None:
        """Answer the request from here; the encode path of all filters runs on the answer."""

    def encode_1xx_headers(self, headers: HeaderMap) -> None:
        """Send an informational response through the encode path."""

    def encode_headers(self, headers: HeaderMap, end_stream: bool, details: str) -> None:
        """Begin the response (terminal filters)."""

    def encode_data(self, data: Buffer, end_stream: bool) -> None:
        """Response body (terminal filters): all of ``data`` is moved."""

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """Response trailers (terminal filters)."""

    def on_decoder_filter_above_write_buffer_high_watermark(self) -> None:
        """The filter's own buffer is full: stop reading from the client (counted)."""

    def on_decoder_filter_below_write_buffer_low_watermark(self) -> None:
        """It drained."""

    def add_downstream_watermark_callbacks(self, callbacks: Any) -> None:
        """Hear of the client connection's write watermarks: ``on_above_write_buffer_high_watermark`` /
        ``on_below_write_buffer_low_watermark`` (called at once if it is above now)."""

    def remove_downstream_watermark_callbacks(self, callbacks: Any) -> None:
        """No longer."""

    def set_decoder_buffer_limit(self, limit: int) -> None:
        """Bytes that may be buffered of the request body."""

    def decoder_buffer_limit(self) -> int:
        """That limit."""


class StreamEncoderFilterCallbacks(StreamFilterCallbacks, Protocol):
    """What an encoder filter can ask of its stream."""

    def continue_encoding(self) -> None:
        """Go on behind this filter with all that was held."""

    def encoding_buffer(self) -> Buffer | None:
        """What is buffered of the response body."""

    def add_encoded_data(self, data: Buffer, streaming: bool) -> None:
        """Add body bytes as if the upstream had sent them."""

    def add_encoded_trailers(self) -> HeaderMap:
        """Trailers of a response that has none, to be filled in: while its end is seen (headers or data)."""

    def inject_encoded_data(self, data: Buffer, end_stream: bool) -> None:
        """Send body bytes to the filters behind this one."""

    def send_local_reply(
        self,
        code: int,
        body: bytes,
        modify_headers: Callable[[HeaderMap], None] | None,
        grpc_status: int | None,
        details: str,
    ) -> None:
        """Replace the response, if its headers have not left yet; else reset."""

    def set_encoder_buffer_limit(self, limit: int) -> None:
        """Bytes that may be buffered of the response body."""

    def encoder_buffer_limit(self) -> int:
        """That limit."""


class StreamFilter(TimerTarget):
    """Base of all HTTP filters; subclasses override hooks. One instance per request."""

    __slots__ = ("decoder_callbacks", "encoder_callbacks")

    decoder_callbacks: StreamDecoderFilterCallbacks
    encoder_callbacks: StreamEncoderFilterCallbacks

    def on_stream_complete(self) -> None:
        """Just before access logs are written."""

    def on_destroy(self) -> None:
        """The stream is gone: cancel what is pending. Always called once, nothing afterwards."""

    def on_local_reply(self, code: int, details: str) -> None:
        """A local reply is about to be sent by somebody."""

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """Request head."""
        return FilterHeadersStatus.CONTINUE

    def decode_data(self, data: Buffer, end_stream: bool) -> FilterDataStatus:
        """Request body bytes."""
        return FilterDataStatus.CONTINUE

    def decode_trailers(self, trailers: HeaderMap) -> FilterTrailersStatus:
        """Request trailers."""
        return FilterTrailersStatus.CONTINUE

    def decode_complete(self) -> None:
        """The request was seen whole."""

    def encode_1xx_headers(self, headers: HeaderMap) -> FilterHeadersStatus:
        """Informational response."""
        return FilterHeadersStatus.CONTINUE

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """Response head."""
        return FilterHeadersStatus.CONTINUE

    def encode_data(self, data: Buffer, end_stream: bool) -> FilterDataStatus:
        """Response body bytes."""
        return FilterDataStatus.CONTINUE

    def encode_trailers(self, trailers: HeaderMap) -> FilterTrailersStatus:
        """Response trailers."""
        return FilterTrailersStatus.CONTINUE

    def encode_complete(self) -> None:
        """The response was seen whole."""


class HttpFilterFactory(Protocol):
    """One configured filter: makes an instance per request. Built by an extension's
    ``create_filter_factory(config_message, stats_prefix, context)`` once per configuration.

    ``filter_class`` tells the chain compiler which hooks are overridden. ``is_terminal``: must be last (router).
    A factory may say ``rehearses = True``: its filters look at a request and change it, and do nothing else; then
    explanations run them (``explain.rehearsal``).
    """

    name: str
    filter_class: type[StreamFilter]
    is_terminal: bool

    def create(self) -> StreamFilter:
        """A fresh filter; callbacks are set by the filter manager right after."""


class HttpFilterExtension(Protocol):
    """The registered object of an HTTP filter extension."""

    is_terminal: bool

    def create_filter_factory(self, config: Any, stats_prefix: str, context: Any) -> HttpFilterFactory:
        """Compile ``config`` (the unpacked typed_config); ConfigError on what cannot be."""

    def create_route_config(self, config: Any, context: Any) -> Any:
        """Compile a ``typed_per_filter_config`` message."""
