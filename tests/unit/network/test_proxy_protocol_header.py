"""PROXY protocol headers that a client sends."""

from proxeny.network.address import ip_address, pipe_address
from proxeny.network.proxy_protocol_header import local_v2_header, v1_header, v2_header


def test_v1() -> None:
    v4, v6 = ip_address("127.0.0.1", 1), ip_address("::1", 2)
    assert v1_header(v4, v4) == b"PROXY TCP4 127.0.0.1 127.0.0.1 1 1\r\n"
    assert v1_header(v6, v6) == b"PROXY TCP6 ::1 ::1 2 2\r\n"
    assert v1_header(pipe_address("/x"), pipe_address("/x")) == b"PROXY UNKNOWN\r\n"


def test_v2() -> None:
    assert local_v2_header() == b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"


SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def test_v2_addresses() -> None:
    v4, v6 = ip_address("10.0.0.1", 258), ip_address("2001:db8::1", 3)
    assert v2_header(v4, ip_address("10.0.0.2", 80)) == (
        SIGNATURE + b"\x21\x11\x00\x0c\x0a\x00\x00\x01\x0a\x00\x00\x02\x01\x02\x00\x50",
        True,
    )
    packed = bytes.fromhex("20010db8000000000000000000000001")
    assert v2_header(v6, v6) == (SIGNATURE + b"\x21\x21\x00\x24" + packed * 2 + b"\x00\x03\x00\x03", True)
    assert v2_header(v6, v4)[0][16:].startswith(packed + bytes(10) + b"\xff\xff\x0a\x00\x00\x01")
    assert v2_header(pipe_address("/x"), v4) == (local_v2_header(), True)


def test_v2_tlvs() -> None:
    v4 = ip_address("10.0.0.1", 1)
    header, complete = v2_header(v4, v4, [(0xE0, b"ab"), (0xE0, b"")])
    assert complete
    assert header[14:16] == b"\x00\x14"
    assert header[28:] == b"\xe0\x00\x02ab\xe0\x00\x00"


def test_v2_tlvs_that_are_too_long_are_left_out() -> None:
    v4 = ip_address("10.0.0.1", 1)
    longest = 65535 - 12 - 3
    header, complete = v2_header(v4, v4, [(1, bytes(longest + 1)), (2, bytes(longest - 4)), (3, b"xy"), (4, b"x")])
    assert not complete
    assert header[14:16] == b"\xff\xff"
    assert len(header) == 16 + 65535
    assert header.endswith(b"\x04\x00\x01x")
