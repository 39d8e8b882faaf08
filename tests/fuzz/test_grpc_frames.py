"""Streams of frames and of noise: pieces of any size give what the whole gives; base64 is what was encoded, or none."""

from __future__ import annotations

import random
from base64 import b64encode

import pytest

from proxeny.extensions.http_filters.grpc_web import decode_base64
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.grpc_frames import FrameDecoder, FrameInspector, frame_head

STREAMS = 150
MOST = 4096


def stream(chance: random.Random) -> bytes:
    """Mostly good frames; now and then a byte is another."""
    data = bytearray()
    for _ in range(chance.randrange(6)):
        message = chance.randbytes(chance.choice((0, 1, 5, 300, 5000)))
        data += frame_head(len(message), chance.choice((0, 0, 0, 1, 2, 0x80))) + message
    if data and chance.random() < 0.4:
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


@pytest.mark.parametrize("seed", range(4))
def test_pieces_give_what_the_whole_gives(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(STREAMS):
        data = stream(chance)
        ends = chance.random() < 0.5
        whole, pieces = FrameInspector(ends), FrameInspector(ends)
        decoder, parts = FrameDecoder(MOST), FrameDecoder(MOST)
        whole.inspect(Buffer(data))
        expected = decoder.decode(Buffer(data))
        found, at = [], 0
        while at < len(data):
            end = at + chance.choice((1, 2, 5, 100, 4000))
            piece = Buffer(data[at:end])
            pieces.inspect(piece)
            found += parts.decode(piece)
            at = end
        assert (pieces.count, pieces.end_frame()) == (whole.count, whole.end_frame())
        assert (found, parts.failed) == (expected, decoder.failed)
        assert all(flags in (0, 1) and len(message) <= MOST for flags, message in found)


@pytest.mark.parametrize("seed", range(4))
def test_base64_is_what_was_encoded_or_nothing(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(STREAMS):
        text = bytearray(b64encode(chance.randbytes(chance.randrange(1, 40))))
        if chance.random() < 0.7:
            text[chance.randrange(len(text))] = chance.choice(b"AZaz09+/=-_ \n\x00\xff")
        decoded = decode_base64(bytes(text))
        assert not decoded or b64encode(decoded) == text
