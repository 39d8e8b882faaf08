"""What is envoy_grpc's alone: what becomes of answers that are not as they should be, and what a cluster does for it.

Statuses and messages are those of Envoy 1.40, measured against the same answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf import json_format
from tests.unit.rpc.h2_server import HEAD, Answer, H2Server, answer

from proxeny.config.errors import ConfigError
from proxeny.rpc.client_manager import GrpcClientManager
from proxeny.upstream.cluster_manager import ClusterManager
from proxeny.upstream.endpoints import FAILED_OUTLIER_CHECK

BEFORE = "upstream connect error or disconnect/reset before headers. reset reason: "


def reset(code: int, *pieces: Any) -> Answer:
    def send(connection: Any, stream_id: int) -> None:
        answer(*pieces)(connection, stream_id)
        connection.reset_stream(stream_id, code)

    return send


def hang_up(*pieces: Any) -> Answer:
    def send(connection: Any, stream_id: int) -> bool:
        answer(*pieces)(connection, stream_id)
        return True

    return send


@pytest.fixture
def world(make_world: Any) -> Any:
    return make_world("envoy")


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], H2Server]]:
    servers: list[H2Server] = []

    def make(how: Answer) -> H2Server:
        servers.append(H2Server(how))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


CASES: dict[str, tuple[Answer, tuple[int, str]]] = {
    "503": (answer([(":status", "503")], end=True), (14, "via_upstream")),
    "503 with a body": (
        answer([(":status", "503"), ("content-type", "text/plain")], b"oops", end=True),
        (14, "via_upstream"),
    ),
    "404": (answer([(":status", "404")], end=True), (12, "via_upstream")),
    "trailers only": (
        answer([*HEAD, ("grpc-status", "7"), ("grpc-message", "no%20way")], end=True),
        (7, "no%20way{via_upstream}"),
    ),
    "503 with a status": (
        answer([(":status", "503"), ("grpc-status", "7"), ("grpc-message", "hm")], end=True),
        (7, "hm{via_upstream}"),
    ),
    "no status": (answer(HEAD, end=True), (2, "via_upstream")),
    "end without trailers": (answer(HEAD, b"\0\0\0\0\1a", end=True), (2, "via_upstream")),
    "compressed": (answer(HEAD, b"\1\0\0\0\1a"), (13, "via_upstream")),
    "unknown flags": (answer(HEAD, b"\2\0\0\0\1a"), (13, "via_upstream")),
    "too long": (answer(HEAD, b"\0\0\1\0\1a"), (8, "via_upstream")),
    "a hostile length": (answer(HEAD, b"\0\xff\xff\xff\xffa"), (8, "via_upstream")),
    "cut short": (answer(HEAD, b"\0\0\0\0\7abc", [("grpc-status", "0")], end=True), (0, "via_upstream")),
    "status is no number": (answer(HEAD, [("grpc-status", "abc")], end=True), (-1, "via_upstream")),
    "status is unknown": (answer(HEAD, [("grpc-status", "99")], end=True), (-1, "via_upstream")),
    "HTML": (answer([(":status", "200"), ("content-type", "text/html")], b"<html>", end=True), (13, "via_upstream")),
    "reset": (
        reset(2),
        (14, f"{BEFORE}remote reset{{upstream_reset_before_response_started{{remote_reset}}}}"),
    ),
    "reset after the head": (reset(2, HEAD), (13, "upstream_reset_after_response_started{remote_reset}")),
    "refused": (
        reset(7),
        (
            14,
            f"{BEFORE}remote refused stream reset"
            "{upstream_reset_before_response_started{remote_refused_stream_reset}}",
        ),
    ),
    "closed": (
        hang_up(),
        (
            14,
            f"{BEFORE}connection termination{{upstream_reset_before_response_started{{connection_termination}}}}",
        ),
    ),
    "closed after the head": (
        hang_up(HEAD),
        (13, "upstream_reset_after_response_started{connection_termination}"),
    ),
}


def test_answers_that_are_not_as_they_should_be(world: Any, recorder: Any, serve: Any) -> None:
    async def one(name: str, how: Answer) -> Any:
        world.add_cluster(name, serve(how).port)
        seen = recorder()
        config = world.config(cluster_name=name, max_receive_message_length=1000)
        stream = world.manager.of(config).open("/a/B", seen)
        stream.send(b"abc")
        while not isinstance(end := await seen.next(), tuple):
            assert end == b"a"
        return end

    async def run() -> dict[str, Any]:
        return {name: await one(name, how) for name, (how, _) in CASES.items()}

    assert world.call(run()) == {name: expected for name, (_, expected) in CASES.items()}


def test_an_empty_message_may_be_flagged_as_compressed(world: Any, recorder: Any, serve: Any) -> None:
    async def run() -> None:
        world.add_cluster("c", serve(answer(HEAD, b"\1\0\0\0\0", [("grpc-status", "0")], end=True)).port)
        seen = recorder()
        world.manager.of(world.config(cluster_name="c")).open("/a/B", seen)
        assert [await seen.next(), await seen.next()] == [b"", (0, "via_upstream")]

    world.call(run())


def test_nobody_to_ask(world: Any, recorder: Any) -> None:
    async def run() -> None:
        seen = recorder()
        absent = world.manager.of(world.config(cluster_name="absent"))
        assert absent.open("/a/B", seen) is None
        absent.unary("/a/B", b"", seen)
        assert await seen.next() == ("failure", 14, "Cluster not available")
        world.add_cluster("empty")
        stream = world.manager.of(world.config(cluster_name="empty")).open("/a/B", seen)
        assert stream is not None
        assert seen.events.empty()  # never from inside open
        assert await seen.next() == (14, "no healthy upstream{no_healthy_upstream}")
        again = world.manager.of(world.config(cluster_name="empty")).open("/a/B", seen)
        again.reset()
        stream.send(b"lost")
        stream.half_close()
        await world.until(lambda: world.cluster_stat("upstream_cx_none_healthy", "empty") == 2)
        assert seen.events.empty()

    world.call(run())


def head_of(world: Any, recorder: Any, serve: Any, call: bool = False, **fields: Any) -> list[tuple[str, str]]:
    server = serve(answer([*HEAD, ("grpc-status", "0")], end=True))
    world.add_cluster("heads", server.port)
    config = world.config(cluster_name="heads", **fields.pop("envoy", {}))
    json_format.ParseDict(fields, config)

    async def run() -> None:
        seen = recorder()
        client = world.manager.of(config)
        if call:
            client.unary("/a.B/C", b"", seen)
        else:
            client.open("/a.B/C", seen, (("x-own", "1"),))
        await seen.next()

    world.call(run())
    world.clusters.remove("heads")
    return list(server.requests[0])


def test_the_head_of_a_stream(world: Any, recorder: Any, serve: Any) -> None:
    metadata = [
        {"key": "x-Team", "value": "lost"},
        {"key": "x-team", "value": "%PROTOCOL% %%"},
        {"key": "x-bin", "value": "zz"},
    ]
    assert head_of(world, recorder, serve, initial_metadata=metadata) == [
        (":method", "POST"),
        (":path", "/a.B/C"),
        (":authority", "heads"),
        (":scheme", "http"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("x-team", "%PROTOCOL% %%"),
        ("x-bin", "eno="),
        ("x-own", "1"),
        ("x-envoy-internal", "true"),
        ("x-forwarded-for", "127.0.0.1"),
    ]


def test_heads_follow_the_service(world: Any, recorder: Any, serve: Any) -> None:
    plain = dict(head_of(world, recorder, serve, envoy={"authority": "me", "skip_envoy_headers": True}, timeout="1s"))
    assert plain[":authority"] == "me"
    assert not {"x-envoy-internal", "x-forwarded-for", "grpc-timeout"} & plain.keys()
    timed = dict(head_of(world, recorder, serve, call=True, timeout="1.5s"))
    assert timed["grpc-timeout"] == "1500m"
    assert timed["x-envoy-expected-rq-timeout-ms"] == "1500"
    again = dict(head_of(world, recorder, serve, retry_policy={"num_retries": 2, "retry_on": "5xx"}))
    assert again["x-envoy-expected-rq-timeout-ms"] == "10000"


def test_headers_that_are_not_for_metadata(world: Any) -> None:
    for key in ("host", ":path"):
        config = world.config()
        config.initial_metadata.add(key=key, value="x")
        with pytest.raises(ConfigError, match=":-prefixed or host headers may not be modified"):
            world.manager.of(config)


def test_a_call_takes_too_long(world: Any, recorder: Any, serve: Any) -> None:
    async def run() -> None:
        world.add_cluster("slow", serve(answer()).port)
        seen = recorder()
        world.manager.of(world.config(cluster_name="slow")).unary("/a/B", b"", seen, 20)
        assert await seen.next() == ("failure", 14, "upstream request timeout{response_timeout}")

    world.call(run())


def test_a_cluster_counts_and_limits(world: Any, recorder: Any) -> None:
    async def run() -> None:
        seen = recorder()
        client = world.manager.of(world.config())
        streams = [client.open("/echo/Stream", seen) for _ in range(3)]
        for stream in streams:
            stream.send(b"x")
        assert [await seen.next() for _ in range(3)] == [b"x"] * 3
        assert world.cluster_stat("upstream_cx_active") == 1
        assert world.cluster_stat("upstream_rq_active") == 3
        for stream in streams:
            stream.reset()
        assert world.cluster_stat("upstream_rq_active") == 0
        assert world.cluster_stat("upstream_rq_total") == 3
        breakers = {"circuit_breakers": {"thresholds": [{"max_requests": 1}]}}
        world.add_cluster("tight", world.port, **breakers)
        client = world.manager.of(world.config(cluster_name="tight"))
        client.open("/echo/Stream", seen).send(b"x")
        assert await seen.next() == b"x"
        client.open("/echo/Stream", seen)
        status, message = await seen.next()
        assert status == 14
        assert "overflow" in message

    world.call(run())


def test_hosts_come_and_go(world: Any, recorder: Any) -> None:
    """A cluster that is replaced lets its streams finish on the old connection."""

    async def run() -> None:
        seen, later = recorder(), recorder()
        client = world.manager.of(world.config())
        stream = client.open("/echo/Stream", seen)
        stream.send(b"one")
        assert await seen.next() == b"one"
        world.add_cluster("echo", 1)
        client.open("/echo/Stream", later)
        assert (await later.next())[0] == 14
        stream.send(b"two")
        assert await seen.next() == b"two"
        assert world.clusters.own.statistics()["leaving"] == 1
        stream.reset()
        await world.until(lambda: world.clusters.own.statistics()["leaving"] == 0)
        world.clusters.remove("echo")
        assert client.open("/echo/Stream", later) is None

    world.call(run())


def test_large_messages(world: Any, recorder: Any) -> None:
    async def run() -> None:
        seen = recorder()
        stream = world.manager.of(world.config()).open("/echo/Stream", seen)
        stream.send(b"big50")
        assert len(await seen.next()) == 50 << 20
        assert await seen.next() == b"big50"

    world.call(run())


def test_a_worker_has_clients_too(world: Any, recorder: Any) -> None:
    """Main, which compiles the same configuration, has allotted what they count with."""
    context = replace(world.context, role="worker")
    context.cluster_manager = ClusterManager(context)
    context.cluster_manager.add_or_update(world.cluster_message("echo", world.port))
    manager = GrpcClientManager(context)

    async def run() -> None:
        seen = recorder()
        stream = manager.of(world.config()).open("/echo/Stream", seen)
        assert stream is not None
        stream.send(b"one")
        assert await seen.next() == b"one"
        manager.close()

    world.call(run())
    context.cluster_manager.close()


def test_hosts_that_fail_are_ejected(world: Any, recorder: Any, serve: Any) -> None:
    async def run() -> None:
        bad = serve(answer([(":status", "503")], end=True))
        rules = {"consecutive_5xx": 1, "base_ejection_time": "600s", "max_ejection_percent": 100}
        world.add_cluster("outliers", world.port, bad.port, outlier_detection=rules)
        client = world.manager.of(world.config(cluster_name="outliers"))

        async def ask() -> Any:
            seen = recorder()
            stream = client.open("/echo/Stream", seen)
            stream.send(b"one")
            heard = await seen.next()
            stream.reset()
            return heard

        while await ask() == b"one":
            pass
        cluster = world.clusters.own.get("outliers")
        await world.until(
            lambda: any(host.health_flags & FAILED_OUTLIER_CHECK for host in cluster.priority_set.hosts())
        )
        await world.until(lambda: len(cluster.priority_set.host_sets[0].healthy_hosts) == 1)
        assert [await ask() for _ in range(4)] == [b"one"] * 4

    world.call(run())


def test_hosts_that_are_checked(world: Any, recorder: Any) -> None:
    async def run() -> None:
        check = {"timeout": "1s", "interval": "0.02s", "unhealthy_threshold": 1, "healthy_threshold": 1}
        world.add_cluster("checked", world.port, 1, health_checks=[{**check, "tcp_health_check": {}}])
        await world.until(lambda: world.clusters.find("checked") is not None)
        client = world.manager.of(world.config(cluster_name="checked"))
        seen = recorder()
        for _ in range(4):
            client.open("/echo/Stream", seen).send(b"one")
            assert await seen.next() == b"one"
        assert world.cluster_stat("lb_healthy_panic", "checked") == 0

    world.call(run())
