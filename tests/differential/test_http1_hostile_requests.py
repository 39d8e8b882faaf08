"""Malformed and hostile HTTP/1 requests: Proxeny gives Envoy's verdict, or a stricter one where a case says why.

Most cases carry a second request behind the broken one, so that a verdict that desynchronises the stream shows as an
additional forwarded request.
"""

import pytest
from tests.differential.harness import Case, Do, Pairs, Reply, Send, case_id
from tests.differential.wire import End

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"


def bad(name: str, data: bytes, *, status: int = 400, log: str = "", listener: str = "main") -> Case:
    """A request that must be answered with this status and a close, and never be forwarded."""
    return Case(
        name,
        (data + SMUGGLED, Reply(), Do("end")),
        listener=listener,
        status=status,
        end=End.CLOSED,
        forwarded=0,
        log=log,
    )


def lenient(name: str, data: bytes, reason: str, *, forwarded: int | None = None) -> Case:
    """A request that Envoy lets pass; Proxeny may refuse it."""
    return Case(name, (data, Reply()), stricter=reason, forwarded=forwarded)


def head(*lines: bytes, body: bytes = b"", start: bytes = b"POST /x HTTP/1.1") -> bytes:
    return b"\r\n".join([start, b"Host: a.test", *lines]) + b"\r\n\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked"

LENGTHS = [
    bad("content_length_twice_equal", head(b"Content-Length: 3", b"Content-Length: 3", body=b"abc")),
    bad("content_length_twice_different", head(b"Content-Length: 3", b"Content-Length: 4", body=b"abcd")),
    bad("content_length_list", head(b"Content-Length: 3, 3", body=b"abc")),
    bad("content_length_empty", head(b"Content-Length:")),
    bad("content_length_plus", head(b"Content-Length: +3", body=b"abc")),
    bad("content_length_minus", head(b"Content-Length: -3", body=b"abc")),
    bad("content_length_hex", head(b"Content-Length: 0x3", body=b"abc")),
    bad("content_length_underscore", head(b"Content-Length: 1_0", body=b"0123456789")),
    bad("content_length_inner_blank", head(b"Content-Length: 1 0", body=b"0123456789")),
    bad("content_length_arabic_digit", head("Content-Length: \u0663".encode(), body=b"abc")),
    bad("content_length_2_to_64", head(b"Content-Length: 18446744073709551616")),
    bad("content_length_and_chunked", head(b"Content-Length: 3", CHUNKED, body=b"0\r\n\r\n")),
    bad("chunked_and_content_length", head(CHUNKED, b"Content-Length: 3", body=b"0\r\n\r\n")),
    Case("content_length_leading_zeros", (head(b"Content-Length: 003", body=b"abc"), Reply()), status=200, forwarded=1),
    Case("content_length_outer_blanks", (head(b"Content-Length: \t3 ", body=b"abc"), Reply()), status=200, forwarded=1),
]

