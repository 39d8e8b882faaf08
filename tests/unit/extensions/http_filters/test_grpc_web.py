"""gRPC-Web: base64 as Envoy reads it; exchanges are differential."""

from __future__ import annotations

from base64 import b64encode

import pytest

from proxeny.extensions.http_filters.grpc_web import TextEncoder, decode_base64
from proxeny.kernel.grpc_frames import frame_head


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


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 100])
def test_frames_are_encoded_one_by_one_as_they_come(size: int) -> None:
    frames = [frame_head(length, length % 2) + b"x" * length for length in (0, 1, 2, 3, 40)]
    stream = b"".join(frames)
    encoder = TextEncoder()
    text = [encoder.encode(stream[at : at + size]) for at in range(0, len(stream), size)]
    assert b"".join(text) == b"".join(map(b64encode, frames))


def test_a_long_frame_is_not_held() -> None:
    encoder = TextEncoder()
    assert len(encoder.encode(frame_head(1 << 30) + b"x" * 3000)) > 3900


@pytest.mark.parametrize("message", [b"", b"abc"])
def test_what_is_no_frame_is_dropped(message: bytes) -> None:
    encoder = TextEncoder()
    bad = frame_head(len(message), 0x80) + message
    assert encoder.encode(frame_head(1) + b"x" + bad) == b64encode(frame_head(1) + b"x")
    assert encoder.failed
    assert encoder.encode(frame_head(1) + b"x") == b""
