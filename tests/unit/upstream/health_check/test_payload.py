"""Payloads as hexadecimal text or binary, and what is found of them."""

from __future__ import annotations

import pytest
from envoy.config.core.v3.health_check_pb2 import HealthCheck

from proxeny.config.errors import ConfigError
from proxeny.upstream.health_check.payload import compile_payload, contains_in_order


def test_bytes() -> None:
    assert compile_payload(HealthCheck.Payload(text="0aFf")) == b"\n\xff"
    assert compile_payload(HealthCheck.Payload(binary=b"\0x")) == b"\0x"


@pytest.mark.parametrize("text", ["0", "0g", "0a 0b", " 0a", "0a\n", "٣٣", "0x0a"])
def test_what_is_no_hexadecimal_text(text: str) -> None:
    with pytest.raises(ConfigError, match="invalid hex string"):
        compile_payload(HealthCheck.Payload(text=text))


@pytest.mark.parametrize(
    ("data", "found"), [(b"ab", True), (b"xaybz", True), (b"ba", False), (b"a", False), (b"aab", True), (b"", False)]
)
def test_segments_in_order(data: bytes, found: bool) -> None:
    assert contains_in_order((b"a", b"b"), data) is found


def test_no_segment_is_found_twice() -> None:
    assert not contains_in_order((b"aa", b"a"), b"aa")
    assert contains_in_order((), b"")
