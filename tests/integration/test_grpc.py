"""A real gRPC client and server through Proxeny: many calls at once, slow ends, deadlines, restarts, health.

What single calls look like is compared with Envoy in tests/differential/test_grpc_calls.py.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.grpc_service import SERVICE, WAIT_SECONDS, GrpcClient, GrpcService
from tests.integration.configs import ADMIN

from proxeny.testing import RunningProxy
from proxeny.testing.certificates import Authority

TYPES = "type.googleapis.com"
POLL_SECONDS = 0.005
CHUNK = b"x" * 100_000


def cluster(name: str, port: int, more: str = "") -> str:
    return f"""
  - name: {name}
    connect_timeout: 1s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": {TYPES}/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    {more}
    load_assignment:
      cluster_name: {name}
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}"""


CHECKED = """health_checks:
    - {timeout: 1s, interval: 0.05s, unhealthy_threshold: 1, healthy_threshold: 1, no_traffic_interval: 0.05s,
       grpc_health_check: {service_name: test.Echo}}"""


def config(port: int, narrow: int = 1) -> str:
    """``narrow``: the port of a server that allows few streams at a time."""
    return (
        ADMIN
        + f"""
static_resources:
  listeners:
  - name: main
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {TYPES}/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: main
          codec_type: HTTP2
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: /, headers: [{{name: route, string_match: {{exact: checked}}}}]}}
                route: {{cluster: checked, timeout: 0s}}
              - match: {{prefix: /, headers: [{{name: route, string_match: {{exact: narrow}}}}]}}
                route: {{cluster: narrow, timeout: 0s}}
              - {{match: {{prefix: /}}, route: {{cluster: service, timeout: 0s}}}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": {TYPES}/envoy.extensions.filters.http.router.v3.Router}}
  clusters:{cluster("service", port)}{cluster("checked", port, CHECKED)}{cluster("narrow", narrow)}
"""
    )


@pytest.fixture(scope="module")
def service() -> Iterator[GrpcService]:
    with closing(GrpcService()) as made:
        yield made


@pytest.fixture(scope="module")
def narrow() -> Iterator[GrpcService]:
    """A server that allows three streams per connection."""
    with closing(GrpcService(**{"grpc.max_concurrent_streams": 3})) as made:
        yield made


@pytest.fixture(scope="module")
def running(service: GrpcService, narrow: GrpcService) -> Iterator[RunningProxy]:
    with closing(RunningProxy(config(service.port, narrow.port))) as made:
        yield made


@pytest.fixture
def client(running: RunningProxy, service: GrpcService) -> Iterator[GrpcClient]:
    service.forget()
    with closing(GrpcClient(running.port("main"))) as made:
        yield made


def memory_kb(pid: int) -> int:
    """What a process holds for itself."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def test_many_calls_at_once_share_a_connection(running: RunningProxy, client: GrpcClient) -> None:
    before = running.stat("http.main.downstream_cx_total")
    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda number: client.unary(b"%d" % number), range(300)))
    assert replies == [b"%d" % number for number in range(300)]
    assert running.stat("http.main.downstream_cx_total") == before + 1


def test_more_streams_than_a_connection_may_have(
    running: RunningProxy, narrow: GrpcService, client: GrpcClient
) -> None:
    """Ten calls stay open where the server allows three per connection: there are as many of these as it takes."""
    turn = threading.Event()

    def requests() -> Iterator[bytes]:
        yield b"one"
        turn.wait(WAIT_SECONDS)
        yield b"two"

    assert client.unary(b"first", metadata=(("route", "narrow"),)) == b"first"
    streams = []
    for _ in range(10):
        # One by one: what is sent before a new connection's SETTINGS came cannot respect them.
        streams.append(client.bidi(requests(), metadata=(("route", "narrow"),)))
        assert next(streams[-1]) == b"one"
    assert running.stat("cluster.narrow.upstream_cx_active") >= 4
    turn.set()
    assert [next(stream) for stream in streams] == [b"two"] * 10
    assert [list(stream) for stream in streams] == [[]] * 10


def test_streams_stay_apart(client: GrpcClient) -> None:
    """Eight calls of several messages at a time, each message of another size."""

    def exchange(number: int) -> bool:
        messages = [bytes((number,)) * (number * 1000 + size) for size in range(1, 40)]
        return list(client.bidi(iter(messages))) == messages

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(exchange, range(8)))


