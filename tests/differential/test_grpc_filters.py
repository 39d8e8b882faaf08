"""gRPC's filters between HTTP/1 peers: statistics, gRPC-Web, the two bridges; routes, retries, logs that know it."""

from base64 import b64encode
from typing import Any

import pytest
from tests.differential.harness import Case, Pairs, case_id, request
from tests.differential.http2_frames import HELLO, Frames, data
from tests.differential.http2_frames import post as head_of_post
from tests.differential.pieces import answered_in_pieces, in_pieces
from tests.differential.upstream import Answer

GRPC = "content-type: application/grpc"
PROTO = "content-type: application/x-protobuf"
STREAM = "content-type: application/connect+json"
TRAILERS = "te: trailers"


def frame(data: bytes = b"", flags: int = 0) -> bytes:
    return bytes((flags,)) + len(data).to_bytes(4, "big") + data


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def post(path: str, *fields: str, body: bytes = b"", chunks: tuple[bytes, ...] = ()) -> bytes:
    """A POST with a length, or in chunks."""
    length = "transfer-encoding: chunked" if chunks else f"content-length: {len(body)}"
    head = "\r\n".join([f"POST {path} HTTP/1.1", "host: h", *fields, length, "", ""]).encode()
    return head + b"".join(map(chunk, chunks)) + (b"0\r\n\r\n" if chunks else body)


def answer(status: int, *fields: str, body: bytes = b"") -> Answer:
    """A response of a known length."""
    return ("\r\n".join([f"HTTP/1.1 {status} X", *fields, f"content-length: {len(body)}", "", ""]).encode() + body,)


def streamed(
    *pieces: bytes, fields: tuple[str, ...] = (GRPC,), trailers: str = "grpc-status: 0", code: int = 200
) -> Answer:
    """A response in chunks, with trailers."""
    head = "\r\n".join([f"HTTP/1.1 {code} X", *fields, "transfer-encoding: chunked", "", ""]).encode()
    end = b"0\r\n" + (trailers + "\r\n" if trailers else "").encode() + b"\r\n"
    return (head + b"".join(map(chunk, pieces)) + end,)


def on(listener: str, name: str, data: bytes, *answers: Answer, **more: Any) -> Case:
    return Case(f"{listener}_{name}", request(data), config="grpc", listener=listener, answers=answers, **more)


def call(listener: str, name: str, *answers: Answer, path: str = "/a.B/C", **more: Any) -> Case:
    return on(listener, name, post(path, GRPC, TRAILERS, body=frame(b"hello")), *answers, **more)


ONE = streamed(frame(b"reply"))
FAILED = streamed(trailers="grpc-status: 5\r\ngrpc-message: not here")
ONLY = answer(200, GRPC, "grpc-status: 14", "grpc-message: later")

