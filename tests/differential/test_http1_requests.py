"""Well-formed HTTP/1 requests: framing, keep-alive, limits, upgrades, forwarded headers."""

import pytest
from tests.differential.harness import Case, Do, Expect, Pairs, Release, Reply, Send, UpstreamSaw, case_id, request
from tests.differential.upstream import BODY, NEVER, Hold
from tests.differential.wire import End

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
CLOSE = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
POST3 = b"POST /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = b"POST /c HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
ECHO101 = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def get(*headers: bytes, path: bytes = b"/", method: bytes = b"GET", host: bytes = b"a.test") -> bytes:
    """A request of these header lines."""
    lines = [b"%s %s HTTP/1.1" % (method, path), b"Host: " + host, *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


FRAMING = [
    Case("get", request(GET), status=200, body=b"ok", end=End.OPEN, forwarded=1, log="via_upstream"),
    Case("get_each_byte", (Send(GET, each_byte=True), Reply()), status=200, end=End.OPEN, forwarded=1),
    Case("post_content_length", request(POST3), status=200, end=End.OPEN, forwarded=1, contains=(r"> .*body 'abc'",)),
    Case("post_each_byte", (Send(POST3, each_byte=True), Reply()), status=200, forwarded=1),
    Case("post_body_after_head", request(POST3[:-3], b"abc"), status=200, forwarded=1),
    Case("post_empty_length_zero", request(get(b"Content-Length: 0", method=b"POST")), status=200, forwarded=1),
    Case("post_without_length", request(get(method=b"POST")), status=200, forwarded=1),
    Case("get_with_body", request(get(b"Content-Length: 2") + b"hi"), status=200, forwarded=1),
    Case(
        "chunked",
        request(CHUNKED + b"3\r\nabc\r\n0\r\n\r\n"),
        status=200,
        end=End.OPEN,
        forwarded=1,
        contains=(r"body 'abc'", r"transfer-encoding: chunked"),
    ),
    Case(
        "chunked_each_byte",
        (Send(CHUNKED + b"3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n", each_byte=True), Reply()),
        status=200,
        forwarded=1,
        contains=(r"body 'abc0123456789abcdef'",),
    ),
    Case("chunked_empty", request(CHUNKED + b"0\r\n\r\n"), status=200, forwarded=1),
    Case("chunk_extension", request(CHUNKED + b"3;name=value;other\r\nabc\r\n0;last\r\n\r\n"), status=200, forwarded=1),
    Case("chunk_size_upper_hex_zeros", request(CHUNKED + b"000A\r\n0123456789\r\n0\r\n\r\n"), status=200, forwarded=1),
    Case(
        "transfer_encoding_upper_case",
        request(get(b"Transfer-Encoding: CHUNKED", method=b"POST") + b"0\r\n\r\n"),
        status=200,
        forwarded=1,
    ),
    Case("trailers_dropped", request(CHUNKED + b"3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n"), status=200, forwarded=1),
    Case(
        "trailers_kept",
        request(CHUNKED + b"3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"),
        listener="trailers",
        status=200,
        forwarded=1,
        contains=(r"body 'abc'",),
    ),
    Case(
        "body_100_kb",
        request(get(b"Content-Length: 100000", method=b"PUT") + b"x" * 100000),
        status=200,
        forwarded=1,
        contains=(r"body 100000 bytes",),
    ),
    Case("leading_blank_lines", request(b"\r\n\r\n" + GET), status=200, forwarded=1),
    Case("header_name_case", request(get(b"X-MixedCase: Value")), status=200, contains=(r"x-mixedcase: Value",)),
    Case("header_value_blanks", request(get(b"X-V:  \t a b \t ")), status=200, contains=(r"x-v: a b$",)),
    Case("header_empty_value", request(get(b"X-Empty:")), status=200, contains=(r"x-empty: $",)),
    Case("header_repeated", request(get(b"X-R: 1", b"X-R: 2")), status=200, forwarded=1),
    Case("header_high_bytes", request(get(b"X-H: caf\xc3\xa9 \xff")), status=200, forwarded=1),
    Case("cookies", request(get(b"Cookie: a=1", b"Cookie: b=2")), status=200, forwarded=1),
    Case("method_purge", request(get(method=b"PURGE")), status=200, forwarded=1),
    Case("method_patch", request(get(method=b"PATCH")), status=200, forwarded=1),
    Case("method_trace", request(get(method=b"TRACE")), status=200, forwarded=1),
    Case("options_asterisk", request(get(method=b"OPTIONS", path=b"*")), forwarded=0, status=404),
    Case(
        "absolute_uri",
        request(get(path=b"http://b.test:81/x?y=1")),
        status=200,
        forwarded=1,
        contains=(r"host: b.test:81",),
    ),
    Case("absolute_uri_no_path", request(get(path=b"http://b.test")), status=200, forwarded=1),
    Case("host_with_port", request(get(host=b"a.test:8080")), status=200, contains=(r"host: a.test:8080",)),
    Case("host_ipv6", request(get(host=b"[::1]:8080")), status=200, forwarded=1),
    Case(
        "query_kept", request(get(path=b"/a%20b?x=%41&y=/../z")), status=200, contains=(r"GET /a%20b\?x=%41&y=/../z",)
    ),
    Case("dots_not_normalised", request(get(path=b"/a/../b//c")), status=200, contains=(r"GET /a/../b//c",)),
    Case("paths_normalised", request(get(path=b"/a/../b//c/./d")), listener="paths", status=200),
    Case("paths_escaped_slash_refused", request(get(path=b"/a%2Fb")), listener="paths", status=400, forwarded=0),
    Case("paths_above_root", request(get(path=b"/../../x")), listener="paths", status=200, forwarded=1),
    Case("underscore_header_refused", request(get(b"x_y: 1")), listener="underscores", status=400, forwarded=0),
]

KEEP_ALIVE = [
    Case(
        "keep_alive_three",
        request(GET) + request(POST3) + request(GET),
        status=(200, 200, 200),
        end=End.OPEN,
        forwarded=3,
    ),
    Case(
        "pipelined_three",
        (GET + POST3 + GET, Reply(), Reply(), Reply()),
        status=(200, 200, 200),
        end=End.OPEN,
        forwarded=3,
    ),
    Case("pipelined_then_close", (GET + CLOSE + GET, Reply(), Reply()), status=(200, 200), end=End.CLOSED, forwarded=2),
    Case("pipelined_each_byte", (Send(GET + POST3, each_byte=True), Reply(), Reply()), status=(200, 200), forwarded=2),
    Case("connection_close", request(CLOSE), status=200, end=End.FIN, contains=(r"connection: close",)),
    Case("connection_close_among_tokens", request(get(b"Connection: foo, Close")), status=200, end=End.CLOSED),
    Case(
        "connection_keep_alive",
        request(get(b"Connection: keep-alive", b"Keep-Alive: timeout=5")),
        status=200,
        end=End.OPEN,
    ),
    Case("proxy_connection", request(get(b"Proxy-Connection: keep-alive")), status=200, forwarded=1),
    Case(
        "connection_nominated",
        request(get(b"Connection: x-hop, te", b"X-Hop: 1", b"TE: trailers")),
        status=200,
        forwarded=1,
    ),
    Case("te_other", request(get(b"TE: gzip")), status=200, forwarded=1),
    Case("max_requests_per_connection", request(GET) * 3, listener="requests3", status=(200, 200, 200), end=End.CLOSED),
    Case("client_fin_after_request", (GET, UpstreamSaw(), Do("fin"), Reply()), end=End.CLOSED, answers=[(NEVER,)]),
    Case(
        "head",
        request(get(method=b"HEAD"), head_only=True),
        status=200,
        end=End.OPEN,
        answers=[(b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n",)],
        contains=(r"content-length: 12",),
    ),
    Case(
        "head_then_get",
        request(get(method=b"HEAD"), head_only=True) + request(GET),
        status=(200, 200),
        end=End.OPEN,
        answers=[(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",)],
    ),
]

EXPECT_100 = get(b"Content-Length: 3", b"Expect: 100-continue", method=b"POST")

CONTINUE = [
    Case("expect_100", (EXPECT_100, Reply(), b"abc", Reply()), status=(100, 200), end=End.OPEN, forwarded=1),
    Case(
        "expect_100_body_at_once", (EXPECT_100 + b"abc", Reply(), Reply()), status=(100, 200), end=End.OPEN, forwarded=1
    ),
    Case(
        "expect_100_proxied",
        (EXPECT_100, Reply(), b"abc", Reply()),
        listener="continue",
        status=(100, 200),
        forwarded=1,
        answers=[(b"HTTP/1.1 100 Continue\r\n\r\n", BODY, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")],
    ),
    Case("expect_other", request(get(b"Expect: 200-ok")), status=200, forwarded=1),
    Case(
        "early_hints_dropped_or_passed",
        request(GET),
        forwarded=1,
        answers=[(b"HTTP/1.1 103 Early Hints\r\nlink: </s>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",)],
    ),
    Case(
        "answer_before_body",
        (POST3[:-3], Reply(), Do("end")),
        status=200,
        end=End.CLOSED,
        forwarded=1,
        answers=[(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", BODY)],
    ),
]

VERSIONS = [
    Case(
        "http10_refused",
        request(b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n"),
        status=426,
        end=End.CLOSED,
        forwarded=0,
        log="low_version",
    ),
    Case(
        "http10_accepted",
        request(b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n"),
        listener="http10",
        status=200,
        end=End.CLOSED,
        forwarded=1,
    ),
    Case(
        "http10_without_host",
        request(b"GET / HTTP/1.0\r\n\r\n"),
        listener="http10",
        status=200,
        end=End.CLOSED,
        forwarded=1,
        contains=(r"host: default.test",),
    ),
    Case(
        "http10_keep_alive",
        request(b"GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n"),
        listener="http10",
        status=200,
        end=End.OPEN,
        contains=(r"connection: keep-alive",),
    ),
    Case(
        "http10_chunked_answer",
        request(b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n"),
        listener="http10",
        status=200,
        answers=[(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",)],
        body=b"abc",
        end=End.CLOSED,
    ),
    Case("http11_without_host", request(b"GET / HTTP/1.1\r\n\r\n"), status=400, forwarded=0),
]

UPGRADES = [
    Case("upgrade_refused", request(UPGRADE), status=403, forwarded=0),
    Case(
        "upgrade_h2c_ignored",
        request(get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMA")),
        forwarded=1,
        status=200,
    ),
    Case(
        "websocket",
        (UPGRADE, Reply(), Expect(b"pong"), b"ping", Do("fin"), Do("end")),
        listener="websocket",
        status=101,
        forwarded=1,
        answers=[(ECHO101, b"pong", BODY)],
        contains=(r"client 0 < 'pong'",),
    ),
    Case(
        "websocket_early_bytes",
        (UPGRADE + b"early", Reply(), Do("fin"), Do("end")),
        listener="websocket",
        status=101,
        forwarded=1,
        answers=[(ECHO101, BODY)],
    ),
    Case(
        "websocket_refused_by_upstream",
        (UPGRADE + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", Reply(), Do("end")),
        listener="websocket",
        status=200,
        forwarded=1,
        log="websocket_handshake_unsuccessful",
        # Envoy counts bytes that it holds until the handshake is over as a body; here the codec holds them.
        ignore=("^log 200",),
    ),
    Case(
        "connect_without_route",
        request(b"CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n"),
        status=404,
        forwarded=0,
    ),
]

FORWARDED = [
    Case(
        "x_forwarded_for_passed",
        request(get(b"X-Forwarded-For: 10.1.1.1", b"X-Forwarded-Proto: https")),
        status=200,
        forwarded=1,
    ),
    Case("x_forwarded_proto_bad", request(get(b"X-Forwarded-Proto: gopher")), status=200, forwarded=1),
    Case("request_id_passed", request(get(b"X-Request-Id: mine")), status=200, forwarded=1),
    Case(
        "internal_headers",
        request(get(b"X-Envoy-Internal: true", b"X-Envoy-Max-Retries: 3", b"X-Envoy-Expected-Rq-Timeout-Ms: 9")),
        status=200,
        forwarded=1,
    ),
    Case("edge_plain", request(GET), listener="edge", status=200, forwarded=1),
    Case("edge_other_loopback", request(GET), listener="edge", source="127.0.0.2", status=200, forwarded=1),
    Case(
        "edge_external_headers",
        request(get(b"X-Forwarded-For: 8.8.8.8", b"X-Envoy-Max-Retries: 3", b"X-Envoy-Decorator-Operation: o")),
        listener="edge",
        status=200,
        forwarded=1,
    ),
    Case(
        "edge_external_id",
        request(get(b"X-Forwarded-For: 10.0.0.1", b"X-Request-Id: mine")),
        listener="edge",
        status=200,
    ),
    Case(
        "via_and_server",
        request(get(b"Via: 1.0 first")),
        listener="via",
        status=200,
        answers=[(b"HTTP/1.1 200 OK\r\nserver: theirs\r\nvia: 1.1 x\r\ncontent-length: 0\r\n\r\n",)],
        contains=(r"server: theirs",),
    ),
    Case("via_server_added", request(GET), listener="via", status=200, contains=(r"server: named",)),
    Case(
        "date_and_server_of_upstream",
        request(GET),
        status=200,
        contains=(r"server: envoy",),
        answers=[
            (b"HTTP/1.1 200 OK\r\nServer: theirs\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\ncontent-length: 0\r\n\r\n",)
        ],
    ),
]

LIMITS = [
    Case("head_59_kb", request(get(b"X-Big: " + b"a" * 59000)), status=200, forwarded=1),
    Case("head_61_kb", request(get(b"X-Big: " + b"a" * 61500)), status=431, forwarded=0, end=End.CLOSED),
    Case("path_61_kb", request(get(path=b"/" + b"a" * 61500)), status=431, forwarded=0, end=End.CLOSED),
    Case("headers_99", request(get(*[b"X-%d: 1" % number for number in range(98)])), status=200, forwarded=1),
    Case("headers_101", request(get(*[b"X-%d: 1" % number for number in range(101)])), status=431, forwarded=0),
    Case("limits_1_kb", request(get(b"X-Big: " + b"a" * 1100)), listener="limits", status=431, forwarded=0),
    Case(
        "limits_10_headers",
        request(get(*[b"X-%d: 1" % number for number in range(11)])),
        listener="limits",
        status=431,
        forwarded=0,
    ),
    Case(
        "trailers_120",
        request(CHUNKED + b"0\r\n" + b"".join(b"x-%d: 1\r\n" % number for number in range(120)) + b"\r\n"),
        status=200,
        forwarded=1,
        stricter="the limit of 100 header fields may hold for trailers too",
    ),
    Case("trailers_62_kb", request(CHUNKED + b"0\r\nx-t: " + b"a" * 63000 + b"\r\n\r\n"), status=431, end=End.CLOSED),
]

ABORTS = [
    Case("client_leaves_before_answer", (GET, UpstreamSaw(), Do("rst")), answers=[(NEVER,)], forwarded=1),
    Case("client_leaves_in_body", (POST3[:-1], UpstreamSaw(), Do("rst")), forwarded=1, ignore=("> +body",)),
    Case("client_leaves_in_head", (GET[:-4], Do("rst")), forwarded=0),
    Case("client_fin_in_head", (GET[:-4], Do("fin"), Do("end")), forwarded=0, end=End.CLOSED),
    Case(
        "client_fin_in_body",
        (POST3[:-1], UpstreamSaw(), Do("fin"), Do("end")),
        forwarded=1,
        end=End.CLOSED,
        ignore=("> +body",),
    ),
    Case(
        "two_clients_one_held",
        (GET, UpstreamSaw(), Send(GET, on=1), Reply(on=1), Release(), Reply()),
        status=(200, 200),
        answers=[(Hold(), b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate")],
        body=b"late",
        forwarded=2,
    ),
]


@pytest.mark.parametrize(
    "case", [*FRAMING, *KEEP_ALIVE, *CONTINUE, *VERSIONS, *UPGRADES, *FORWARDED, *LIMITS, *ABORTS], ids=case_id
)
def test_request(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
