"""``envoy.filters.http.grpc_http1_bridge``: HTTP/1 clients call gRPC services, whose trailers become headers
(Envoy: ``source/extensions/filters/http/grpc_http1_bridge``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.http.filter import FilterDataStatus, FilterHeadersStatus, FilterTrailersStatus, StreamFilter
from proxeny.http.grpc import (
    APPLICATION_PROTOBUF,
    CONTENT_TYPE,
    FRAME_HEAD_SIZE,
    GRPC_MESSAGE,
    GRPC_STATUS,
    is_grpc_request,
)
from proxeny.kernel.grpc_frames import frame_head
from proxeny.matcher.integer import parse_uint64
from proxeny.network.grpc_status import APPLICATION_GRPC

if TYPE_CHECKING:
    from proxeny.kernel.buffer import Buffer
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext

NAME: Final = "envoy.filters.http.grpc_http1_bridge"
CONTINUE: Final = FilterHeadersStatus.CONTINUE
DATA_CONTINUE: Final = FilterDataStatus.CONTINUE
AND_BUFFER: Final = FilterDataStatus.STOP_ITERATION_AND_BUFFER
HTTP1: Final = frozenset(("HTTP/1.0", "HTTP/1.1"))


class GrpcHttp1Bridge(StreamFilter):
    """The filter of one request."""

    __slots__ = ("_bridges", "_config", "_frames", "_response_headers")

    def __init__(self, config: GrpcHttp1BridgeFactory) -> None:
        self._config = config
        self._bridges = False
        self._frames = False
        """The message came without gRPC's framing, and goes without it."""
        self._response_headers: HeaderMap | None = None

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """Whether it is a call of an HTTP/1 client."""
        config = self._config
        if config.upgrades and headers.get(CONTENT_TYPE) == APPLICATION_PROTOBUF and b":path" in headers:
            self._frames = True
            headers.set(CONTENT_TYPE, APPLICATION_GRPC)
            headers.remove(b"content-length")
            self.decoder_callbacks.clear_route_cache()
        self._bridges = self.decoder_callbacks.stream_info.protocol in HTTP1 and is_grpc_request(headers)
        if self._bridges and config.ignores_query:
            path, mark, _ = (headers.get(b":path") or b"").partition(b"?")
            if mark:
                headers.set(b":path", path)
        return CONTINUE

    def decode_data(self, data: Buffer, end_stream: bool) -> FilterDataStatus:
        """A bare message is held until its size is known."""
        if not (self._bridges and self._frames):
            return DATA_CONTINUE
        if not end_stream:
            return AND_BUFFER
        held = self.decoder_callbacks.decoding_buffer()
        size = len(data)
        if held is None:
            data.prepend(frame_head(size))
        else:
            held.prepend(frame_head(len(held) + size))
        return DATA_CONTINUE

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """The head waits for the trailers."""
        if not self._bridges or end_stream:
            return CONTINUE
        if self._frames:
            headers.remove(b"content-length")
        self._response_headers = headers
        return FilterHeadersStatus.STOP_ITERATION

    def encode_data(self, data: Buffer, end_stream: bool) -> FilterDataStatus:
        """The body is held, without the frame's head if the request had none."""
        if not self._bridges:
            return DATA_CONTINUE
        if self._frames:
            data.drain(FRAME_HEAD_SIZE)
            self._frames = False
        return DATA_CONTINUE if end_stream else AND_BUFFER

    def encode_trailers(self, trailers: HeaderMap) -> FilterTrailersStatus:
        """What the trailers say goes into the headers; a status other than 0 is a 503."""
        headers = self._response_headers
        if not self._bridges or headers is None:
            return FilterTrailersStatus.CONTINUE
        status = trailers.get(GRPC_STATUS)
        if status is not None:
            if parse_uint64(status) != 0:
                headers.set(b":status", b"503")
            headers.set(GRPC_STATUS, status)
        message = trailers.get(GRPC_MESSAGE)
        if message is not None:
            headers.set(GRPC_MESSAGE, message)
        held = self.encoder_callbacks.encoding_buffer()
        headers.set(b"content-length", b"%d" % (0 if held is None else len(held)))
        return FilterTrailersStatus.CONTINUE


class GrpcHttp1BridgeFactory:
    """The compiled filter."""

    __slots__ = ("ignores_query", "name", "upgrades")

    filter_class = GrpcHttp1Bridge
    is_terminal = False
    rehearses = True

    def __init__(self, config: Any) -> None:
        self.name = NAME
        self.upgrades: bool = config.upgrade_protobuf_to_grpc
        self.ignores_query: bool = config.ignore_query_parameters

    def create(self) -> GrpcHttp1Bridge:
        """The filter of one request."""
        return GrpcHttp1Bridge(self)


class GrpcHttp1BridgeExtension:
    """The registered factory; there is no per-route configuration."""

    is_terminal = False

    def create_filter_factory(self, config: Any, stats_prefix: str, context: FactoryContext) -> GrpcHttp1BridgeFactory:
        """Compile ``config``."""
        return GrpcHttp1BridgeFactory(config)


FACTORY: Final = GrpcHttp1BridgeExtension()
