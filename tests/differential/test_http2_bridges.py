"""HTTP/2 on both sides: what a client of HTTP/2 and an upstream of HTTP/2 see of each other."""

from typing import Any

import pytest
from tests.differential import http2_frames as client
from tests.differential.harness import Case, Do, Pairs, Release, Send, StatIs, UpstreamSaw, case_id
from tests.differential.http2_frames import HELLO, Frames, Pair, block, data, get, post, request, reset, trailers
from tests.differential.http2_upstream import (
    UNTIL_DATA,
    UNTIL_END,
    UNTIL_RESET,
    Body,
    GoAway,
    Head,
    Reset,
    answer,
    head,
)
from tests.differential.upstream import BODY, FIN, Hold
from tests.differential.wire import End

UP: Pair = (b"x-cluster", b"up")
GRPC: Pair = (b"content-type", b"application/grpc")
QUIET = StatIs("http.main.downstream_rq_active", 0)
WEBSOCKET = request(b"/ws", (b":protocol", b"websocket"), (b"x-cluster", b"tunnels"), method=b"CONNECT")
CONNECT = block((b":method", b"CONNECT"), (b":authority", b"a.test:80"))
POOLED = (r"nghttp2_upstream_connections$", r"upstream_cx_http2_total$")
TRAILERS = Head([(b"x-checksum", b"7")], True)


def case(name: str, *steps: Any, **more: Any) -> Case:
    stats = r"^(http\.LISTENER\.|cluster\.(up|tunnels)\.)"
    # Which case opens a connection depends on the cases before.
    ignore = (r"_bytes_buffered$", r"_[rt]x_bytes_total$", r"upstream_cx_protocol_error$", *POOLED)
    return Case(name, (HELLO + steps[0], *steps[1:]), config="http2_upstream", stats=stats, ignore=ignore, **more)


def simple(name: str, sent: bytes, *frames: object, **more: Any) -> Case:
    """One stream; ``frames``: its answer."""
    return case(name, sent, Frames(), answers=[frames or answer()], **more)


def opened(head_block: bytes, stream: int = 1) -> bytes:
    return client.frame(client.HEADERS, client.END_HEADERS, stream, head_block)


CASES = [
    simple("get", get(1, b"/", UP), status=200, body=b"ok"),
    simple("head", get(1, b"/", UP, method=b"HEAD"), head(200, (b"content-length", b"9"), end=True), status=200),
    simple("no_content", get(1, b"/", UP), *answer(b"", 204), status=204),
    simple("post", post(1, b"/", UP) + data(b"hello"), status=200, contains=("body 'hello' complete",)),
    simple("empty_post", post(1, b"/", UP) + data(b""), status=200),
    simple(
        "request_trailers",
        post(1, b"/", UP) + data(b"hello", end=False) + trailers((b"x-t", b"1")),
        status=200,
        contains=("trailer x-t: 1",),
    ),
    simple("trailers_without_body", post(1, b"/", UP) + trailers((b"x-t", b"1")), status=200),
    simple("response_trailers", get(1, b"/", UP), head(), Body(b"ok", False), TRAILERS, status=200),
    simple("response_of_trailers", get(1, b"/", UP), head(), TRAILERS, status=200),
    simple("early_hints", get(1, b"/", UP), head(103, (b"link", b"x")), *answer(), status=200),
    simple("crumbs", get(1, b"/", UP, (b"cookie", b"a=1"), (b"cookie", b"b=2")), status=200),
    simple("te", get(1, b"/", UP, (b"te", b"trailers")), status=200),
    simple("large", get(1, b"/", UP), head(), *[Body(b"x" * 16000, False)] * 3, Body(b"y"), status=200),
    case(
        "two_streams",
        get(1, b"/", UP) + get(3, b"/", UP),
        UpstreamSaw(2),
        Release(),
        Frames((1, 3)),
        answers=[(Hold(), *answer(b"a")), (Hold(), *answer(b"a"))],
        status=(200, 200),
    ),
    case(
        "the_second_first",
        get(1, b"/", UP),
        UpstreamSaw(1),
        Send(get(3, b"/", UP)),
        Frames((3,)),
        Release(),
        Frames((1,)),
        answers=[(Hold(), *answer(b"late")), answer(b"soon")],
        status=(200, 200),
    ),
    case(
        "the_client_resets",
        get(1, b"/", UP),
        UpstreamSaw(1),
        Send(reset(1)),
        QUIET,
        answers=[(UNTIL_RESET,)],
        logged=1,
        contains=(":reset: 2",),
    ),
    case(
        "reset_in_the_body",
        get(1, b"/", UP),
        Frames((1,)),
        answers=[(head(), Body(b"ok", False), Reset(2))],
        status=200,
    ),
    simple("reset_before_the_head", get(1, b"/", UP), Reset(2), status=503),
    simple("refused", get(1, b"/", UP), Reset(7), status=503),
    simple("protocol_error", get(1, b"/", UP), Reset(1), status=502),
    simple("fin_before_the_head", get(1, b"/", UP), FIN, status=503),
    simple("goaway", get(1, b"/", UP), GoAway(), *answer(), status=200),
    simple("goaway_refuses", get(1, b"/", UP), GoAway(-2), status=503),
    case(
        "answered_early",
        post(1, b"/", UP) + data(b"ab", end=False),
        Frames((1,)),
        answers=[(BODY, *answer(), UNTIL_RESET)],
        status=200,
        logged=1,
    ),
    simple("grpc_reset", get(1, b"/a.B/c", UP, GRPC, method=b"POST"), Reset(2), status=200),
    simple("grpc_unavailable", get(1, b"/a.B/c", UP, GRPC, method=b"POST"), FIN, status=200),
    simple(
        "grpc_trailers_only",
        get(1, b"/a.B/c", UP, GRPC, method=b"POST"),
        head(200, GRPC, (b"grpc-status", b"5"), end=True),
        status=200,
    ),
    simple(
        "grpc",
        post(1, b"/a.B/c", UP, GRPC) + data(b"\0\0\0\0\x01x"),
        head(200, GRPC),
        Body(b"\0\0\0\0\x01y", False),
        Head([(b"grpc-status", b"0")], True),
        status=200,
    ),
    case(
        "websocket",
        opened(WEBSOCKET),
        Frames((), heads=(1,)),
        Send(data(b"ping", end=False)),
        Frames((), bytes_of={1: 4}),
        Send(data(b"")),
        Frames((1,)),
        answers=[(BODY, head(), UNTIL_DATA, Body(b"pong", False), UNTIL_END, Body(b""))],
        status=200,
        logged=1,
        contains=(":protocol: websocket",),
    ),
    case("websocket_refused", opened(WEBSOCKET), Frames(), answers=[(BODY, *answer(b"no", 403))], status=403),
    case(
        "connect",
        opened(CONNECT),
        Frames((), heads=(1,)),
        Send(data(b"ping", end=False)),
        Frames((), bytes_of={1: 4}),
        Send(data(b"")),
        Frames((1,)),
        answers=[(BODY, head(), UNTIL_DATA, Body(b"pong", False), UNTIL_END, Body(b""))],
        status=200,
        logged=1,
    ),
    case("connect_reset", opened(CONNECT), Frames(), answers=[(BODY, Reset(10))], status=503),
    case(
        "the_client_closes",
        get(1, b"/", UP),
        UpstreamSaw(1),
        Do("fin"),
        answers=[(UNTIL_RESET,)],
        logged=1,
        end=End.OPEN,
        contains=(":reset: 2",),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_http2_on_both_sides(pairs: Pairs, case: Case) -> None:
    pairs.check(case)
