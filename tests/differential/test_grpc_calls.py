"""Calls of a real gRPC client to a real gRPC server through Envoy and Proxeny: what both ends saw, logs, counters."""

from __future__ import annotations

import re
import socket
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from difflib import ndiff
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.differential.http2_upstream import Body, GoAway, Head, Reset, head
from tests.differential.proxies import CONFIGS, ENVOY, PROXENY, Proxy
from tests.differential.upstream import FIN, NEVER, RST, Answer
from tests.differential.wire import Wire, read_response
from tests.grpc_service import SERVICE, WAIT_SECONDS, GrpcClient, GrpcService

POLL_SECONDS = 0.005
COUNTED = r"^(cluster\.\w+\.(grpc|grpc-web)\.|http\.\w+\.downstream_rq_(\dxx|total)|cluster\.\w+\.upstream_rq_)"
NOT_COUNTED = re.compile(r"^http\.admin\.|\.(upstream_rq_pending_total|upstream_rq_\w*active|downstream_rq_active)$")
"""Pools differ from call to call; admin is asked by the test."""

Metadata = tuple[tuple[str, str | bytes], ...]


class Side:
    """One proxy between a client and a server of its own."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.service = GrpcService()
        template = (CONFIGS / "grpc_calls.yaml").read_text().replace("GRPC_PORT", str(self.service.port))
        self.proxy = Proxy(kind, template, folder)
        self.proxy.names[f":{self.service.port}"] = ":<grpc>"
        self.clients = {name: GrpcClient(self.port(name)) for name in ("main", "reverse")}
        self.lines: list[str] = []
        self._logged: dict[str, int] = {}

    def port(self, listener: str) -> int:
        address = self.proxy.listeners[listener]
        assert isinstance(address, tuple)
        return address[1]

    def close(self) -> None:
        for client in self.clients.values():
            client.close()
        self.proxy.close()
        self.service.close()

    def run(self, case: CallCase) -> None:
        """Make the call; `lines` is what came of it."""
        self.lines = []
        self.service.forget()
        for name in SCRIPTED:
            self.proxy.upstreams[name].begin(case.answers, None)
        before = self._counters()
        case.act(self, case)
        if case.seen:
            for call in self.service.wait_for_calls(case.seen):
                assert call.ended.wait(WAIT_SECONDS)
                sizes = [len(message) for message in call.messages]
                self.lines.append(f"server {call.method} {call.metadata} {call.has_deadline} {sizes}")
        for name in SCRIPTED:
            for request in self.proxy.upstreams[name].seen:
                fields = sorted((name, value) for name, value in request.headers if name not in VOLATILE)
                self.lines.append(f"{name} {request.line!r} {fields} {request.body!r}")
        self._read_log(case)
        self._count(before, case)

    def _read_log(self, case: CallCase) -> None:
        path = self.proxy.log_path(case.listener)
        deadline = time.monotonic() + WAIT_SECONDS
        known = self._logged.get(case.listener, 0)
        while len(lines := path.read_text().splitlines() if path.exists() else []) < known + case.logged:
            assert time.monotonic() < deadline, f"{case.name}: not logged"
            time.sleep(POLL_SECONDS)
        self._logged[case.listener] = len(lines)
        self.lines += [f"log {self.proxy.normalise(line)}" for line in lines[known:]]

    def _counters(self) -> dict[str, int]:
        return {name: value for name, value in self.proxy.stats(COUNTED).items() if not NOT_COUNTED.search(name)}

    def _count(self, before: dict[str, int], case: CallCase) -> None:
        """Wait until all is counted that is counted for a call that ended."""
        name = f"http.{case.listener}.downstream_rq_total"
        deadline = time.monotonic() + WAIT_SECONDS
        active = f"^http\\.{case.listener}\\.downstream_rq_active$"
        while (
            any(self.proxy.stats(active).values()) or self._counters().get(name, 0) < before.get(name, 0) + case.logged
        ):
            assert time.monotonic() < deadline, f"{case.name}: not counted"
            time.sleep(POLL_SECONDS)
        after = self._counters()
        self.lines += sorted(
            f"stat {name} +{value - before.get(name, 0)}"
            for name, value in after.items()
            if value != before.get(name, 0)
        )

    def say(self, line: str) -> None:
        self.lines.append(f"client {line}")


SCRIPTED = ("http1", "broken")
"""Upstreams that answer what the case says; `broken` speaks HTTP/2."""
VOLATILE = (b"x-request-id", b"x-envoy-expected-rq-timeout-ms", b"host", b":authority", b"user-agent")
HIDDEN = ("date", "server", "x-envoy-upstream-service-time")


def metadata_of(pairs: Any) -> list[tuple[str, str | bytes]]:
    return sorted((key, value) for key, value in pairs or () if key not in HIDDEN)


def tell_end(side: Side, call: Any) -> None:
    """How a call ended, as the client learned it."""
    details = re.sub(r"127\.0\.0\.1:\d+", "<address>", call.details() or "")
    side.say(f"{call.code()} {details!r}")
    side.say(f"initial {metadata_of(call.initial_metadata())} trailing {metadata_of(call.trailing_metadata())}")


def shown(messages: Sequence[bytes]) -> str:
    sizes = [len(message) for message in messages]
    return f"{len(messages)} messages, {sizes[:10]} {sum(sizes)} {[message[:1] for message in messages[:10]]}"


@dataclass
class CallCase:
    """One call and what it is about."""

    name: str
    act: Callable[[Side, CallCase], None]
    metadata: Metadata = ()
    requests: Sequence[bytes] = (b"hello",)
    timeout: float | None = None
    seen: int = 1
    """How many calls the server sees."""
    logged: int = 1
    listener: str = "main"
    answers: Sequence[Answer] = ()
    ignore: str = ""
    expected: str = ""
    """A regex that both sides' lines must hold."""
    data: bytes = b""


