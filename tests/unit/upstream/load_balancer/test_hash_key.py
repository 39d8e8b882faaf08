"""xxHash64 against the published test vectors, and every way through the algorithm."""

import pytest

from proxeny.upstream.load_balancer.hash_key import xxhash64


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0xEF46DB3751D8E999),
        (b"a", 0xD24EC4F1A98C6E5B),
        (b"abc", 0x44BC2CF5AD770999),
        (b"Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1),
    ],
)
def test_vectors(data: bytes, expected: int) -> None:
    assert xxhash64(data) == expected


def test_every_length_has_a_hash_of_its_own() -> None:
    hashes = {xxhash64(b"x" * size) for size in range(100)}
    assert len(hashes) == 100
    assert all(0 <= value < 1 << 64 for value in hashes)
