"""``google.api.HttpBody``: bodies that are no JSON, put into a message and taken out of it without a message class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxeny.extensions.http_filters.grpc_json_transcoder.types import (
    DELIMITED,
    END_GROUP,
    FIXED_32,
    FIXED_64,
    START_GROUP,
    VARINT,
    varint,
)

if TYPE_CHECKING:
    from proxeny.extensions.http_filters.grpc_json_transcoder.types import FieldType

HTTP_BODY: Final = "google.api.HttpBody"
CONTENT_TYPE: Final = 1
DATA: Final = 2
EXTENSIONS: Final = 3
_UNKNOWN_PARAMETERS_URL: Final = (
    b"type.googleapis.com/envoy.extensions.filters.http.grpc_json_transcoder.v3.UnknownQueryParams"
)
MOST_GROUPS: Final = 100


def delimited(number: int, data: bytes) -> bytes:
    """A field of bytes."""
    return varint(number << 3 | DELIMITED) + varint(len(data)) + data


def unknown_parameters(parameters: dict[bytes, list[bytes]]) -> bytes:
    """The ``extensions`` field with an ``UnknownQueryParams`` in it; nothing when there are none."""
    if not parameters:
        return b""
    entries = [
        delimited(1, delimited(1, name) + delimited(2, b"".join([delimited(1, value) for value in values])))
        for name, values in parameters.items()
    ]
    return delimited(EXTENSIONS, delimited(1, _UNKNOWN_PARAMETERS_URL) + delimited(2, b"".join(entries)))


def envelope(path: tuple[FieldType, ...], content_type: bytes, extensions: bytes, length: int) -> bytes:
    """All that comes before ``length`` bytes of a body, which is the ``HttpBody`` of the field at ``path``."""
    head = (delimited(CONTENT_TYPE, content_type) if content_type else b"") + extensions
    head += varint(DATA << 3 | DELIMITED) + varint(length)
    for field in reversed(path):
        head = varint(field.number << 3 | DELIMITED) + varint(len(head) + length) + head
    return head


class Malformed(Exception):
    """The bytes are no message."""


class _Reader:
    """Steps over the fields of a message."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def number(self, end: int) -> int:
        """The next varint."""
        value = shift = 0
        data = self.data
        while self.at < end and shift < 70:
            byte = data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
        raise Malformed

    def span(self, end: int) -> tuple[int, int]:
        """Where a field of bytes begins and ends."""
        stop = self.number(end) + self.at
        start = self.at
        if stop > end:
            raise Malformed
        self.at = stop
        return start, stop

    def skip(self, tag: int, end: int, depth: int = 0) -> None:
        """Over a field that is of no interest."""
        wire = tag & 7
        if wire == VARINT:
            self.number(end)
        elif wire == DELIMITED:
            self.span(end)
        elif wire in (FIXED_64, FIXED_32):
            self.at += 8 if wire == FIXED_64 else 4
            if self.at > end:
                raise Malformed
        elif wire == START_GROUP and depth < MOST_GROUPS:
            while (inner := self.number(end)) != (tag & ~7 | END_GROUP):
                self.skip(inner, end, depth + 1)
        else:
            raise Malformed


def parse(data: bytes, path: tuple[FieldType, ...]) -> tuple[bytes, bytes]:
    """Content type and data of the ``HttpBody`` at ``path``; Malformed when it cannot be read."""
    reader = _Reader(data)
    found = [b"", b""]
    _parse(reader, len(data), [field.number for field in path], found)
    return found[0], found[1]


def _parse(reader: _Reader, end: int, path: list[int], found: list[bytes]) -> None:
    while reader.at < end:
        tag = reader.number(end)
        number, wire = tag >> 3, tag & 7
        if wire != DELIMITED or (number != path[0] if path else number not in (CONTENT_TYPE, DATA)):
            reader.skip(tag, end)
            continue
        start, stop = reader.span(end)
        if path:
            reader.at = start
            _parse(reader, stop, path[1:], found)
        else:
            found[number - 1] = reader.data[start:stop]
