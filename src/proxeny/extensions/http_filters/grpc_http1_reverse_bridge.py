"""``envoy.filters.http.grpc_http1_reverse_bridge``: gRPC clients call services that speak plain HTTP
(Envoy: ``source/extensions/filters/http/grpc_http1_reverse_bridge``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.http.filter import FilterDataStatus, FilterHeadersStatus, FilterTrailersStatus, StreamFilter
from proxeny.http.grpc import CONTENT_TYPE, FRAME_HEAD_SIZE, GRPC_STATUS, is_grpc_request
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.grpc_frames import frame_head
from proxeny.matcher.integer import parse_uint64
from proxeny.network.grpc_status import INTERNAL, OK, UNKNOWN, grpc_status_of_http

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext

NAME: Final = "envoy.filters.http.grpc_http1_reverse_bridge"
CONTINUE: Final = FilterHeadersStatus.CONTINUE
STOP: Final = FilterHeadersStatus.STOP_ITERATION
DATA_CONTINUE: Final = FilterDataStatus.CONTINUE
NO_BUFFER: Final = FilterDataStatus.STOP_ITERATION_NO_BUFFER
CONTENT_LENGTH: Final = b"content-length"
MOST_MESSAGE_BYTES: Final = 0xFFFFFFFF
"""What a frame's head can say."""


def _adjust_length(headers: HeaderMap, by: int) -> None:
    length = parse_uint64(headers.get(CONTENT_LENGTH) or b"")
    if length:
        headers.set(CONTENT_LENGTH, b"%d" % ((length + by) & 0xFFFFFFFFFFFFFFFF))


