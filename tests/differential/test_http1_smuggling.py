"""More hostile HTTP/1 requests, by what they attack; each whole and in pieces (see ``pieces``)."""

from typing import Any

import pytest
from tests.differential.harness import Case, Do, Pairs, Reply, case_id
from tests.differential.pieces import in_pieces
from tests.differential.test_http1_hostile_requests import CHUNKED, ENCODINGS, LENGTHS, LENIENT, SMUGGLED, SYNTAX, head
from tests.differential.test_http1_hostile_requests import CHUNKS as OTHER_CHUNKS
from tests.differential.wire import End

GET = b"GET /x HTTP/1.1"
UNFRAMED = (r"^upstream", r"^stat \S+ cluster", r"^log")
"""A broken body: how far its head came before depends on when its bytes came."""


def hostile(name: str, data: bytes, *, listener: str = "main", **more: Any) -> Case:
    """A request with another one behind it: both proxies must see the same requests, and answer them alike."""
    return Case(name, (data + SMUGGLED, Reply(), Reply()), listener=listener, **more)


def refused(name: str, data: bytes, status: int = 400, *, listener: str = "main", **more: Any) -> Case:
    """A request that must be answered with this status and a close, and never be forwarded."""
    steps = (data + SMUGGLED, Reply(), Do("end"))
    return Case(name, steps, listener=listener, status=status, end=End.CLOSED, forwarded=0, **more)


def passes(name: str, data: bytes, **more: Any) -> Case:
    """A request that looks odd and is fine."""
    return Case(name, (data, Reply()), status=200, end=End.OPEN, **more)


def stricter(name: str, data: bytes, why: str, **more: Any) -> Case:
    return Case(name, (data, Reply()), stricter=why, **more)


def body(name: str, chunks: bytes, **more: Any) -> Case:
    """A broken body, behind a good request that leaves both proxies with an idle upstream connection."""
    steps = (SMUGGLED, Reply(), head(CHUNKED) + chunks + SMUGGLED, Reply(), Do("end"))
    return Case(name, steps, ignore=UNFRAMED, **more)


FRAMING = [
    refused("length_with_letters", head(b"Content-Length: 3a", body=b"abc")),
    refused("length_with_point", head(b"Content-Length: 3.0", body=b"abc")),
    refused("length_exponent", head(b"Content-Length: 3e0", body=b"abc")),
    refused("length_semicolon", head(b"Content-Length: 3;", body=b"abc")),
    refused("length_nul", head(b"Content-Length: 3\x00", body=b"abc")),
    refused("length_quoted", head(b'Content-Length: "3"', body=b"abc")),
    refused("length_high_byte", head(b"Content-Length: 3\xa0", body=b"abc")),
    refused("length_next_line", head(b"Content-Length: 3\x85", body=b"abc")),
    refused("length_full_width", head("Content-Length: \uff13".encode(), body=b"abc")),
    refused("length_superscript", head(b"Content-Length: \xb2", body=b"ab")),
    refused("length_2_to_63", head(b"Content-Length: 9223372036854775808000")),
    refused("length_40_digits", head(b"Content-Length: " + b"9" * 40)),
    passes("length_40_zeros", head(b"Content-Length: " + b"0" * 40 + b"3", body=b"abc")),
    refused("length_other_case_twice", head(b"content-length: 3", b"CONTENT-LENGTH: 5", body=b"abcde")),
    refused("length_between_others_twice", head(b"Content-Length: 3", b"X: y", b"Content-Length: 0", body=b"abc")),
    refused("length_empty_then_good", head(b"Content-Length:", b"Content-Length: 3", body=b"abc")),
    refused("length_minus_zero", head(b"Content-Length: -0")),
    hostile("length_shorter_than_body", head(b"Content-Length: 1", body=b"abc")),
    refused("coding_before_length", head(b"Transfer-Encoding: chunked", b"Content-Length: 0", body=b"0\r\n\r\n")),
    refused("coding_upper_and_length", head(b"TRANSFER-ENCODING: CHUNKED", b"Content-Length: 4", body=b"0\r\n\r\n")),
    refused("coding_trailing_comma", head(b"Transfer-Encoding: chunked,", body=b"0\r\n\r\n"), 501),
    refused("coding_leading_comma", head(b"Transfer-Encoding: ,chunked", body=b"0\r\n\r\n"), 501),
    refused("coding_with_parameter", head(b"Transfer-Encoding: chunked;q=1", body=b"0\r\n\r\n"), 501),
    refused("coding_nul", head(b"Transfer-Encoding: chunked\x00", body=b"0\r\n\r\n")),
    refused("coding_high_byte", head(b"Transfer-Encoding: chunked\xa0", body=b"0\r\n\r\n"), 501),
    refused("coding_form_feed", head(b"Transfer-Encoding: \x0cchunked", body=b"0\r\n\r\n")),
    refused("coding_inner_blank", head(b"Transfer-Encoding: chun ked", body=b"0\r\n\r\n"), 501),
    refused("coding_cow", head(b"Transfer-Encoding: cow", b"Content-Length: 3", body=b"abc")),
    refused("coding_chunked_then_cow", head(CHUNKED, b"Transfer-Encoding: cow", body=b"0\r\n\r\n"), 501),
    refused("coding_deflate", head(b"Transfer-Encoding: deflate", body=b"0\r\n\r\n"), 501),
    refused("coding_name_with_tab", head(b"Transfer-Encoding\t: chunked", body=b"0\r\n\r\n")),
    refused("coding_behind_blank_line_start", head(b" Transfer-Encoding: chunked", start=b"POST /x HTTP/1.1\r\nX: y")),
    passes("coding_upper_case", head(b"Transfer-Encoding: CHUNKED", body=b"0\r\n\r\n")),
    passes("coding_outer_tabs", head(b"Transfer-Encoding:\tchunked\t", body=b"0\r\n\r\n")),
    refused("coding_in_http10", head(CHUNKED, body=b"0\r\n\r\n", start=b"POST /x HTTP/1.0"), 426),
]  # fmt: skip

