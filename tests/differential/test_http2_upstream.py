"""HTTP/1 clients, an HTTP/2 upstream: what goes to and fro, resets, GOAWAY, limits, upgrades and tunnels."""

import pytest
from tests.differential.harness import (
    Case,
    Do,
    Expect,
    Pairs,
    Release,
    Reply,
    Send,
    StatIs,
    Step,
    UpstreamSaw,
    case_id,
    request,
)
from tests.differential.http2_upstream import (
    END_STREAM,
    HEADERS,
    PREFACE,
    UNTIL_DATA,
    UNTIL_END,
    UNTIL_RESET,
    Body,
    Frame,
    GoAway,
    Head,
    Reset,
    answer,
    head,
)
from tests.differential.upstream import BODY, FIN, NEVER, RST, Hold, Read
from tests.differential.wire import End

TRAILERS = Head([(b"x-checksum", b"7")], True)
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"


def send(cluster: str, method: bytes = b"GET", path: bytes = b"/", rest: bytes = b"\r\n") -> bytes:
    return b"%b %b HTTP/1.1\r\nHost: a.test\r\nx-cluster: %b\r\n%b" % (method, path, cluster.encode(), rest)


def gauge(cluster: str, name: str, value: int) -> StatIs:
    return StatIs(f"cluster.{cluster}.{name}", value)


POOLED = (r"nghttp2_upstream_connections$", r"upstream_cx_http2_total$")
"""Which case opens a connection depends on the cases before it."""


def case(
    name: str, cluster: str, *steps: Step, exact: str = "", also_ignored: tuple[str, ...] = (), **rest: object
) -> Case:
    """``cluster``: the one whose counters count."""
    stats = rf"^(http\.LISTENER\.|cluster\.{cluster}\.)"
    # The name of a request takes more or fewer bytes in HPACK, as its digits are.
    ignore = (r"_bytes_buffered$", r"_tx_bytes_total$", *(() if exact else POOLED), *also_ignored)
    return Case(name, steps, config="http2_upstream", stats=stats, exact=exact, ignore=ignore, **rest)  # type: ignore[arg-type]


CLOSED_BY_US = (r"upstream_cx_protocol_error$",)
"""Envoy takes it for a protocol error when it closes a connection itself while it reads the last response on it."""


def get(name: str, *frames: object, cluster: str = "up", **rest: object) -> Case:
    """One GET, answered by these frames."""
    return case(name, cluster, *request(send(cluster)), answers=[frames], **rest)


