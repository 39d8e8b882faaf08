"""DNS messages (RFC 1035), as far as a server of A, AAAA and SRV records needs them. No I/O; any bytes may come in.

Names are text as c-ares writes them: labels joined by dots, what is not printable as ``\\ddd``, special characters
behind a backslash. That text is what is looked up, logged, and, cut at its dots, sent back (as Envoy does).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum, IntEnum
from struct import Struct
from typing import Final

HEADER: Final = Struct("!6H")
"""Id, flags, numbers of questions, answers, authority and additional records."""
_TYPE_CLASS: Final = Struct("!2H")
_RECORD: Final = Struct("!2HIH")
_SRV: Final = Struct("!3H")
CLASS_IN: Final = 1
MAX_LABEL: Final = 63
MAX_NAME: Final = 255
"""Also of the name as text."""
MIN_QUESTION_NAME: Final = 3
MAX_RESPONSE: Final = 512
"""RFC 1035 section 2.3.4; Envoy counts the flags but not the rest of the header."""
FLAGS_SIZE: Final = 2
MAX_RECORDS: Final = 8
"""Answers in one response; Envoy: ``MAX_RETURNED_RECORDS``."""

QR: Final = 0x8000
OPCODE: Final = 0x7800
RD: Final = 0x0100
RA: Final = 0x0080

_POINTER: Final = 0xC0
_SPECIAL: Final = frozenset(b'".;\\()@$')
_ESCAPED: Final = tuple(
    f"\\{byte:03}" if not 0x20 <= byte < 0x7F else f"\\{byte:c}" if byte in _SPECIAL else f"{byte:c}"
    for byte in range(256)
)
_PLAIN: Final = re.compile(rb"[0-9A-Za-z_*-]*")


class RecordType(IntEnum):
    """The types that are served."""

    A = 1
    AAAA = 28
    SRV = 33


class ResponseCode(IntEnum):
    """RCODE."""

    NO_ERROR = 0
    FORMAT_ERROR = 1
    NAME_ERROR = 3
    NOT_IMPLEMENTED = 4


class Problem(Enum):
    """Why a message is no query that could be answered."""

    UNDERFLOW = "shorter than a header"
    NOT_A_QUERY = "a response, or it has answers or authority records"
    QUESTIONS = "not exactly one question"
    QUESTION = "a question that cannot be read, or of another class than IN"


class Query:
    """What a client sent; ``name`` is empty where there is a ``problem``."""

    __slots__ = ("additional", "flags", "id", "name", "problem", "type")

    def __init__(self) -> None:
        self.id = 0
        self.flags = 0
        self.name = ""
        self.type = 0
        self.additional = 0
        """Number of additional records (EDNS); nobody reads them."""
        self.problem: Problem | None = None


def parse_query(data: bytes) -> Query:
    """The query in a datagram. What of the header is there is read even if the rest is nonsense."""
    query = Query()
    if len(data) < HEADER.size:
        # Whole 16-bit fields only, as Envoy reads them.
        query.id = int.from_bytes(data[:2], "big") if len(data) >= 2 else 0
        query.flags = int.from_bytes(data[2:4], "big") if len(data) >= 4 else 0
        query.problem = Problem.UNDERFLOW
        return query
    query.id, query.flags, questions, answers, authority, query.additional = HEADER.unpack_from(data)
    if query.flags & QR or answers or authority:
        query.problem = Problem.NOT_A_QUERY
    elif questions != 1:
        query.problem = Problem.QUESTIONS
    else:
        _parse_question(query, data)
    return query


def _parse_question(query: Query, data: bytes) -> None:
    query.problem = Problem.QUESTION
    if len(data) - HEADER.size < MIN_QUESTION_NAME:
        return
    read = read_name(data, HEADER.size)
    if read is None:
        return
    name, at = read
    if not name or len(data) - at < _TYPE_CLASS.size:
        return
    record_type, record_class = _TYPE_CLASS.unpack_from(data, at)
    if record_class == CLASS_IN:
        query.problem = None
        query.name, query.type = name, record_type


def read_name(data: bytes, at: int) -> tuple[str, int] | None:
    """The name at an offset and the offset behind it; None when there is no valid one.

    A compression pointer must lead to before where the labels began that it ends, so there are no loops.
    """
    labels: list[str] = []
    began = at
    end = -1
    size = 0
    while True:
        if at >= len(data):
            return None
        length = data[at]
        if length == 0:
            return ".".join(labels), at + 1 if end < 0 else end
        if length & _POINTER == _POINTER:
            if at + 1 >= len(data):
                return None
            target = (length & ~_POINTER) << 8 | data[at + 1]
            end = at + 2 if end < 0 else end
            if target >= began:
                return None
            at = began = target
            continue
        if length > MAX_LABEL or at + 1 + length > len(data):
            return None
        label = _label_text(data[at + 1 : at + 1 + length])
        labels.append(label)
        size += len(label) + (1 if size else 0)
        if size > MAX_NAME:
            return None
        at += 1 + length


def _label_text(label: bytes) -> str:
    if _PLAIN.fullmatch(label):
        return label.decode("ascii")
    return "".join([_ESCAPED[byte] for byte in label])


def encode_name(name: str) -> bytes | None:
    """A name for the wire; None when it, or one of its labels, is too long."""
    raw = name.encode("utf-8", "surrogateescape")
    if len(raw) > MAX_NAME:
        return None
    out = bytearray()
    for label in raw.split(b"."):
        if len(label) > MAX_LABEL:
            return None
        out.append(len(label))
        out += label
    out.append(0)
    return bytes(out)


class Record:
    """A resource record of class IN; ``data`` as on the wire, ``target`` the host that an SRV record names."""

    __slots__ = ("data", "name", "target", "ttl", "type")

    def __init__(self, name: str, record_type: int, ttl: int, data: bytes, target: str = "") -> None:
        self.name = name
        self.type = record_type
        self.ttl = ttl
        self.data = data
        self.target = target

    def encode(self) -> bytes | None:
        """For the wire; None when a name in it is too long."""
        name = encode_name(self.name)
        data = self.data
        if self.type == RecordType.SRV:
            target = encode_name(self.target)
            if target is None:
                return None
            data += target
        if name is None:
            return None
        return name + _RECORD.pack(self.type, CLASS_IN, self.ttl & 0xFFFFFFFF, len(data)) + data


def service_data(priority: int, weight: int, port: int) -> bytes:
    """The data of an SRV record before its target."""
    return _SRV.pack(priority, weight, port)


class Response:
    """The answer to a query while it is being put together."""

    __slots__ = ("additional", "answers", "code", "query")

    def __init__(self, query: Query) -> None:
        self.query = query
        self.answers: list[Record] = []
        self.additional: dict[str, Record] = {}
        """For SRV records: the first address of each target."""
        self.code = ResponseCode.FORMAT_ERROR if query.problem else ResponseCode.NO_ERROR

    def encode(self, recursion_available: bool, start: int) -> bytes:
        """The datagram; settles ``code``. Of more than 8 answers those from number ``start`` on are sent, in a ring.

        What does not fit into 512 bytes is left out, without a truncation flag: clients that cannot use TCP here had
        better take what they get.
        """
        query = self.query
        question = None if query.problem else encode_name(query.name)
        answers, additional = b"", b""
        answer_count = additional_count = 0
        if question is not None:
            question += _TYPE_CLASS.pack(query.type, CLASS_IN)
            answers, answer_count, additional, additional_count = self._encode_records(len(question), start)
        self._settle(question is not None, answer_count > 0)
        flags = QR | query.flags & (OPCODE | RD) | (RA if recursion_available else 0) | self.code
        counts = (1 if question is not None else 0, answer_count, 0, additional_count)
        return HEADER.pack(query.id, flags, *counts) + (question or b"") + answers + additional

    def _encode_records(self, question_size: int, start: int) -> tuple[bytes, int, bytes, int]:
        answers: list[bytes] = []
        additional: list[bytes] = []
        size = FLAGS_SIZE + question_size
        for record in self._chosen(start):
            if record.type == RecordType.SRV and record.target in self.additional:
                extra = self.additional[record.target].encode()
                if extra is None:
                    continue
                # Counted and sent before its answer is looked at, as in Envoy.
                size += len(extra)
                additional.append(extra)
            encoded = record.encode()
            if encoded is None:
                continue
            size += len(encoded)
            if size > MAX_RESPONSE:
                break
            answers.append(encoded)
            if len(answers) == MAX_RECORDS:
                break
        return b"".join(answers), len(answers), b"".join(additional), len(additional)

    def _chosen(self, start: int) -> Sequence[Record]:
        count = len(self.answers)
        if count <= MAX_RECORDS:
            return self.answers
        first = start % count
        return self.answers[first:] + self.answers[:first]

    def _settle(self, has_question: bool, has_answers: bool) -> None:
        if self.code is ResponseCode.FORMAT_ERROR:
            return
        if self.query.type not in (RecordType.A, RecordType.AAAA, RecordType.SRV):
            self.code = ResponseCode.NOT_IMPLEMENTED
        elif not has_question:
            self.code = ResponseCode.FORMAT_ERROR
        elif not has_answers:
            self.code = ResponseCode.NAME_ERROR
