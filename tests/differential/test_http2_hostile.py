"""HTTP/2 from hostile clients: fields and frames that must not be, and floods; how it ends, and what counts."""

import struct
from typing import Any

import pytest
from tests.differential.harness import Case, Pairs, case_id
from tests.differential.http2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
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
from tests.differential.test_http2 import ALIVE, UNANSWERED, UPSTREAM, case, closes, simple


def bad(name: str, *fields: Pair, **more: Any) -> Case:
    """A request with a field that must not be: the connection closes without a word."""
    return closes(name, get(1, b"/x", *fields), **more)


def forgiven(name: str, payload: bytes) -> Case:
    """The same where only the stream ends, and the next one is served."""
    return simple(name, payload + get(3, b"/alive"), streams=(1, 3), listener="lenient")


def fields(name: str, *pairs: Pair, **more: Any) -> Case:
    """A head of just these fields."""
    return closes(name, frame(HEADERS, 5, 1, block(*pairs)), **more)


GET = (b":method", b"GET")
HTTP = (b":scheme", b"http")
HOST = (b":authority", b"a")
PATH = (b":path", b"/x")

FIELDS = [
    bad("upper_case", (b"A-B", b"x")),
    bad("blank_in_name", (b"a b", b"x")),
    bad("colon_in_name", (b"a:b", b"x")),
    bad("empty_name", (b"", b"x")),
    bad("nul_in_value", (b"a", b"x\0y")),
    bad("line_feed_in_value", (b"a", b"x\ny")),
    bad("carriage_return_in_value", (b"a", b"x\ry")),
    bad("connection", (b"connection", b"close")),
    bad("keep_alive", (b"keep-alive", b"x")),
    bad("proxy_connection", (b"proxy-connection", b"x")),
    bad("transfer_encoding", (b"transfer-encoding", b"chunked")),
    bad("upgrade", (b"upgrade", b"websocket")),
    bad("te_gzip", (b"te", b"gzip")),
    bad("length_with_end", (b"content-length", b"5")),
    bad("length_odd", (b"content-length", b"+5")),
    bad("length_twice", (b"content-length", b"0"), (b"content-length", b"0")),
    bad("pseudo_behind_fields", (b"a", b"b"), (b":path", b"/y")),
    bad("unknown_pseudo", (b":other", b"x")),
    bad("status_in_request", (b":status", b"200")),
    fields("no_method", HTTP, HOST, PATH),
    fields("no_scheme", GET, HOST, PATH),
    fields("no_path", GET, HTTP, HOST),
    fields("no_authority", GET, HTTP, PATH),
    fields("empty_path", GET, HTTP, HOST, (b":path", b"")),
    fields("relative_path", GET, HTTP, HOST, (b":path", b"x")),
    fields("path_twice", GET, HTTP, HOST, PATH, PATH),
    fields("blank_in_path", GET, HTTP, HOST, (b":path", b"/a b")),
    fields("blank_in_method", (b":method", b"G T"), HTTP, HOST, PATH),
    fields("empty_method", (b":method", b""), HTTP, HOST, PATH),
    fields("blank_in_authority", GET, HTTP, (b":authority", b"a b"), PATH),
    fields("userinfo", GET, HTTP, (b":authority", b"u@a"), PATH),
    fields("userinfo_in_host", GET, HTTP, PATH, (b"host", b"u@a")),
    fields("empty_authority", GET, HTTP, (b":authority", b""), PATH),
    fields("authority_twice", GET, HTTP, HOST, HOST, PATH),
    fields("host_twice", GET, HTTP, PATH, (b"host", b"a"), (b"host", b"b")),
    fields("slash_in_authority", GET, HTTP, (b":authority", b"a/b"), PATH),
    fields("connect_with_path", (b":method", b"CONNECT"), HTTP, HOST, PATH),
    fields("protocol_without_leave", (b":method", b"CONNECT"), HTTP, HOST, PATH, (b":protocol", b"websocket")),
    forgiven("upper_case_forgiven", get(1, b"/x", (b"A-B", b"x"))),
    forgiven("no_path_forgiven", frame(HEADERS, 5, 1, block(GET, HTTP, HOST))),
    forgiven("length_forgiven", post(1, b"/alive", (b"content-length", b"5")) + data(b"abc")),
]

BODIES = [
    simple("shorter_than_length", post(1, b"/x", (b"content-length", b"5")) + data(b"abc"), ignore=UPSTREAM),
    simple("longer_than_length", post(1, b"/x", (b"content-length", b"2")) + data(b"abc"), ignore=UPSTREAM),
    closes("trailers_without_end", post() + frame(HEADERS, END_HEADERS, 1, block((b"t", b"1"))), ignore=UPSTREAM),
    closes("trailers_with_pseudo", post() + trailers(PATH), ignore=UPSTREAM),
    closes("data_behind_the_end", get() + data(b"x"), answers=UNANSWERED, ignore=UPSTREAM),
    closes("head_behind_the_end", get() + get(), answers=UNANSWERED, ignore=UPSTREAM),
    closes("data_before_a_head", data(b"x")),
    closes("data_on_zero", data(b"x", 0)),
    closes("padding_over_the_frame", post() + frame(DATA, PADDED, 1, b"\x09abc"), ignore=UPSTREAM),
]

