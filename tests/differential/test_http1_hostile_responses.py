"""Malformed and hostile responses; these and those of ``test_http1_responses`` cut at random points, too."""

from typing import Any

import pytest
from tests.differential.harness import Case, Pairs, case_id, request
from tests.differential.pieces import answered_in_pieces
from tests.differential.test_http1_responses import CHUNKED_HEAD, GET, HEAD, HOSTILE, answered, malformed
from tests.differential.upstream import FIN, NEVER

OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = b"content-length: 0\r\n\r\n"


def lenient(name: str, *pieces: bytes, why: str) -> Case:
    """An answer that Envoy passes on."""
    return Case(name, request(GET), answers=[(*pieces, NEVER)], stricter=why)


def broken(name: str, chunks: bytes, **more: Any) -> Case:
    """An answer whose body breaks the protocol."""
    return Case(name, request(GET), answers=[(CHUNKED_HEAD + chunks, NEVER)], **more)


LINES = [
    malformed("empty_line_first", b"\x00\r\n\r\n"),
    malformed("lower_case_version", b"http/1.1 200 OK\r\n" + EMPTY),
    malformed("version_without_dot", b"HTTP/11 200 OK\r\n" + EMPTY),
    malformed("version_two_digits", b"HTTP/1.10 200 OK\r\n" + EMPTY),
    malformed("version_only", b"HTTP/1.1\r\n" + EMPTY),
    malformed("icy", b"ICY 200 OK\r\n" + EMPTY),
    malformed("status_hex", b"HTTP/1.1 0xC8 OK\r\n" + EMPTY),
    lenient("status_plus", b"HTTP/1.1 +200 OK\r\n" + EMPTY, why="digits"),
    malformed("status_underscore", b"HTTP/1.1 2_0 OK\r\n" + EMPTY),
    malformed("status_point", b"HTTP/1.1 200.1 OK\r\n" + EMPTY),
    malformed("status_arabic", "HTTP/1.1 \u0662\u0660\u0660 OK\r\n".encode() + EMPTY),
    malformed("status_20_digits", b"HTTP/1.1 20000000000000000000 OK\r\n" + EMPTY),
    malformed("status_glued_to_reason", b"HTTP/1.1 200OK\r\n" + EMPTY),
    malformed("reason_nul", b"HTTP/1.1 200 O\x00K\r\n" + EMPTY),
    malformed("request_instead", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    malformed("html_instead", b"<html>hello</html>\r\n\r\n"),
    malformed("tls_alert", b"\x15\x03\x01\x00\x02\x02\x28\r\n\r\n"),
    malformed("http2_settings", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\r\n\r\n"),
    answered("reason_with_high_bytes", b"HTTP/1.1 200 caf\xc3\xa9\r\n" + EMPTY),
    answered("reason_2_kb", b"HTTP/1.1 200 " + b"x" * 2000 + b"\r\n" + EMPTY),
    lenient("status_0", b"HTTP/1.1 0 OK\r\n" + EMPTY, why="three digits"),
    lenient("status_000", b"HTTP/1.1 000 OK\r\n" + EMPTY, why="below 100"),
    lenient("status_600", b"HTTP/1.1 600 OK\r\n" + EMPTY, why="above 599"),
    lenient("tab_before_status", b"HTTP/1.1\t200 OK\r\n" + EMPTY, why="one blank"),
    lenient("two_blanks_before_status", b"HTTP/1.1  200 OK\r\n" + EMPTY, why="one blank"),
    lenient("blank_lines_first", b"\r\n\r\n" + OK + EMPTY, why="nothing before the status line"),
]

FIELDS = [
    malformed("field_blank_before_colon", OK + b"x : 1\r\n" + EMPTY),
    malformed("field_name_empty", OK + b": 1\r\n" + EMPTY),
    malformed("field_pseudo", OK + b":status: 200\r\n" + EMPTY),
    malformed("field_name_nul", OK + b"x\x00y: 1\r\n" + EMPTY),
    malformed("field_name_bracket", OK + b"x[y]: 1\r\n" + EMPTY),
    malformed("field_value_bell", OK + b"x: a\x07b\r\n" + EMPTY),
    malformed("field_value_vertical_tab", OK + b"x: a\x0bb\r\n" + EMPTY),
    malformed("length_blank_inside", OK + b"content-length: 1 0\r\n\r\n0123456789"),
    malformed("length_underscore", OK + b"content-length: 1_0\r\n\r\n0123456789"),
    malformed("length_hex", OK + b"content-length: 0x2\r\n\r\nok"),
    malformed("length_arabic", OK + "content-length: \u0662\r\n\r\nok".encode()),
    malformed("length_high_blank", OK + b"content-length: 2\xa0\r\n\r\nok"),
    malformed("length_empty", OK + b"content-length:\r\n\r\nok"),
    malformed("length_twice_different", OK + b"content-length: 2\r\ncontent-length: 20\r\n\r\nok"),
    malformed("coding_unknown", OK + b"transfer-encoding: cow\r\n\r\nok"),
    malformed("coding_chunked_twice", OK + b"transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    malformed("coding_quoted", OK + b'transfer-encoding: "chunked"\r\n\r\n0\r\n\r\n'),
    malformed("coding_vertical_tab", OK + b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    malformed("not_modified_with_chunked_and_length",
              b"HTTP/1.1 304 N\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n"),
    answered("not_modified_with_chunked", b"HTTP/1.1 304 N\r\ntransfer-encoding: chunked\r\n\r\n", status=304),
    answered("no_content_with_length_0", b"HTTP/1.1 204 N\r\ncontent-length: 0\r\n\r\n", status=204),
    answered("reset_content_with_body", b"HTTP/1.1 205 R\r\ncontent-length: 2\r\n\r\nok", status=205, body=b"ok"),
    answered("connection_names_length", OK + b"connection: content-length\r\ncontent-length: 2\r\n\r\nok"),
    answered("header_names_mixed", OK + b"CoNtEnT-LeNgTh: 2\r\n\r\nok", body=b"ok"),
    answered("upgrade_alone_in_a_200", OK + b"upgrade: x\r\ncontent-length: 2\r\n\r\nok"),
    answered("upgrade_in_a_200", OK + b"upgrade: x\r\nconnection: upgrade\r\ncontent-length: 2\r\n\r\nok"),
    Case("head_with_two_lengths", request(HEAD, head_only=True), status=502,
         answers=[(OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\n", NEVER)]),
    Case("interim_flood", request(GET), forwarded=1,
         answers=[(b"HTTP/1.1 102 P\r\n\r\n" * 300 + OK + EMPTY,)], status=200),
    Case("hints_flood", request(GET), forwarded=1,
         answers=[(b"HTTP/1.1 103 E\r\nlink: a\r\n\r\n" * 300 + OK + EMPTY,)], status=200),
    Case("interim_then_fin", request(GET), answers=[(b"HTTP/1.1 100 C\r\n\r\n", FIN)], status=503),
    Case("interim_then_garbage", request(GET), answers=[(b"HTTP/1.1 100 C\r\n\r\nNO\r\n\r\n", NEVER)], status=502),
]  # fmt: skip

BODIES = [
    broken("chunk_negative", b"-1\r\nx\r\n0\r\n\r\n"),
    broken("chunk_underscore", b"0_1\r\nx\r\n0\r\n\r\n"),
    broken("chunk_0x", b"0x1\r\nx\r\n0\r\n\r\n"),
    broken("chunk_high_blank", b"1\xa0\r\nx\r\n0\r\n\r\n"),
    broken("chunk_no_size", b"\r\nx\r\n0\r\n\r\n"),
    broken("chunk_cr_alone", b"1\rx\r\n0\r\n\r\n"),
    broken("chunk_too_long", b"1\r\nxy\r\n0\r\n\r\n", stricter="RFC 9112: CRLF follows the data"),
    broken("chunk_too_short", b"3\r\nx\r\n0\r\n\r\n", stricter="RFC 9112: CRLF follows the data"),
    broken("chunk_bare_lf", b"1\nx\n0\n\n", stricter="bare LF"),
    broken("trailer_without_colon", b"0\r\nnocolon\r\n\r\n"),
    broken("trailer_nul", b"0\r\nx: \x00\r\n\r\n"),
    broken("trailer_with_length", b"1\r\nx\r\n0\r\ncontent-length: 5\r\n\r\n", stricter="framing fields in trailers"),
    broken("extraneous", b"1\r\nx\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
    Case("length_0_with_body", request(GET) + request(GET), answers=[(OK + EMPTY + b"body", NEVER)], forwarded=2,
         status=(200, 200)),
    Case("two_responses", request(GET) + request(GET), status=(200, 200),
         answers=[(OK + EMPTY + OK + b"content-length: 3\r\n\r\nbad", NEVER)], forwarded=2),
]  # fmt: skip

CASES = [*LINES, *FIELDS, *BODIES]
RACING = ("length_0_with_body", "two_responses")
"""Whether what comes too late meets an idle connection or the next request is not decided here."""
SPLIT = [answered_in_pieces(case) for case in [*CASES, *HOSTILE] if case.name not in RACING]


@pytest.mark.parametrize("case", [*CASES, *SPLIT], ids=case_id)
def test_hostile_response(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