class ReverseBridge(StreamFilter):
    """The filter of one request."""

    __slots__ = (
        "_active",
        "_config",
        "_content_type",
        "_head_added",
        "_held",
        "_message_size",
        "_received",
        "_status",
        "_stripped",
    )

    def __init__(self, config: ReverseBridgeFactory) -> None:
        self._config = config
        self._active = False
        self._content_type = b""
        self._stripped = False
        self._head_added = False
        self._held: Buffer | None = None
        """The body, until its size is known."""
        self._message_size = 0
        """What the upstream said of it."""
        self._received = 0
        self._status = b"2"

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """A call with a body gets the content type that the upstream knows."""
        if end_stream or self.decoder_callbacks.per_filter_config() is DISABLED or not is_grpc_request(headers):
            return CONTINUE
        config = self._config
        self._active = True
        self._content_type = headers.get(CONTENT_TYPE) or b""
        headers.set(CONTENT_TYPE, config.content_type)
        headers.set(b"accept", config.content_type)
        if config.withholds_frames:
            _adjust_length(headers, -FRAME_HEAD_SIZE)
        self.decoder_callbacks.clear_route_cache()
        return CONTINUE

    def decode_data(self, data: Buffer, end_stream: bool) -> FilterDataStatus:
        """The upstream sees no frame head."""
        if self._active and self._config.withholds_frames and not self._stripped:
            if len(data) < FRAME_HEAD_SIZE:
                self.decoder_callbacks.send_local_reply(
                    200, b"invalid request body", None, UNKNOWN, "grpc_bridge_data_too_small"
                )
                return NO_BUFFER
            data.drain(FRAME_HEAD_SIZE)
            self._stripped = True
        return DATA_CONTINUE

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """The answer becomes gRPC's, if it is what was asked for."""
        if not self._active:
            return CONTINUE
        config = self._config
        if (headers.get(CONTENT_TYPE) or b"") != config.content_type:
            return self._refuse(_wrong_type(headers), UNKNOWN, "grpc_bridge_content_type_wrong")
        headers.set(CONTENT_TYPE, self._content_type)
        if config.withholds_frames:
            if not config.size_header:
                _adjust_length(headers, FRAME_HEAD_SIZE)
            elif not self._take_size(headers):
                return STOP
        code = int(headers.get(b":status") or b"0")
        self._status = b"%d" % (OK if code == 200 else grpc_status_of_http(code))
        headers.set(b":status", b"200")
        if end_stream and config.withholds_frames:
            self.encoder_callbacks.add_encoded_data(Buffer(frame_head(0)), False)
            headers.set(CONTENT_LENGTH, b"%d" % FRAME_HEAD_SIZE)
            self._add_status()
        return CONTINUE

    def _take_size(self, headers: HeaderMap) -> bool:
        """The size that the upstream's header tells; False when that was answered."""
        value = headers.get(self._config.size_header) or b""
        size = parse_uint64(value.partition(b",")[0])
        if size is None or size > MOST_MESSAGE_BYTES:
            self._refuse(
                b"envoy reverse bridge: upstream did not set content length",
                INTERNAL,
                "grpc_bridge_content_length_missing",
            )
            return False
        self._message_size = size
        headers.set(CONTENT_LENGTH, b"%d" % (size + FRAME_HEAD_SIZE))
        return True

    def encode_data(self, data: Buffer, end_stream: bool) -> FilterDataStatus:
        """The body gets a frame head, at once where its size is known, and a status behind it."""
        if not self._active:
            return DATA_CONTINUE
        config = self._config
        self._received += len(data)
        streams = config.withholds_frames and bool(config.size_header)
        if streams and not self._head_added:
            data.prepend(frame_head(self._message_size))
            self._head_added = True
        if not end_stream:
            if streams or not config.withholds_frames:
                return DATA_CONTINUE
            if self._held is None:
                self._held = Buffer()
            self._held.move_all(data)
            return FilterDataStatus.STOP_ITERATION_AND_BUFFER
        self._add_status()
        if streams:
            if self._received != self._message_size:
                self._refuse(
                    b"envoy reverse bridge: upstream set incorrect content length",
                    INTERNAL,
                    "grpc_bridge_content_length_wrong",
                )
                return NO_BUFFER
        elif config.withholds_frames:
            self._frame(data)
        return DATA_CONTINUE

    def _frame(self, data: Buffer) -> None:
        """All of the body, with its head, in ``data``."""
        held = self._held
        if held is not None:
            held.move_all(data)
            data.move_all(held)
        data.prepend(frame_head(len(data)))

    def encode_trailers(self, trailers: HeaderMap) -> FilterTrailersStatus:
        """The status goes into the trailers that are there."""
        if self._active:
            trailers.set(GRPC_STATUS, self._status)
            if self._config.withholds_frames and not self._config.size_header:
                data = Buffer()
                self._frame(data)
                self.encoder_callbacks.add_encoded_data(data, False)
        return FilterTrailersStatus.CONTINUE

    def _add_status(self) -> None:
        self.encoder_callbacks.add_encoded_trailers().set(GRPC_STATUS, self._status)

    def _refuse(self, message: bytes, status: int, details: str) -> FilterHeadersStatus:
        self.encoder_callbacks.send_local_reply(200, message, None, status, details)
        return STOP


def _wrong_type(headers: HeaderMap) -> bytes:
    content_type, status = headers.get(CONTENT_TYPE), headers.get(b":status") or b""
    if content_type is None:
        return b"envoy reverse bridge: upstream responded with no content-type header, status code %s" % status
    return b"envoy reverse bridge: upstream responded with unsupported content-type %s, status code %s" % (
        content_type,
        status,
    )


class Disabled:
    """A route's ``disabled: true``."""

    __slots__ = ()


DISABLED: Final = Disabled()


class ReverseBridgeFactory:
    """The compiled filter."""

    __slots__ = ("content_type", "name", "size_header", "withholds_frames")

    filter_class = ReverseBridge
    is_terminal = False
    rehearses = True

    def __init__(self, config: Any) -> None:
        self.name = NAME
        self.content_type: bytes = config.content_type.encode()
        self.withholds_frames: bool = config.withhold_grpc_frames
        self.size_header: bytes = config.response_size_header.lower().encode()

    def create(self) -> ReverseBridge:
        """The filter of one request."""
        return ReverseBridge(self)


class ReverseBridgeExtension:
    """The registered factory."""

    is_terminal = False

    def create_filter_factory(self, config: Any, stats_prefix: str, context: FactoryContext) -> ReverseBridgeFactory:
        """Compile ``config``."""
        return ReverseBridgeFactory(config)

    def create_route_config(self, config: Any, context: FactoryContext) -> Disabled | None:
        """A ``FilterConfigPerRoute``."""
        return DISABLED if config.disabled else None


FACTORY: Final = ReverseBridgeExtension()