FRAMES = [
    closes("even_stream", get(2)),
    closes("head_on_zero", get(0)),
    closes(
        "head_depends_on_itself",
        frame(HEADERS, 5 | WITH_PRIORITY, 1, b"\0\0\0\1\x10" + request()),
        stricter="nghttp2 of this version refuses it, as RFC 7540 has it",
    ),
    closes("priority_of_four_bytes", frame(PRIORITY, 0, 1, b"\0\0\0\1") + frame(PING, 0, 0, b"1234567")),
    closes("reset_on_zero", reset(0)),
    closes("reset_of_an_idle_stream", reset(5)),
    closes("reset_of_three_bytes", get() + frame(RST_STREAM, 0, 1, b"\0\0\0"), answers=UNANSWERED, ignore=UPSTREAM),
    closes("settings_on_a_stream", frame(SETTINGS, 0, 1, b"")),
    closes("settings_of_five_bytes", frame(SETTINGS, 0, 0, b"\0\1\0\0\0")),
    closes("settings_ack_with_payload", frame(SETTINGS, 1, 0, b"\0\1\0\0\0\1")),
    closes("settings_push_of_two", settings((2, 2))),
    closes("settings_window_too_large", settings((4, 1 << 31))),
    closes("settings_frame_too_small", settings((5, 100))),
    closes("settings_frame_too_large", settings((5, 1 << 24))),
    closes("push_promise", frame(PUSH_PROMISE, 4, 1, struct.pack(">I", 2) + request())),
    closes("ping_on_a_stream", frame(PING, 0, 1, b"12345678")),
    closes("ping_of_seven_bytes", frame(PING, 0, 0, b"1234567")),
    closes("goaway_on_a_stream", frame(GOAWAY, 0, 1, b"\0" * 8)),
    closes("goaway_too_short", frame(GOAWAY, 0, 0, b"\0" * 7)),
    closes("window_of_zero", window(0)),
    closes("window_of_zero_on_a_stream", get() + window(0, 1), answers=UNANSWERED, ignore=UPSTREAM),
    closes("window_on_an_idle_stream", window(1, 5)),
    closes("window_of_three_bytes", frame(WINDOW_UPDATE, 0, 0, b"\0\0\1")),
    closes("window_over_the_top", window((1 << 31) - 1)),
    closes("continuation_of_nothing", frame(CONTINUATION, 4, 1, block((b"a", b"b")))),
    closes("continuation_of_another_stream", frame(HEADERS, 1, 1, request()) + frame(CONTINUATION, 4, 3, b"")),
    closes("ping_between_head_and_continuation", frame(HEADERS, 1, 1, request()) + frame(PING, 0, 0, b"12345678")),
    closes("frame_over_16k", frame(DATA, 0, 1, b"x" * 16385)),
    closes("broken_compression", frame(HEADERS, 5, 1, b"\xff\xff\xff\xff\xff\xff")),
    closes("index_out_of_table", frame(HEADERS, 5, 1, b"\xfe")),
    closes("huffman_broken", frame(HEADERS, 5, 1, b"\0\x81\xff\x81\xff")),
    closes("table_size_over_the_limit", frame(HEADERS, 5, 1, b"\x3f\xe1\xff\x03" + request())),
    case(
        "stream_numbers_backwards",
        get(5, b"/alive") + get(3, b"/alive") + frame(PING, 0, 0, b"12345678"),
        Frames((), acks=1),
    ),
]

FLOODS = [
    closes("empty_data", post() + data(b"", end=False) * 3, ignore=UPSTREAM),
    case(
        "empty_data_within_the_limit", post() + data(b"", end=False) * 3 + data(b"x"), Frames((1,)), listener="floods"
    ),
    closes("empty_data_over_the_limit", post() + data(b"", end=False) * 4, listener="floods", ignore=UPSTREAM),
    closes("padded_empty_data", post() + frame(DATA, PADDED, 1, b"\x01\0") * 3, ignore=UPSTREAM),
    closes("empty_continuations", frame(HEADERS, 1, 1, request()) + frame(CONTINUATION, 0, 1, b"") * 3),
    closes("empty_heads", frame(HEADERS, 4, 1, b"") + frame(HEADERS, 4, 3, b"") + frame(HEADERS, 4, 5, b"")),
    closes("pings", frame(PING, 0, 0, b"12345678") * 12, listener="floods", ignore=("^client 0 < PING",)),
    closes("settings", settings() * 12, listener="floods"),
    closes("priorities", frame(PRIORITY, 0, 1, b"\0\0\0\3\x10") * 3, listener="floods"),
    case(
        "priorities_within_the_limit",
        frame(PRIORITY, 0, 1, b"\0\0\0\3\x10") * 2 + ALIVE,
        Frames((1,)),
        listener="floods",
    ),
    closes("window_updates", window(1) * 8, listener="floods"),
    case("window_updates_within_the_limit", window(1) * 5 + ALIVE, Frames((1,)), listener="floods"),
    closes(
        "resets_of_bad_streams",
        b"".join(get(n, b"/x", *[(b"h", b"v")] * 101) for n in range(1, 30, 2)),
        listener="floods",
        ignore=("^client", "tx_bytes"),
    ),
    closes(
        "rapid_reset",
        b"".join(get(n, b"/refused") + reset(n) for n in range(1, 1200, 2)),
        ignore=("^client 0.", "cluster", "rx_bytes"),
        logged=250,
    ),
    closes(
        "answers_nobody_reads",
        b"".join(get(n, b"/alive") for n in range(1, 60, 2)),
        listener="floods",
        ignore=("^client 0", "tx_bytes", "^log"),
    ),
    closes(
        "continuation_flood",
        frame(HEADERS, 1, 1, request())
        + b"".join(frame(CONTINUATION, 0, 1, block((b"a", b"v" * 16000))) for _ in range(10))
        + frame(PING, 0, 0, b"12345678"),
    ),
]

CASES = [*FIELDS, *BODIES, *FRAMES, *FLOODS]


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_http2_hostile(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
