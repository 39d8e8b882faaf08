"""A DNS client's half of the wire format, written apart from the filter's, for tests."""

import socket
import struct
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """One record of a response; `value` is an address or (priority, weight, port, target)."""

    name: str
    type: int
    ttl: int
    value: Any


class Reply(NamedTuple):
    """A response, taken apart."""

    id: int
    flags: int
    questions: list[tuple[str, int]]
    answers: list[Answer]
    additional: list[Answer]

    @property
    def code(self) -> int:
        return self.flags & 15

    @property
    def values(self) -> list[Any]:
        return [answer.value for answer in self.answers]


def wire_name(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label for label in name.encode("latin-1").split(b".") if label) + b"\0"


def query(
    name: str | bytes = "www.foo.com",
    record_type: int = 1,
    record_class: int = 1,
    id: int = 0x1234,
    flags: int = 0x0100,
    counts: tuple[int, int, int, int] = (1, 0, 0, 0),
    tail: bytes = b"",
) -> bytes:
    raw = wire_name(name) if isinstance(name, str) else name
    return struct.pack("!6H", id, flags, *counts) + raw + struct.pack("!HH", record_type, record_class) + tail


def _name(data: bytes, at: int) -> tuple[str, int]:
    labels = []
    while data[at]:
        labels.append(data[at + 1 : at + 1 + data[at]].decode("latin-1"))
        at += 1 + data[at]
    return ".".join(labels), at + 1


def read(data: bytes) -> Reply:
    """Raises on anything that is not exactly one whole response without compression."""
    id, flags, questions, answers, authority, additional = struct.unpack_from("!6H", data)
    assert authority == 0
    at = 12
    asked = []
    for _ in range(questions):
        name, at = _name(data, at)
        record_type, record_class = struct.unpack_from("!HH", data, at)
        assert record_class == 1
        asked.append((name, record_type))
        at += 4
    sections: list[list[Answer]] = []
    for count in (answers, additional):
        found = []
        for _ in range(count):
            name, at = _name(data, at)
            record_type, record_class, ttl, size = struct.unpack_from("!HHIH", data, at)
            assert record_class == 1
            at += 10
            found.append(Answer(name, record_type, ttl, _value(record_type, data[at : at + size])))
            at += size
        sections.append(found)
    assert at == len(data)
    return Reply(id, flags, asked, *sections)


def _value(record_type: int, data: bytes) -> Any:
    if record_type == 33:
        target, end = _name(data, 6)
        assert end == len(data)
        return (*struct.unpack_from("!3H", data), target)
    return socket.inet_ntop(socket.AF_INET if record_type == 1 else socket.AF_INET6, data)
