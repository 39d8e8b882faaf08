"""gRPC-Web: base64 as Envoy reads it; exchanges are differential."""

from __future__ import annotations

from base64 import b64encode

import pytest

from proxeny.extensions.http_filters.grpc_web import decode_base64


@pytest.mark.parametrize("size", range(1, 9))
def test_what_was_encoded_is_decoded(size: int) -> None:
    data = bytes(range(250, 250 + 6))[:size] + b"x" * max(0, size - 6)
    assert decode_base64(b64encode(data)) == data


@pytest.mark.parametrize(
    "text",
    [
        b"====",
        b"A===",
        b"AA=A",
        b"AA==AAAA",
        b"AB==",
        b"AAB=",
        b"AA-_",
        b"AAA\n",
        b"A A=",
        b"AAAA\r\nAA",
        b"\xff\xff\xff\xff",
    ],
)
def test_what_is_no_base64_is_refused(text: bytes) -> None:
    assert decode_base64(text) == b""
