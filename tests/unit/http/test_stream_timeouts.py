from __future__ import annotations

import pytest

from proxeny.http.stream_timeouts import grpc_timeout_value


@pytest.mark.parametrize(
    ("milliseconds", "value"),
    [(0, b"0m"), (99_999_999, b"99999999m"), (100_000_000, b"100000S"), (100_000_000_000, b"1666666M")],
)
def test_grpc_timeouts_have_at_most_eight_digits(milliseconds: int, value: bytes) -> None:
    assert grpc_timeout_value(milliseconds) == value
