"""XXH64 against known values."""

import pytest

from proxeny.xds.hash import xx_hash_64


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0xEF46DB3751D8E999),
        (b"1", 13237225503670494420),  # as in the real Envoy's gauge for version "1"
        (b"11", 2489716146917121730),
        (b"Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1),
    ],
)
def test_known_values(data: bytes, expected: int) -> None:
    assert xx_hash_64(data) == expected