def give_up_sometime(client: GrpcClient, seed: int) -> list[str]:
    """One call that may be given up at any moment; what was wrong with what came of it until then."""
    chance = random.Random(seed)
    size = chance.choice((1, 1000, 70_000, 300_000))
    wrong = []
    try:
        if seed % 3 == 0:
            stream = client.server_stream(b"", metadata=(("count", "20"), ("size", str(size))))
            for number, message in enumerate(stream):
                if message != bytes((number,)) * size:
                    wrong.append(f"{seed}: message {number} of the stream")
                if chance.random() < 0.1:
                    stream.cancel()
        elif seed % 3 == 1:
            sent = [bytes((seed % 256, number)) * size for number in range(8)]
            stream = client.bidi(iter(sent))
            for number, message in enumerate(stream):
                if message != sent[number]:
                    wrong.append(f"{seed}: message {number} of the exchange")
                if chance.random() < 0.1:
                    stream.cancel()
        elif client.unary(bytes((seed % 256,)) * size, timeout=chance.choice((0.002, 0.01, 20))) != (
            bytes((seed % 256,)) * size
        ):
            wrong.append(f"{seed}: the reply")
    except grpc.RpcError as error:
        if error.code() not in (grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED):  # type: ignore[attr-defined]
            wrong.append(f"{seed}: {error}")
    return wrong


def test_calls_that_are_given_up_leave_the_others_whole(running: RunningProxy, client: GrpcClient) -> None:
    """On one upstream connection: no byte of a call that ended in the middle goes to another."""
    with ThreadPoolExecutor(10) as pool:
        wrong = [text for texts in pool.map(lambda seed: give_up_sometime(client, seed), range(200)) for text in texts]
    assert not wrong
    wait_for(lambda: running.stat("cluster.service.upstream_rq_active") == 0)
    wait_for(lambda: running.stat("http.main.downstream_rq_active") == 0)
    assert client.unary(b"x", timeout=WAIT_SECONDS) == b"x"


def test_a_client_that_does_not_read_holds_the_server_up(running: RunningProxy, service: GrpcService) -> None:
    """100 MB that nobody reads stay where they are made; once they are read, all arrives."""
    with closing(GrpcClient(running.port("main"))) as client:
        assert client.unary(b"warm") == b"warm"
        before = sum(map(memory_kb, running.worker_pids()))
        call = client.server_stream(b"", metadata=(("count", "1000"), ("size", "100000")))
        first = next(call)
        running.wait_for_stat("cluster.service.upstream_flow_control_paused_reading_total", 1)
        assert sum(map(memory_kb, running.worker_pids())) < before + 60_000
        assert len(first) + sum(map(len, call)) == 100_000_000


def test_many_megabytes_both_ways_at_a_time(client: GrpcClient) -> None:
    """The server answers as it reads, the client reads as it sends: neither may wait for the other for ever."""
    returned = client.bidi(iter([CHUNK] * 400))
    assert sum(map(len, returned)) == 400 * len(CHUNK)


def test_deadlines_end_calls_at_both_ends(service: GrpcService, client: GrpcClient) -> None:
    with pytest.raises(grpc.RpcError) as failed:
        client.unary(b"x", timeout=0.3, metadata=(("do", "wait"),))
    assert failed.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED  # type: ignore[attr-defined]
    call = service.wait_for_calls(1)[0]
    assert call.has_deadline
    assert call.cancelled.wait(WAIT_SECONDS)


def test_a_cancelled_stream_ends_at_the_server(service: GrpcService, client: GrpcClient) -> None:
    turn = threading.Event()

    def requests() -> Iterator[bytes]:
        yield b"one"
        turn.wait(WAIT_SECONDS)

    stream = client.bidi(requests())
    assert next(stream) == b"one"
    stream.cancel()
    assert service.wait_for_calls(1)[0].ended.wait(WAIT_SECONDS)
    turn.set()


def test_a_message_above_the_clients_limit_is_the_clients_matter(running: RunningProxy) -> None:
    with closing(GrpcClient(running.port("main"))) as client:
        limited = grpc.insecure_channel(f"127.0.0.1:{running.port('main')}")
        with closing(limited), pytest.raises(grpc.RpcError) as failed:
            limited.unary_stream(f"/{SERVICE}/ServerStream")(
                b"", metadata=(("count", "1"), ("size", "5000000"))
            ).__next__()
        assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # type: ignore[attr-defined]
        assert client.unary(b"x") == b"x"


