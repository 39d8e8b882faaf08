"""HTTP/2 from clients: messages, header fields, limits, tunnels, flow control, drains."""

from typing import Any

import pytest
from tests.differential.harness import Case, Do, Pairs, Send, StatIs, UpstreamSaw, case_id
from tests.differential.http2_frames import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    HELLO,
    PADDED,
    PING,
    PRIORITY,
    SETTINGS,
    WITH_PRIORITY,
    Frames,
    Pair,
    block,
    data,
    frame,
    get,
    post,
    request,
    reset,
    settings,
    trailers,
    window,
)
from tests.differential.upstream import BODY, NEVER, RST, Hold
from tests.differential.wire import End

ALIVE = get(1, b"/alive")
EMPTY = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
QUIET = StatIs("http.main.downstream_rq_active", 0)
UNANSWERED = [(Hold(),)]
UPSTREAM = ("^upstream", "stat .* cluster")
"""How much of a request that is given up reached its upstream is a matter of time."""
WEBSOCKET = request(b"/ws", (b":protocol", b"websocket"), method=b"CONNECT")
TUNNEL = block((b":method", b"CONNECT"), (b":authority", b"b.test:80"))
SYNC = frame(PING, 0, 0, b"12345678")
ACKNOWLEDGE = frame(SETTINGS, ACK)
LARGE = b"".join(data(b"x" * 16383, end=False) for _ in range(4))
"""Just under the window that a client has before it knows another one."""


def case(name: str, *steps: Any, listener: str = "main", **more: Any) -> Case:
    more.setdefault("stats", r"^(http\.LISTENER\.|http2\.|cluster\.|listener\.[^a])")
    return Case(f"{listener}:{name}", (HELLO + steps[0], *steps[1:]), config="http2", listener=listener, **more)


def simple(name: str, data: bytes, *, streams: tuple[int, ...] = (1,), **more: Any) -> Case:
    """Send frames, read until these streams ended."""
    return case(name, data, Frames(streams), **more)


def header(name: str, *fields: Pair, **more: Any) -> Case:
    return simple(name, get(1, b"/x", *fields), **more)


def closes(name: str, data: bytes, **more: Any) -> Case:
    """What ends the connection."""
    return case(name, data, Frames((), end=True), end=End.CLOSED, **more)