STATISTICS = [
    call("all", "unary", ONE, exact="grpc", contains=(r"stat \+1 cluster\.up\.grpc\.a\.B\.C\.success",)),
    call("all", "failed", FAILED, exact="grpc"),
    call("all", "trailers_only", ONLY, exact="grpc"),
    call("all", "odd_status", streamed(trailers="grpc-status: 77"), exact="grpc"),
    call("all", "status_letters", streamed(trailers="grpc-status: x.y"), exact="grpc"),
    call("all", "no_status", streamed(frame(b"x"), trailers="other: 1"), exact="grpc"),
    call("all", "http_error", answer(503, "content-type: text/plain", body=b"no"), exact="grpc"),
    call("all", "status_in_an_error", answer(503, GRPC, "grpc-status: 2"), exact="grpc"),
    call("all", "not_grpc_response", answer(200, "content-type: text/plain", body=frame(b"x")), exact="grpc"),
    call("all", "plus", ONE, path="/x/Y?query=1", exact="grpc"),
    call("all", "three_parts", ONE, path="/x/Y/Z", exact="grpc"),
    call("all", "one_part", ONE, path="/x", exact="grpc"),
    call("all", "slashes", ONE, path="//x//Y//", exact="grpc"),
    call("all", "direct", path="/direct/x", exact="grpc", forwarded=0),
    call("all", "no_cluster", path="/none/x", exact="grpc", forwarded=0),
    call("all", "refused", path="/refused/x", exact="grpc", forwarded=0),
    on(
        "all",
        "many",
        post("/a.B/C", GRPC, chunks=(frame(b"a") + frame() + frame(b"b" * 300)[:7], b"b" * 298, frame(b"c"))),
        streamed(frame(b"x") + frame(b"y")[:3], frame(b"y")[3:], frame(b"", 1), b""[:0] or frame(b"z" * 2000)),
        exact="grpc",
    ),
    on("all", "odd_flags", post("/a.B/C", GRPC, body=frame(b"a", 9)), streamed(frame(b"x", 4)), exact="grpc"),
    on(
        "all",
        "end_flag",
        post("/a.B/C", GRPC, body=frame(b"a", 2) + frame(b"b")),
        streamed(frame(b"x", 2), frame(b"y")),
        exact="grpc",
    ),
    on("all", "no_grpc", post("/a.B/C", "content-type: text/plain", body=frame(b"a")), ONE, exact="grpc"),
    on("all", "parameter", post("/a.B/C", GRPC + ";charset=x", body=frame(b"a")), ONE, exact="grpc"),
    on("all", "proto", post("/a.B/C", GRPC + "+proto", body=frame(b"a")), ONE, exact="grpc"),
    on("all", "web_is_not_grpc", post("/a.B/C", GRPC + "-web", body=frame(b"a")), ONE, exact="grpc"),
    on(
        "all",
        "connect_unary",
        post("/a.B/C", "connect-protocol-version: 1", "content-type: application/proto", body=b"abc"),
        answer(200, "content-type: application/proto", body=b"x"),
        exact="grpc",
    ),
    on(
        "all",
        "connect_unary_failed",
        post("/a.B/C", "connect-protocol-version: 1", "content-type: application/json", body=b"{}"),
        answer(404, "content-type: application/json", body=b"{}"),
        exact="grpc",
    ),
    on(
        "all",
        "connect_version_2",
        post("/a.B/C", "connect-protocol-version: 2", "content-type: application/json", body=b"{}"),
        exact="grpc",
    ),
    on(
        "all",
        "connect_and_grpc",
        post("/a.B/C", "connect-protocol-version: 1", GRPC, body=frame(b"{}")),
        ONE,
        exact="grpc",
    ),
    on(
        "all",
        "connect_stream",
        post("/a.B/C", STREAM, body=frame(b"{}") * 2),
        answer(200, STREAM, body=frame(b"{}") + frame(b"{}", 2)),
        exact="grpc",
    ),
    on(
        "all",
        "connect_stream_failed",
        post("/a.B/C", STREAM, body=frame(b"{}")),
        answer(200, STREAM, body=frame(b'{"error": {"code": "internal"}}', 2)),
        exact="grpc",
    ),
    on(
        "all",
        "connect_stream_error_without_code",
        post("/a.B/C", STREAM, body=frame(b"{}")),
        answer(200, STREAM, body=frame(b'{"error": {}}', 2)),
        exact="grpc",
    ),
    on(
        "all",
        "connect_stream_broken",
        post("/a.B/C", STREAM, body=frame(b"{}")),
        answer(200, STREAM, body=frame(b'{"error', 2)),
        exact="grpc",
    ),
    on(
        "all",
        "connect_stream_no_object",
        post("/a.B/C", STREAM, body=frame(b"{}")),
        answer(200, STREAM, body=frame(b"[1]", 2)),
        exact="grpc",
    ),
    on(
        "all",
        "connect_stream_without_end",
        post("/a.B/C", STREAM, body=frame(b"{}")),
        answer(200, STREAM, body=frame(b"{}")),
        exact="grpc",
    ),
    on(
        "all",
        "connect_stream_http_error",
        post("/a.B/C", STREAM, body=frame(b"{}")),
        answer(500, STREAM, body=frame(b"{}", 2)),
        exact="grpc",
    ),
    call(
        "some",
        "listed",
        ONE,
        path="/a.B/Listed",
        exact="grpc",
        contains=(r"stat \+1 cluster\.up\.grpc\.a\.B\.Listed\.success",),
    ),
    call("some", "unlisted", ONE, exact="grpc", contains=(r"stat \+1 cluster\.up\.grpc\.success",)),
    call("some", "no_method", ONE, path="/a.B", exact="grpc"),
    call("plain", "unary", ONE, exact="grpc"),
    call("plain", "failed", ONLY, exact="grpc"),
    call(
        "dots", "unary", ONE, path="/a.b.C/D.e", exact="grpc", contains=(r"stat \+1 cluster\.up\.grpc\.a_b_C\.D\.e\.0",)
    ),
]