CHUNKS = [
    Case("size_20_digits", (head(CHUNKED) + b"00000000000000000003\r\nabc\r\n0\r\n\r\n", Reply()), status=200),
    body("size_16_digits", b"ffffffffffffffff\r\nabc", stricter="no body is that long"),
    body("size_just_too_large", b"10000000000000000\r\nabc"),
    body("size_tab_inside", b"0\t3\r\nabc\r\n0\r\n\r\n"),
    body("size_vertical_tab", b"3\x0b\r\nabc\r\n0\r\n\r\n"),
    body("size_high_byte", b"3\xa0\r\nabc\r\n0\r\n\r\n"),
    body("size_quoted", b'"3"\r\nabc\r\n0\r\n\r\n'),
    body("size_h_suffix", b"3h\r\nabc\r\n0\r\n\r\n"),
    body("size_comma", b"3,0\r\nabc\r\n0\r\n\r\n"),
    body("size_cr_alone", b"3\rabc\r\n0\r\n\r\n"),
    body("size_two_crs", b"3\r\r\nabc\r\n0\r\n\r\n"),
    body("data_too_long", b"3\r\nabcd\r\n0\r\n\r\n", stricter="RFC 9112: CRLF follows the data"),
    body("data_too_short", b"5\r\nabc\r\n0\r\n\r\n", stricter="RFC 9112: CRLF follows the data"),
    body("data_without_crlf", b"3\r\nabc0\r\n\r\n", stricter="RFC 9112: CRLF follows the data"),
    body("data_cr_alone", b"3\r\nabc\r0\r\n\r\n", stricter="RFC 9112: CRLF follows the data"),
    body("extension_nul", b"3;a=\x00\r\nabc\r\n0\r\n\r\n", stricter="NUL in an extension"),
    body("extension_cr", b"3;a=\rb\r\nabc\r\n0\r\n\r\n"),
    body("extension_lf", b"3;a=\nb\r\nabc\r\n0\r\n\r\n"),
    Case("extension_quoted_crlf", (head(CHUNKED) + b'3;a="\r\nabc\r\n0\r\n\r\n', Reply()), status=200, forwarded=1),
    Case("extension_1_kb", (head(CHUNKED) + b"3;" + b"a" * 1000 + b"\r\nabc\r\n0\r\n\r\n", Reply()), status=200),
    Case("extension_on_last_chunk", (head(CHUNKED) + b"3\r\nabc\r\n0;a=b\r\n\r\n", Reply()), status=200, forwarded=1),
    body("extension_20_kb", b"3;" + b"a" * 20_000 + b"\r\nabc\r\n0\r\n\r\n", stricter="extensions have an end"),
    Case("size_upper_case", (head(CHUNKED) + b"A\r\n0123456789\r\n0\r\n\r\n", Reply()), status=200, forwarded=1),
    Case("last_chunk_many_zeros", (head(CHUNKED) + b"3\r\nabc\r\n00000\r\n\r\n", Reply()), status=200, forwarded=1),
    body("trailer_without_colon", b"0\r\nnocolon\r\n\r\n"),
    body("trailer_name_nul", b"0\r\nx\x00y: 1\r\n\r\n"),
    body("trailer_folded", b"0\r\nx: 1\r\n y\r\n\r\n", stricter="obs-fold"),
    body("trailer_starts_with_blank", b"0\r\n x: 1\r\n\r\n", stricter="a fold without a field"),
    body("trailer_too_large", b"0\r\nx: " + b"a" * 70_000 + b"\r\n\r\n"),
    Case("trailer_transfer_encoding", (head(CHUNKED) + b"0\r\nTransfer-Encoding: chunked\r\n\r\n", Reply()),
         stricter="framing fields in trailers"),
    Case("trailer_host", (head(CHUNKED) + b"0\r\nHost: b.test\r\n\r\n", Reply()),
         stricter="routing fields in trailers"),
]  # fmt: skip

