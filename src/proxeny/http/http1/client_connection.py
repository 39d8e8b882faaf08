"""The client side of HTTP/1: one request at a time (Envoy: ``Http1::ClientConnectionImpl``).

Bytes that no request asked for, and bytes behind a complete response, are errors: the connection cannot be trusted
for another request. Whoever owns the connection (the pool's CodecClient) closes it on an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.http.codec import CodecError, StreamCallbacks, StreamResetReason, field_bytes_of
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.http1_encode import (
    CHUNKED,
    MISSING_HOST,
    MISSING_METHOD,
    MISSING_PATH,
    MISSING_SCHEME,
    encode_chunk,
    encode_last_chunk,
    encode_request_head,
)
from proxeny.kernel.http1_parse import COMPLETE, DATA, HEADERS, HEADERS_1XX, NEED_MORE, TRAILERS
from proxeny.kernel.http1_response import ResponseParser

if TYPE_CHECKING:
    from proxeny.http.codec import ResponseDecoder
    from proxeny.http.http1.settings import Http1Settings
    from proxeny.http.http1.stats import CodecStats
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.connection import Connection

METHOD = b":method"
UPGRADE_HEADER = b"upgrade"
CONNECTION_HEADER = b"connection"

MISSING = {
    MISSING_METHOD: "missing required header: :method",
    MISSING_PATH: "missing required header: :path",
    MISSING_HOST: "missing required header: :authority",
    MISSING_SCHEME: "missing required header: :scheme",
}
HTTP_10 = "HTTP/1.0"
HTTP_11 = "HTTP/1.1"
EXTRANEOUS = "http/1.1 protocol error: extraneous data after response complete"
UNSOLICITED = "http/1.1 protocol error: unsolicited data"


class ClientStream:
    """One request and its response; the request encoder and the stream in one object."""

    framed = False
    """Whether its bytes are counted by frames."""

    __slots__ = (
        "_chunked",
        "_disabled",
        "bytes_received",
        "bytes_sent",
        "callbacks",
        "codec",
        "connect",
        "decoder",
        "extra_header_bytes",
        "field_bytes",
        "head_bytes",
        "interim_bytes",
        "interim_wire_bytes",
        "local_complete",
        "remote_complete",
        "trailer_bytes",
    )

    def __init__(self, codec: Http1ClientConnection, decoder: ResponseDecoder) -> None:
        self.codec = codec
        self._chunked = 0
        self._disabled = 0
        self.decoder: ResponseDecoder | None = decoder
        """None once the exchange is over."""
        self.callbacks: StreamCallbacks | None = None
        self.bytes_received = 0
        self.bytes_sent = 0
        self.field_bytes = 0
        """Bytes of the response's fields (``BytesMeter::headerBytesReceived``)."""
        self.interim_bytes = 0
        """Those of informational responses before it."""
        self.interim_wire_bytes = 0
        self.trailer_bytes = 0
        """Those of its trailers."""
        self.head_bytes = 0
        """Size of the request head as it was sent."""
        self.extra_header_bytes = 0
        """Bytes of the fields of trailers that were sent."""
        self.connect = False
        self.local_complete = False
        self.remote_complete = False

    def __repr__(self) -> str:
        return f"<ClientStream sent={self.bytes_sent} received={self.bytes_received} complete={self.remote_complete}>"

    @property
    def stream(self) -> ClientStream:
        """The stream of this encoder."""
        return self

    @property
    def tunnel_connection(self) -> Any:
        """The connection under it: a tunnel's bytes may go there directly."""
        return self.codec.connection

    # RequestEncoder

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> CodecError | None:
        """The request head; an error, and nothing sent, when a required header is missing."""
        codec = self.codec
        out = codec.out
        method = headers.get(METHOD)
        self.connect = method == b"CONNECT"
        if self.connect:
            codec.connection.enable_half_close(True)
        upgrade = UPGRADE_HEADER in headers and CONNECTION_HEADER in headers
        result = encode_request_head(headers, out, end_stream, upgrade, codec.key_format, codec.absolute_form)
        if result < 0:
            return CodecError(503, "", MISSING[result])
        codec._parser.expect(method == b"HEAD", self.connect, upgrade)
        self._chunked = result & CHUNKED
        self.head_bytes = out.length
        self._write(out)
        if end_stream:
            self._end()
        return None

    def encode_data(self, data: Buffer, end_stream: bool) -> None:
        """Body bytes: moved out of ``data``."""
        codec = self.codec
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
        """Trailers end the request; they are sent if enabled, and only behind chunks."""
        codec = self.codec
        if self._chunked:
            encode_last_chunk(codec.out, trailers if codec.enable_trailers else None)
            if codec.enable_trailers:
                self.extra_header_bytes += field_bytes_of(trailers)
            self._write(codec.out)
        self._end()

    def _write(self, data: Buffer) -> None:
        self.bytes_sent += data.length
        self.codec.connection.write(data, False)

    def _end(self) -> None:
        self.local_complete = True
        if self.connect:
            # A tunnel's end of stream is our FIN.
            self.codec.connection.write(self.codec.out, True)

    # Stream

    def reset_stream(self, reason: StreamResetReason) -> None:
        """Give the exchange up; the owner of the connection closes it."""
        self.codec.on_stream_reset(self, reason)

    def read_disable(self, disable: bool) -> None:
        """Stop or resume reading from the upstream (counted)."""
        if disable:
            self._disabled += 1
        elif self._disabled:
            self._disabled -= 1
        else:
            return
        self.codec.connection.read_disable(disable)

    def undo_read_disables(self) -> None:
        """The stream ends: nothing it stopped stays stopped."""
        connection = self.codec.connection
        while self._disabled:
            self._disabled -= 1
            connection.read_disable(False)