def unary(side: Side, case: CallCase) -> None:
    client = side.clients[case.listener]
    try:
        reply, call = client.unary.with_call(case.requests[0], timeout=case.timeout, metadata=case.metadata)
        side.say(shown([reply]))
    except grpc.RpcError as error:
        call = error
    tell_end(side, call)


def server_stream(side: Side, case: CallCase) -> None:
    call = side.clients["main"].server_stream(case.requests[0], timeout=case.timeout, metadata=case.metadata)
    read_all(side, call)


def client_stream(side: Side, case: CallCase) -> None:
    try:
        reply, call = side.clients["main"].client_stream.with_call(
            iter(case.requests), timeout=case.timeout, metadata=case.metadata
        )
        side.say(repr(reply))
    except grpc.RpcError as error:
        call = error
    tell_end(side, call)


def bidi(side: Side, case: CallCase) -> None:
    call = side.clients["main"].bidi(iter(case.requests), timeout=case.timeout, metadata=case.metadata)
    read_all(side, call)


def read_all(side: Side, call: Any) -> None:
    messages: list[bytes] = []
    try:
        messages.extend(call)
    except grpc.RpcError:
        pass
    side.say(shown(messages))
    tell_end(side, call)


def ping_pong(side: Side, case: CallCase) -> None:
    """Each message is sent once the one before came back."""
    returned: list[bytes] = []
    turn = iter(case.requests)
    arrived = threading.Semaphore(1)

    def requests() -> Iterator[bytes]:
        for request in turn:
            assert arrived.acquire(timeout=WAIT_SECONDS)
            yield request

    call = side.clients["main"].bidi(requests(), metadata=case.metadata)
    for reply in call:
        returned.append(reply)
        arrived.release()
    side.say(shown(returned))
    tell_end(side, call)


def cancelled(side: Side, case: CallCase) -> None:
    """The client loses interest once the server has the call."""
    call = side.clients["main"].unary.future(case.requests[0], metadata=case.metadata)
    seen = side.service.wait_for_calls(1)[0]
    call.cancel()
    assert seen.cancelled.wait(WAIT_SECONDS)
    side.say(str(call.code()))


def cancelled_stream(side: Side, case: CallCase) -> None:
    """It reads some of a stream that would go on."""
    call = side.clients["main"].server_stream(case.requests[0], metadata=case.metadata)
    side.say(shown([next(call) for _ in range(3)]))
    call.cancel()
    seen = side.service.wait_for_calls(1)[0]
    assert seen.ended.wait(WAIT_SECONDS)


def health(side: Side, case: CallCase) -> None:
    stub = health_pb2_grpc.HealthStub(side.clients["main"].channel)
    for name in ("", SERVICE):
        side.say(str(stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=WAIT_SECONDS).status))
    try:
        stub.Check(health_pb2.HealthCheckRequest(service="unknown"), timeout=WAIT_SECONDS)
    except grpc.RpcError as error:
        tell_end(side, error)