TEXT = "content-type: application/grpc-web-text"
ACCEPT_TEXT = "accept: application/grpc-web-text"


def web(
    name: str,
    *answers: Answer,
    fields: tuple[str, ...] = (),
    body: bytes = b"",
    chunks: tuple[bytes, ...] = (),
    content: str = "content-type: application/grpc-web",
    path: str = "/a.B/C",
    **more: Any,
) -> Case:
    if not (body or chunks):
        body = frame(b"hello")
    return on(
        "web",
        name,
        post(path, content, *fields, body=b"" if chunks else body, chunks=chunks),
        *answers,
        exact="grpc",
        **more,
    )


EARLY = (r"stat .*downstream_rq_(response_before_rq_complete|rx_reset)$",)
"""A request's end may be seen with its last bytes, or after them."""
ENCODED = b64encode(frame(b"hello there"))
WEB = [
    web("binary", ONE, contains=(r"stat \+1 cluster\.up\.grpc-web\.a\.B\.C\.success",)),
    web("binary_proto", ONE, content="content-type: application/grpc-web+proto"),
    web("other_type", ONE, content="content-type: application/grpc-web+json"),
    web("parameter", ONE, content="content-type: application/grpc-web;a=b"),
    web("upper_case", ONE, content="content-type: application/GRPC-web"),
    web("failed", FAILED),
    web("trailers_only", ONLY),
    web("two_frames", streamed(frame(b"a"), frame(b"b"), trailers="grpc-status: 0\r\nX-Other: a b")),
    web("keeps_accept_encoding", ONE, fields=("grpc-accept-encoding: gzip", "te: gzip")),
    web("text_request", ONE, content=TEXT, body=ENCODED),
    web("text_request_proto", ONE, content=TEXT + "+proto", body=ENCODED),
    web("text_response", ONE, content=TEXT, body=ENCODED, fields=(ACCEPT_TEXT,)),
    web("text_response_only", ONE, fields=(ACCEPT_TEXT + "+proto",)),
    web("text_in_chunks", ONE, content=TEXT, chunks=(ENCODED[:3], ENCODED[3:9], ENCODED[9:])),
    web(
        "text_bad_size",
        content=TEXT,
        body=ENCODED[:-1],
        status=400,
        ignore=("^upstream",),
        log="grpc_base_64_decode_failed_bad_size",
    ),
    web("text_bad_letter", content=TEXT, body=b"AA!A", status=400, ignore=EARLY),
    web("text_padding_inside", content=TEXT, body=b"AA==AAAA", status=400, ignore=EARLY),
    web("text_padding_only", content=TEXT, body=b"====", status=400, ignore=EARLY),
    web("text_padding_three", content=TEXT, body=b"A===", status=400, ignore=EARLY),
    web("text_unused_bits", content=TEXT, body=b"AB==", status=400, ignore=EARLY),
    web("text_unused_bits_two", content=TEXT, body=b"AAB=", status=400, ignore=EARLY),
    web("text_line_end", content=TEXT, body=b"AAAA\r\nAA", status=400, ignore=EARLY),
    web("text_url_alphabet", content=TEXT, body=b"AA-_", status=400, ignore=EARLY),
    web("text_two_frames", streamed(frame(b"ab"), frame(b"c") + frame(b"", 1)), fields=(ACCEPT_TEXT,)),
    web("text_split_frame", streamed(frame(b"a" * 50)[:9], frame(b"a" * 50)[9:]), fields=(ACCEPT_TEXT,)),
    web("text_failed", FAILED, fields=(ACCEPT_TEXT,)),
    web("text_trailers_only", ONLY, fields=(ACCEPT_TEXT,)),
    web("http_error", answer(503, "content-type: text/plain", body=b"down % \n\xc3\xa9")),
    web("http_error_empty", answer(404, "content-type: text/plain")),
    web("http_error_in_chunks", streamed(b"one ", b"two", fields=("content-type: text/html",), code=500, trailers="")),
    web("http_error_with_trailers", streamed(b"one ", b"two", fields=(), code=429, trailers="x-a: b")),
    web("http_error_long", streamed(b"a" * 12000, b"b" * 12000, b"c" * 12000, code=500, fields=(), trailers="")),
    web("long_in_one_piece", answer(500, body=b"a" * 20000)),
    web("ok_without_type", answer(200, body=b"x")),
    web("ok_text", answer(200, "content-type: text/plain", body=b"plain"), fields=(ACCEPT_TEXT,)),
    web("web_response", answer(200, "content-type: Application/grpc-web+proto ; x", body=frame(b"a"))),
    web("web_text_response", answer(200, TEXT, body=b64encode(frame(b"a")))),
    web("grpc_with_length", answer(200, GRPC, body=frame(b"a"))),
    web("direct", path="/direct/x", forwarded=0),
    web("refused", path="/refused/x", forwarded=0),
    web("no_cluster", path="/none/x", forwarded=0),
    on("web", "plain_request", post("/a.B/C", "content-type: text/plain", body=b"x"), ONE, exact="grpc"),
    on("web", "grpc_request", post("/a.B/C", GRPC, body=frame(b"x")), ONE, exact="grpc"),
]

