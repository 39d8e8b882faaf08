"""The server side of HTTP/1: one request at a time (Envoy: ``Http1::ServerConnectionImpl``).

``dispatch`` turns bytes into calls on the request's decoder and stops when the request is complete. While a complete
request waits for its response nothing further is parsed; if bytes are there, reading is disabled, and resumed when the
response is complete, which makes the connection deliver what it holds again. The same happens while an upgrade or
CONNECT waits for its answer, and while the client does not read its responses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxeny.http.codec import (
    CodecError,
    GoneDecoder,
    RequestDecoder,
    ResponseEncoder,
    StreamResetReason,
    field_bytes_of,
)
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.http1_encode import CHUNKED, encode_chunk, encode_last_chunk, encode_response_head
from proxeny.kernel.http1_parse import COMPLETE, DATA, ERROR, HEADERS, NEED_MORE, TRAILERS, UPGRADE
from proxeny.kernel.http1_request import RequestParser

if TYPE_CHECKING:
    from proxeny.http.codec import ServerConnectionCallbacks
    from proxeny.http.http1.settings import Http1Settings
    from proxeny.http.http1.stats import CodecStats
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.connection import Connection

HTTP_10 = "HTTP/1.0"
HTTP_11 = "HTTP/1.1"


GONE = GoneDecoder()


class ServerStream(ResponseEncoder):
    """One request and its response; the response encoder and the stream in one object."""

    __slots__ = (
        "_chunked",
        "_codec",
        "_disabled",
        "bytes_received",
        "bytes_sent",
        "decoder",
        "extra_header_bytes",
        "field_bytes",
        "head_bytes",
        "head_seen",
        "http10",
        "remote_complete",
        "status",
        "to_connect",
        "to_head",
        "trailer_bytes",
        "upgrade",
    )

    def __init__(self, codec: Http1ServerConnection) -> None:
        self._codec = codec
        self.decoder: RequestDecoder = GONE
        self._chunked = 0
        self._disabled = 0
        self.callbacks = None
        self.bytes_received = 0
        self.bytes_sent = 0
        self.field_bytes = 0
        """Bytes of the request's fields (``BytesMeter::headerBytesReceived``)."""
        self.head_seen = False
        """Whether a request head was parsed."""
        self.head_bytes = 0
        """Size of the response head as it was sent; its status line is that of ``status``."""
        self.status = 0
        self.trailer_bytes = 0
        """Those of the request's trailers."""
        self.extra_header_bytes = 0
        """Bytes of the fields of informational responses and trailers that were sent."""
        self.remote_complete = False
        self.http10 = self.to_head = self.to_connect = self.upgrade = False

    def __repr__(self) -> str:
        return f"<ServerStream received={self.bytes_received} sent={self.bytes_sent} complete={self.remote_complete}>"

    @property
    def stream(self) -> ServerStream:
        """The stream of this encoder."""
        return self

    # ResponseEncoder

    def encode_1xx_headers(self, headers: HeaderMap) -> None:
        """An informational response."""
        out = self._codec.out
        encode_response_head(headers, out, False, self.http10, key_format=self._codec.key_format)
        self.extra_header_bytes += field_bytes_of(headers)
        self._write(out)

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The response head; the answer to an upgrade or CONNECT decides what becomes of the bytes that were held."""
        codec = self._codec
        out = codec.out
        result = encode_response_head(
            headers, out, end_stream, self.http10, self.to_head, self.to_connect, codec.key_format
        )
        self._chunked = result & CHUNKED
        self.status = result >> 1
        self.head_bytes = out.length
        self._write(out)
        if end_stream:
            self._end()
        elif self.upgrade:
            status = self.status
            if status == 101 or (self.to_connect and 200 <= status < 300):
                codec.open_tunnel(self)

    def encode_data(self, data: Buffer, end_stream: bool) -> None:
        """Body bytes: moved out of ``data``. A response to HEAD has none, whatever is given."""
        codec = self._codec
        if data.length and self.to_head:
            data.clear()
        if self._chunked:
            out = codec.out
            encode_chunk(data, out)
            if end_stream:
                encode_last_chunk(out)
            self._write(out)
        elif data.length:
            self._write(data)
        if end_stream:
            self._end()

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """Trailers end the response; they are sent if enabled, and only behind chunks."""
        codec = self._codec
        if self._chunked:
            encode_last_chunk(codec.out, trailers if codec.enable_trailers else None)
            if codec.enable_trailers:
                self.extra_header_bytes += field_bytes_of(trailers)
            self._write(codec.out)
        self._end()

    def _write(self, data: Buffer) -> None:
        self.bytes_sent += data.length
        self._codec.connection.write(data, False)

    def _end(self) -> None:
        if self.remote_complete:
            self._codec.release(self)

    # Stream

    def reset_stream(self, reason: StreamResetReason) -> None:
        """End the exchange; the connection is of no more use."""
        self._codec.on_stream_reset(self, reason)

    def read_disable(self, disable: bool) -> None:
        """Stop or resume reading from the client (counted)."""
        if disable:
            self._disabled += 1
        elif self._disabled:
            self._disabled -= 1
        else:
            return
        self._codec.connection.read_disable(disable)

    def undo_read_disables(self) -> None:
        """The stream ends: nothing it stopped stays stopped."""
        connection = self._codec.connection
        while self._disabled:
            self._disabled -= 1
            connection.read_disable(False)


class Http1ServerConnection:
    """The codec of one downstream connection."""

    __slots__ = (
        "_callbacks",
        "_error",
        "_parser",
        "_paused",
        "_reset",
        "_stats",
        "_stream",
        "_underscores",
        "accept_http_10",
        "connection",
        "enable_trailers",
        "key_format",
        "out",
        "protocol",
    )

    def __init__(
        self,
        connection: Connection,
        callbacks: ServerConnectionCallbacks,
        settings: Http1Settings,
        stats: CodecStats,
    ) -> None:
        self.connection = connection
        self.protocol = HTTP_11
        self.out = Buffer()
        self.key_format = settings.key_format
        self.enable_trailers = settings.enable_trailers
        self.accept_http_10 = settings.accept_http_10
        self._callbacks = callbacks
        self._stats = stats
        self._stream: ServerStream | None = None
        self._paused = False
        self._reset = False
        self._error = ""
        self._underscores = 0
        self._parser = parser = RequestParser()
        settings.apply_to_requests(parser)

    def __repr__(self) -> str:
        return f"<Http1ServerConnection {self.protocol} stream={self._stream!r}>"

    # ServerCodec

    def dispatch(self, data: Buffer, end_stream: bool) -> CodecError | None:
        """Feed bytes, up to the end of one request; see ServerCodec."""
        stream = self._stream
        if self._reset:
            data.clear()
            return None
        if stream is not None and stream.remote_complete:
            if data.length:
                self._pause()
            return None
        if stream is None and self.connection.above_high_watermark:
            # Responses that the client does not read pile up: no further request until it does.
            self._pause()
            return None
        parser = self._parser
        while True:
            event = parser.advance(data)
            if event == HEADERS:
                if stream is None:
                    stream = self._begin_stream()
                self._decode_headers(stream, parser)
            elif event == NEED_MORE:
                if stream is None and parser.started and parser.in_message:
                    stream = self._begin_stream()
                break
            elif event == DATA:
                assert stream is not None
                stream.remote_complete = parser.end_stream
                decoder = stream.decoder
                decoder.decode_data(parser.body, parser.end_stream)
            elif event == COMPLETE:
                assert stream is not None
                stream.remote_complete = True
                decoder = stream.decoder
                decoder.decode_data(parser.body, True)
            elif event == TRAILERS:
                assert stream is not None
                stream.remote_complete = True
                stream.trailer_bytes = parser.field_bytes - stream.field_bytes
                decoder = stream.decoder
                decoder.decode_trailers(parser.trailers)
            elif event == UPGRADE:
                if data.length:
                    self._pause()
                break
            elif event == ERROR:
                return self._protocol_error(stream, data.length)
            if stream is not self._stream or stream is None:
                break
            if stream.remote_complete:
                stream.bytes_received = parser.message_bytes
                if data.length:
                    self._pause()
                return None
        if stream is not None:
            stream.bytes_received = parser.message_bytes
        return None

    def _decode_headers(self, stream: ServerStream, parser: RequestParser) -> None:
        stream.to_head = parser.head_request
        stream.upgrade = parser.upgrade
        stream.to_connect = parser.connect
        if parser.http10 or self.protocol is HTTP_10:
            self.protocol = HTTP_10 if parser.http10 else HTTP_11
            stream.http10 = parser.http10
        if parser.dropped_underscores != self._underscores:
            self._stats.dropped_headers_with_underscores(parser.dropped_underscores - self._underscores)
            self._underscores = parser.dropped_underscores
        stream.remote_complete = parser.end_stream
        stream.bytes_received = parser.message_bytes
        stream.field_bytes = parser.field_bytes
        stream.head_seen = True
        # A C call through the attribute would hold nothing while the stream lets go of its decoder.
        decoder = stream.decoder
        decoder.decode_headers(parser.headers, parser.end_stream)

    def wants_to_write(self) -> bool:
        """HTTP/1 writes at once."""
        return False

    def shutdown_notice(self) -> None:
        """HTTP/1 has none: responses say ``connection: close``."""

    def go_away(self) -> None:
        """HTTP/1 has none."""

    def wind_up(self) -> None:
        """HTTP/1 writes at once."""

    def close(self) -> None:
        """The connection is closed: break the cycle with a stream that is not over."""
        stream = self._stream
        if stream is not None:
            self._stream = None
            self._reset = True
            stream.decoder = GONE

    def on_underlying_connection_above_write_buffer_high_watermark(self) -> None:
        """The client reads too slowly."""
        stream = self._stream
        if stream is not None and stream.callbacks is not None:
            stream.callbacks.on_above_write_buffer_high_watermark()

    def on_underlying_connection_below_write_buffer_low_watermark(self) -> None:
        """The client caught up."""
        stream = self._stream
        if stream is None:
            self._resume()
        elif stream.callbacks is not None:
            stream.callbacks.on_below_write_buffer_low_watermark()

    # Streams

    def _begin_stream(self) -> ServerStream:
        stream = self._stream = ServerStream(self)
        stream.decoder = self._callbacks.new_stream(stream)
        return stream

    def _protocol_error(self, stream: ServerStream | None, unread: int) -> CodecError:
        parser = self._parser
        if stream is None:
            stream = self._begin_stream()
        stream.bytes_received = parser.message_bytes + unread
        stream.field_bytes = parser.field_bytes
        stream.head_seen = parser.header_bytes > 0
        self._error = parser.error
        if parser.error == "http1.unexpected_underscore":
            self._stats.request_rejected_with_underscores()
        prefix = "" if parser.error == "low_version" else "http/1.1 protocol error: "
        return CodecError(parser.error_status, parser.error, prefix + parser.error_message)

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self.connection.read_disable(True)

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self.connection.read_disable(False)

    def open_tunnel(self, stream: ServerStream) -> None:
        """The upgrade was accepted: held bytes flow, and all that follow."""
        self._parser.open_tunnel()
        self._resume()

    def release(self, stream: ServerStream) -> None:
        """Request and response are complete; the next request may be read."""
        if stream is self._stream:
            self._stream = None
            # Encoder and decoder refer to each other: without this every request would wait for the collector.
            stream.decoder = GONE
            stream.undo_read_disables()
            self._resume()

    def on_stream_reset(self, stream: ServerStream, reason: StreamResetReason) -> None:
        """The exchange is given up: tell its user; whatever still comes is dropped."""
        if stream is not self._stream:
            return
        self._stream = None
        self._reset = True
        stream.decoder = GONE
        stream.undo_read_disables()
        self._resume()
        callbacks = stream.callbacks
        if callbacks is not None:
            callbacks.on_reset_stream(reason, self._error)
