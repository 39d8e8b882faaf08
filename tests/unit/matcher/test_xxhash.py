"""XXH64 against values of the reference implementation."""

import pytest

from proxeny.matcher.xxhash import xxhash64

LONG = bytes(range(256))


@pytest.mark.parametrize(
    ("data", "seed", "expected"),
    [
        (b"", 0, 0xEF46DB3751D8E999),
        (b"1", 0, 13237225503670494420),  # as the real Envoy's gauge of a version "1"
        (b"a", 0, 0xD24EC4F1A98C6E5B),
        (b"10.0.0.1", 7, 0xBB1E9005E090DCA1),
        (b"x" * 100, 1, 0xA27AEC103FA2BDAE),
        (LONG[:31], 0, 0xC346D2B59B4D8EE1),
        (LONG[:32], 2**64 - 1, 0x35220DFDB7D4D7C9),
        (LONG, 12345678901234567890, 0x59BB4F24CCB44D3D),
    ],
)
def test_hashes(data: bytes, seed: int, expected: int) -> None:
    assert xxhash64(data, seed) == expected