BRIDGE = [
    call("bridge", "unary", ONE, status=200, contains=("grpc-status: 0", "content-length: 10")),
    call("bridge", "failed", FAILED, status=503),
    call("bridge", "trailers_only", ONLY, status=200),
    call("bridge", "status_letters", streamed(trailers="grpc-status: x"), status=503),
    call("bridge", "no_status", streamed(frame(b"x"), trailers="x-a: b"), status=200),
    call("bridge", "no_trailers", answer(200, GRPC, body=frame(b"x")), status=200),
    call("bridge", "two_pieces", streamed(frame(b"abc"), frame(b"defg")), status=200),
    call("bridge", "no_body", streamed(), status=200),
    call("bridge", "query_stays", ONE, path="/a.B/C?x=y"),
    call("bridge", "direct", path="/direct/x"),
    on("bridge", "protobuf_stays", post("/a.B/C", PROTO, body=b"abc"), answer(200, PROTO, body=b"x")),
    on("upgrade", "protobuf", post("/a.B/C?x=y", PROTO, body=b"abc"), ONE, status=200, body=b"reply"),
    on(
        "upgrade",
        "protobuf_chunks",
        post("/a.B/C", PROTO, chunks=(b"abc", b"de")),
        streamed(frame(b"reply")[:5], b"reply"),
    ),
    on("upgrade", "protobuf_empty", post("/a.B/C", PROTO), ONE),
    on("upgrade", "protobuf_failed", post("/a.B/C", PROTO, body=b"abc"), FAILED, status=503),
    on("upgrade", "protobuf_parameter", post("/a.B/C", PROTO + ";x=y", body=b"abc"), answer(200)),
    on("upgrade", "protobuf_route_is_found_anew", post("/only/x", PROTO, body=b"abc"), ONE, forwarded=1),
    call("upgrade", "grpc", ONE, path="/a.B/C?x=y"),
    on("upgrade", "other", post("/a.B/C?x=y", "content-type: text/plain", body=b"abc"), answer(200)),
]

