from __future__ import annotations

import pytest

from proxeny.http.local_reply import encode_grpc_message, prepare
from proxeny.kernel.headers import HeaderMap


def test_body_has_length_and_type() -> None:
    reply = prepare(503, b"no healthy upstream", is_grpc=False, is_head=False)
    assert dict(reply.headers.items()) == {
        b":status": b"503",
        b"content-length": b"19",
        b"content-type": b"text/plain",
    }
    assert reply.body is not None and reply.body.peek() == b"no healthy upstream"


def test_head_keeps_the_length_without_the_body() -> None:
    reply = prepare(503, b"x", is_grpc=False, is_head=True)
    assert reply.headers.get(b"content-length") == b"1"
    assert reply.body is None


def test_grpc_gets_a_trailers_only_answer() -> None:
    reply = prepare(503, b"a b\n", is_grpc=True, is_head=False)
    assert reply.headers.items() == [
        (b":status", b"200"),
        (b"content-type", b"application/grpc"),
        (b"grpc-status", b"14"),
        (b"grpc-message", b"a b%0A"),
    ]


def test_callers_headers_are_kept() -> None:
    reply = prepare(
        301, b"", is_grpc=False, is_head=False, modify_headers=lambda headers: headers.add(b"location", b"/x")
    )
    assert reply.headers.get(b"location") == b"/x"


@pytest.mark.parametrize("code", [204, 304])
def test_what_must_not_have_a_body_has_none(code: int) -> None:
    reply = prepare(code, b"body", is_grpc=False, is_head=False)
    assert reply.headers.items() == [(b":status", b"%d" % code)]
    assert reply.body is None


def test_type_of_the_caller_stays_with_its_body() -> None:
    def modify(headers: HeaderMap) -> None:
        headers.set(b"content-type", b"text/html")

    def rewrite(headers: HeaderMap, code: int, body: bytes) -> tuple[int, bytes, bytes]:
        return code, body, b"application/json"

    reply = prepare(404, b"x", is_grpc=False, is_head=False, modify_headers=modify, rewrite=rewrite)
    assert reply.headers.get(b"content-type") == b"text/html"


def test_another_body_has_the_type_of_its_format() -> None:
    def modify(headers: HeaderMap) -> None:
        headers.set(b"content-type", b"text/html")

    def rewrite(headers: HeaderMap, code: int, body: bytes) -> tuple[int, bytes, bytes]:
        return code, b"{}", b"application/json"

    reply = prepare(404, b"x", is_grpc=False, is_head=False, modify_headers=modify, rewrite=rewrite)
    assert reply.headers.get(b"content-type") == b"application/json"
    assert reply.headers.get(b"content-length") == b"2"


def test_a_mapper_may_set_the_type() -> None:
    def rewrite(headers: HeaderMap, code: int, body: bytes) -> tuple[int, bytes, bytes]:
        headers.set(b"content-type", b"mine")
        return code, b"other", b"text/plain"

    reply = prepare(404, b"x", is_grpc=False, is_head=False, rewrite=rewrite)
    assert reply.headers.get(b"content-type") == b"mine"


def test_grpc_status_of_a_mapper_and_json_line() -> None:
    def rewrite(headers: HeaderMap, code: int, body: bytes) -> tuple[int, bytes, bytes]:
        headers.set(b"grpc-status", b"5")
        return 503, b'{"a":1}\n', b"application/json"

    reply = prepare(404, b"x", is_grpc=True, is_head=False, rewrite=rewrite)
    assert reply.headers.get(b":status") == b"200"
    assert reply.headers.get(b"grpc-status") == b"5"
    assert reply.headers.get(b"grpc-message") == b'{"a":1}'


def test_grpc_head_has_no_message() -> None:
    assert prepare(503, b"x", is_grpc=True, is_head=True).headers.get(b"grpc-message") is None


def test_grpc_message_is_percent_encoded() -> None:
    assert encode_grpc_message(b"100% \xff") == b"100%25 %FF"
