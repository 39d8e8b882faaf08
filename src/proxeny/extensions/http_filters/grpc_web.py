"""``envoy.filters.http.grpc_web``: browsers' gRPC-Web to gRPC and back
(Envoy: ``source/extensions/filters/http/grpc_web``).

What differs: the text form is base64, and trailers are the last frame of the body.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from typing import TYPE_CHECKING, Any, Final

from proxeny.http.filter import FilterDataStatus, FilterHeadersStatus, FilterTrailersStatus, StreamFilter
from proxeny.http.grpc import (
    CONTENT_TYPE,
    FRAME_HEAD_SIZE,
    GRPC_MESSAGE,
    GRPC_STATUS,
    is_grpc_response,
    service_and_method,
)
from proxeny.http.local_reply import encode_grpc_message
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.grpc_frames import COMPRESSED, frame_head
from proxeny.network.grpc_status import APPLICATION_GRPC, grpc_status_of_http
from proxeny.upstream.grpc_stats import GrpcClusters

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.grpc_stats import GrpcMethodStats

NAME: Final = "envoy.filters.http.grpc_web"
CONTINUE: Final = FilterHeadersStatus.CONTINUE
DATA_CONTINUE: Final = FilterDataStatus.CONTINUE
NO_BUFFER: Final = FilterDataStatus.STOP_ITERATION_NO_BUFFER

WEB: Final = b"application/grpc-web"
WEB_PROTO: Final = b"application/grpc-web+proto"
WEB_TEXT: Final = b"application/grpc-web-text"
WEB_TEXT_PROTO: Final = b"application/grpc-web-text+proto"
REQUEST_TYPES: Final = frozenset((WEB, WEB_PROTO, WEB_TEXT, WEB_TEXT_PROTO))
TEXT_TYPES: Final = frozenset((WEB_TEXT, WEB_TEXT_PROTO))
ACCEPT_ENCODING: Final = b"grpc-accept-encoding"
TRAILERS_FLAG: Final = 0x80
MOST_MESSAGE_BYTES: Final = 16384
"""How much of a body becomes the grpc-message (Envoy: MAX_BUFFERED_PLAINTEXT_LENGTH)."""
BAD_BASE64: Final = b"Bad gRPC-web request, invalid base64 data."


def decode_base64(data: bytes) -> bytes:
    """Whole groups of four, padding only at the end, unused bits zero; b"" where ``data`` is anything else."""
    try:
        decoded = a2b_base64(data, strict_mode=True)
    except Base64Error:
        return b""
    if b2a_base64(decoded[(len(decoded) - 1) // 3 * 3 :], newline=False) != data[-4:]:
        return b""
    return decoded


class TextEncoder:
    """Base64 of frames, each with padding of its own; a frame is encoded as it arrives, and need not be held."""

    __slots__ = ("_carry", "_head", "_left", "failed")

    def __init__(self) -> None:
        self._carry = b""
        """Bytes of the frame that are no group of three yet."""
        self._head = b""
        """The head of the next frame, as far as it is there."""
        self._left = 0
        """Bytes of the frame that are still to come."""
        self.failed = False
        """What came is no gRPC: the rest is dropped."""

    def encode(self, data: bytes) -> bytes:
        """The text of what is complete so far."""
        out = []
        at = 0
        while at < len(data) and not self.failed:
            if self._left:
                part = data[at : at + self._left]
                self._left -= len(part)
            else:
                part = data[at : at + FRAME_HEAD_SIZE - len(self._head)]
                self._head += part
                if len(self._head) == FRAME_HEAD_SIZE:
                    self._left = int.from_bytes(self._head[1:], "big")
                    if self._head[0] not in (0, COMPRESSED):
                        self.failed = True
                        break
            at += len(part)
            self._carry += part
            if len(self._head) == FRAME_HEAD_SIZE:
                out.append(self._encode_carry())
        return b"".join(out)

    def _encode_carry(self) -> bytes:
        """All of the frame at its end, groups of three before."""
        whole = self._carry
        if self._left:
            end = len(whole) // 3 * 3
            self._carry = whole[end:]
            return b2a_base64(whole[:end], newline=False)
        self._carry = self._head = b""
        return b2a_base64(whole, newline=False)


class GrpcWeb(StreamFilter):
    """The filter of one request."""

    __slots__ = (
        "_config",
        "_encoder",
        "_is_web",
        "_pending",
        "_response_headers",
        "_stats",
        "_text_request",
        "_text_response",
        "_transforms",
    )

    def __init__(self, config: GrpcWebFactory) -> None:
        self._config = config
        self._is_web = False
        self._text_request = False
        self._text_response = False
        self._transforms = False
        """The response is not gRPC: its body becomes the grpc-message."""
        self._response_headers: HeaderMap | None = None
        self._pending = b""
        """Base64 of the request that is no group of four yet."""
        self._encoder: TextEncoder | None = None
        self._stats: GrpcMethodStats | None = None

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """A gRPC-Web request becomes a gRPC request."""
        content_type = headers.get(CONTENT_TYPE)
        if content_type not in REQUEST_TYPES or b":path" not in headers:
            return CONTINUE
        self._is_web = True
        # It tells of the encoded body.
        headers.remove(b"content-length")
        self._stats = self._config.method_stats(self.decoder_callbacks.route, headers)
        self._text_request = content_type in TEXT_TYPES
        headers.set(CONTENT_TYPE, APPLICATION_GRPC)
        self._text_response = headers.get(b"accept") in TEXT_TYPES
        headers.set(b"te", b"trailers")
        headers.set_if_absent(ACCEPT_ENCODING, b"identity")
        return CONTINUE

    def decode_data(self, data: Buffer, end_stream: bool) -> FilterDataStatus:
        """Base64 is decoded, in whole groups."""
        if not self._text_request:
            return DATA_CONTINUE
        text = self._pending + data.take()
        rest = len(text) % 4
        if end_stream:
            if not text:
                return DATA_CONTINUE
            if rest:
                return self._refuse("grpc_base_64_decode_failed_bad_size")
        elif len(text) < 4:
            self._pending = text
            return NO_BUFFER
        whole = text[: len(text) - rest]
        self._pending = text[len(whole) :]
        decoded = decode_base64(whole)
        if not decoded:
            return self._refuse("grpc_base_64_decode_failed")
        data.append(decoded)
        return DATA_CONTINUE

    def _refuse(self, details: str) -> FilterDataStatus:
        self.decoder_callbacks.send_local_reply(400, BAD_BASE64, None, None, details)
        return NO_BUFFER

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """A response that is not gRPC is held until its body is known."""
        if not self._is_web:
            return CONTINUE
        if self._stats is not None:
            self._stats.charge_status(headers.get(GRPC_STATUS))
        self._transforms = not is_grpc_response(headers, end_stream) and not _is_web_response(headers)
        headers.remove(b"content-length")
        headers.set(CONTENT_TYPE, WEB_TEXT_PROTO if self._text_response else WEB_PROTO)
        if end_stream or not self._transforms:
            return CONTINUE
        self._response_headers = headers
        return FilterHeadersStatus.STOP_ITERATION

    def encode_data(self, data: Buffer, end_stream: bool) -> FilterDataStatus:
        """Frames are encoded as they come, for clients that want text."""
        if not self._is_web:
            return DATA_CONTINUE
        if self._transforms:
            if end_stream:
                self._transforms = False
                self._tell_in_headers(data)
                return DATA_CONTINUE
            held = self.encoder_callbacks.encoding_buffer()
            enough = held is not None and len(held) >= MOST_MESSAGE_BYTES
            return NO_BUFFER if enough else FilterDataStatus.STOP_ITERATION_AND_BUFFER
        if not self._text_response:
            return DATA_CONTINUE
        if self._encoder is None:
            self._encoder = TextEncoder()
        text = self._encoder.encode(data.take())
        data.append(text)
        return DATA_CONTINUE if text or end_stream else NO_BUFFER

    def encode_trailers(self, trailers: HeaderMap) -> FilterTrailersStatus:
        """Trailers become the last frame of the body."""
        if not self._is_web:
            return FilterTrailersStatus.CONTINUE
        if self._stats is not None:
            self._stats.charge_status(trailers.get(GRPC_STATUS))
        if self._transforms:
            self._tell_in_headers(None)
            return FilterTrailersStatus.CONTINUE
        lines = b"".join([b"%s:%s\r\n" % pair for pair in trailers.items()])
        trailers.clear()
        frame = frame_head(len(lines), TRAILERS_FLAG) + lines
        self.encoder_callbacks.add_encoded_data(
            Buffer(b2a_base64(frame, newline=False) if self._text_response else frame), True
        )
        return FilterTrailersStatus.CONTINUE

    def _tell_in_headers(self, last: Buffer | None) -> None:
        """The body's beginning becomes the grpc-message, the HTTP status the gRPC status."""
        held = self.encoder_callbacks.encoding_buffer()
        message = b""
        for data in (held, last):
            if data is not None:
                message += data.take(MOST_MESSAGE_BYTES - len(message))
                data.clear()
        headers = self._response_headers
        assert headers is not None
        headers.set(GRPC_MESSAGE, encode_grpc_message(message))
        status = headers.get(b":status") or b"0"
        headers.set(GRPC_STATUS, b"%d" % grpc_status_of_http(int(status)))
        headers.set(b"content-length", b"0")