ANSWERED = answer(200, PROTO, body=b"answer")
IN_PIECES = streamed(b"ans", b"wer", fields=(PROTO,), trailers="")
REVERSE = [
    call("reverse", "unary", ANSWERED, status=200),
    call("reverse", "in_pieces", IN_PIECES),
    call("reverse", "with_trailers", streamed(b"ans", b"wer", fields=(PROTO,), trailers="x-a: b")),
    call("reverse", "trailers_and_nothing_else", streamed(fields=(PROTO,), trailers="x-a: b")),
    call("reverse", "empty", answer(200, PROTO)),
    call("reverse", "http_error", answer(503, PROTO, body=b"x")),
    call("reverse", "http_error_empty", answer(404, PROTO)),
    call(
        "reverse", "wrong_type", answer(200, "content-type: text/html", body=b"x"), log="grpc_bridge_content_type_wrong"
    ),
    call("reverse", "wrong_type_error", answer(500, "content-type: text/html", body=b"x")),
    call("reverse", "no_type", answer(404, body=b"x")),
    call("reverse", "disabled", ONE, path="/off/x"),
    call("reverse", "direct", path="/direct/x"),
    on("reverse", "proto_type_comes_back", post("/a.B/C", GRPC + "+proto", body=frame(b"hi")), ANSWERED),
    on("reverse", "too_small", post("/a.B/C", GRPC, chunks=(b"abc",))[:-5], forwarded=1),
    on("reverse", "in_chunks", post("/a.B/C", GRPC, chunks=(frame(b"hi"), b"ho")), ANSWERED),
    on("reverse", "no_body", post("/a.B/C", GRPC), ANSWERED),
    on("reverse", "no_grpc", post("/a.B/C", PROTO, body=frame(b"hi")), ANSWERED),
    on("reverse", "no_frames_inside", post("/a.B/C", GRPC, body=b"12345678"), ANSWERED),
    call("keep", "unary", answer(200, PROTO, body=frame(b"answer"))),
    call("keep", "in_pieces", streamed(frame(b"ans"), frame(b"wer"), fields=(PROTO,), trailers="")),
    call("keep", "empty", answer(200, PROTO)),
    call("keep", "wrong_type", answer(200, GRPC, body=frame(b"answer"))),
    call("keep", "with_trailers", streamed(frame(b"a"), fields=(PROTO,), trailers="x-a: b")),
    call("size", "unary", answer(200, PROTO, "x-size: 6", body=b"answer")),
    call("size", "in_pieces", streamed(b"ans", b"wer", fields=(PROTO, "x-size: 6"), trailers="")),
    call("size", "two_values", answer(200, PROTO, "x-size: 6,7", body=b"answer")),
    call("size", "missing", ANSWERED, log="grpc_bridge_content_length_missing"),
    call("size", "letters", answer(200, PROTO, "x-size: six", body=b"answer")),
    call("size", "wrong", answer(200, PROTO, "x-size: 5", body=b"answer"), ignore=("^client",)),
    call("size", "too_large", answer(200, PROTO, "x-size: 4294967296", body=b"answer")),
    call("size", "empty", answer(200, PROTO, "x-size: 0")),
    call("size", "with_trailers", streamed(b"ans", b"wer", fields=(PROTO, "x-size: 6"), trailers="x-a: b")),
]

KNOWING = [
    *[call("main", f"retried_{status}", answer(200, GRPC, f"grpc-status: {status}"), ONE, path="/asks/x", forwarded=2)
      for status in (1, 4, 8, 13, 14)],
    *[call("main", f"not_retried_{status}", answer(200, GRPC, f"grpc-status: {status}"), path="/asks/x", forwarded=1)
      for status in (0, 2, 16)],
    call("main", "not_retried_in_trailers", FAILED, path="/asks/x", forwarded=1),
    call("main", "route_of_grpc", ONE, path="/only/x", forwarded=1),
    on("main", "route_of_others", post("/only/x", "content-type: text/plain"), forwarded=0, body=b"no gRPC"),
    on("main", "route_of_parameter", post("/only/x", GRPC + ";x=y")),
    call("main", "direct", path="/direct/x", contains=("grpc-status: 7", "not %25 you")),
    on("main", "local_reply_with_parameter", post("/direct/x", GRPC + ";x=y")),
    call("main", "no_cluster", path="/none/x", contains=("grpc-status: 14",)),
    call("main", "refused", path="/refused/x", contains=("grpc-status: 14",)),
    *[call("main", f"log_of_http_{code}", answer(code, "content-type: text/plain", body=b"x"))
      for code in (400, 401, 408, 429, 499, 504)],
    *[call("logged", f"status_{status}", streamed(trailers=f"grpc-status: {status}"), logged=lines)
      for status, lines in (("0", 2), ("2", 2), ("7", 1), ("14", 2), ("77", 1), ("x", 1))],
    on("logged", "http_only", post("/x", "content-type: text/plain"), answer(503), logged=2),
]  # fmt: skip