def health_watch(side: Side, case: CallCase) -> None:
    """A stream whose messages come when the server has news."""
    stub = health_pb2_grpc.HealthStub(side.clients["main"].channel)
    call = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
    side.say(str(next(call).status))
    side.service.health.set(SERVICE, health_pb2.HealthCheckResponse.NOT_SERVING)
    side.say(str(next(call).status))
    side.service.health.set(SERVICE, health_pb2.HealthCheckResponse.SERVING)
    side.say(str(next(call).status))
    call.cancel()


def reflection(side: Side, case: CallCase) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(side.clients["main"].channel)
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="grpc.health.v1.Health"),
        reflection_pb2.ServerReflectionRequest(file_by_filename="unknown.proto"),
    ]
    for answer in stub.ServerReflectionInfo(iter(asked)):
        services = [service.name for service in answer.list_services_response.service]
        sizes = [len(file) for file in answer.file_descriptor_response.file_descriptor_proto]
        side.say(f"{services} {sizes} {answer.error_response.error_code}")


def http1(side: Side, case: CallCase) -> None:
    """An HTTP/1 client; a text response is decoded."""
    wire = Wire(socket.create_connection(("127.0.0.1", side.port(case.listener)), timeout=WAIT_SECONDS))
    try:
        wire.send(case.data)
        response = read_response(wire)
    finally:
        wire.close()
    fields = sorted((name, value) for name, value in response.headers if name.decode() not in HIDDEN)
    body = response.body
    if (b"content-type", b"application/grpc-web-text+proto") in fields:
        body = b"".join(b64decode(part + b"==") for part in re.findall(rb"[^=]+", body))
    body = b"|".join(sorted(re.split(rb"\r\n", body)))
    side.say(f"{response.line!r} {fields} {body!r} {response.trailers} {response.end}")


def frame(data: bytes) -> bytes:
    return b"\0" + len(data).to_bytes(4, "big") + data


