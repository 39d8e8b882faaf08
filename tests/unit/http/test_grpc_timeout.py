"""The header that tells a call's deadline."""

import pytest

from proxeny.http.grpc_timeout import find_grpc_timeout, grpc_timeout_value


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [
        (b"1H", 3_600_000),
        (b"2M", 120_000),
        (b"5S", 5000),
        (b"7m", 7),
        (b"0m", 0),
        (b"1001u", 2),
        (b"69000u", 69),
        (b"1n", 1),
        (b"99999999m", 99_999_999),
        (b"0000000005S", 5000),
        (b"100000000m", None),
        (b"-1S", None),
        (b"5", None),
        (b"S", None),
        (b"5x", None),
        (b"", None),
        (None, None),
    ],
)
def test_values_are_read(value: bytes | None, milliseconds: int | None) -> None:
    assert find_grpc_timeout(value) == milliseconds


@pytest.mark.parametrize(
    ("milliseconds", "value"),
    [
        (0, b"0m"),
        (99_999_999, b"99999999m"),
        (100_000_000, b"100000S"),
        (100_000_000_000, b"1666666M"),
        (10**13, b"2777777H"),
        (10**20, b"99999999H"),
    ],
)
def test_values_are_written(milliseconds: int, value: bytes) -> None:
    assert grpc_timeout_value(milliseconds) == value
