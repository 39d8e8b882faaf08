"""Statistics of gRPC: how Connect's streams end, and what the filter state tells; the rest is differential."""

from __future__ import annotations

import pytest

from proxeny.extensions.http_filters.grpc_stats import MessageCounts, _succeeded


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (b"{}", True),
        (b'{"metadata": {}}', True),
        (b'{"error": {"code": "internal"}}', False),
        (b"{", False),
        (b"[]", False),
        (b"[" * 100_000, False),
        (None, False),
    ],
)
def test_ends_of_connect_streams(end: bytes | None, expected: bool) -> None:
    assert _succeeded(end) is expected


def test_the_state() -> None:
    counts = MessageCounts()
    counts.request_message_count, counts.response_message_count = 1, 2
    assert counts.serialize_as_string() == "1,2"
    assert counts.serialize_as_proto().response_message_count == 2