MESSAGES = [
    get("get", *answer(), status=200, body=b"ok", log=" HTTP/2 "),
    get("empty", *answer(b""), status=200, body=b""),
    get("large", head(), *[Body(b"x" * 16384, False)] * 20, Body(b"y"), status=200),
    case(
        "post",
        "up",
        *request(send("up", b"POST", b"/p?q", b"Content-Length: 5\r\n\r\nhello")),
        answers=[answer()],
        status=200,
        contains=("POST /p\\?q HTTP/2", "'hello' complete"),
    ),
    case("chunked", "up", *request(send("up", b"POST", rest=CHUNKED + b"\r\n")), answers=[answer()], status=200),
    case(
        "request_trailers",
        "up",
        *request(send("up", b"POST", rest=CHUNKED + b"x-t: 1\r\n\r\n")),
        answers=[answer()],
        status=200,
        contains=("trailer x-t: 1",),
    ),
    get("response_trailers", head(), Body(b"ok", False), TRAILERS, status=200, contains=("trailer x-checksum: 7",)),
    get("trailers_without_body", head(), TRAILERS, status=200),
    case(
        "head",
        "up",
        *request(send("up", b"HEAD"), head_only=True),
        answers=[(head(200, (b"content-length", b"9"), end=True),)],
        status=200,
    ),
    get("no_content", *answer(b"", 204), status=204),
    get("not_modified", *answer(b"", 304, (b"etag", b"1")), status=304),
    get("strange_status", *answer(b"x", 599), status=599),
    get("two_cookies", *answer(b"ok", 200, (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")), status=200),
    case(
        "cookies",
        "up",
        *request(send("up", rest=b"Cookie: a=1; b=2\r\nTE: trailers\r\nConnection: keep-alive\r\n\r\n")),
        answers=[answer()],
        status=200,
    ),
    case(
        "rewritten",
        "up",
        *request(send("up", path=b"/rewritten")),
        answers=[answer()],
        status=200,
        contains=(":path: /there", ":authority: other.test"),
    ),
    case(
        "continue",
        "up",
        send("up", b"POST", rest=b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"),
        Reply(),
        b"hi",
        Reply(),
        answers=[answer()],
        status=(100, 200),
    ),
    get(
        "pieces_of_a_body", head(), Body(b"a", False), Body(b"", False), Body(b"b", False), Body(b"", True), body=b"ab"
    ),
    get("unknown_frame", Frame(0x55, b"what?"), *answer(), status=200),
    get("unknown_flag", head(), Frame(0, b"ok", END_STREAM | 0x40), status=200),
    get("ping", Frame(6, b"12345678", stream=0), *answer(), status=200),
    get("padded", head(), Frame(0, b"\x03ok\0\0\0", END_STREAM | 8), body=b"ok"),
]

RESETS = [
    *[
        get(f"reset_{code}", Reset(code), cluster="resets", status=502 if code == 1 else 503, end=End.OPEN)
        for code in (0, 1, 2, 7, 8, 10, 11)
    ],
    get("reset_in_the_body", head(), Body(b"ok", False), Reset(), cluster="resets", status=200, end=End.CLOSED),
    get("reset_behind_the_end", *answer(), Reset(0), cluster="resets", status=200),
    case(
        "retry_refused",
        "resets",
        *request(send("resets", path=b"/retry_refused")),
        answers=[(Reset(7),), answer()],
        status=200,
    ),
    case(
        "retry_reset",
        "resets",
        *request(send("resets", path=b"/retry_reset")),
        answers=[(Reset(2),), answer()],
        status=200,
    ),
    case(
        "not_retried",
        "resets",
        *request(send("resets", path=b"/retry_refused")),
        answers=[(Reset(2),), answer()],
        status=503,
        forwarded=1,
    ),
    case(
        "timeout",
        "resets",
        *request(send("resets", path=b"/timeout")),
        answers=[(UNTIL_RESET,)],
        status=504,
        contains=(":reset: ",),
    ),
    case(
        "per_try_timeout",
        "resets",
        *request(send("resets", path=b"/per_try")),
        answers=[(UNTIL_RESET,), answer()],
        status=200,
        contains=(":reset: ",),
    ),
    case(
        "the_client_leaves",
        "resets",
        send("resets"),
        UpstreamSaw(),
        Do("rst"),
        answers=[(UNTIL_RESET,)],
        logged=1,
        contains=(":reset: ",),
    ),
    case(
        "answered_early",
        "resets",
        send("resets", b"POST", rest=b"Content-Length: 5\r\n\r\nab"),
        Reply(),
        answers=[(BODY, *answer(), UNTIL_RESET)],
        status=200,
        logged=1,
        contains=(":reset: ",),
    ),
]

GOAWAYS = [
    get("goaway_refuses", GoAway(-2), cluster="goaway", status=503),
    case(
        "goaway_retried",
        "goaway",
        *request(send("goaway", path=b"/retry_goaway")),
        answers=[(GoAway(-2),), answer()],
        status=200,
    ),
    case(
        "goaway_lets_finish",
        "goaway",
        *request(send("goaway")) * 2,
        answers=[(GoAway(), *answer()), answer()],
        status=(200, 200),
        exact=r"upstream_cx_(total|destroy\w*)$",
        also_ignored=CLOSED_BY_US,
    ),
    get("goaway_with_error", GoAway(0, 2), *answer(), cluster="goaway", status=200, also_ignored=CLOSED_BY_US),
    get("goaway_twice", GoAway(), GoAway(-2), cluster="goaway", status=503),
]

ENDS = [
    get("fin", FIN, cluster="ends", status=503),
    get("rst", RST, cluster="ends", status=503),
    get("fin_in_the_body", head(), Body(b"ok", False), FIN, cluster="ends", status=200, end=End.CLOSED),
    get("fin_behind_the_end", *answer(), FIN, cluster="ends", status=200),
    case("retried", "ends", *request(send("ends", path=b"/retry_close")), answers=[(FIN,), answer()], status=200),
    case(
        "fin_ends_all",
        "ends",
        Send(send("ends"), 0),
        UpstreamSaw(1),
        Send(send("ends"), 1),
        UpstreamSaw(2),
        Release(),
        Reply(0),
        Reply(1),
        answers=[(UNTIL_RESET,), (Hold(), FIN)],
        status=(503, 503),
    ),
    case("refused", "refused", *request(send("refused")), status=503),
]

VIOLATIONS = [
    get("no_status", Head([(b"a", b"b")], True), cluster="violations", status=502),
    get("two_statuses", Head([(b":status", b"200"), (b":status", b"200")], True), cluster="violations", status=502),
    get("upper_case", head(200, (b"Bad", b"1"), end=True), cluster="violations", status=502),
    get("line_feed", head(200, (b"a", b"1\n2"), end=True), cluster="violations", status=502),
    get("connection_field", head(200, (b"connection", b"close"), end=True), cluster="violations", status=502),
    get("pseudo_in_trailers", head(), Head([(b":status", b"200")], True), cluster="violations"),
    get("short_body", head(200, (b"content-length", b"5")), Body(b"ok"), cluster="violations"),
    get("long_body", head(200, (b"content-length", b"1")), Body(b"ok"), cluster="violations"),
    get("body_without_head", Body(b"ok"), cluster="violations", status=502),
    get("two_heads", head(), head(end=True), cluster="violations"),
    get("stream_zero", Frame(0, b"ok", stream=0), cluster="violations", status=502),
    get("even_stream", Frame(HEADERS, b"\x88", 5, stream=2), cluster="violations", status=502),
    get("push", Frame(5, b"\0\0\0\x02\x88", 4), cluster="violations", status=502),
    get("bad_hpack", Frame(HEADERS, b"\xff\xff\xff\xff\xff", 5), cluster="violations", status=502),
    get("bad_settings", Frame(4, b"12345", stream=0), cluster="violations", status=502),
    get("window_of_nothing", Frame(8, b"\0\0\0\0", stream=0), cluster="violations", status=502),
    get("http_1", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", cluster="violations", status=502),
    get("empty_frames", head(), *[Body(b"", False)] * 3, cluster="violations"),
    get("priorities", *[Frame(2, b"\0\0\0\0\x01")] * 300, *answer(), cluster="violations"),
    get("window_updates", *[Frame(8, b"\0\0\0\x01")] * 50, *answer(), cluster="violations"),
    get("settings_again", *[Frame(4, stream=0)] * 20, *answer(), cluster="violations", status=200),
    get("fewer_streams_than_run", Frame(4, b"\0\x03\0\0\0\0", stream=0), *answer(), cluster="few_later", status=200),
    get("continued", Frame(HEADERS, b"\x88", 0), Frame(9, b"", 4), Body(b"ok"), cluster="violations", status=200),
    get("not_continued", Frame(HEADERS, b"\x88", 0), Body(b"ok"), cluster="violations", status=502),
    get("large_frame", Frame(0, b"x" * 16385, 1), cluster="violations", status=502),
    get("lenient", head(200, (b"Bad", b"1"), end=True), cluster="lenient", status=502),
    get("lenient_no_status", Head([(b"a", b"b")], True), cluster="lenient", status=502),
    get("many_headers", head(200, *[(b"x-%d" % i, b"1") for i in range(9)], end=True), cluster="limits", status=503),
    get("large_headers", head(200, (b"x", b"y" * 2000), end=True), cluster="limits", status=503),
    get(
        "many_trailers",
        head(),
        Body(b"ok", False),
        Head([(b"x-%d" % i, b"1") for i in range(9)], True),
        cluster="limits",
    ),
]


def two(cluster: str, *more: Step, upstream: str = "up", **rest: object) -> Case:
    """Two requests at a time, on two connections of clients."""
    steps = (
        Send(send(cluster), 0),
        UpstreamSaw(1, upstream),
        Send(send(cluster), 1),
        UpstreamSaw(2, upstream),
        Release("hold", upstream),
        Reply(0),
        Reply(1),
        *more,
    )
    held = [(Hold(), *answer())] * 2
    answers = {"answers": held} if upstream == "up" else {"answers_of": {upstream: held}}
    return case(cluster, cluster, *steps, status=(200, 200), exact=r"upstream_(cx|rq)_\w+$", **answers, **rest)  # type: ignore[arg-type]


POOLS = [
    case(
        "pings",
        "pings",
        send("pings"),
        UpstreamSaw(),
        StatIs("cluster.pings.upstream_rq_active", 1),
        Release(),
        Reply(),
        answers=[(Hold(), *answer())],
        status=200,
    ),
    two("parallel"),
    two("few"),
    two("own_pools"),
    case(
        "ahead",
        "ahead",
        Send(send("ahead")),
        UpstreamSaw(),
        gauge("ahead", "upstream_cx_total", 2),
        Release(),
        Reply(),
        answers=[(Hold(), *answer())],
        status=200,
        exact=r"upstream_cx_(total|active)$",
    ),
    case(
        "ahead_with_room",
        "ahead_with_room",
        Send(send("ahead_with_room"), 0),
        UpstreamSaw(1),
        Send(send("ahead_with_room"), 1),
        UpstreamSaw(2),
        gauge("ahead_with_room", "upstream_cx_total", 2),
        Release(),
        Reply(0),
        Reply(1),
        answers=[(Hold(), *answer())] * 2,
        status=(200, 200),
        exact=r"upstream_cx_(total|active)$",
    ),
    case(
        "one_request",
        "one_request",
        Send(send("one_request"), 0),
        UpstreamSaw(1),
        Send(send("one_request"), 1),
        Reply(1),
        Release(),
        Reply(0),
        answers=[(Hold(), *answer())],
        status=(503, 200),
        exact=r"upstream_(cx|rq)_\w+$",
    ),
    case(
        "once",
        "once",
        *request(send("once")) * 2,
        gauge("once", "upstream_cx_active", 0),
        status=(200, 200),
        also_ignored=CLOSED_BY_US,
        exact=r"upstream_cx_\w+$",
    ),
    case(
        "twice",
        "twice",
        *request(send("twice")) * 3,
        gauge("twice", "upstream_cx_active", 1),
        status=(200,) * 3,
        also_ignored=CLOSED_BY_US,
        exact=r"upstream_cx_\w+$",
    ),
    case(
        "idle",
        "idle",
        *request(send("idle")),
        gauge("idle", "upstream_cx_active", 0),
        status=200,
        exact=r"upstream_cx_\w+$",
    ),
    case(
        "duration",
        "duration",
        *request(send("duration")),
        gauge("duration", "upstream_cx_active", 0),
        status=200,
        exact=r"upstream_cx_\w+$",
    ),
    case(
        "peer_few",
        "peer_few",
        *request(send("peer_few")),
        Send(send("peer_few"), 0),
        UpstreamSaw(2, "peer_max1"),
        Send(send("peer_few"), 1),
        UpstreamSaw(3, "peer_max1"),
        Release("hold", "peer_max1"),
        Reply(0),
        Reply(1),
        answers_of={"peer_max1": [answer(), (Hold(), *answer()), (Hold(), *answer())]},
        status=(200,) * 3,
        exact=r"upstream_(cx|rq)_\w+$",
    ),
]


def upgrade(name: str, *steps: Step, answers: list[object], **rest: object) -> Case:
    head_ = send(
        "tunnels", path=b"/chat", rest=b"Connection: Upgrade\r\nUpgrade: websocket\r\nsec-websocket-key: k\r\n\r\n"
    )
    return case(name, "tunnels", head_, *steps, answers=answers, **rest)


def connect(name: str, *steps: Step, answers: list[object], **rest: object) -> Case:
    return case(
        name, "tunnels", b"CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n", *steps, answers=answers, **rest
    )


OPEN = head()
TUNNELS = [
    upgrade(
        "upgraded",
        Reply(head_only=True),
        b"ping",
        Expect(b"pong"),
        answers=[(BODY, OPEN, UNTIL_DATA, Body(b"pong"))],
        status=101,
    ),
    upgrade("upgrade_refused", Reply(), answers=[(BODY, *answer(b"no", 403))], status=403),
    upgrade("upgrade_ends_at_once", Reply(), answers=[(BODY, head(200, end=True))]),
    upgrade("upgrade_reset", Reply(), answers=[(BODY, Reset(2))], status=503),
    connect(
        "connected",
        Reply(head_only=True),
        b"ping",
        Expect(b"pong"),
        answers=[(BODY, OPEN, UNTIL_DATA, Body(b"pong"))],
        status=200,
    ),
    connect("connect_refused", Reply(), answers=[(BODY, *answer(b"no", 403))], status=403),
    connect("connect_error", Reply(), answers=[(BODY, Reset(10))], status=503),
]


def tunnel(name: str, *steps: Step, listener: str = "tunnel", answers: object = (), **rest: object) -> Case:
    """A session of the TCP proxy, whose bytes go through a tunnel."""
    stats = r"^(tcp\.LISTENER\.|cluster\.(tcp|http1)_tunnels\.)"
    ignore = (r"_bytes_buffered$", r"cluster.*_[rt]x_bytes_total$", *POOLED)
    return Case(  # type: ignore[arg-type]
        name, steps, config="http2_upstream", listener=listener, stats=stats, ignore=ignore, answers=answers, **rest
    )


PONG = (BODY, OPEN, UNTIL_DATA, Body(b"pong"))
PING = (b"ping", Expect(b"pong"))
HTTP1_OPEN = b"HTTP/1.1 200 OK\r\n\r\n"
CONNECT_HEAD = b"CONNECT host.test:1 HTTP/1.1\r\nhost: host.test:1\r\n\r\n"
TCP = [
    tunnel("tcp_fin_later", b"ping", Do("end"), answers=[(BODY, OPEN, UNTIL_DATA, FIN)], end=End.CLOSED),
    tunnel("tcp_error_later", b"ping", Do("end"), answers=[(BODY, OPEN, UNTIL_DATA, Reset(1))], end=End.CLOSED),
    tunnel("tcp", *PING, Do("fin"), Do("end"), answers=[PONG], contains=(":authority: host.test:127.0.0.1", "x-b: b")),
    tunnel(
        "tcp_client_first",
        b"ping",
        Do("fin"),
        Do("end"),
        answers=[(BODY, OPEN, UNTIL_END, Body(b"pong"))],
        contains=("'ping' complete",),
    ),
    tunnel(
        "tcp_trailers", b"ping", Do("fin"), Do("end"), answers=[(BODY, OPEN, UNTIL_END, Body(b"pong", False), TRAILERS)]
    ),
    tunnel("tcp_post", *PING, Do("fin"), Do("end"), listener="tunnel_post", answers=[PONG], contains=("POST /there",)),
    tunnel("tcp_refused", Do("end"), answers=[(BODY, *answer(b"no", 403))], end=End.CLOSED),
    tunnel("tcp_ends_at_once", Do("end"), answers=[(BODY, head(200, end=True))], end=End.CLOSED),
    tunnel("tcp_other_success", Do("end"), answers=[(BODY, head(201))], end=End.CLOSED),
    tunnel("tcp_reset", Do("end"), answers=[(BODY, Reset(7))], end=End.CLOSED),
    tunnel("tcp_again", *PING, Do("fin"), Do("end"), listener="tunnel_again", answers=[(BODY, Reset(7)), PONG]),
    tunnel("tcp_never", Do("end"), listener="tunnel_again", answers=[(BODY, *answer(b"no", 503))] * 2, end=End.CLOSED),
    tunnel("tcp_reset_later", b"ping", Do("end"), answers=[(BODY, OPEN, UNTIL_DATA, Reset(2))], end=End.CLOSED),
    tunnel(
        "tcp_client_resets", *PING, Do("rst"), answers=[(BODY, OPEN, UNTIL_DATA, Body(b"pong", False), UNTIL_RESET)]
    ),
    tunnel(
        "tcp_two",
        Send(b"ping", 0),
        Send(b"ping", 1),
        Expect(b"pong", 0),
        Expect(b"pong", 1),
        Do("fin", 0),
        Do("fin", 1),
        Do("end", 0),
        Do("end", 1),
        answers=[PONG, PONG],
    ),
    tunnel(
        "tcp_http1",
        *PING,
        Do("fin"),
        Do("end"),
        listener="tunnel_http1",
        raw=(Read(len(CONNECT_HEAD)), HTTP1_OPEN, Read(4), b"pong", FIN),
    ),
    tunnel(
        "tcp_http1_refused",
        Do("end"),
        listener="tunnel_http1",
        raw=(Read(len(CONNECT_HEAD)), b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"),
        end=End.CLOSED,
    ),
]

RAW = [
    case(
        "pings_are_not_answered",
        "deaf",
        *request(send("deaf")),
        raw=(NEVER,),
        status=503,
        contains=("keepalive_timeout",),
        also_ignored=("upstream raw >",),
    ),
    case(
        "preface",
        "raw",
        *request(send("raw")),
        answers_of={},
        raw=(Read(len(PREFACE) + 9 + 30 + 13), RST),
        status=503,
    ),
    case("settings", "windows", *request(send("windows")), raw=(Read(len(PREFACE) + 9 + 36), RST), status=503),
]


@pytest.mark.parametrize(
    "case", [*MESSAGES, *RESETS, *GOAWAYS, *ENDS, *VIOLATIONS, *POOLS, *TUNNELS, *RAW, *TCP], ids=case_id
)
def test_http2_upstream(pairs: Pairs, case: Case) -> None:
    pairs.check(case)
