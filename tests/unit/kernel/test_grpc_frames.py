"""gRPC frames are found wherever the pieces of a stream end."""

import pytest

from proxeny.kernel.buffer import Buffer
from proxeny.kernel.grpc_frames import FrameDecoder, FrameInspector, frame_head


def frame(message: bytes, flags: int = 0) -> bytes:
    return frame_head(len(message), flags) + message


STREAM = frame(b"one") + frame(b"") + frame(b"x" * 5000, 1) + frame(b"four")


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 4096, len(STREAM)])
def test_frames_are_counted_and_decoded_in_pieces(size: int) -> None:
    inspector, decoder, found = FrameInspector(), FrameDecoder(), []
    for at in range(0, len(STREAM), size):
        data = Buffer(STREAM[at : at + size])
        inspector.inspect(data)
        assert len(data) == len(STREAM[at : at + size])
        found += decoder.decode(data)
        assert not data
    assert inspector.count == 4
    assert found == [(0, b"one"), (0, b""), (1, b"x" * 5000), (0, b"four")]
    assert decoder.buffered == 0 and not decoder.failed


def test_a_frame_counts_from_its_first_byte() -> None:
    inspector = FrameInspector()
    assert inspector.inspect(Buffer(frame(b"abc") + b"\0")) == 2
    assert inspector.inspect(Buffer(b"\0\0\0\0")) == 0
    assert inspector.inspect(Buffer(frame(b""))) == 1


def test_the_frame_that_ends_a_stream_is_kept() -> None:
    inspector = FrameInspector(True)
    assert inspector.inspect(Buffer(frame(b"a") + frame(b'{"error"', 2)[:9])) == 1
    assert inspector.end_frame() is None
    assert inspector.inspect(Buffer(b'ror"' + frame(b"more"))) == 0
    assert inspector.end_frame() == b'{"error"'


def test_an_endless_end_is_not_kept() -> None:
    inspector = FrameInspector(True)
    inspector.inspect(Buffer(frame(b"x" * 70000, 2)[:-1]))
    inspector.inspect(Buffer(b"x"))
    assert inspector.end_frame() is None


@pytest.mark.parametrize("data", [frame(b"a", 2), frame(b"a", 0x80), frame_head(11)])
def test_what_cannot_be_ends_the_decoding(data: bytes) -> None:
    decoder = FrameDecoder(10)
    assert decoder.decode(Buffer(frame(b"good") + data)) == [(0, b"good")]
    assert decoder.failed and decoder.buffered == 0
    assert decoder.decode(Buffer(frame(b"good"))) == []


def test_heads() -> None:
    assert frame_head(258, 1) == b"\x01\0\0\x01\x02"
    for size in (-1, 1 << 32):
        with pytest.raises(ValueError):
            frame_head(size)
