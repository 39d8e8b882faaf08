"""Translates gRPC messages into JSON, as they arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.extensions.http_filters.grpc_json_transcoder.json_writer import JsonOptions, JsonWriter
from proxeny.extensions.http_filters.grpc_json_transcoder.wire import TranslationError

if TYPE_CHECKING:
    from proxeny.extensions.http_filters.grpc_json_transcoder.types import MessageType, TypeRegistry

PREFIX_SIZE = 5


class ResponseOptions:
    """``GrpcJsonTranscoder.PrintOptions``: how messages look, and what is between those of a stream."""

    __slots__ = ("json", "lines", "server_sent_events")

    def __init__(self, config: Any) -> None:
        self.json = JsonOptions(config)
        self.server_sent_events: bool = config.stream_sse_style_delimited
        self.lines: bool = config.stream_newline_delimited


class ResponseTranslator:
    """One response; a unary one is its first message."""

    __slots__ = ("_data", "_ended", "_finished", "_first", "_is_stream", "_options", "_registry", "_size", "_type",
                 "error")  # fmt: skip

    def __init__(self, registry: TypeRegistry, type_: MessageType, is_stream: bool, options: ResponseOptions) -> None:
        self._registry = registry
        self._type = type_
        self._is_stream = is_stream
        self._options = options
        self._data = bytearray()
        self._size = -1
        """Of the message that is being read; -1: its prefix has not been read yet."""
        self._first = True
        self._ended = False
        self._finished = False
        self.error: TranslationError | None = None

    @property
    def stored(self) -> int:
        """Bytes that were not translated yet."""
        return len(self._data)

    def feed(self, data: bytes) -> None:
        """The next piece of the body."""
        self._data += data

    def end(self) -> None:
        """The body ends here."""
        self._ended = True

    def read(self) -> bytes:
        """All that can be said so far."""
        out: list[bytes] = []
        while not self._finished and self.error is None:
            try:
                message = self._next_message()
                if message is None:
                    break
                self._translate(message, out)
            except TranslationError as error:
                self.error = error
            else:
                self._finished = not self._is_stream
        if self._is_stream and self._ended and not self._data and not self._finished and self.error is None:
            self._finished = True
            if not self._options.lines and not self._options.server_sent_events:
                out.append(b"[]" if self._first else b"]")
        return b"".join(out)

    def _next_message(self) -> bytes | None:
        data = self._data
        if self._size < 0:
            if len(data) < PREFIX_SIZE:
                if self._ended and data:
                    raise TranslationError(b"Incomplete gRPC frame header received", "INTERNAL")
                return None
            flag = data[0]
            self._size = int.from_bytes(data[1:PREFIX_SIZE], "big")
            del data[:PREFIX_SIZE]
            if flag:
                self._size = -1
                raise TranslationError(b"Unsupported gRPC frame flag: %d" % flag, "INTERNAL")
        if len(data) < self._size:
            if self._ended:
                raise TranslationError(
                    b"Incomplete gRPC frame expected size: %d actual size: %d" % (self._size, len(data)), "INTERNAL"
                )
            return None
        message = bytes(data[: self._size])
        del data[: self._size]
        self._size = -1
        return message

    def _translate(self, message: bytes, out: list[bytes]) -> None:
        options = self._options
        text = JsonWriter(self._registry, options.json).write(self._type, message)
        if not self._is_stream:
            out.append(text)
        elif options.server_sent_events:
            out += (b"data: ", text, b"\n\n")
        elif options.lines:
            out += (text, b"\n")
        else:
            out += (b"[" if self._first else b",", text)
            self._first = False
