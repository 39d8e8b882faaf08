"""DNS messages: what is read from any bytes, and what is written."""

import struct

import pytest
from tests.unit.extensions.udp_filters.dns import query, read, wire_name

from proxeny.extensions.udp_filters.dns_filter.message import (
    Problem,
    Query,
    Record,
    RecordType,
    Response,
    ResponseCode,
    encode_name,
    parse_query,
    read_name,
    service_data,
)

HEAD = struct.pack("!6H", 5, 0x0100, 1, 0, 0, 0)
END = b"\0\1\0\1"


def named(name: str, record_type: int = 1) -> Query:
    made = Query()
    made.id, made.flags, made.name, made.type = 7, 0x0100, name, record_type
    return made


def test_a_query() -> None:
    parsed = parse_query(query("www.foo.com", 28, id=9, flags=0x0100))
    assert (parsed.problem, parsed.id, parsed.name, parsed.type) == (None, 9, "www.foo.com", 28)
    assert parse_query(query(counts=(1, 0, 0, 1), tail=b"\0\0\x29\x10\0\0\0\0\0\0\0")).additional == 1


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", Problem.UNDERFLOW),
        (b"x" * 11, Problem.UNDERFLOW),
        (bytes(12), Problem.QUESTIONS),
        (query(counts=(0, 0, 0, 0)), Problem.QUESTIONS),
        (query(counts=(2, 0, 0, 0)), Problem.QUESTIONS),
        (query(flags=0x8000), Problem.NOT_A_QUERY),
        (query(counts=(1, 1, 0, 0)), Problem.NOT_A_QUERY),
        (query(counts=(1, 0, 1, 0)), Problem.NOT_A_QUERY),
        (query(record_class=3), Problem.QUESTION),
        (query()[:-1], Problem.QUESTION),
        (query()[:20], Problem.QUESTION),
        (HEAD, Problem.QUESTION),
        (query(b"\0"), Problem.QUESTION),
        (query(b"\x40" + b"a" * 64 + b"\0"), Problem.QUESTION),
        (query(b"\x80a\0"), Problem.QUESTION),
        (query(b"\xc0\x0c"), Problem.QUESTION),
        (query(b"\xc0\x20"), Problem.QUESTION),
        (query(b"\3www\xc0\x0c"), Problem.QUESTION),
        (HEAD + b"\3www\xc0", Problem.QUESTION),
        (query(".".join(["a" * 63] * 6)), Problem.QUESTION),
        (query(".".join(["a" * 63] * 3 + ["a" * 62, "b"])), Problem.QUESTION),
    ],
)
def test_what_is_no_query(data: bytes, problem: Problem) -> None:
    parsed = parse_query(data)
    assert (parsed.problem, parsed.name) == (problem, "")
    reply = read(Response(parsed).encode(False, 0))
    assert (reply.code, reply.questions, reply.answers) == (ResponseCode.FORMAT_ERROR, [], [])


def test_the_header_of_nonsense_is_echoed() -> None:
    assert Response(parse_query(b"x" * 11)).encode(False, 0)[:4] == b"xx\xf8\x01"
    assert Response(parse_query(b"x")).encode(True, 0)[:4] == b"\0\0\x80\x81"


@pytest.mark.parametrize(
    ("label", "text"),
    [
        (b"w.w", "w\\.w"),
        (b"w\0w", "w\\000w"),
        (b"w\xffw", "w\\255w"),
        (b"w w", "w w"),
        (b'a"$()@;\\b', 'a\\"\\$\\(\\)\\@\\;\\\\b'),
        (b"_tcp-x*", "_tcp-x*"),
    ],
)
def test_strange_labels_are_escaped(label: bytes, text: str) -> None:
    assert parse_query(query(bytes([len(label)]) + label + b"\3foo\0")).name == f"{text}.foo"


def test_a_pointer_leads_backwards_only() -> None:
    data = b"\3www\3foo\0" + b"\1a\xc0\4" + b"\1b\xc0\x09"
    assert read_name(data, 9) == ("a.foo", 13)
    assert read_name(data, 13) == ("b.a.foo", 17)
    # The header itself may be pointed to, as in c-ares.
    header = struct.pack("!6H", 0x0161, 0, 1, 0, 0, 0)
    assert parse_query(header + b"\xc0\0" + END).name == "a"


def test_names_for_the_wire() -> None:
    assert encode_name("www.foo.com") == wire_name("www.foo.com")
    assert encode_name("a" * 64) is None
    assert encode_name(".".join(["a" * 63] * 4)) is not None
    assert encode_name(".".join(["a" * 63] * 4) + ".b") is None


@pytest.mark.parametrize(
    ("record_type", "answered", "code"),
    [
        (1, True, ResponseCode.NO_ERROR),
        (1, False, ResponseCode.NAME_ERROR),
        (28, False, ResponseCode.NAME_ERROR),
        (33, False, ResponseCode.NAME_ERROR),
        (15, False, ResponseCode.NOT_IMPLEMENTED),
        (255, False, ResponseCode.NOT_IMPLEMENTED),
    ],
)
def test_response_codes(record_type: int, answered: bool, code: int) -> None:
    response = Response(named("a.b", record_type))
    if answered:
        response.answers.append(Record("a.b", 1, 60, b"\x0a\0\0\1"))
    reply = read(response.encode(False, 0))
    assert (reply.code, response.code, reply.questions) == (code, code, [("a.b", record_type)])


@pytest.mark.parametrize(
    ("asked", "available", "flags"),
    [(0, False, 0x8003), (0x0100, True, 0x8183), (0x7FFF, False, 0xF903), (0x1000, True, 0x9083)],
)
def test_flags(asked: int, available: bool, flags: int) -> None:
    request = named("a.b")
    request.flags = asked
    assert read(Response(request).encode(available, 0)).flags == flags


def test_eight_answers_in_a_ring() -> None:
    response = Response(named("a.b"))
    response.answers = [Record("a.b", 1, 60, bytes([10, 0, 0, number])) for number in range(12)]
    got = [value.rpartition(".")[2] for value in read(response.encode(False, 10)).values]
    assert got == ["10", "11", "0", "1", "2", "3", "4", "5"]
    response.answers = response.answers[:8]
    assert len(read(response.encode(False, 10)).values) == 8


def test_what_is_over_512_bytes_is_left_out() -> None:
    name = ".".join(["a" * 63] * 3)
    response = Response(named(name))
    response.answers = [Record(name, 1, 60, bytes([10, 0, 0, number])) for number in range(5)]
    data = response.encode(False, 0)
    assert len(data) <= 522
    assert read(data).values == ["10.0.0.0"]


def test_services_with_the_address_of_their_target() -> None:
    response = Response(named("_a._tcp.b", 33))
    response.answers = [Record("_a._tcp.b", RecordType.SRV, 30, service_data(1, 2, 80), "x.y")]
    response.additional = {"x.y": Record("x.y", 1, 60, b"\x0a\0\0\1"), "z": Record("z", 1, 60, b"\x0a\0\0\2")}
    reply = read(response.encode(False, 0))
    assert reply.values == [(1, 2, 80, "x.y")]
    assert [(extra.name, extra.value) for extra in reply.additional] == [("x.y", "10.0.0.1")]


def test_a_record_that_cannot_be_written_is_left_out() -> None:
    response = Response(named("a.b", 33))
    response.answers = [Record("a.b", RecordType.SRV, 1, service_data(1, 2, 3), "x" * 64)]
    assert read(response.encode(False, 0)).code == ResponseCode.NAME_ERROR