NAMES = [
    refused(f"name_with_{value:02x}", head(b"X" + bytes([value]) + b"Y: 1", start=GET))
    for value in (*range(0x01, 0x09), 0x0B, 0x0C, 0x0E, 0x1F, *b'"(),/;<=>?@[\\]{}', 0x7F, 0x80, 0x85, 0xA0, 0xFF)
]
VALUES = [
    refused(f"value_with_{value:02x}", head(b"X: a" + bytes([value]) + b"b", start=GET))
    for value in (0x02, 0x07, 0x08, 0x0C, 0x0E, 0x1B, 0x1F)
] + [
    passes(f"value_with_{value:02x}", head(b"X: a" + bytes([value]) + b"b", start=GET))
    for value in (0x09, 0x80, 0x85, 0xA0, 0xFF)
]

TARGETS = [
    refused("target_star", head(start=b"GET * HTTP/1.1")),
    hostile("target_star_and_more", head(start=b"OPTIONS *x HTTP/1.1")),
    refused("target_two_words", head(start=b"GET /a /b HTTP/1.1")),
    refused("target_quote_blank", head(start=b'GET "/a b" HTTP/1.1')),
    refused("target_backslash_first", head(start=b"GET \\a HTTP/1.1")),
    refused("target_authority_form", head(start=b"GET a.test:80 HTTP/1.1")),
    refused("target_del", head(start=b"GET /\x7f HTTP/1.1")),
    refused("target_escape", head(start=b"GET /\x1b[31m HTTP/1.1")),
    refused("target_overlong_utf8", head(start=b"GET /\xc0\xae\xc0\xae/ HTTP/1.1")),
    refused("target_only_fragment", head(start=b"GET # HTTP/1.1")),
    refused("target_query_fragment", head(start=b"GET /?a#b HTTP/1.1")),
    passes("target_percent_nul", head(start=b"GET /a%00b HTTP/1.1")),
    passes("target_bad_percent", head(start=b"GET /%zz%4 HTTP/1.1")),
    passes("target_overlong_percent", head(start=b"GET /%c0%ae%c0%ae/ HTTP/1.1")),
    passes("target_backslashes", head(start=b"GET /a\\..\\b HTTP/1.1")),
    passes("target_double_slash", head(start=b"GET //evil.test/ HTTP/1.1")),
    passes("target_params", head(start=b"GET /..;/admin;x=1 HTTP/1.1")),
    passes("target_quotes", head(start=b"GET /\"<>^`{|} HTTP/1.1")),
    refused("target_normalized_nul", head(start=b"GET /a%00b HTTP/1.1"), listener="paths"),
    hostile("target_normalized_dots", head(start=b"GET /a/../../%2e%2E/b HTTP/1.1"), listener="paths"),
    hostile("target_normalized_double_escape", head(start=b"GET /%252e%252e/%25 HTTP/1.1"), listener="paths"),
    refused("target_escaped_slash", head(start=b"GET /a%2fb HTTP/1.1"), listener="paths"),
    refused("target_escaped_backslash", head(start=b"GET /a%5Cb HTTP/1.1"), listener="paths"),
    refused("uri_without_slashes", head(start=b"GET http:a.test/ HTTP/1.1")),
    refused("uri_one_slash", head(start=b"GET http:/a.test/ HTTP/1.1")),
    refused("uri_javascript", head(start=b"GET javascript://a/ HTTP/1.1")),
    refused("uri_port_empty", head(start=b"GET http://a.test:/ HTTP/1.1")),
    refused("uri_port_negative", head(start=b"GET http://a.test:-1/ HTTP/1.1")),
    refused("uri_port_plus", head(start=b"GET http://a.test:+80/ HTTP/1.1")),
    refused("uri_port_letters", head(start=b"GET http://a.test:8x/ HTTP/1.1")),
    refused("uri_port_twice", head(start=b"GET http://a.test:80:80/ HTTP/1.1")),
    refused("uri_port_only", head(start=b"GET http://:80/ HTTP/1.1")),
    refused("uri_bracket_open", head(start=b"GET http://[::1/ HTTP/1.1")),
    refused("uri_fragment", head(start=b"GET http://a.test/#x HTTP/1.1")),
    refused("uri_blank_in_host", head(start=b"GET http://a .test/ HTTP/1.1")),
    passes("uri_upper_case_scheme", head(start=b"GET HTTP://a.test/x HTTP/1.1")),
    passes("uri_https", head(start=b"GET https://a.test/x HTTP/1.1")),
    passes("uri_ipv6", head(start=b"GET http://[::1]:80/x HTTP/1.1")),
    passes("uri_without_path", head(start=b"GET http://a.test HTTP/1.1")),
    hostile("uri_query_only", head(start=b"GET http://a.test?x=1 HTTP/1.1")),
    stricter("uri_userinfo", head(start=b"GET http://user:pw@a.test/x HTTP/1.1"), "userinfo"),
    refused("uri_userinfo_at_at", head(start=b"GET http://a@b@c.test/x HTTP/1.1")),
    *(
        hostile(f"uri_host_with_{value:02x}", head(start=b"GET http://a" + bytes([value]) + b"b/x HTTP/1.1"))
        for value in b"!$%&'()*+,;=_~-."
    ),
    hostile("uri_user_odd", head(start=b"GET http://a!~*:;=b@c.test/x HTTP/1.1")),
    hostile("uri_user_empty", head(start=b"GET http://@c.test/x HTTP/1.1")),
    hostile("uri_ipv6_zone", head(start=b"GET http://[fe80::1%25eth0]/x HTTP/1.1")),
    hostile("uri_ipv6_letters", head(start=b"GET http://[xyz]/x HTTP/1.1")),
    hostile("uri_ipv4", head(start=b"GET http://127.0.0.1:80/x HTTP/1.1")),
    refused("uri_options_star", head(start=b"OPTIONS http://a.test* HTTP/1.1")),
]  # fmt: skip