def test_health_over_http2_decides_where_calls_go(
    running: RunningProxy, service: GrpcService, client: GrpcClient
) -> None:
    route = (("route", "checked"),)
    running.wait_for_stat("cluster.checked.membership_healthy", 1)
    assert client.unary(b"x", metadata=route) == b"x"
    service.health.set(SERVICE, health_pb2.HealthCheckResponse.NOT_SERVING)
    try:
        wait_for(lambda: running.stat("cluster.checked.membership_healthy") == 0)
        # In panic mode hosts that are not healthy are used all the same: only the count says so.
        assert running.stat("cluster.checked.health_check.failure") >= 1
    finally:
        service.health.set(SERVICE, health_pb2.HealthCheckResponse.SERVING)
    running.wait_for_stat("cluster.checked.membership_healthy", 1)


def test_health_of_the_service_through_the_proxy(client: GrpcClient) -> None:
    stub = health_pb2_grpc.HealthStub(client.channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=WAIT_SECONDS)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_calls_over_mutual_tls_on_both_sides(tmp_path: Path) -> None:
    """ALPN finds HTTP/2; each end shows its certificate to the proxy, and the proxy its own."""
    root = Authority("root")
    ours = root.issue("proxy", "DNS:proxy.test").write(tmp_path)
    theirs = {name: root.issue(name, f"DNS:{name}.test") for name in ("server", "client")}
    own = f"""common_tls_context:
            alpn_protocols: [h2]
            tls_certificates:
            - certificate_chain: {{filename: {ours.certificate_chain}}}
              private_key: {{filename: {ours.private_key}}}
            validation_context: {{trusted_ca: {{inline_string: {json.dumps(root.pem)}}}}}"""
    pairs = {name: (leaf.key_pem.encode(), leaf.pem.encode()) for name, leaf in theirs.items()}
    trusted = root.pem.encode()
    with ExitStack() as stack:
        service = stack.enter_context(
            closing(GrpcService(credentials=grpc.ssl_server_credentials([pairs["server"]], trusted, True)))
        )
        text = config(service.port).replace("codec_type: HTTP2", "codec_type: AUTO")
        text = text.replace(
            "    - filters:\n",
            f"""    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": {TYPES}/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          {own}
      filters:\n""",
            1,
        )
        text = text.replace(
            "  - name: service\n",
            f"""  - name: service
    transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": {TYPES}/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
          sni: server.test
          {own}\n""",
        )
        proxy = stack.enter_context(closing(RunningProxy(text)))
        credentials = grpc.ssl_channel_credentials(trusted, *pairs["client"])
        named = {"grpc.ssl_target_name_override": "proxy.test"}
        client = stack.enter_context(closing(GrpcClient(proxy.port("main"), credentials, **named)))
        assert client.unary(b"x", timeout=WAIT_SECONDS) == b"x"
        assert list(client.bidi(iter([CHUNK] * 50), timeout=WAIT_SECONDS)) == [CHUNK] * 50
        assert proxy.stat("cluster.service.ssl.handshake") >= 1


def test_a_server_that_restarts() -> None:
    """Its connections end with GOAWAY; calls to its successor at the same port succeed, and none is lost meanwhile."""
    first = GrpcService()
    try:
        with closing(RunningProxy(config(first.port))) as proxy, closing(GrpcClient(proxy.port("main"))) as client:
            assert client.unary(b"one") == b"one"
            first.close()
            with closing(GrpcService(port=first.port)) as second:
                assert client.unary(b"two", wait_for_ready=True, timeout=WAIT_SECONDS) == b"two"
                assert len(second.calls) == 1
    finally:
        first.close()


def test_a_listener_that_drains(service: GrpcService) -> None:
    """Calls go on while connections are told to go."""
    with ExitStack() as stack:
        proxy = stack.enter_context(closing(RunningProxy(config(service.port), ("--drain-time-s", "1"))))
        client = stack.enter_context(closing(GrpcClient(proxy.port("main"))))
        assert client.unary(b"one") == b"one"
        stream = client.bidi(iter([b"a", b"b"]))
        assert next(stream) == b"a"
        proxy.admin("/drain_listeners?graceful&skip_exit", "POST")
        assert list(stream) == [b"b"]
        for _ in range(5):
            assert client.unary(b"two", wait_for_ready=True, timeout=WAIT_SECONDS) == b"two"


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(POLL_SECONDS)
