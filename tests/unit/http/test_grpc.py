"""What is gRPC, and what only looks like it."""

import pytest

from proxeny.http.grpc import is_grpc_request, is_grpc_response, service_and_method
from proxeny.kernel.headers import HeaderMap


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"application/grpc;a=b", False),
        (b"application/grpc-web", False),
        (b"text/plain", False),
    ],
)
def test_content_types(content_type: bytes, expected: bool) -> None:
    headers = HeaderMap([(b":path", b"/a/b"), (b"content-type", content_type)])
    assert is_grpc_request(headers) is expected
    headers.set(b":status", b"200")
    assert is_grpc_response(headers, False) is expected
    headers.set(b":status", b"503")
    assert not is_grpc_response(headers, False)


def test_of_a_response_without_a_body_the_status_says_so() -> None:
    assert not is_grpc_response(HeaderMap([(b"content-type", b"application/grpc")]), True)
    assert is_grpc_response(HeaderMap([(b"grpc-status", b"0")]), True)


@pytest.mark.parametrize(
    ("path", "names"),
    [
        (b"/a.B/C", ("a.B", "C")),
        (b"/a.B/C?d/e", ("a.B", "C")),
        (b"//a//b/", ("a", "b")),
        (b"/a/b/c", None),
        (b"/a", None),
        (b"/", None),
        (None, None),
    ],
)
def test_names_in_paths(path: bytes | None, names: tuple[str, str] | None) -> None:
    assert service_and_method(path) == names