MESSAGES = [
    simple("get", get(), status=200, body=b"ok"),
    simple("direct", ALIVE, status=200, body=b"alive"),
    simple("head", get(1, b"/x", method=b"HEAD"), status=200, body=b""),
    simple("head_direct", get(1, b"/alive", method=b"HEAD"), status=200, body=b""),
    simple("post", post() + data(b"hello"), status=200),
    simple("post_in_pieces", post() + data(b"he", end=False) + data(b"llo", end=False) + data(b""), status=200),
    simple("post_with_length", post(1, b"/x", (b"content-length", b"5")) + data(b"hello"), status=200),
    simple("post_trailers", post() + data(b"hello", end=False) + trailers((b"t", b"1")), status=200),
    simple("post_trailers_without_body", post() + trailers((b"t", b"1")), status=200),
    simple("padded", frame(HEADERS, 13, 1, b"\x03" + request() + b"\0\0\0"), status=200),
    simple("padded_data", post() + frame(0, PADDED | END_STREAM, 1, b"\x02hello\0\0"), status=200),
    simple("priority_in_headers", frame(HEADERS, 5 | WITH_PRIORITY, 1, b"\0\0\0\0\x10" + request()), status=200),
    simple("ten_streams", b"".join(get(n, b"/alive") for n in range(1, 20, 2)), streams=tuple(range(1, 20, 2))),
    case("one_behind_the_other", ALIVE, Frames((1,)), get(3, b"/alive"), Frames((3,)), get(9, b"/x"), Frames((9,))),
    simple("odd_method", get(1, b"/x", method=b"PURGE"), status=200),
    simple(
        "response_trailers",
        get(),
        answers=[(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"2\r\nok\r\n0\r\nt: 1\r\n\r\n")],
        status=200,
    ),
    simple("response_without_body", get(), answers=[(b"HTTP/1.1 204 No Content\r\n\r\n",)], status=204),
    simple(
        "response_connection_header",
        get(),
        answers=[
            (b"HTTP/1.1 200 OK\r\nconnection: close, x\r\nx: 1\r\n", b"keep-alive: y\r\ncontent-length: 0\r\n\r\n")
        ],
        status=200,
    ),
    simple(
        "response_cut", get(), answers=[(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok", RST)], ignore=(r"body",)
    ),
    simple("no_upstream", get(1, b"/refused"), status=503),
    simple("interim_is_kept", get(), answers=[(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", EMPTY)], status=200),
    simple(
        "continue_from_upstream",
        post(1, b"/x", (b"expect", b"100-continue")) + data(b"x"),
        listener="continuing",
        answers=[(b"HTTP/1.1 100 Continue\r\n\r\n", BODY, EMPTY)],
        status=200,
    ),
    simple("expect", post(1, b"/x", (b"expect", b"100-continue")) + data(b"x"), status=200),
    simple("early_answer", post(1, b"/alive") + data(b"x", end=False), status=200),
    simple(
        "continuations",
        frame(HEADERS, END_STREAM, 1, request())
        + frame(CONTINUATION, 0, 1, block((b"a", b"b")))
        + frame(CONTINUATION, END_HEADERS, 1, block((b"c", b"d"))),
        status=200,
    ),
    simple(
        "fifty_continuations",
        frame(HEADERS, END_STREAM, 1, request())
        + b"".join(frame(CONTINUATION, 0, 1, block((b"a%d" % n, b"b"))) for n in range(50))
        + frame(CONTINUATION, END_HEADERS, 1, block((b"c", b"d"))),
        status=200,
    ),
    simple("unknown_frame", frame(77, 1, 1, b"abc") + get(), status=200),
    simple("unknown_frame_on_zero", frame(77, 4, 0, b"abc") + get(), status=200),
    simple("client_goaway", frame(GOAWAY, 0, 0, b"\0" * 8) + ALIVE, status=200),
    case("ping", frame(PING, 0, 0, b"12345678") + ALIVE, Frames((1,), acks=1)),
    case(
        "settings_twice",
        settings((3, 7), (4, 70000)) + ALIVE,
        Frames((1,)),
        settings((77, 1)) + get(3, b"/alive"),
        Frames((3,)),
    ),
    simple("priority_of_a_stream", frame(PRIORITY, 0, 1, b"\0\0\0\3\x10") + ALIVE, status=200),
    simple("window_update", window(1000) + post() + window(1000, 1) + data(b"x"), status=200),
    simple("codec_http2", ALIVE, listener="small", status=200),
    Case(
        "preface_on_http1",
        (HELLO + ALIVE, Do("end")),
        config="http2",
        listener="http1",
        end=End.CLOSED,
        ignore=("^client 0 <",),
    ),
    Case(
        "http1_on_auto", (b"GET /alive HTTP/1.1\r\nHost: a\r\n\r\n",), config="http2", ignore=("downstream_rq_active",)
    ),
    Case(
        "h2c_upgrade",
        (
            b"GET /alive HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n",
            b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n",
        ),
        config="http2",
    ),
    Case(
        "http1_on_http2",
        (b"GET /alive HTTP/1.1\r\nHost: a\r\n\r\n", Frames((), end=True)),
        config="http2",
        listener="small",
    ),
    case("preface_in_pieces", b"", Send(ALIVE, each_byte=True), Frames((1,))),
]

FIELDS = [
    header("cookies", (b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2"), status=200),
    header("cookie_empty", (b"cookie", b""), (b"cookie", b"b=2")),
    header("host_beside_authority", (b"host", b"other.test"), status=200),
    simple(
        "host_alone",
        frame(
            HEADERS, 5, 1, block((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/x"), (b"host", b"b.test"))
        ),
        status=200,
    ),
    header("repeated_inline", (b"user-agent", b"a"), (b"user-agent", b"b"), (b"x", b"1"), (b"x", b"2"), status=200),
    header("te_trailers", (b"te", b"trailers"), status=200),
    header("outer_blanks", (b"a", b" b "), status=200),
    header("empty_value", (b"a", b""), status=200),
    header("high_bytes", (b"a", b"\xc3\xa9\xff"), status=200),
    header("underscore", (b"a_b", b"1"), status=200),
    header("underscore_dropped", (b"a_b", b"1"), (b"c", b"d"), listener="dropping", status=200),
    header("underscore_rejected", (b"a_b", b"1"), listener="rejecting"),
    header("length_without_body", (b"content-length", b"0"), status=200),
    simple("high_bytes_in_path", get(1, b"/a\xc3\xa9"), status=200),
    simple("fragment", get(1, b"/a#b"), status=400),
    simple(
        "odd_scheme",
        frame(
            HEADERS, 5, 1, block((b":method", b"GET"), (b":scheme", b"ftp"), (b":authority", b"a"), (b":path", b"/x"))
        ),
        status=200,
    ),
    simple(
        "authority_with_userinfo",
        frame(
            HEADERS,
            5,
            1,
            block((b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"u@a"), (b":path", b"/x")),
        ),
    ),
    simple(
        "options_star",
        frame(
            HEADERS,
            5,
            1,
            block((b":method", b"OPTIONS"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"*")),
        ),
    ),
]

LIMITS = [
    header("headers_at_the_limit", *((b"h%d" % n, b"v") for n in range(96)), status=200),
    header("headers_over_the_limit", *((b"h%d" % n, b"v") for n in range(97))),
    header("crumbs_at_the_limit", *((b"cookie", b"v") for n in range(96)), status=200),
    header("crumbs_over_the_limit", *((b"cookie", b"v") for n in range(97))),
    header("few_headers", *((b"h%d" % n, b"v") for n in range(7)), listener="dropping"),
    header("bytes_at_the_limit", (b"h", b"v" * 979), listener="dropping", status=200),
    header("bytes_over_the_limit", (b"h", b"v" * 980), listener="dropping"),
    header("crumb_bytes", (b"cookie", b"v" * 500), (b"cookie", b"v" * 400), listener="dropping", status=200),
    header("crumb_bytes_over", (b"cookie", b"v" * 500), (b"cookie", b"v" * 500), listener="dropping"),
    case(
        "trailers_over_the_limit",
        post(),
        UpstreamSaw(0),
        data(b"x", end=False) + trailers(*((b"h%d" % n, b"v") for n in range(101))),
        Frames((1,)),
        ignore=UPSTREAM,
    ),
    simple(
        "streams_over_the_limit",
        b"".join(post(n) for n in (1, 3, 5)) + data(b"x", 1) + data(b"x", 3),
        streams=(1, 3, 5),
        listener="small",
    ),
    simple(
        "bomb_of_indexed_fields",
        frame(HEADERS, 5, 1, request() + b"\x40\x01a\x7f\x80\x1e" + b"v" * 3967 + b"\xbe" * 2000),
    ),
]

RESETS = [
    case(
        "before_the_answer", get(), UpstreamSaw(), reset(), QUIET, get(3, b"/alive"), Frames((3,)), answers=UNANSWERED
    ),
    case("no_error", get(), UpstreamSaw(), reset(1, 0), QUIET, answers=UNANSWERED),
    case("protocol_error", get(), UpstreamSaw(), reset(1, 1), QUIET, answers=UNANSWERED),
    case("internal_error", get(), UpstreamSaw(), reset(1, 2), QUIET, answers=UNANSWERED),
    case("refused", get(), UpstreamSaw(), reset(1, 7), QUIET, answers=UNANSWERED),
    case("connect_error", get(), UpstreamSaw(), reset(1, 10), QUIET, answers=UNANSWERED),
    case("in_the_body", post() + data(b"x", end=False), reset(), QUIET, ignore=(*UPSTREAM, "^log")),
    case("disconnect", get(), UpstreamSaw(), Do("fin"), answers=UNANSWERED),
    case("client_rst", get(), UpstreamSaw(), Do("rst"), answers=UNANSWERED),
    case("twice", get(), UpstreamSaw(), reset() + reset(), QUIET, get(3, b"/alive"), Frames((3,)), answers=UNANSWERED),
    simple(
        "rapid",
        b"".join(get(n, b"/alive") + reset(n) for n in range(1, 60, 2)) + get(61, b"/alive"),
        streams=(61,),
        ignore=("^client", "^log", "tx_bytes"),
    ),
    case("upstream_never_answers", get(), Frames((1,)), listener="impatient", answers=[(NEVER,)]),
    case(
        "request_timeout",
        post() + data(b"x", end=False),
        Frames((1,)),
        listener="impatient",
        answers=[(NEVER,)],
        ignore=UPSTREAM,
    ),
]

TUNNELS = [
    case(
        "websocket",
        frame(HEADERS, 4, 1, WEBSOCKET) + data(b"ping", end=False),
        Frames((), bytes_of={1: 4}),
        reset(),
        StatIs("http.small.downstream_rq_active", 0),
        listener="small",
        answers=[
            (b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n", b"upgrade: websocket\r\n\r\npong", NEVER)
        ],
        ignore=("^log", "rx_bytes"),
    ),
    case(
        "websocket_refused",
        frame(HEADERS, 4, 1, WEBSOCKET),
        Frames((1,)),
        listener="small",
        answers=[(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno",)],
    ),
    case(
        "unknown_protocol",
        frame(HEADERS, 4, 1, request(b"/ws", (b":protocol", b"other"), method=b"CONNECT")),
        Frames((1,)),
        listener="small",
    ),
    closes("websocket_not_allowed", frame(HEADERS, 4, 1, WEBSOCKET)),
    case(
        "connect",
        frame(HEADERS, 4, 1, TUNNEL) + data(b"ping", end=False),
        Frames((), bytes_of={1: 4}),
        reset(),
        QUIET,
        answers=[],
        raw=(b"pong", NEVER),
        ignore=("^log", "rx_bytes"),
    ),
]

FLOW = [
    case(
        "small_window",
        settings((4, 2)) + ALIVE,
        Frames((), bytes_of={1: 2}),
        window(1, 1),
        Frames((), bytes_of={1: 3}),
        window(10, 1),
        Frames((1,)),
        body=b"alive",
    ),
    case(
        "window_by_settings",
        settings((4, 0)) + ALIVE,
        Frames((), heads=(1,)),
        settings((4, 10)),
        Frames((1,)),
        body=b"alive",
    ),
    case("flush_timeout", settings((4, 2)) + ALIVE, Frames((1,)), listener="flushing", ignore=("tx_bytes",)),
    case("flush_timeout_of_a_route", settings((4, 1)) + get(1, b"/slow"), Frames((1,)), ignore=("tx_bytes",)),
    case("reset_of_what_is_flushed", settings((4, 2)) + ALIVE, Frames((), bytes_of={1: 2}), reset(), QUIET),
    case("closed_while_flushed", settings((4, 2)) + ALIVE, Frames((), bytes_of={1: 2}), Do("fin")),
    case(
        "large_body",
        SYNC,
        Frames((), acks=1),
        ACKNOWLEDGE + post() + LARGE + LARGE + data(b"end"),
        Frames((1,)),
        status=200,
    ),
    case("small_windows", post() + LARGE, data(b"abc"), Frames((1,)), listener="small", status=200, ignore=("WINDOW",)),
]

DRAINS = [
    closes("idle", ALIVE, listener="idle"),
    closes("idle_without_requests", b"", listener="idle"),
    closes("aged", ALIVE, listener="aged"),
    closes("aged_without_requests", b"", listener="aged"),
    closes("max_requests", ALIVE + get(3, b"/alive") + get(5, b"/alive"), listener="twice"),
    closes("ping_unanswered", ALIVE, listener="pings"),
    case(
        "answered_pings",
        ALIVE,
        Frames((1,), pings=1),
        frame(PING, 1, 0, b"x" * 8),
        Frames((1,), pings=2),
        listener="pings",
    ),
]

CASES = [*MESSAGES, *FIELDS, *LIMITS, *RESETS, *TUNNELS, *FLOW, *DRAINS]


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_http2(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
