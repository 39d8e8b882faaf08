from __future__ import annotations

from proxeny.http.local_reply import encode_grpc_message, is_grpc_content_type, prepare


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


def test_modify_headers_runs_last() -> None:
    reply = prepare(
        301, b"", is_grpc=False, is_head=False, modify_headers=lambda headers: headers.add(b"location", b"/x")
    )
    assert reply.headers.get(b"location") == b"/x"


def test_grpc_content_types() -> None:
    assert is_grpc_content_type(b"application/grpc")
    assert is_grpc_content_type(b"application/grpc+proto")
    assert not is_grpc_content_type(b"application/grpc-web")
    assert not is_grpc_content_type(None)


def test_grpc_message_is_percent_encoded() -> None:
    assert encode_grpc_message(b"100% \xff") == b"100%25 %FF"
