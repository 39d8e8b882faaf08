"""Translates a request's JSON into gRPC messages, piece by piece.

One message for a unary method; for a client stream a list, each element of which becomes a message as soon as it is
read.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from proxeny.extensions.http_filters.grpc_json_transcoder.json_stream import JsonStreamParser
from proxeny.extensions.http_filters.grpc_json_transcoder.object_writer import ProtoObjectWriter
from proxeny.extensions.http_filters.grpc_json_transcoder.proto_writer import ErrorListener
from proxeny.extensions.http_filters.grpc_json_transcoder.weaver import PrefixWriter, RequestWeaver

if TYPE_CHECKING:
    from proxeny.extensions.http_filters.grpc_json_transcoder.json_stream import ObjectWriter, Scalar
    from proxeny.extensions.http_filters.grpc_json_transcoder.types import MessageType, TypeRegistry
    from proxeny.extensions.http_filters.grpc_json_transcoder.weaver import FieldPath


NO_LIST: Final = b"Expected an array instead of an object"


def frame(message: bytes) -> bytes:
    """A gRPC message with its prefix: not compressed, length."""
    return b"\0" + len(message).to_bytes(4, "big") + message


class RequestInfo:
    """What a request's messages are made with."""

    __slots__ = ("any_case", "bindings", "body_path", "refuse_collisions", "registry", "type")

    def __init__(
        self,
        registry: TypeRegistry,
        type_: MessageType,
        body_path: tuple[bytes, ...],
        bindings: list[tuple[FieldPath, bytes]],
        any_case: bool,
        refuse_collisions: bool,
    ) -> None:
        self.registry = registry
        self.type = type_
        self.body_path = body_path
        self.bindings = bindings
        self.any_case = any_case
        self.refuse_collisions = refuse_collisions


class MessageTranslator:
    """Makes one message; ``writer`` takes its JSON."""

    __slots__ = ("_listener", "_proto", "_taken", "writer")

    def __init__(self, info: RequestInfo) -> None:
        self._listener = ErrorListener()
        self._proto = ProtoObjectWriter(info.registry, info.type, self._listener, info.any_case)
        self._taken = False
        self.writer: ObjectWriter = self._proto
        if info.bindings:
            self.writer = RequestWeaver(info.bindings, self.writer, self._listener, info.refuse_collisions)
        if info.body_path:
            self.writer = PrefixWriter(info.body_path, self.writer)

    @property
    def error(self) -> bytes | None:
        """What could not be translated."""
        return self._listener.error

    @property
    def finished(self) -> bool:
        """Whether there is nothing more to take."""
        return self._taken

    def take(self) -> bytes | None:
        """The message, once it is complete."""
        if self._taken or not self._proto.done:
            return None
        self._taken = True
        return self._proto.data


class StreamTranslator:
    """Makes a message of each element of a list."""

    __slots__ = ("_depth", "_done", "_info", "_messages", "_translator", "error")

    def __init__(self, info: RequestInfo) -> None:
        # Of what the configuration asks for, enum names in any case and collisions concern unary requests only.
        self._info = RequestInfo(info.registry, info.type, info.body_path, info.bindings, False, False)
        self._translator: MessageTranslator | None = None
        self._messages: deque[bytes] = deque()
        self._depth = 0
        self._done = False
        self.error: bytes | None = None

    @property
    def writer(self) -> ObjectWriter:
        """Who takes the JSON."""
        return self

    @property
    def finished(self) -> bool:
        """Whether there is nothing more to take."""
        return self.error is not None or (self._done and not self._messages)

    def take(self) -> bytes | None:
        """The next message that is complete."""
        return self._messages.popleft() if self._messages else None

    def _inner(self) -> ObjectWriter:
        """The writer of the element that is being read; a new one for a new element."""
        if self._translator is None:
            self._translator = MessageTranslator(self._info)
            # The URL belongs to the first message.
            self._info.bindings = []
        return self._translator.writer

    def _end_element(self) -> None:
        translator, self._translator = self._translator, None
        assert translator is not None
        self.error = translator.error
        if self.error is None:
            message = translator.take()
            if message is None:
                self.error = b"Invalid object"
            else:
                self._messages.append(message)

    def start_object(self, name: bytes) -> None:
        """See ObjectWriter."""
        if self.error is not None:
            return
        if self._depth == 0:
            self.error = NO_LIST
            return
        self._inner().start_object(name)
        self._depth += 1

    def end_object(self) -> None:
        """See ObjectWriter."""
        if self.error is not None:
            return
        self._depth -= 1
        self._inner().end_object()
        if self._depth == 1:
            self._end_element()

    def start_list(self, name: bytes) -> None:
        """See ObjectWriter."""
        if self.error is not None:
            return
        if self._depth:
            self._inner().start_list(name)
        self._depth += 1

    def end_list(self) -> None:
        """See ObjectWriter."""
        if self.error is not None:
            return
        self._depth -= 1
        if self._depth == 0:
            self._done = True
            return
        self._inner().end_list()
        if self._depth == 1:
            self._end_element()

    def render(self, name: bytes, value: Scalar) -> None:
        """See ObjectWriter."""
        if self.error is not None:
            return
        if self._depth == 0:
            self.error = b"Expected an array instead of a scalar value."
            return
        self._inner().render(name, value)
        if self._depth == 1:
            self._end_element()


class Translator(Protocol):
    """MessageTranslator or StreamTranslator."""

    @property
    def writer(self) -> ObjectWriter:
        """Who takes the JSON."""
        ...

    @property
    def error(self) -> bytes | None:
        """What could not be translated."""
        ...

    @property
    def finished(self) -> bool:
        """Whether there is nothing more to take."""
        ...

    def take(self) -> bytes | None:
        """The next complete message."""
        ...


class RequestTranslator:
    """The whole way: pieces of a body in, framed messages out."""

    __slots__ = ("_ended", "_parser", "_pieces", "_seen_input", "_translator", "error", "stored")

    def __init__(self, info: RequestInfo, is_stream: bool) -> None:
        self._translator: Translator = StreamTranslator(info) if is_stream else MessageTranslator(info)
        self._parser = JsonStreamParser(self._translator.writer)
        self._pieces: deque[bytes] = deque()
        self._seen_input = False
        self._ended = False
        self.error: bytes | None = None
        self.stored = 0
        """Bytes of the body that nobody has read yet."""

    def feed(self, piece: bytes) -> None:
        """The next piece of the body."""
        if piece:
            self._pieces.append(piece)
            self.stored += len(piece)

    def end(self) -> None:
        """The body ends here."""
        self._ended = True

    def read(self) -> bytes:
        """All that can be said so far."""
        frames = []
        while (message := self._next_message()) is not None:
            frames.append(frame(message))
        return b"".join(frames)

    def _next_message(self) -> bytes | None:
        while self.error is None:
            message = self._translator.take()
            if message is not None:
                return message
            if not self._translate_piece():
                return None
        return None

    def _translate_piece(self) -> bool:
        """Read one piece more; False when there is none, or an error."""
        if self._translator.finished:
            return False
        if self._pieces:
            self._seen_input = True
            piece = self._pieces.popleft()
            self.stored -= len(piece)
            return self._check(self._parser.parse(piece))
        if not self._ended:
            return False
        if not self._seen_input:
            self._seen_input = True
            return self._check(self._parser.parse(b"{}"))
        self._check(self._parser.finish())
        return False

    def _check(self, error: bytes | None) -> bool:
        self.error = self._translator.error if error is None else error
        return self.error is None
