"""Statuses of gRPC and of HTTP."""

import pytest

from proxeny.network.grpc_status import grpc_status_of_http, http_status_of_grpc, is_grpc_content_type


def test_statuses() -> None:
    assert [grpc_status_of_http(code) for code in (400, 401, 403, 404, 429, 502, 503, 504)] == [
        13, 16, 7, 12, 14, 14, 14, 14,
    ]  # fmt: skip
    assert {grpc_status_of_http(code) for code in (200, 301, 408, 418, 499, 500)} == {2}
    assert [http_status_of_grpc(status) for status in (0, 1, 2, 4, 13, 14, 15, 77, None)] == [
        200, 499, 500, 504, 500, 503, 500, 500, 500,
    ]  # fmt: skip


@pytest.mark.parametrize("value", [b"application/grpc", b"application/grpc+proto"])
def test_types_that_are_grpc(value: bytes) -> None:
    assert is_grpc_content_type(value)


@pytest.mark.parametrize("value", [None, b"", b"application/grpc-web", b"application/grpc;a", b"APPLICATION/grpc"])
def test_types_that_are_not(value: bytes | None) -> None:
    assert not is_grpc_content_type(value)
