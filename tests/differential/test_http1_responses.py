"""What upstreams answer: framing, odd and hostile responses, early ends; what becomes of the client."""

import pytest
from tests.differential.harness import Case, Do, Pairs, Reply, case_id, request
from tests.differential.upstream import BODY, FIN, NEVER, RST
from tests.differential.wire import End

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n"
POST3 = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc"

CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def answered(
    name: str,
    *pieces: bytes,
    status: int = 200,
    body: bytes | None = None,
    end: End = End.OPEN,
    log: str = "",
    listener: str = "main",
) -> Case:
    """A GET that the upstream answers with these pieces."""
    return Case(
        name, request(GET), listener=listener, answers=[pieces], status=status, body=body, end=end, forwarded=1, log=log
    )


def malformed(name: str, *pieces: bytes, log: str = "502 UPE") -> Case:
    """An answer that breaks the protocol before its head is complete: 502, and the client may go on."""
    return Case(name, request(GET), answers=[(*pieces, NEVER)], status=502, end=End.OPEN, forwarded=1, log=log)


FRAMING = [
    answered("content_length", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", body=b"hello"),
    answered(
        "content_length_pieces", b"HTTP/1.1 200", b" OK\r\ncontent-length: 5\r\n", b"\r\nhe", b"llo", body=b"hello"
    ),
    answered(
        "each_byte", *[b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"[n : n + 1] for n in range(40)], body=b"ok"
    ),
    answered("chunked", CHUNKED_HEAD + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", body=b"abcde"),
    answered("chunked_pieces", CHUNKED_HEAD, b"3\r", b"\nab", b"c\r\n0", b"\r\n\r\n", body=b"abc"),
    answered(
        "chunked_each_byte", *[(CHUNKED_HEAD + b"3\r\nabc\r\n0\r\n\r\n")[n : n + 1] for n in range(62)], body=b"abc"
    ),
    answered("chunked_extension", CHUNKED_HEAD + b"3;a=b\r\nabc\r\n0\r\n\r\n", body=b"abc"),
    answered("chunked_trailers_dropped", CHUNKED_HEAD + b"3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n", body=b"abc"),
    answered("body_until_fin", b"HTTP/1.1 200 OK\r\n\r\nhello", FIN, body=b"hello"),  # type: ignore[arg-type]
    answered("body_until_fin_empty", b"HTTP/1.1 200 OK\r\n\r\n", FIN, body=b""),  # type: ignore[arg-type]
    answered("body_100_kb", b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", b"x" * 100000, body=b"x" * 100000),
    Case(
        "body_2_mb_chunked",
        request(GET),
        answers=[(CHUNKED_HEAD, b"200000\r\n", b"y" * 0x200000, b"\r\n0\r\n\r\n")],
        status=200,
        body=b"y" * 0x200000,
        end=End.OPEN,
        ignore=("flow_control",),
    ),
    answered(
        "connection_close_then_fin",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        FIN,
        body=b"ok",
    ),  # type: ignore[arg-type]
    answered(
        "keep_alive_header_dropped",
        b"HTTP/1.1 200 OK\r\nkeep-alive: timeout=5\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n",
    ),
    answered("http10_answer", b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", FIN, body=b"ok"),  # type: ignore[arg-type]
    answered("http10_answer_until_fin", b"HTTP/1.0 200 OK\r\n\r\nok", FIN, body=b"ok"),  # type: ignore[arg-type]
    answered("no_content", b"HTTP/1.1 204 No Content\r\n\r\n", status=204),
    answered("not_modified", b'HTTP/1.1 304 Not Modified\r\netag: "x"\r\n\r\n', status=304),
    answered("not_modified_with_length", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 50\r\n\r\n", status=304),
    answered("reason_phrase", b"HTTP/1.1 404 Gone Fishing\r\ncontent-length: 0\r\n\r\n", status=404),
    answered("reason_phrase_empty", b"HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n"),
    answered("reason_phrase_missing", b"HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n"),
    answered("status_299", b"HTTP/1.1 299 X\r\ncontent-length: 0\r\n\r\n", status=299),
    answered("status_500", b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", status=500),
    answered("status_999", b"HTTP/1.1 999 X\r\ncontent-length: 0\r\n\r\n", status=999),
    answered("headers_repeated", b"HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nSet-Cookie: b=2\r\ncontent-length: 0\r\n\r\n"),
    answered("header_high_bytes", b"HTTP/1.1 200 OK\r\nx-h: caf\xc3\xa9\r\ncontent-length: 0\r\n\r\n"),
    answered(
        "hop_by_hop",
        b"HTTP/1.1 200 OK\r\nconnection: x-hop\r\nx-hop: 1\r\nproxy-connection: x\r\ncontent-length: 0\r\n\r\n",
    ),
    answered(
        "service_time_replaced", b"HTTP/1.1 200 OK\r\nx-envoy-upstream-service-time: abc\r\ncontent-length: 0\r\n\r\n"
    ),
    Case(
        "continue_from_upstream",
        (POST3, Reply()),
        forwarded=1,
        answers=[(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")],
    ),
    Case(
        "two_continues_from_upstream",
        (POST3, Reply()),
        forwarded=1,
        answers=[(b"HTTP/1.1 100 Continue\r\n\r\n" * 2, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")],
    ),
    Case(
        "processing_102",
        request(GET),
        answers=[(b"HTTP/1.1 102 P\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",)],
        forwarded=1,
    ),
    Case(
        "head_with_chunked",
        request(HEAD, head_only=True),
        answers=[(CHUNKED_HEAD,)],
        status=200,
        end=End.OPEN,
        forwarded=1,
    ),
    Case(
        "head_without_length",
        request(HEAD, head_only=True),
        answers=[(b"HTTP/1.1 200 OK\r\n\r\n",)],
        status=200,
        end=End.OPEN,
    ),
    Case(
        "head_answered_with_body",
        request(HEAD, head_only=True),
        forwarded=1,
        answers=[(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody", NEVER)],
        status=200,
        end=End.OPEN,
    ),
]

ENDS = [
    Case("fin_before_head", request(GET), answers=[(FIN,)], status=503, end=End.OPEN, forwarded=1, log="503 UC"),
    Case("rst_before_head", request(GET), answers=[(RST,)], status=503, end=End.OPEN, forwarded=1, log="503 UC"),
    Case(
        "fin_in_head", request(GET), answers=[(b"HTTP/1.1 200 OK\r\nx: ", FIN)], status=502, end=End.OPEN, log="502 UPE"
    ),
    Case(
        "fin_in_body",
        request(GET),
        answers=[(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe", FIN)],
        status=200,
        end=End.CLOSED,
    ),
    Case("fin_in_chunk", request(GET), answers=[(CHUNKED_HEAD + b"5\r\nhe", FIN)], status=200, end=End.CLOSED),
    Case(
        "fin_between_chunks", request(GET), answers=[(CHUNKED_HEAD + b"2\r\nhe\r\n", FIN)], status=200, end=End.CLOSED
    ),
    Case(
        "fin_in_trailers",
        request(GET),
        answers=[(CHUNKED_HEAD + b"2\r\nhe\r\n0\r\nx: 1\r\n", FIN)],
        status=200,
        end=End.CLOSED,
    ),
    Case(
        "rst_in_body_until_fin",
        request(GET),
        answers=[(b"HTTP/1.1 200 OK\r\n\r\nhello", RST)],
        status=200,
        ignore=(r"body", r"_bytes", r"^log"),
    ),
    Case(
        "early_answer_then_fin",
        (POST3[:-3], Reply(), Do("end")),
        status=413,
        end=End.CLOSED,
        forwarded=1,
        answers=[(b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", FIN, BODY)],
    ),
    Case(
        "extra_bytes_after_answer",
        request(GET) + request(GET),
        status=(200, 200),
        end=End.OPEN,
        forwarded=2,
        answers=[(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokEXTRA", NEVER)],
    ),
    Case(
        "response_split_attempt",
        request(GET) + request(GET),
        status=(200, 200),
        end=End.OPEN,
        forwarded=2,
        body=b"ok",
        answers=[
            (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison", NEVER)
        ],
    ),
    Case("two_answers_on_keep_alive", request(GET) * 2, status=(200, 200), end=End.OPEN, forwarded=2),
]

HOSTILE = [
    malformed("not_http", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    malformed("garbage", b"\xff\xfe\x00\x01\r\n\r\n"),
    malformed("status_letters", b"HTTP/1.1 2x0 OK\r\ncontent-length: 0\r\n\r\n"),
    malformed("status_negative", b"HTTP/1.1 -200 OK\r\ncontent-length: 0\r\n\r\n"),
    malformed("status_missing", b"HTTP/1.1 \r\ncontent-length: 0\r\n\r\n"),
    malformed("version_garbage", b"HTTP/x.y 200 OK\r\ncontent-length: 0\r\n\r\n"),
    malformed("length_twice", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok"),
    malformed("length_list", b"HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok"),
    malformed("length_plus", b"HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok"),
    malformed("length_negative", b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nok"),
    malformed("length_overflow", b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nok"),
    malformed(
        "length_and_chunked", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    malformed("te_gzip_chunked", b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    malformed("te_identity", b"HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\nok"),
    malformed(
        "te_twice", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    malformed("no_content_with_length", b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok"),
    malformed("no_content_with_chunked", b"HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    malformed("interim_with_length", b"HTTP/1.1 100 Continue\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n"),
    malformed("interim_with_chunked", b"HTTP/1.1 103 E\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    malformed("header_without_colon", b"HTTP/1.1 200 OK\r\nnocolon\r\ncontent-length: 0\r\n\r\n"),
    malformed("header_name_blank", b"HTTP/1.1 200 OK\r\nx y: 1\r\ncontent-length: 0\r\n\r\n"),
    malformed("header_name_high_byte", b"HTTP/1.1 200 OK\r\nx-\xe9: 1\r\ncontent-length: 0\r\n\r\n"),
    malformed("header_value_nul", b"HTTP/1.1 200 OK\r\nx: a\x00b\r\ncontent-length: 0\r\n\r\n"),
    malformed("header_value_del", b"HTTP/1.1 200 OK\r\nx: a\x7fb\r\ncontent-length: 0\r\n\r\n"),
    answered("head_62_kb", b"HTTP/1.1 200 OK\r\nx: " + b"a" * 62000 + b"\r\ncontent-length: 0\r\n\r\n"),
    malformed("head_too_large", b"HTTP/1.1 200 OK\r\nx: " + b"a" * 85000 + b"\r\ncontent-length: 0\r\n\r\n"),
    malformed("headers_too_many", b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: 1\r\n" % n for n in range(101)) + b"\r\n"),
    Case("bad_chunk_size", request(GET), answers=[(CHUNKED_HEAD + b"zz\r\nabc\r\n0\r\n\r\n", NEVER)]),
    Case("bad_chunk_size_later", request(GET), answers=[(CHUNKED_HEAD + b"3\r\nabc\r\n+1\r\nx\r\n0\r\n\r\n", NEVER)]),
    Case("chunk_size_overflow", request(GET), answers=[(CHUNKED_HEAD + b"fffffffffffffffff\r\nabc", NEVER)]),
    Case("bare_lf_head", request(GET), answers=[(b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok",)], stricter="bare LF"),
    Case(
        "obs_fold",
        request(GET),
        answers=[(b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 2\r\n\r\nok",)],
        stricter="obs-fold",
    ),
    Case(
        "bare_cr_in_value",
        request(GET),
        answers=[(b"HTTP/1.1 200 OK\r\nx: a\rb\r\ncontent-length: 2\r\n\r\nok",)],
        stricter="bare CR",
    ),
    Case(
        "status_20", request(GET), answers=[(b"HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n",)], stricter="three digits"
    ),
    Case("status_99", request(GET), answers=[(b"HTTP/1.1 099 OK\r\ncontent-length: 0\r\n\r\n",)], stricter="below 100"),
    Case(
        "status_2000",
        request(GET),
        answers=[(b"HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n",)],
        stricter="three digits",
    ),
    Case(
        "unrequested_101",
        (GET, Reply(), Do("fin"), Do("end")),
        answers=[(b"HTTP/1.1 101 S\r\n\r\n", FIN)],
        stricter="a 101 nobody asked for must not open a tunnel",
    ),
    Case(
        "version_2", request(GET), answers=[(b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",)], stricter="HTTP/1 only"
    ),
]


@pytest.mark.parametrize("case", [*FRAMING, *ENDS, *HOSTILE], ids=case_id)
def test_response(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
