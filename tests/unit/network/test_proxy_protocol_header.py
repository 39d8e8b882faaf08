"""PROXY protocol headers that a client sends."""

from proxeny.network.address import ip_address, pipe_address
from proxeny.network.proxy_protocol_header import local_v2_header, v1_header


def test_v1() -> None:
    v4, v6 = ip_address("127.0.0.1", 1), ip_address("::1", 2)
    assert v1_header(v4, v4) == b"PROXY TCP4 127.0.0.1 127.0.0.1 1 1\r\n"
    assert v1_header(v6, v6) == b"PROXY TCP6 ::1 ::1 2 2\r\n"
    assert v1_header(pipe_address("/x"), pipe_address("/x")) == b"PROXY UNKNOWN\r\n"


def test_v2() -> None:
    assert local_v2_header() == b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