class Http1ClientConnection:
    """The codec of one upstream connection."""

    __slots__ = (
        "_extraneous",
        "_parser",
        "_stream",
        "absolute_form",
        "connection",
        "enable_trailers",
        "key_format",
        "out",
        "protocol",
    )

    def __init__(
        self,
        connection: Connection,
        callbacks: Any,
        settings: Http1Settings,
        stats: CodecStats | None = None,
    ) -> None:
        """``callbacks`` and ``stats`` are what other codecs need (GOAWAY; HTTP/1 counts nothing on this side)."""
        self.connection = connection
        self.protocol = HTTP_11
        self.out = Buffer()
        self.key_format = settings.key_format
        self.enable_trailers = settings.enable_trailers
        self.absolute_form = settings.send_fully_qualified_url
        self._stream: ClientStream | None = None
        self._extraneous = False
        self._parser = parser = ResponseParser()
        settings.apply(parser)

    def __repr__(self) -> str:
        return f"<Http1ClientConnection {self.protocol} stream={self._stream!r}>"

    # ClientCodec

    @property
    def keep_alive(self) -> bool:
        """Whether the latest response lets the connection be used again (RFC 9112 9.3), and nothing came behind it."""
        return self._parser.keep_alive and not self._extraneous

    @property
    def close_announced(self) -> bool:
        """Whether the head of the latest response said that the connection ends with it."""
        return self._parser.close_announced

    @property
    def response_started(self) -> bool:
        """Whether a byte of the current response has come."""
        return self._parser.in_message

    def new_stream(self, response_decoder: ResponseDecoder) -> ClientStream:
        """Begin a request; the one before must be complete."""
        if self._stream is not None:
            raise RuntimeError("HTTP/1 carries one request at a time")
        stream = self._stream = ClientStream(self, response_decoder)
        return stream

    def dispatch(self, data: Buffer, end_stream: bool) -> CodecError | None:
        """Feed bytes; ``end_stream`` completes a body that ends at FIN, and is an error inside any other message."""
        parser = self._parser
        stream = self._stream
        if stream is None:
            if not data.length:
                return None
            data.clear()
            return CodecError(502, "http1.codec_error", UNSOLICITED)
        decoder = stream.decoder
        assert decoder is not None
        while True:
            event = parser.advance(data)
            if event == NEED_MORE:
                if not end_stream or not parser.in_message:
                    break
                event = parser.finish()
                if event == NEED_MORE:
                    break
            if event == HEADERS:
                stream.remote_complete = parser.end_stream
                if parser.http10 or self.protocol is HTTP_10:
                    self.protocol = HTTP_10 if parser.http10 else HTTP_11
                stream.field_bytes = parser.field_bytes
                self._note_progress(stream, data)
                decoder.decode_headers(parser.headers, parser.end_stream)
            elif event == DATA:
                stream.remote_complete = parser.end_stream
                self._note_progress(stream, data)
                decoder.decode_data(parser.body, parser.end_stream)
            elif event == COMPLETE:
                stream.remote_complete = True
                self._note_progress(stream, data)
                decoder.decode_data(parser.body, True)
            elif event == TRAILERS:
                stream.remote_complete = True
                stream.trailer_bytes = parser.field_bytes - stream.field_bytes
                self._note_progress(stream, data)
                decoder.decode_trailers(parser.trailers)
            elif event == HEADERS_1XX:
                stream.interim_bytes += parser.field_bytes
                stream.interim_wire_bytes += parser.message_bytes
                decoder.decode_1xx_headers(parser.headers)
            else:
                stream.bytes_received = stream.interim_wire_bytes + parser.message_bytes + data.length
                return CodecError(502, parser.error, f"http/1.1 protocol error: {parser.error_message}")
            if stream.remote_complete:
                if data.length:
                    data.clear()
                    return CodecError(502, "http1.codec_error", EXTRANEOUS)
                return None
            if stream is not self._stream:
                break
        if parser.in_message:
            stream.bytes_received = stream.interim_wire_bytes + parser.message_bytes
            if stream is not self._stream:
                # Given up in the middle of it: what else came with it counts, too.
                stream.bytes_received += data.length
        return None

    def on_underlying_connection_above_write_buffer_high_watermark(self) -> None:
        """The upstream reads too slowly."""
        stream = self._stream
        if stream is not None and stream.callbacks is not None:
            stream.callbacks.on_above_write_buffer_high_watermark()

    def on_underlying_connection_below_write_buffer_low_watermark(self) -> None:
        """The upstream caught up."""
        stream = self._stream
        if stream is not None and stream.callbacks is not None:
            stream.callbacks.on_below_write_buffer_low_watermark()

    # Streams

    def _note_progress(self, stream: ClientStream, data: Buffer) -> None:
        """Let go of a stream before its last event is told, which may begin the next request."""
        stream.bytes_received = stream.interim_wire_bytes + self._parser.message_bytes
        if stream.remote_complete:
            self._stream = None
            # Encoder and decoder refer to each other: without this every request would wait for the collector.
            stream.decoder = None
            self._extraneous = data.length > 0
            stream.undo_read_disables()

    def on_stream_reset(self, stream: ClientStream, reason: StreamResetReason) -> None:
        """The exchange is given up: tell its user, once."""
        if stream is not self._stream:
            return
        self._stream = None
        stream.decoder = None
        stream.undo_read_disables()
        callbacks = stream.callbacks
        if callbacks is not None:
            callbacks.on_reset_stream(reason, "")