def over_http2(listener: str, name: str, content_type: bytes, body: bytes, *answers: Answer, **more: Any) -> Case:
    """The call of an HTTP/2 client."""
    path = more.pop("path", b"/a.B/C")
    fields = ((b"content-type", content_type), (b"te", b"trailers"), *more.pop("fields", ()))
    steps = (HELLO + head_of_post(1, path, *fields) + data(body), Frames())
    return Case(f"{listener}_http2_{name}", steps, config="grpc", listener=listener, answers=answers, **more)


HELLO_FRAME = frame(b"hello")
ASKS_TEXT = ((b"accept", b"application/grpc-web-text"),)
OVER_HTTP2 = [
    over_http2("all", "unary", b"application/grpc", HELLO_FRAME, ONE, exact="grpc"),
    over_http2("all", "trailers_only", b"application/grpc", HELLO_FRAME, ONLY, exact="grpc"),
    over_http2("web", "binary", b"application/grpc-web+proto", HELLO_FRAME, ONE, exact="grpc"),
    over_http2("web", "text", b"application/grpc-web-text", ENCODED, ONE, fields=ASKS_TEXT, exact="grpc"),
    over_http2("web", "trailers_only", b"application/grpc-web", HELLO_FRAME, ONLY, exact="grpc"),
    over_http2("web", "http_error", b"application/grpc-web", HELLO_FRAME, answer(503, body=b"down"), exact="grpc"),
    over_http2("web", "direct", b"application/grpc-web", HELLO_FRAME, path=b"/direct/x"),
    over_http2("bridge", "unary", b"application/grpc", HELLO_FRAME, ONE),
    over_http2("upgrade", "protobuf", b"application/x-protobuf", b"abc", ONE),
    over_http2("reverse", "unary", b"application/grpc", HELLO_FRAME, ANSWERED, contains=("trailer grpc-status: 0",)),
    over_http2("reverse", "in_pieces", b"application/grpc", HELLO_FRAME, IN_PIECES),
    over_http2("reverse", "empty", b"application/grpc", HELLO_FRAME, answer(200, PROTO)),
    over_http2("reverse", "http_error", b"application/grpc", HELLO_FRAME, answer(403, PROTO, body=b"x")),
    over_http2("size", "unary", b"application/grpc", HELLO_FRAME, answer(200, PROTO, "x-size: 6", body=b"answer")),
    over_http2("keep", "empty", b"application/grpc", HELLO_FRAME, answer(200, PROTO)),
    over_http2("main", "direct", b"application/grpc", HELLO_FRAME, path=b"/direct/x"),
    over_http2("main", "refused", b"application/grpc", HELLO_FRAME, path=b"/refused/x"),
]
WHOLE = STATISTICS + WEB + BRIDGE + REVERSE + KNOWING
CUT_REQUESTS = ("all_many", "web_text_request", "web_binary", "upgrade_protobuf", "reverse_unary", "all_connect_stream")
CUT_ANSWERS = ("all_many", "web_text_two_frames", "web_failed", "bridge_two_pieces", "reverse_in_pieces", "size_unary")
PIECES = [in_pieces(case) for case in WHOLE if case.name in CUT_REQUESTS]
PIECES += [answered_in_pieces(case) for case in WHOLE if case.name in CUT_ANSWERS]


@pytest.mark.parametrize("case", WHOLE + PIECES + OVER_HTTP2, ids=case_id)
def test_grpc(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