def post(method: str, body: bytes, *fields: str) -> bytes:
    lines = [f"POST /{SERVICE}/{method} HTTP/1.1", "host: h", *fields, f"content-length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def does(action: str, *more: tuple[str, str | bytes]) -> Metadata:
    return (("do", action), *more)


def to(route: str, *more: tuple[str, str | bytes]) -> Metadata:
    return (("route", route), *more)


def call(name: str, act: Callable[[Side, CallCase], None], *metadata: tuple[str, str | bytes], **more: Any) -> CallCase:
    return CallCase(name, act, metadata, **more)


WEB = "content-type: application/grpc-web"
TEXT = "content-type: application/grpc-web-text"
GRPC = "te: trailers\r\ncontent-type: application/grpc"
PROTO = "content-type: application/x-protobuf"
UPGRADED = f"te: trailers\r\n{PROTO}"
LARGE = b"x" * 1_000_000
SHOWN = r"^client .*"


def answered(status: int, *fields: str, body: bytes = b"") -> Answer:
    lines = [f"HTTP/1.1 {status} X", *fields, f"content-length: {len(body)}", "", ""]
    return ("\r\n".join(lines).encode() + body,)


def unheard(route: str, timeout: float, **more: Any) -> CallCase:
    """A call that the proxy ends: the upstream, which knows nothing of deadlines, never answers."""
    return CallCase(route, unary, to(route), timeout=timeout, seen=0, answers=[(NEVER,)], **more)


KINDS = [
    call("unary", unary, expected=r"client StatusCode\.OK"),
    call("unary_empty", unary, requests=[b""]),
    call("unary_large", unary, requests=[LARGE]),
    call("server_stream", server_stream, ("count", "5"), ("size", "10")),
    call("server_stream_empty", server_stream),
    call("server_stream_many", server_stream, ("count", "500"), ("size", "100")),
    call("server_stream_large", server_stream, ("count", "20"), ("size", "200000")),
    call("client_stream", client_stream, requests=[b"a", b"bc", b""]),
    call("client_stream_empty", client_stream, requests=[]),
    call("client_stream_large", client_stream, requests=[LARGE] * 5),
    call("bidi", bidi, requests=[b"a", b"b", b"c"]),
    call("bidi_empty", bidi, requests=[]),
    call("bidi_large", bidi, requests=[LARGE] * 5),
    call("bidi_in_turns", ping_pong, requests=[b"%d" % number for number in range(20)]),
    call("bidi_server_ends", bidi, requests=[b"a", b"enough", b"b"], ignore=r"^server|^log|message_count|tx_reset"),
]
METADATA = [
    call("metadata", unary, ("x-one", "1"), ("x-two", "a b"), ("x-one", "2"), ("x-bin", b"\x00\xff\x80")),
    call("initial_and_trailing", unary, ("initial", "i"), ("trailing", "t")),
    call("initial_and_trailing_stream", server_stream, ("initial", "i"), ("trailing", "t"), ("count", "1")),
    call("long_metadata", unary, ("x-long", "y" * 6000)),
]
ERRORS = [
    *[
        CallCase(f"status_{code}", unary, does("fail", ("code", str(code)), ("details", "why")))
        for code in range(1, 17)
    ],
    CallCase("details_escaped", unary, does("fail", ("code", "9"), ("details", "100%25 %C3%A9 %0A"))),
    CallCase("details_empty", unary, does("fail", ("code", "9"))),
    CallCase("error_with_trailing", unary, does("fail", ("code", "9"), ("trailing", "t"), ("initial", "i"))),
    CallCase("stream_fails_later", server_stream, does("fail", ("code", "10"), ("count", "3"))),
    CallCase("client_stream_fails", client_stream, does("fail", ("code", "10"))),
    CallCase("bidi_fails", bidi, does("fail", ("code", "10"), ("details", "at last"))),
]
ANSWERED_HERE = [
    CallCase("no_cluster", unary, to("none"), seen=0, expected="UNAVAILABLE"),
    CallCase("refused", unary, to("refused"), seen=0, expected="UNAVAILABLE"),
    CallCase("no_hosts", unary, to("empty"), seen=0, expected="UNAVAILABLE"),
    CallCase("direct", unary, to("direct"), seen=0, expected="PERMISSION_DENIED"),
    CallCase("direct_stream", server_stream, to("direct"), seen=0),
    CallCase("http1_answers", unary, to("http1"), seen=0, answers=[answered(200, PROTO, body=b"x")]),
    CallCase("http1_fails", unary, to("http1"), seen=0, answers=[answered(503)], expected="UNAVAILABLE"),
]
TIMES = [
    CallCase("deadline_told", unary, timeout=WAIT_SECONDS, expected="True"),
    CallCase(
        "deadline_passes", unary, does("wait"), timeout=1.0, expected="DEADLINE_EXCEEDED", ignore="^log|^stat|^server"
    ),
    CallCase("route_times_out", unary, (*to("short"), *does("wait")), expected="log .* 200 UT"),
    unheard("capped", WAIT_SECONDS, expected="grpc-timeout', b'150m"),
    unheard("offset", 10.0, ignore="^http1"),
    unheard("older", WAIT_SECONDS, expected="grpc-timeout', b'150m"),
    CallCase("cancelled", cancelled, does("wait"), expected="CANCELLED"),
    call("cancelled_stream", cancelled_stream, ("count", "1000000"), ("size", "1000"), ignore="^log|^stat"),
]
RETRIES = [
    CallCase(
        "retried",
        unary,
        (*to("retried"), *does("flaky", ("key", "a"), ("count", "2"))),
        seen=3,
        expected="StatusCode.OK",
    ),
    CallCase(
        "retries_end", unary, (*to("retried"), *does("flaky", ("key", "b"), ("count", "9"))), seen=3, expected="not yet"
    ),
    CallCase("not_retried", unary, (*to("retried"), *does("fail", ("code", "13")))),
]
HEAD = head(200, (b"content-type", b"application/grpc"))
REPLY = Body(b"\0\0\0\0\x02hi", False)


def status(*fields: tuple[bytes, bytes]) -> Head:
    """Trailers."""
    return Head(fields, True)


def broken(name: str, *steps: object, act: Callable[[Side, CallCase], None] = server_stream, **more: Any) -> CallCase:
    """A call to an upstream that answers with these frames; of a stream, so that the client tells what came before."""
    return CallCase(f"upstream_{name}", act, to("broken"), seen=0, answers=[steps], **more)  # type: ignore[list-item]


READ = r"^client \d+ messages"
"""A client that learns of a reset may throw away what came before."""
BROKEN = [
    broken("whole", HEAD, REPLY, status((b"grpc-status", b"0")), expected="StatusCode.OK"),
    broken("trailers_only", head(200, (b"content-type", b"application/grpc"), (b"grpc-status", b"8"), end=True)),
    *[broken(f"reset_{code}", Reset(code)) for code in (0, 2, 7, 8)],
    *[broken(f"reset_{code}_behind_the_head", HEAD, Reset(code)) for code in (1, 2, 8)],
    *[broken(f"reset_{code}_behind_a_message", HEAD, REPLY, Reset(code), ignore=READ) for code in (0, 2, 7, 11)],
    broken("ends_without_trailers", HEAD, REPLY, Body(b"", True), ignore=READ),
    broken("ends_inside_a_message", HEAD, Body(b"\0\0\0\0\x09hi", False), status((b"grpc-status", b"0"))),
    broken("closes_behind_the_head", HEAD, FIN),
    broken("closes_behind_a_message", HEAD, REPLY, RST, ignore=READ),
    broken("goes_away_before", GoAway(-2)),
    broken("goes_away_behind", HEAD, REPLY, GoAway(), status((b"grpc-status", b"0"))),
    broken("http_error", head(503, end=True)),
    broken("html", head(200, (b"content-type", b"text/html")), Body(b"what")),
    broken("no_type", head(200), REPLY, status((b"grpc-status", b"0"))),
    broken("status_letters", HEAD, status((b"grpc-status", b"abc"))),
    broken("status_unknown", HEAD, status((b"grpc-status", b"99"), (b"grpc-message", b"odd %C3%A9"))),
    broken("binary_trailers", HEAD, status((b"grpc-status", b"3"), (b"x-bin", b"AAECAw"), (b"x-bin", b"BAU="))),
    broken("informational", head(103), HEAD, REPLY, status((b"grpc-status", b"0"))),
    broken(
        "wrong_length",
        head(200, (b"content-type", b"application/grpc"), (b"content-length", b"3")),
        REPLY,
        ignore=READ + "|^broken",
    ),
    broken("answers_early", HEAD, status((b"grpc-status", b"9")), Reset(0), act=unary),
]
SERVICES = [
    CallCase("health", health, seen=0, logged=3),
    CallCase("health_watch", health_watch, seen=0, ignore="^log|^stat"),
    CallCase("reflection", reflection, seen=0),
]
BRIDGES = [
    CallCase("web", http1, listener="web", data=post("Unary", frame(b"hi"), WEB, "trailing: t")),
    CallCase("web_text", http1, listener="web",
             data=post("Unary", b64encode(frame(b"hi")), TEXT, "accept: application/grpc-web-text")),
    CallCase("web_stream", http1, listener="web", data=post("ServerStream", frame(b"hi"), WEB, "count: 3", "size: 4")),
    CallCase("web_text_stream", http1, listener="web",
             data=post("ServerStream", frame(b"hi"), WEB, "accept: application/grpc-web-text", "count: 3", "size: 4")),
    CallCase("web_fails", http1, listener="web", data=post("Unary", frame(b"hi"), WEB, "do: fail", "code: 5")),
    CallCase("web_refused", http1, listener="web", seen=0, data=post("Unary", frame(b"hi"), WEB, "route: refused")),
    CallCase("bridge", http1, listener="bridge", data=post("Unary", frame(b"hi"), GRPC)),
    CallCase("bridge_fails", http1, listener="bridge", data=post("Unary", frame(b"hi"), GRPC, "do: fail", "code: 5")),
    CallCase("bridge_protobuf", http1, listener="bridge", data=post("Unary", b"hi", UPGRADED)),
    CallCase("bridge_protobuf_fails", http1, listener="bridge",
             data=post("Unary", b"hi", UPGRADED, "do: fail", "code: 5")),
    CallCase("reverse", unary, to("http1"), listener="reverse", seen=0, answers=[answered(200, PROTO, body=b"answer")]),
    CallCase("reverse_empty", unary, to("http1"), listener="reverse", seen=0, answers=[answered(200, PROTO)]),
    CallCase("reverse_fails", unary, to("http1"), listener="reverse", seen=0, answers=[answered(403, PROTO)]),
    CallCase("reverse_wrong_type", unary, to("http1"), listener="reverse", seen=0, answers=[answered(200, body=b"no")]),
]  # fmt: skip
CASES = KINDS + METADATA + ERRORS + ANSWERED_HERE + TIMES + RETRIES + BROKEN + SERVICES + BRIDGES


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Side]]:
    folder = tmp_path_factory.mktemp("grpc")
    with ExitStack() as stack:
        yield [stack.enter_context(closing(Side(kind, folder / kind))) for kind in (ENVOY, PROXENY)]


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as made:
        yield made


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_call(case: CallCase, sides: list[Side], pool: ThreadPoolExecutor) -> None:
    for done in [pool.submit(side.run, case) for side in sides]:
        done.result()
    told = []
    for side in sides:
        told.append([line for line in side.lines if not (case.ignore and re.search(case.ignore, line))])
        assert side.proxy.alive(), side.proxy.log_tail()
        assert not case.expected or re.search(case.expected, "\n".join(side.lines)), side.lines
    if told[0] != told[1]:
        pytest.fail("\n".join(ndiff(*told)), pytrace=False)