ENCODINGS = [
    bad("te_identity", head(b"Transfer-Encoding: identity"), status=501),
    bad("te_gzip_chunked", head(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), status=501),
    bad("te_chunked_gzip", head(b"Transfer-Encoding: chunked, gzip", body=b"0\r\n\r\n"), status=501),
    bad("te_chunked_chunked", head(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"), status=501),
    bad("te_two_headers", head(CHUNKED, CHUNKED, body=b"0\r\n\r\n"), status=501),
    bad("te_identity_then_chunked", head(b"Transfer-Encoding: identity", CHUNKED, body=b"0\r\n\r\n"), status=501),
    bad("te_vertical_tab", head(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n")),
    bad("te_quoted", head(b'Transfer-Encoding: "chunked"', body=b"0\r\n\r\n"), status=501),
    bad("te_xchunked", head(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), status=501),
    bad("te_empty", head(b"Transfer-Encoding:", b"Content-Length: 3", body=b"abc")),
    bad("te_name_with_blank", head(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n")),
    lenient(
        "te_chunked_on_get", head(CHUNKED, body=b"0\r\n\r\n", start=b"GET /x HTTP/1.1"), "a GET with chunked is unusual"
    ),
]


def chunk_bad(name: str, chunks: bytes) -> Case:
    """A broken chunked body: the head may have been forwarded, a second request must not be."""
    return Case(
        name,
        (head(CHUNKED) + chunks + SMUGGLED, Reply(), Do("end")),
        end=End.CLOSED,
        status=400,
        ignore=(r"^upstream", r"^stat \S+ cluster\.up\.upstream_cx"),
    )


CHUNKS = [
    chunk_bad("chunk_size_letters", b"xyz\r\nabc\r\n0\r\n\r\n"),
    chunk_bad("chunk_size_0x", b"0x3\r\nabc\r\n0\r\n\r\n"),
    chunk_bad("chunk_size_plus", b"+3\r\nabc\r\n0\r\n\r\n"),
    chunk_bad("chunk_size_minus", b"-3\r\nabc\r\n0\r\n\r\n"),
    chunk_bad("chunk_size_underscore", b"0_3\r\nabc\r\n0\r\n\r\n"),
    chunk_bad("chunk_size_empty", b"\r\nabc\r\n0\r\n\r\n"),
    chunk_bad("chunk_size_leading_blank", b" 3\r\nabc\r\n0\r\n\r\n"),
    chunk_bad("chunk_size_overflow", b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
    chunk_bad("chunk_size_full_width_digit", "\uff13\r\nabc\r\n0\r\n\r\n".encode()),
    chunk_bad("trailer_name_bad", b"3\r\nabc\r\n0\r\nx y: 1\r\n\r\n"),
    chunk_bad("trailer_value_nul", b"3\r\nabc\r\n0\r\nx: \x00\r\n\r\n"),
    lenient(
        "chunk_data_garbage_before_lf",
        head(CHUNKED, body=b"3\r\nabcGARBAGE\r\n0\r\n\r\n"),
        "RFC 9112: CRLF follows the data",
    ),
    lenient(
        "chunk_size_trailing_blank", head(CHUNKED, body=b"3 \r\nabc\r\n0\r\n\r\n"), "RFC 9112 allows no blank here"
    ),
    lenient("chunk_size_blank_digit", head(CHUNKED, body=b"3 a\r\nabc\r\n0\r\n\r\n"), "not a chunk size"),
    lenient("chunk_data_bare_lf", head(CHUNKED, body=b"3\r\nabc\n0\r\n\r\n"), "bare LF"),
    lenient("chunk_size_bare_lf", head(CHUNKED, body=b"3\nabc\r\n0\r\n\r\n"), "bare LF"),
    lenient(
        "chunk_trailing_content_length",
        head(CHUNKED, body=b"0\r\nContent-Length: 40\r\n\r\n"),
        "framing fields in trailers",
    ),
]

SYNTAX = [
    bad("header_without_colon", head(b"NoColon")),
    bad("header_name_blank", head(b"X Y: 1")),
    bad("header_name_blank_before_colon", head(b"X-Y : 1")),
    bad("header_name_empty", head(b": 1")),
    bad("header_name_high_byte", head(b"X-\xe9: 1")),
    bad("header_name_nul", head(b"X\x00Y: 1")),
    bad("header_value_nul", head(b"X: a\x00b")),
    bad("header_value_vertical_tab", head(b"X: a\x0bb")),
    bad("header_value_del", head(b"X: a\x7fb")),
    bad("header_value_soh", head(b"X: a\x01b")),
    bad("host_nul", b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n"),
    bad("host_blank_inside", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    bad("host_slash", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    bad("host_fragment", b"GET / HTTP/1.1\r\nHost: a#b\r\n\r\n"),
    bad("host_question", b"GET / HTTP/1.1\r\nHost: a?b\r\n\r\n"),
    bad("host_backslash", b"GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n"),
    bad("host_high_bytes", b"GET / HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n"),
    bad("method_unknown", head(start=b"FOOBAR / HTTP/1.1")),
    bad("method_lower_case", head(start=b"get / HTTP/1.1")),
    bad("method_smuggled_bytes", head(start=b"GE\x00T / HTTP/1.1")),
    bad("path_nul", head(start=b"GET /a\x00b HTTP/1.1")),
    bad("path_high_byte", head(start=b"GET /caf\xc3\xa9 HTTP/1.1")),
    bad("path_fragment", head(start=b"GET /a#b HTTP/1.1")),
    bad("path_missing", head(start=b"GET  HTTP/1.1")),
    bad("path_without_slash", head(start=b"GET x HTTP/1.1")),
    bad("version_missing", head(start=b"GET /"), status=426, log="low_version"),
    bad("version_garbage", head(start=b"GET / HTTP/x.y")),
    bad("version_lower_case", head(start=b"GET / http/1.1")),
    bad("version_three_digits", head(start=b"GET / HTTP/1.11")),
    bad("version_09", head(start=b"GET / HTTP/0.9"), status=426, log="low_version"),
    bad("version_12", head(start=b"GET / HTTP/1.2"), status=426, log="low_version"),
    bad("version_20", head(start=b"GET / HTTP/2.0"), status=426, log="low_version"),
    bad("http2_preface_on_http1", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", listener="via"),
    bad("tls_client_hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40),
    bad("garbage_bytes", b"\xff\xfe\xfd\r\n\r\n"),
    bad("only_garbage_line", b"hello\r\n\r\n"),
    bad(
        "connect_with_content_length", b"CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\nContent-Length: 3\r\n\r\nabc"
    ),
    bad(
        "connect_with_chunked",
        b"CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\nTransfer-Encoding: chunked\r\n\r\n",
        status=501,
    ),
    bad("connect_with_path", b"CONNECT /x HTTP/1.1\r\nHost: a.test:80\r\n\r\n"),
    bad("connect_without_port", b"CONNECT a.test HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    bad("connection_names_x_forwarded_proto", head(b"Connection: x-forwarded-proto", b"X-Forwarded-Proto: https")),
    bad("connection_names_x_forwarded_for", head(b"Connection: x-forwarded-for", b"X-Forwarded-For: 1.2.3.4")),
    bad("connection_names_host", head(b"Connection: host")),
    bad("connection_names_pseudo_header", head(b"Connection: :path")),
    bad("absolute_uri_bad_port", head(start=b"GET http://a.test:99999999/ HTTP/1.1")),
    bad("absolute_uri_other_scheme", head(start=b"GET ftp://a.test/ HTTP/1.1")),
    bad("absolute_uri_empty_host", head(start=b"GET http:///x HTTP/1.1")),
]

LENIENT = [
    lenient("bare_lf", b"GET / HTTP/1.1\nHost: a.test\n\n", "bare LF"),
    lenient("bare_lf_in_one_header", b"GET / HTTP/1.1\r\nHost: a.test\nX: 1\r\n\r\n", "bare LF"),
    lenient("bare_cr_in_value", head(b"X: a\rb", start=b"GET / HTTP/1.1"), "bare CR"),
    lenient("obs_fold", head(b"X: a", b" b", start=b"GET / HTTP/1.1"), "obs-fold"),
    lenient("obs_fold_transfer_encoding", head(b"Transfer-Encoding:", b" chunked", body=b"0\r\n\r\n"), "obs-fold"),
    lenient("tab_in_request_line", head(start=b"GET\t/\tHTTP/1.1"), "RFC 9112: one space"),
    lenient("two_blanks_in_request_line", head(start=b"GET  /  HTTP/1.1"), "RFC 9112: one space"),
    lenient("blank_after_version", head(start=b"GET / HTTP/1.1 "), "RFC 9112: nothing behind the version"),
    lenient("blank_before_first_header", b"GET / HTTP/1.1\r\n Host: a.test\r\n\r\n", "a fold without a field"),
    lenient("two_hosts", b"GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n", "RFC 9112: 400"),
    lenient("two_hosts_equal", b"GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n", "RFC 9112: 400"),
    lenient("empty_host", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", "no authority"),
    lenient("host_userinfo", b"GET / HTTP/1.1\r\nHost: user@a.test\r\n\r\n", "userinfo is not part of Host"),
    lenient("host_comma", b"GET / HTTP/1.1\r\nHost: a.test,b.test\r\n\r\n", "one host"),
    lenient("absolute_uri_other_host", head(start=b"GET http://b.test/ HTTP/1.1"), "Host and URI differ"),
    lenient("crlf_flood", b"\r\n" * 5000 + SMUGGLED, "blank lines before a request may be limited"),
]

SPLIT = [
    Case(
        "split_bad_chunk_each_byte",
        (Send(head(CHUNKED) + b"zz\r\n", each_byte=True), Reply(), Do("end")),
        status=400,
        end=End.CLOSED,
        ignore=(r"^upstream|^stat \S+ cluster|^log|rx_bytes_total",),
    ),
    Case(
        "split_bad_length_each_byte",
        (Send(head(b"Content-Length: 3, 3"), each_byte=True), Reply(), Do("end")),
        status=400,
        end=End.CLOSED,
        forwarded=0,
        ignore=("rx_bytes_total",),
    ),
    Case(
        "bad_after_good_pipelined",
        (SMUGGLED + b"BAD\x00\r\n\r\n", Reply(), Reply(), Do("end")),
        status=(200, 400),
        end=End.CLOSED,
        forwarded=1,
    ),
    Case(
        "good_after_refused_method",
        (head(start=b"FOOBAR / HTTP/1.1") + SMUGGLED * 3, Reply(), Do("end")),
        status=400,
        end=End.CLOSED,
        forwarded=0,
    ),
]


@pytest.mark.parametrize("case", [*LENGTHS, *ENCODINGS, *CHUNKS, *SYNTAX, *LENIENT, *SPLIT], ids=case_id)
def test_hostile_request(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
