"""Writers between the JSON parser and the message: one puts the body below a field, one adds what the URL says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.extensions.http_filters.grpc_json_transcoder import values
from proxeny.extensions.http_filters.grpc_json_transcoder.values import Unconvertible, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxeny.extensions.http_filters.grpc_json_transcoder.json_stream import ObjectWriter, Scalar
    from proxeny.extensions.http_filters.grpc_json_transcoder.proto_writer import ErrorListener
    from proxeny.extensions.http_filters.grpc_json_transcoder.types import FieldType

FieldPath = tuple["FieldType", ...]
EPSILON: Final = 32 * 2.0**-23
"""How far apart numbers of a body and of a URL may be and still be the same."""


class PrefixWriter:
    """Writes the body as the value of a field: ``a.b`` becomes two objects around it."""

    __slots__ = ("_depth", "_path", "_writer")

    def __init__(self, path: tuple[bytes, ...], writer: ObjectWriter) -> None:
        self._path = path
        self._writer = writer
        self._depth = 0

    def _open(self, name: bytes) -> bytes:
        for field in self._path:
            self._writer.start_object(name)
            name = field
        return name

    def _close(self) -> None:
        for _ in self._path:
            self._writer.end_object()

    def start_object(self, name: bytes) -> None:
        """See ObjectWriter."""
        self._depth += 1
        self._writer.start_object(self._open(name) if self._depth == 1 else name)

    def end_object(self) -> None:
        """See ObjectWriter."""
        self._writer.end_object()
        self._depth -= 1
        if self._depth == 0:
            self._close()

    def start_list(self, name: bytes) -> None:
        """See ObjectWriter."""
        self._depth += 1
        self._writer.start_list(self._open(name) if self._depth == 1 else name)

    def end_list(self) -> None:
        """See ObjectWriter."""
        self._writer.end_list()
        self._depth -= 1
        if self._depth == 0:
            self._close()

    def render(self, name: bytes, value: Scalar) -> None:
        """See ObjectWriter."""
        if self._depth:
            self._writer.render(name, value)
            return
        self._writer.render(self._open(name), value)
        self._close()


class _Bound:
    """What is bound in one message."""

    __slots__ = ("messages", "names", "values")

    def __init__(self) -> None:
        self.names: set[bytes] = set()
        """Of the fields that have values."""
        self.values: list[tuple[FieldType, bytes]] = []
        self.messages: list[tuple[FieldType, _Bound]] = []

    def find(self, name: bytes) -> _Bound | None:
        """What is bound in the message of a field, by its proto name."""
        for field, bound in self.messages:
            if field.name == name:
                return bound
        return None


class RequestWeaver:
    """Adds values of the URL at the end of each message; what the body says of the same field stands."""

    __slots__ = ("_current", "_depth", "_listener", "_refuse_collisions", "_root", "_writer")

    def __init__(
        self,
        bindings: list[tuple[FieldPath, bytes]],
        writer: ObjectWriter,
        listener: ErrorListener,
        refuse_collisions: bool,
    ) -> None:
        self._root = _Bound()
        self._current: list[_Bound] = []
        self._depth = 0
        """How deep we are in something without bindings."""
        self._writer = writer
        self._listener = listener
        self._refuse_collisions = refuse_collisions
        for path, value in bindings:
            self._bind(path, value)

    def _bind(self, path: FieldPath, value: bytes) -> None:
        if not path:
            return
        bound = self._root
        for field in path[:-1]:
            found = bound.find(field.name)
            if found is None:
                found = _Bound()
                bound.messages.append((field, found))
            bound = found
        bound.values.append((path[-1], value))
        bound.names.add(path[-1].name)

    def start_object(self, name: bytes) -> None:
        """See ObjectWriter."""
        self._writer.start_object(name)
        if not self._current:
            self._current.append(self._root)
            return
        if not self._depth:
            bound = self._current[-1].find(name)
            if bound is not None:
                self._current.append(bound)
                return
        self._depth += 1

    def end_object(self) -> None:
        """See ObjectWriter."""
        if self._depth:
            self._depth -= 1
        else:
            self._weave(self._current.pop())
        self._writer.end_object()

    def start_list(self, name: bytes) -> None:
        """See ObjectWriter."""
        self._writer.start_list(name)
        self._depth += 1

    def end_list(self) -> None:
        """See ObjectWriter."""
        self._writer.end_list()
        self._depth -= 1

    def render(self, name: bytes, value: Scalar) -> None:
        """See ObjectWriter."""
        if value is not None and not self._depth and self._current and name in self._current[-1].names:
            self._meet(self._current[-1], name, value)
        self._writer.render(name, value)

    def _weave(self, bound: _Bound) -> None:
        """All that is bound here and below; a URL may lead deeper than a stack of calls."""
        writer = self._writer
        open_messages = [self._begin(bound)]
        while open_messages:
            inner = next(open_messages[-1], None)
            if inner is None:
                open_messages.pop()
                if open_messages:
                    writer.end_object()
            else:
                field, below = inner
                if below.values or below.messages:
                    writer.start_object(field.name)
                    open_messages.append(self._begin(below))

    def _begin(self, bound: _Bound) -> Iterator[tuple[FieldType, _Bound]]:
        """Write the values of a message; what is bound in the messages within is still to come."""
        for field, value in bound.values:
            self._writer.render(field.name, value)
        messages = bound.messages
        bound.values, bound.messages = [], []
        bound.names.clear()
        return iter(messages)

    def _meet(self, bound: _Bound, name: bytes, value: Scalar) -> None:
        """The body has a field that may be bound too: repeated ones get both, of others the body's value counts."""
        left = []
        bound.names.discard(name)
        for field, bound_value in bound.values:
            if field.name != name:
                left.append((field, bound_value))
            elif field.repeated:
                self._writer.render(name, bound_value)
            elif self._refuse_collisions and (error := _conflict(name, value, bound_value)):
                self._listener.error = error
        bound.values = left


def _conflict(name: bytes, value: Any, bound: bytes) -> bytes | None:
    """What is wrong when body and URL name different values."""
    kind, convert = b"string", values.to_string
    same = False
    try:
        if type(value) is bool:
            kind = b"bool"
            same = values.to_bool(bound) == value
        elif type(value) is int:
            # Compared as they are stored: in 32 bits.
            kind = b"uint64" if value >= 0 else b"int64"
            low, high = (0, (1 << 64) - 1) if value >= 0 else (-(1 << 63), (1 << 63) - 1)
            same = values.to_integer(bound, low, high) & 0xFFFFFFFF == value
        elif type(value) is float:
            kind = b"double"
            same = abs(values.to_double(bound) - value) < EPSILON
        else:
            same = convert(bound) == value
    except Unconvertible:
        return b"Failed to convert binding value " + name + b":" + shown(bound) + b" to " + kind
    if same:
        return None
    return (
        b"The binding value " + shown(bound) + b" of the field " + name + b" is conflicting with the value "
        + shown(value) + b" in the body."
    )  # fmt: skip