def _is_web_response(headers: HeaderMap) -> bool:
    """Whether a response is gRPC-Web already, in its binary form."""
    if headers.get(b":status") != b"200":
        return False
    media_type = (headers.get(CONTENT_TYPE) or b"").partition(b";")[0].rstrip(b" \t\n\v\f\r").lower()
    return media_type in (WEB, WEB_PROTO)


class GrpcWebFactory:
    """The compiled filter."""

    __slots__ = ("_clusters", "_context", "name")

    filter_class = GrpcWeb
    is_terminal = False
    rehearses = True

    def __init__(self, context: FactoryContext) -> None:
        self.name = NAME
        self._context = context
        self._clusters = GrpcClusters(_prefix_of)

    def create(self) -> GrpcWeb:
        """The filter of one request."""
        return GrpcWeb(self)

    def method_stats(self, route: Any, headers: HeaderMap) -> GrpcMethodStats | None:
        """Where a call on this route is counted; None: nowhere."""
        if route is None or route.entry.is_direct:
            return None
        entry = route.entry
        cluster = self._context.cluster_manager.get(entry.cluster or entry.cluster_name(headers))
        return None if cluster is None else self._clusters.find(cluster.info, headers.get(b":path"))


def _prefix_of(path: bytes | None) -> str | None:
    names = service_and_method(path)
    return None if names is None else f"grpc-web.{names[0]}.{names[1]}."


class GrpcWebExtension:
    """The registered factory; there is no per-route configuration."""

    is_terminal = False

    def create_filter_factory(self, config: Any, stats_prefix: str, context: FactoryContext) -> GrpcWebFactory:
        """From the (empty) message."""
        return GrpcWebFactory(context)


FACTORY: Final = GrpcWebExtension()