LINES = [
    stricter("method_with_cr", head(start=b"GET\r /x HTTP/1.1"), "bare CR"),
    refused("method_empty", head(start=b" /x HTTP/1.1")),
    refused("method_with_colon", head(start=b"GET: /x HTTP/1.1")),
    refused("method_100_letters", head(start=b"A" * 100 + b" /x HTTP/1.1")),
    refused("method_high_byte", head(start=b"G\xc9T /x HTTP/1.1")),
    refused("method_mixed_case", head(start=b"Get /x HTTP/1.1")),
    refused("method_then_newline", b"GET\r\n/x HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    refused("version_trailing_letters", head(start=b"GET /x HTTP/1.1x")),
    refused("version_two_dots", head(start=b"GET /x HTTP/1.1.1")),
    refused("version_blank_inside", head(start=b"GET /x HTTP/ 1.1")),
    refused("version_comma", head(start=b"GET /x HTTP/1,1")),
    refused("version_other_protocol", head(start=b"GET /x RTSP/1.1")),
    refused("version_3", head(start=b"GET /x HTTP/3"),),
    refused("version_99", head(start=b"GET /x HTTP/9.9"), 426),
    refused("http09_line_only", b"GET /x\r\n\r\n", 426),
    refused("http2_preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", listener="via"),
    refused("ssh_banner", b"SSH-2.0-x\r\n\r\n"),
    refused("smtp", b"EHLO a.test\r\n\r\n"),
    refused("redis", b"*1\r\n$4\r\nPING\r\n\r\n"),
    refused("memcached", b"stats\r\n\r\n"),
    refused("proxy_header", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n\r\n"),
    refused("xml", b"<?xml version='1.0'?>\r\n\r\n"),
    refused("nul_first", b"\x00GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    refused("byte_order_mark", b"\xef\xbb\xbfGET /x HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    refused("blank_first", b" GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    stricter("cr_only_lines", b"GET /x HTTP/1.1\rHost: a.test\r\r", "bare CR"),
    refused("header_colon_only", head(b":", start=GET)),
    refused("header_pseudo", head(b":method: POST", start=GET)),
    refused("header_only_blank_line", b"GET /x HTTP/1.1\r\n \r\nHost: a.test\r\n\r\n"),
    passes("header_200_colons", head(b"X: " + b":" * 200, start=GET)),
    refused("header_101", head(*[b"X%d: 1" % number for number in range(101)], start=GET), 431),
    refused("header_too_large", head(b"X: " + b"a" * 62_000, start=GET), 431),
    refused("target_too_large", head(start=b"GET /" + b"a" * 62_000 + b" HTTP/1.1"), 431),
    refused("line_without_end", b"GET /" + b"a" * 70_000, 431),
]  # fmt: skip

HOSTS = [
    refused("host_at_sign_path", b"GET / HTTP/1.1\r\nHost: a.test@b.test/\r\n\r\n"),
    refused("host_crlf_like", b"GET / HTTP/1.1\r\nHost: a.test\x0d\x0bX: 1\r\n\r\n"),
    refused("host_quote", b'GET / HTTP/1.1\r\nHost: "a.test"\r\n\r\n'),
    refused("host_pipe", b"GET / HTTP/1.1\r\nHost: a|b\r\n\r\n"),
    refused("host_angle", b"GET / HTTP/1.1\r\nHost: <a>\r\n\r\n"),
    refused("host_tab_inside", b"GET / HTTP/1.1\r\nHost: a\tb\r\n\r\n"),
    refused("host_nbsp", b"GET / HTTP/1.1\r\nHost: a\xa0b\r\n\r\n"),
    passes("host_percent", b"GET / HTTP/1.1\r\nHost: a%2eb\r\n\r\n"),
    passes("host_underscore", b"GET / HTTP/1.1\r\nHost: a_b\r\n\r\n"),
    passes("host_upper_case", b"GET / HTTP/1.1\r\nHOST: A.TEST\r\n\r\n"),
    passes("host_trailing_dot", b"GET / HTTP/1.1\r\nHost: a.test.\r\n\r\n"),
    passes("host_ipv6", b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"),
    passes("host_port_large", b"GET / HTTP/1.1\r\nHost: a.test:99999999\r\n\r\n"),
    passes("host_port_letters", b"GET / HTTP/1.1\r\nHost: a.test:http\r\n\r\n"),
    passes("host_5_kb", b"GET / HTTP/1.1\r\nHost: " + b"a" * 5000 + b"\r\n\r\n"),
    refused("host_missing", b"GET / HTTP/1.1\r\nX: 1\r\n\r\n"),
    stricter("host_three", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nHost: c\r\n\r\n", "one host"),
    hostile("host_port_stripped", b"GET / HTTP/1.1\r\nHost: a.test:+80\r\n\r\n", listener="paths"),
    hostile("host_port_arabic", "GET / HTTP/1.1\r\nHost: a.test:\u0668\r\n\r\n".encode(), listener="paths"),
]  # fmt: skip

TOKENS = [
    refused("connection_names_x_forwarded_host", head(b"Connection: x-forwarded-host", start=GET)),
    refused("connection_names_authority", head(b"Connection: :authority", start=GET)),
    refused("connection_many_tokens", head(b"Connection: " + b", ".join([b"x-%d" % n for n in range(12)]), start=GET)),
    passes("connection_nine_tokens", head(b"Connection: " + b", ".join([b"x-%d" % n for n in range(9)]), start=GET)),
    hostile("connection_names_content_length", head(b"Connection: content-length", b"Content-Length: 3", body=b"abc")),
    hostile("connection_names_transfer_encoding", head(b"Connection: transfer-encoding", CHUNKED, body=b"0\r\n\r\n")),
    passes("connection_names_cookie", head(b"Connection: cookie", b"Cookie: a=1", start=GET)),
    passes("connection_names_x_envoy", head(b"Connection: x-envoy-internal", b"X-Envoy-Internal: true", start=GET)),
    passes("connection_te_gzip", head(b"Connection: te", b"TE: gzip", start=GET)),
    passes("connection_te_both", head(b"Connection: te", b"TE: gzip, trailers", start=GET)),
    refused("connection_te_300_bytes", head(b"Connection: te", b"TE: " + b"a" * 300, start=GET)),
    passes("connection_empty", head(b"Connection:", start=GET)),
    passes("connection_commas", head(b"Connection: ,,, ,", start=GET)),
    hostile("connection_close_in_quotes", head(b'Connection: "close"', start=GET)),
    hostile("connection_two_lines_close", head(b"Connection: keep-alive", b"Connection: close", start=GET)),
    hostile("connection_close_upper_case", head(b"CONNECTION: CLOSE", start=GET)),
    hostile("proxy_connection_close", head(b"Proxy-Connection: close", start=GET)),
    refused("upgrade_websocket", head(b"Connection: upgrade", b"Upgrade: websocket", start=GET), 403),
    refused("upgrade_http2", head(b"Connection: upgrade", b"Upgrade: HTTP/2.0", start=GET), 403),
    refused("upgrade_with_length", head(b"Connection: upgrade", b"Upgrade: x", b"Content-Length: 40"), 403),
    refused("upgrade_with_chunked", head(b"Connection: upgrade", b"Upgrade: x", CHUNKED), 403),
    hostile("upgrade_h2c_with_body", head(b"Connection: upgrade, http2-settings", b"Upgrade: h2c",
                                          b"HTTP2-Settings: AAMA", b"Content-Length: 3", body=b"abc")),
    hostile("upgrade_h2c_upper_case", head(b"Connection: upgrade", b"Upgrade: H2C", start=GET)),
    hostile("expect_unknown", head(b"Expect: the-unexpected", b"Content-Length: 3", body=b"abc")),
    hostile("expect_list", head(b"Expect: 100-continue, x", b"Content-Length: 3", body=b"abc")),
    hostile("expect_empty", head(b"Expect:", start=GET)),
    Case("expect_twice", (head(b"Expect: 100-continue", b"Expect: 100-continue", b"Content-Length: 3", body=b"abc"),
                          Reply(), Do("fin"), Do("end")), forwarded=1, ignore=(r"  expect: ",)),
    refused("underscore_rejected", head(b"a_b: 1", start=GET), listener="underscores"),
    refused("underscore_length", head(b"content_length: 1", start=GET), listener="underscores"),
    hostile("custom_xff_injection", head(b"X-Forwarded-For: 1.2.3.4, , ;drop", start=GET), listener="edge"),
    hostile("xff_nul_like", head(b"X-Forwarded-For: 1.2.3.4%00", start=GET), listener="edge"),
    passes("timeout_huge", head(b"X-Envoy-Upstream-Rq-Timeout-Ms: " + b"9" * 30, start=GET)),
    passes("timeout_plus", head(b"X-Envoy-Upstream-Rq-Timeout-Ms: +5", start=GET)),
    passes("timeout_underscore", head(b"X-Envoy-Max-Retries: 1_0", start=GET)),
]  # fmt: skip

CASES = [*FRAMING, *CHUNKS, *NAMES, *VALUES, *TARGETS, *LINES, *HOSTS, *TOKENS]
SPLIT = [
    in_pieces(case, UNFRAMED if case in CHUNKS or case in OTHER_CHUNKS else ())
    for case in [*CASES, *LENGTHS, *ENCODINGS, *OTHER_CHUNKS, *SYNTAX, *LENIENT]
]


@pytest.mark.parametrize("case", [*CASES, *SPLIT], ids=case_id)
def test_smuggling(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
