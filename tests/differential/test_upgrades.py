"""Upgrades and CONNECT: who may have one, which filters see it, what becomes of early bytes, ends and time-outs."""

from typing import Any

import pytest
from tests.differential.harness import Case, Do, Expect, Pairs, Release, Reply, Step, UpstreamSaw, case_id, request
from tests.differential.upstream import BODY, FIN, NEVER, READ_END, RST, Hold, Read
from tests.differential.wire import End

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
POISON = b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"


def asks(path: str = "/", kind: str = "websocket", *more: bytes, method: str = "GET", host: str = "a.test") -> bytes:
    lines = [f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: {kind}".encode(), *more]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def grants(kind: str = "websocket", *more: bytes) -> bytes:
    lines = [f"HTTP/1.1 101 Switching Protocols\r\nupgrade: {kind}\r\nconnection: upgrade".encode(), *more]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def upgrade(name: str, *steps: Step, listener: str = "main", **more: Any) -> Case:
    return Case(name, steps, config="upgrades", listener=listener, **more)


def talk(name: str, ask: bytes, grant: bytes, *, listener: str = "main", **more: Any) -> Case:
    """An upgrade that is granted: a byte string each way, then the client leaves."""
    steps = (ask, Reply(), Expect(b"pong"), b"ping", Do("fin"), Do("end"))
    more = {"status": 101, "forwarded": 1, **more}
    return upgrade(name, *steps, listener=listener, answers=[(grant, b"pong", BODY)], **more)


def refused(name: str, ask: bytes, *, listener: str = "main", status: int = 403, **more: Any) -> Case:
    """An upgrade that goes nowhere, with another request behind it."""
    more = {"log": "upgrade_failed", "forwarded": 0, **more}
    return upgrade(name, ask + POISON, Reply(), Do("end"), listener=listener, status=status, end=End.CLOSED, **more)


WHO = [
    talk("websocket", asks(), grants(), contains=(r"stat \+1 http.main.downstream_cx_upgrades_total",)),
    talk("type_in_other_case", asks(kind="WebSocket"), grants("WebSocket")),
    talk("another_type", asks(kind="foo"), grants("foo")),
    talk("another_type_in_upper_case", asks(kind="FOO"), grants("FOO")),
    refused("type_unknown", asks(kind="nobody")),
    refused("type_switched_off", asks(kind="quiet")),
    refused("two_types_in_one_header", asks(kind="websocket, foo")),
    refused("switched_off_by_route", asks("/never")),
    talk("other_type_on_that_route", asks("/never", "foo"), grants("foo")),
    talk("switched_on_by_route", asks("/allowed", "quiet"), grants("quiet")),
    talk("known_to_the_route_only", asks("/allowed", "bar"), grants("bar")),
    talk("websocket_on_that_route", asks("/allowed"), grants()),
    talk("filters_of_its_own", asks(kind="filtered"), grants("filtered"), log="upgraded"),
    talk("filters_of_a_type_that_the_route_allows", asks("/allowed", "filtered-off"), grants("x"), log="upgraded"),
    refused("type_with_filters_off", asks(kind="filtered-off")),
    refused("no_upgrades_at_all", asks(), listener="plain"),
    talk("allowed_by_route_alone", asks("/allowed"), grants(), listener="plain"),
    refused("other_type_on_such_a_route", asks("/allowed", "foo"), listener="plain"),
    upgrade("no_route", *request(asks(host="empty.test")), status=404, log="route_not_found"),
    upgrade("no_route_type_unknown", *request(asks(kind="nobody", host="empty.test")), status=404),
    upgrade("direct_response", *request(asks("/direct")), status=200, body=b"direct"),
    refused("direct_response_type_unknown", asks("/direct", "nobody")),
    upgrade("redirect", *request(asks("/redirect")), status=301),
    upgrade("refused_connection", *request(asks("/refused")), status=503),
    talk("header_mutations", asks("/added"), grants(), contains=("x-route: added", "x-answer: added")),
    upgrade("upgrade_without_connection", *request(b"GET / HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\n\r\n"),
            status=200, forwarded=1),
    upgrade("connection_without_upgrade", *request(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\n\r\n"),
            status=200, forwarded=1),
    upgrade("upgrade_empty", *request(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade:\r\n\r\n")),
    talk("connection_has_other_tokens",
         b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n", grants()),
    talk("connection_names_another_header",
         b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Hop: 1\r\nConnection: x-hop, Upgrade\r\nUpgrade: websocket\r\n\r\n",
         grants()),
    talk("upgrade_and_close",
         b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\n\r\n", grants()),
    upgrade("h2c_among_others", *request(asks(kind="h2c, websocket")), status=403),
    upgrade("upgrade_in_http10", *request(asks().replace(b"HTTP/1.1", b"HTTP/1.0")), status=426),
]  # fmt: skip

BODIES = [
    talk("post", asks(method="POST"), grants()),
    talk("content_length_0", asks("/", "websocket", b"Content-Length: 0"), grants()),
    talk("content_length", asks("/", "websocket", b"Content-Length: 4"), grants()),
    talk("chunked", asks("/", "websocket", b"Transfer-Encoding: chunked"), grants()),
    upgrade("foo_with_body", asks("/", "foo", b"Content-Length: 4", method="POST") + b"body", UpstreamSaw(1),
            Do("fin"), Do("end"), answers=[(grants("foo"), NEVER)], forwarded=1, ignore=("^log ",)),
    upgrade("refused_with_body", asks("/", "nobody", b"Content-Length: 4") + b"body", Reply(), Do("end"), status=403),
]  # fmt: skip

ANSWERS = [
    *(
        upgrade(f"answered_{status}", asks() + POISON, Reply(), Do("end"), status=status, forwarded=1,
                answers=[(f"HTTP/1.1 {status} X\r\ncontent-length: 2\r\nx-own: 1\r\n\r\nno".encode(), NEVER)],
                # Envoy counts bytes that it holds until the handshake is over as a body; here the codec holds them.
                ignore=("^log ",))
        for status in (200, 202, 301, 400, 403, 426, 500, 503)
    ),
    upgrade("answered_200_chunked", asks(), Reply(), Do("end"), status=200, forwarded=1,
            answers=[(b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", NEVER)]),
    upgrade("answered_404_chunked", asks(), Reply(), Do("end"), status=404, forwarded=1,
            answers=[(b"HTTP/1.1 404 X\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", NEVER)]),
    upgrade("answered_426_with_upgrade", asks(), Reply(), Do("end"), status=426, forwarded=1,
            answers=[(b"HTTP/1.1 426 X\r\nupgrade: websocket\r\nconnection: upgrade\r\ncontent-length: 0\r\n\r\n",
                      NEVER)], stricter="Envoy leaves the client waiting for more"),
    upgrade("answered_204", asks(), Reply(), Do("end"), status=204, forwarded=1,
            answers=[(b"HTTP/1.1 204 X\r\n\r\n", NEVER)]),
    *(
        upgrade(f"other_type_answered_{status}", asks(kind="foo"), Reply(), Do("end"), status=status, forwarded=1,
                answers=[(f"HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nno".encode(), NEVER)])
        for status in (200, 404)
    ),
    upgrade("granted_without_headers", asks(), Reply(), Do("fin"), Do("end"), forwarded=1,
            answers=[(b"HTTP/1.1 101 S\r\n\r\n", NEVER)], stricter="a 101 that grants nothing opens no tunnel"),
    talk("granted_for_another_type", asks(), grants("foo")),
    talk("granted_with_length_0", asks(), grants("websocket", b"content-length: 0")),
    upgrade("granted_with_length", asks(), Reply(), Do("end"), forwarded=1, status=502,
            answers=[(grants("websocket", b"content-length: 5") + b"hello", NEVER)]),
    upgrade("continue_first", asks(), Reply(), Expect(b"pong"), Do("fin"), Do("end"), forwarded=1,
            answers=[(b"HTTP/1.1 100 C\r\n\r\n" + grants() + b"pong", NEVER)]),
    upgrade("early_hints_first", asks(), Reply(), Expect(b"pong"), Do("fin"), Do("end"), forwarded=1,
            answers=[(b"HTTP/1.1 103 E\r\nlink: x\r\n\r\n" + grants() + b"pong", NEVER)]),
    upgrade("closed_instead", asks(), Reply(), Do("end"), forwarded=1, status=503, answers=[(FIN,)]),
    upgrade("reset_instead", asks(), Reply(), Do("end"), forwarded=1, status=503, answers=[(RST,)]),
    upgrade("malformed", asks(), Reply(), Do("end"), forwarded=1, status=502, answers=[(b"NO\r\n\r\n", NEVER)]),
    upgrade("retried_after_503", asks("/retried"), Reply(), Expect(b"pong"), Do("fin"), Do("end"), forwarded=2,
            status=101, answers=[(b"HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n",), (grants() + b"pong", NEVER)]),
    upgrade("retried_after_reset", asks("/retried"), Reply(), Expect(b"pong"), Do("fin"), Do("end"), forwarded=2,
            status=101, answers=[(RST,), (grants() + b"pong", NEVER)]),
]  # fmt: skip

BYTES = [
    upgrade("early_bytes", asks() + b"early", Reply(), Expect(b"got"), Do("fin"), Do("end"), status=101, forwarded=1,
            answers=[(grants(), Read(5), b"got", NEVER)]),
    upgrade("bytes_with_the_grant", asks(), Reply(), Expect(b"hello"), Do("fin"), Do("end"), forwarded=1,
            answers=[(grants() + b"hello", NEVER)]),
    upgrade("upstream_ends_first", asks(), Reply(), Do("end"), status=101, forwarded=1,
            answers=[(grants() + b"bye", FIN, NEVER)]),
    upgrade("upstream_resets", asks(), Reply(), Expect(b"bye"), Release(), Do("end"), status=101, forwarded=1,
            answers=[(grants() + b"bye", Hold(), RST)]),
    upgrade("client_resets", asks(), Reply(), Expect(b"hi"), Do("rst"), status=101, forwarded=1,
            answers=[(grants() + b"hi", NEVER)]),
    upgrade("client_ends_before_the_grant", asks(), UpstreamSaw(1), Do("fin"), Do("end"), forwarded=1,
            answers=[(NEVER,)]),
    upgrade("large_to_client", asks(), Reply(), Expect(b"x" * 400_000), Do("fin"), Do("end"), status=101,
            answers=[(grants() + b"x" * 400_000, NEVER)], ignore=("flow_control",)),
    upgrade("large_to_upstream", asks(), Reply(), b"y" * 400_000, Expect(b"got"), Do("fin"), Do("end"), status=101,
            answers=[(grants(), Read(400_000), b"got", NEVER)], ignore=("flow_control",)),
    upgrade("not_http_inside", asks(), Reply(), b"\x00\xff\r\n\r\nGET", Expect(b"\x00\r\n"), Do("fin"), Do("end"),
            answers=[(grants(), Read(9), b"\x00\r\n", NEVER)]),
]  # fmt: skip

TIMES = [
    upgrade("idle_tunnel", asks(), Reply(), Do("end"), listener="idle", status=101, forwarded=1,
            answers=[(grants(), NEVER)], log="stream_idle_timeout"),
    upgrade("idle_before_the_grant", asks(), Reply(), Do("end"), listener="idle", status=408, forwarded=1,
            answers=[(NEVER,)]),
    upgrade("idle_by_route", asks("/longer"), Reply(), Do("end"), listener="idle", status=101, forwarded=1,
            answers=[(grants(), NEVER)], log="stream_idle_timeout"),
    upgrade("longest_stream", asks(), Reply(), Do("end"), listener="duration", status=101, forwarded=1,
            answers=[(grants(), NEVER)], log="max_duration_timeout"),
    upgrade("route_timeout_before_the_grant", asks("/timed"), UpstreamSaw(1), Do("fin"), Do("end"), forwarded=1,
            answers=[(NEVER,)]),
]  # fmt: skip


def connect(host: str, *more: bytes) -> bytes:
    return b"\r\n".join([f"CONNECT {host} HTTP/1.1\r\nHost: {host}".encode(), *more]) + b"\r\n\r\n"


def tunnel(name: str, host: str, *, listener: str = "connect", **more: Any) -> Case:
    """CONNECT that ends here, to an upstream that speaks first; then the client leaves."""
    steps = (connect(host), Reply(head_only=True), Expect(b"pong"), b"ping", Do("fin"), Do("end"))
    more = {"raw": (b"pong", READ_END), "status": 200, "forwarded": 1, **more}
    return upgrade(name, *steps, listener=listener, **more)


PASSED = [
    upgrade("passed_on", connect("pass.test:80"), Reply(head_only=True), Expect(b"pong"), b"ping", Do("fin"),
            Do("end"), listener="connect", status=200, forwarded=1,
            answers=[(b"HTTP/1.1 200 OK\r\n\r\npong", NEVER)]),
    upgrade("passed_on_by_route_config", connect("pass.test:80"), Reply(), Do("end"), listener="by_route", status=403),
    upgrade("passed_on_early_bytes", connect("pass.test:80") + b"early", Reply(head_only=True), Expect(b"got"),
            Do("fin"), Do("end"), listener="connect", status=200, forwarded=1,
            answers=[(b"HTTP/1.1 200 OK\r\n\r\n", Read(5), b"got", NEVER)]),
    upgrade("passed_on_early_bytes_refused", connect("pass.test:80") + POISON, Reply(), Do("end"), listener="connect",
            status=403, forwarded=1, answers=[(b"HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno", NEVER)],
            ignore=("^log ",)),
    upgrade("passed_on_201", connect("pass.test:80"), Reply(head_only=True), Expect(b"pong"), Do("fin"), Do("end"),
            listener="connect", status=201, forwarded=1, answers=[(b"HTTP/1.1 201 OK\r\n\r\npong", NEVER)]),
    upgrade("passed_on_length_ignored", connect("pass.test:80"), Reply(head_only=True), Expect(b"pong"), Do("fin"),
            Do("end"), listener="connect", status=200, forwarded=1,
            answers=[(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\npong", NEVER)],
            stricter="RFC 9110 9.3.6: such a length means nothing; it is not passed on"),
    upgrade("passed_on_upstream_ends", connect("pass.test:80"), Reply(head_only=True), Do("end"), listener="connect",
            status=200, forwarded=1, answers=[(b"HTTP/1.1 200 OK\r\n\r\nbye", FIN, NEVER)]),
    upgrade("passed_on_302", connect("pass.test:80"), Reply(), listener="connect", status=302, forwarded=1,
            answers=[(b"HTTP/1.1 302 X\r\nlocation: /\r\ncontent-length: 0\r\n\r\n", NEVER)]),
    upgrade("passed_on_rewritten", connect("rewritten.test:80"), Reply(head_only=True), Do("fin"), Do("end"),
            listener="connect", status=200, forwarded=1, answers=[(b"HTTP/1.1 200 OK\r\n\r\n", NEVER)],
            contains=("CONNECT other.test:81",)),
    upgrade("http_pool", connect("http.test:80"), Reply(head_only=True), Do("fin"), Do("end"), listener="connect",
            status=200, forwarded=1, answers=[(b"HTTP/1.1 200 OK\r\n\r\n", NEVER)]),
    upgrade("connect_not_allowed", connect("pass.test:80") + POISON, Reply(), Do("end"), status=404),
    upgrade("connect_no_upgrade_config", connect("end.test:80"), Reply(head_only=True), Do("fin"), Do("end"),
            listener="by_route", raw=(READ_END,), status=200),
    upgrade("connect_denied_by_route", connect("denied.test:80"), Reply(), Do("end"), listener="connect", status=403),
    upgrade("connect_no_route", connect("unrouted.test:80") + POISON, Reply(), Do("end"), listener="connect",
            status=404, log="route_not_found"),
    upgrade("connect_direct_response", connect("direct.test:80"), Reply(), Do("end"), listener="connect", status=418),
    upgrade("connect_host_differs", b"CONNECT end.test:80 HTTP/1.1\r\nHost: other.test\r\n\r\n",
            Reply(head_only=True), Do("fin"), Do("end"), listener="connect", raw=(READ_END,), status=200),
    upgrade("connect_without_host", b"CONNECT end.test:80 HTTP/1.1\r\n\r\n", Reply(head_only=True), Do("fin"),
            Do("end"), listener="connect", raw=(READ_END,), status=200),
    upgrade("connect_close", connect("end.test:80", b"Connection: close"), Reply(head_only=True), Do("fin"), Do("end"),
            listener="connect", raw=(READ_END,), status=200),
    upgrade("connect_with_upgrade", connect("end.test:80", b"Connection: upgrade", b"Upgrade: websocket"),
            Reply(head_only=True), Do("fin"), Do("end"), listener="connect", raw=(READ_END,)),
]  # fmt: skip

ENDED = [
    tunnel("ended", "end.test:80", contains=(r"stat \+1 http.connect.downstream_cx_upgrades_total",)),
    tunnel("ended_generic_pool", "generic.test:80"),
    tunnel("ended_tcp_pool", "tcp.test:80"),
    tunnel("ended_by_route", "end.test:80", listener="by_route"),
    tunnel("ended_allow_post", "6.test:80"),
    tunnel("ended_proxy_v1", "proxy1.test:80", ignore=("^upstream",),
           contains=(r"upstream up > 'PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 \d+ \d+\\r\\nping'",)),
    tunnel("ended_proxy_v2", "proxy2.test:80", ignore=("^upstream",),
           contains=(r"upstream up > '\\r\\n\\r\\n\\x00\\r\\nQUIT\\n!\\x11\\x00\\x0c\\x7f\\x00\\x00\\x01\\x7f",)),
    upgrade("ended_early_bytes", connect("end.test:80") + b"early", Reply(head_only=True), Expect(b"got"), Do("fin"),
            Do("end"), listener="connect", raw=(Read(5), b"got", READ_END), status=200),
    upgrade("ended_upstream_ends_first", connect("end.test:80"), Reply(head_only=True), Do("end"), listener="connect",
            raw=(b"bye", FIN, READ_END), status=200),
    upgrade("ended_upstream_resets", connect("end.test:80"), Reply(head_only=True), Expect(b"bye"), Release(),
            Do("end"), listener="connect", raw=(b"bye", Hold(), RST), status=200),
    upgrade("ended_client_resets", connect("end.test:80"), Reply(head_only=True), Expect(b"hi"), Do("rst"),
            listener="connect", raw=(b"hi", READ_END), status=200),
    upgrade("ended_refused", connect("refused.test:80"), Reply(), Do("end"), listener="connect", status=503),
    # The order of response flags in logs is another matter.
    upgrade("ended_retried", connect("retried.test:80"), Reply(), Do("end"), listener="connect", status=503,
            ignore=("^log ",)),
    upgrade("ended_nowhere", connect("nowhere.test:80"), Reply(), Do("end"), listener="connect", status=503),
    upgrade("ended_unknown_cluster", connect("unknown.test:80", b"X-Cluster: no"), Reply(), Do("end"),
            listener="connect", status=503),
    upgrade("ended_cluster_by_header", connect("unknown.test:80", b"X-Cluster: up"), Reply(head_only=True), Do("fin"),
            Do("end"), listener="connect", raw=(READ_END,), status=200),
    upgrade("ended_idle", connect("end.test:80"), Reply(head_only=True), Do("end"), listener="idle",
            raw=(READ_END,), status=200, log="stream_idle_timeout"),
    upgrade("ended_longest_stream", connect("end.test:80"), Reply(head_only=True), Do("end"), listener="duration",
            raw=(READ_END,), status=200, log="max_duration_timeout"),
    upgrade("ended_large_to_client", connect("end.test:80"), Reply(head_only=True), Expect(b"x" * 700_000), Do("fin"),
            Do("end"), listener="connect", raw=(b"x" * 700_000, READ_END), status=200, ignore=("flow_control",)),
    upgrade("ended_large_to_upstream", connect("end.test:80"), Reply(head_only=True), b"y" * 700_000, Expect(b"got"),
            Do("fin"), Do("end"), listener="connect", raw=(Read(700_000), b"got", READ_END), status=200,
            ignore=("flow_control",)),
    upgrade("post_as_bytes", b"POST /post HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nping", Reply(),
            Do("end"), listener="connect", raw=(Read(4), b"pong", FIN, READ_END), status=200, body=b"pong"),
    upgrade("post_chunked_as_bytes",
            b"POST /post HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nping\r\n0\r\n\r\n", Reply(),
            Do("end"), listener="connect", raw=(READ_END, b"pong", FIN), status=200, body=b"pong"),
    upgrade("post_with_connect_config_only",
            *request(b"POST /no_post HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n"), listener="connect",
            status=200, body=b"ok"),
    upgrade("get_on_a_post_route", *request(b"GET /post HTTP/1.1\r\nHost: a.test\r\n\r\n"), listener="connect",
            status=200, body=b"ok"),
    upgrade("get_to_a_tcp_pool", b"GET /tcp HTTP/1.1\r\nHost: a.test\r\n\r\n", Reply(), Do("end"), listener="connect",
            raw=(READ_END, b"bytes", FIN), stricter="Envoy does not tell the upstream that the request is complete"),
]  # fmt: skip


@pytest.mark.parametrize("case", [*WHO, *BODIES, *ANSWERS, *BYTES, *TIMES, *PASSED, *ENDED], ids=case_id)
def test_upgrade(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
