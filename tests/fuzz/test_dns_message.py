"""DNS messages from damaged and made-up bytes: whatever comes in, a well-formed response goes out."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.extensions.udp_filters.dns import query, read

from proxeny.extensions.udp_filters.dns_filter.message import MAX_NAME, Record, Response, parse_query, read_name

LABEL = st.binary(min_size=1, max_size=63).map(lambda label: bytes([len(label)]) + label)
POINTER = st.integers(0, 0x3FFF).map(lambda target: (0xC000 | target).to_bytes(2, "big"))
NAME = st.lists(st.one_of(LABEL, POINTER, st.binary(max_size=3)), max_size=12).map(b"".join)


def respond(data: bytes) -> None:
    parsed = parse_query(data)
    assert len(parsed.name) <= MAX_NAME
    assert bool(parsed.name) == (parsed.problem is None)
    response = Response(parsed)
    if parsed.problem is None:
        response.answers.append(Record(parsed.name, parsed.type, 1, b"\x0a\0\0\1"))
    encoded = response.encode(True, 3)
    assert 12 <= len(encoded) <= 600
    if parsed.problem is not None or parsed.type == 1:
        read(encoded)


@given(st.binary(max_size=600))
@settings(max_examples=500, deadline=None)
def test_any_bytes(data: bytes) -> None:
    respond(data)


@given(NAME, st.binary(max_size=20))
@settings(max_examples=500, deadline=None)
def test_any_name(name: bytes, tail: bytes) -> None:
    respond(query(name, tail=tail))


@given(st.binary(max_size=300), st.integers(0, 300))
@settings(max_examples=500, deadline=None)
def test_reading_a_name_ends_inside_the_message(data: bytes, at: int) -> None:
    found = read_name(data, at)
    if found is not None:
        name, end = found
        assert at < end <= len(data)
        assert len(name) <= MAX_NAME


def test_damaged_queries() -> None:
    generator = random.Random(20)
    valid = query("www.foo.com", counts=(1, 0, 0, 1), tail=b"\0\0\x29\x10\0\0\0\0\0\0\0")
    for _ in range(20_000):
        data = bytearray(valid)
        for _ in range(generator.randrange(1, 6)):
            what = generator.randrange(4)
            at = generator.randrange(len(data)) if data else 0
            if what == 0 and data:
                data[at] = generator.choice([0, 1, 63, 64, 0x80, 0xC0, 0xFF, generator.randrange(256)])
            elif what == 1:
                del data[at:]
            elif what == 2:
                data[at:at] = generator.randbytes(generator.randrange(8))
            else:
                data += generator.randbytes(generator.randrange(300))
        respond(bytes(data))
