"""Circuit breakers are exact over four workers of the real command: nobody above a limit, nobody refused below it."""

import os
import re
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from proxeny.testing import RunningProxy

Start = Callable[..., RunningProxy]
WORKERS = 4
GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
BAD = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
BREAKERS = "cluster.service.circuit_breakers.default."


class Upstream:
    """Takes connections and keeps what they ask; answers when told."""

    def __init__(self, answer: bytes = b"") -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self.listener.getsockname()[1]
        self.answer = answer
        """What is answered at once; nothing: see ``release``."""
        self.held: list[socket.socket] = []
        self.accepted = 0
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.listener, selectors.EVENT_READ)
        self._stopped = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped:
            for key, _ in self._selector.select(0.05):
                if key.fileobj is self.listener:
                    self._selector.register(self.listener.accept()[0], selectors.EVENT_READ)
                    self.accepted += 1
                else:
                    self._read(key.fileobj)

    def _read(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            self._selector.unregister(connection)
            connection.close()
            self.held = [other for other in self.held if other is not connection]
        elif self.answer:
            connection.sendall(self.answer)
        else:
            self.held.append(connection)

    def release(self, answer: bytes = OK) -> None:
        held, self.held = self.held, []
        for connection in held:
            connection.sendall(answer)

    def close(self) -> None:
        self._stopped = True
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()
        self._selector.close()


class Clients:
    """Connections that all ask at once, and what they were told so far."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: dict[socket.socket, bytes] = {}
        self._selector = selectors.DefaultSelector()

    def ask(self, number: int, data: bytes = GET) -> None:
        fresh = [socket.create_connection(("127.0.0.1", self.port)) for _ in range(number)]
        for one in fresh:
            self.answers[one] = b""
            self._selector.register(one, selectors.EVENT_READ)
        for one in fresh:
            one.sendall(data)

    def look(self) -> None:
        for key, _ in self._selector.select(0.01):
            try:
                data = key.fileobj.recv(65536)
            except ConnectionError:
                data = b""
            self.answers[key.fileobj] += data or b"(end)"
            if not data:
                self._selector.unregister(key.fileobj)

    def told(self, pattern: bytes) -> int:
        self.look()
        return sum(1 for answer in self.answers.values() if re.match(pattern, answer))

    def close(self) -> None:
        self._selector.close()
        for one in self.answers:
            one.close()


MakeUpstream = Callable[..., Upstream]
MakeClients = Callable[[int], Clients]


def until(condition: Callable[[], object], what: str = "") -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what or "this never came true"
        time.sleep(0.005)


@pytest.fixture
def make_upstream() -> Iterator[Callable[..., Upstream]]:
    made: list[Upstream] = []

    def make(answer: bytes = b"") -> Upstream:
        made.append(Upstream(answer))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def make_clients() -> Iterator[Callable[[int], Clients]]:
    made: list[Clients] = []

    def make(port: int) -> Clients:
        made.append(Clients(port))
        return made[-1]

    yield make
    for one in made:
        one.close()


HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
HTTP = """
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": %s
          stat_prefix: web
          route_config:
            virtual_hosts:
            - {name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: service, timeout: 0s %s}}]}
          http_filters: [{name: envoy.filters.http.router, typed_config: {"@type": %s}}]
"""
TCP = """
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: tcp
          cluster: service
"""


def bootstrap(port: int, thresholds: str, *, tcp: bool = False, route: str = "", cluster: str = "") -> str:
    return f"""
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
layered_runtime: {{layers: [{{name: admin, admin_layer: {{}}}}]}}
static_resources:
  listeners:
  - name: web
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters: {TCP if tcp else HTTP % (HCM, route, ROUTER)}
  clusters:
  - name: service
    connect_timeout: 60s
    circuit_breakers: {{thresholds: [{{{thresholds}}}]}}
    load_assignment:
      cluster_name: service
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}
    {cluster}
"""


def test_max_requests(proxy: Start, make_upstream: MakeUpstream, make_clients: MakeClients) -> None:
    upstream = make_upstream()
    running = proxy(bootstrap(upstream.port, "max_requests: 100, track_remaining: true"), concurrency=WORKERS)
    clients = make_clients(running.port("web"))
    clients.ask(140)
    until(lambda: clients.told(b"HTTP/1.1 503") == 40 and len(upstream.held) == 100, repr(upstream.held))
    clients.ask(1)
    until(lambda: clients.told(b"HTTP/1.1 503") == 41)
    assert running.stat("cluster.service.upstream_rq_active_overflow") == 41
    assert running.stat("cluster.service.upstream_rq_active") == 100
    assert (running.stat(f"{BREAKERS}rq_open"), running.stat(f"{BREAKERS}remaining_rq")) == (1, 0)
    upstream.release()
    until(lambda: clients.told(b"HTTP/1.1 200") == 100)
    assert (running.stat(f"{BREAKERS}rq_open"), running.stat(f"{BREAKERS}remaining_rq")) == (0, 100)
    # And again: nothing was lost on the way.
    again = make_clients(running.port("web"))
    again.ask(110)
    until(lambda: again.told(b"HTTP/1.1 503") == 10 and len(upstream.held) == 100)


def test_max_connections_of_tcp(proxy: Start, make_upstream: MakeUpstream, make_clients: MakeClients) -> None:
    upstream = make_upstream(answer=b"echo")
    running = proxy(bootstrap(upstream.port, "max_connections: 20", tcp=True), concurrency=WORKERS)
    clients = make_clients(running.port("web"))
    clients.ask(35)
    until(lambda: clients.told(b"echo") == 20 and clients.told(rb"\(end\)") == 15)
    assert (upstream.accepted, running.stat("cluster.service.upstream_cx_overflow")) == (20, 15)
    assert running.stat(f"{BREAKERS}cx_open") == 1
    for one in [one for one, answer in clients.answers.items() if answer == b"echo"][:5]:
        one.shutdown(socket.SHUT_RDWR)
    until(lambda: running.stat("cluster.service.upstream_cx_active") == 15)
    assert running.stat(f"{BREAKERS}cx_open") == 0
    more = make_clients(running.port("web"))
    more.ask(7)
    until(lambda: more.told(b"echo") == 5 and more.told(rb"\(end\)") == 2)


def test_max_connections_of_http(proxy: Start, make_upstream: MakeUpstream, make_clients: MakeClients) -> None:
    """A worker without any connection to the host opens one whatever the limit, as in Envoy: nobody waits for ever."""
    upstream = make_upstream()
    running = proxy(bootstrap(upstream.port, "max_connections: 20"), concurrency=WORKERS)
    clients = make_clients(running.port("web"))
    clients.ask(60)
    until(lambda: len(upstream.held) + running.stat("cluster.service.upstream_rq_pending_active") == 60)
    assert 20 <= upstream.accepted <= 20 + WORKERS - 1
    assert running.stat("cluster.service.upstream_cx_active") == upstream.accepted
    while clients.told(b"HTTP/1.1 200") < 60:
        upstream.release()
    assert upstream.accepted <= 20 + WORKERS - 1


def test_max_pending_requests(proxy: Start, make_clients: MakeClients) -> None:
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(full.getsockname())
    running = proxy(bootstrap(full.getsockname()[1], "max_pending_requests: 10"), concurrency=WORKERS)
    clients = make_clients(running.port("web"))
    clients.ask(25)
    until(lambda: clients.told(b"HTTP/1.1 503") == 15)
    assert running.stat("cluster.service.upstream_rq_pending_active") == 10
    assert running.stat("cluster.service.upstream_rq_pending_overflow") == 15
    assert running.stat(f"{BREAKERS}rq_pending_open") == 1
    for one in (full, *fillers):
        one.close()


def test_max_retries(proxy: Start, make_upstream: MakeUpstream, make_clients: MakeClients) -> None:
    upstream = make_upstream(answer=BAD)
    policy = ", retry_policy: {retry_on: 5xx, retry_back_off: {base_interval: 600s, max_interval: 600s}}"
    running = proxy(bootstrap(upstream.port, "max_retries: 5", route=policy), concurrency=WORKERS)
    clients = make_clients(running.port("web"))
    clients.ask(17)
    until(lambda: running.stat("cluster.service.retry.upstream_rq_503") == 5)
    until(lambda: clients.told(b"HTTP/1.1 503") == 12)
    assert running.stat("cluster.service.upstream_rq_retry_overflow") == 12
    assert running.stat(f"{BREAKERS}rq_retry_open") == 1


def test_what_a_dead_worker_held_is_free(proxy: Start, make_upstream: MakeUpstream, make_clients: MakeClients) -> None:
    upstream = make_upstream()
    running = proxy(bootstrap(upstream.port, "max_requests: 24, track_remaining: true"), concurrency=WORKERS)
    clients = make_clients(running.port("web"))
    clients.ask(30)
    until(lambda: clients.told(b"HTTP/1.1 503") == 6 and len(upstream.held) == 24)
    os.kill(running.worker_pids()[0], 9)
    running.wait_for_stat("server.worker_restarts", 1)
    until(lambda: running.stat(f"{BREAKERS}remaining_rq") == 24 - len(upstream.held))
    free = 24 - len(upstream.held)
    more = make_clients(running.port("web"))
    more.ask(free + 5)
    until(lambda: more.told(b"HTTP/1.1 503") == 5 and len(upstream.held) == 24)


def test_the_runtime_overrides_a_limit(proxy: Start, make_upstream: MakeUpstream, make_clients: MakeClients) -> None:
    upstream = make_upstream()
    running = proxy(bootstrap(upstream.port, "max_requests: 2"), concurrency=WORKERS)
    clients = make_clients(running.port("web"))
    clients.ask(3)
    until(lambda: clients.told(b"HTTP/1.1 503") == 1 and len(upstream.held) == 2)
    assert running.admin("/runtime_modify?circuit_breakers.service.default.max_requests=6", "POST") == "OK\n"
    assert "service::default_priority::max_requests::6\n" in running.admin("/clusters")
    # Workers read a change in their own time.
    while len(upstream.held) < 6:
        clients.ask(1)
        until(lambda: len(upstream.held) + clients.told(b"HTTP/1.1 503") == len(clients.answers))
    refused = clients.told(b"HTTP/1.1 503")
    clients.ask(5)
    until(lambda: clients.told(b"HTTP/1.1 503") == refused + 5)
    assert len(upstream.held) == 6


def test_pools_are_limited(proxy: Start, make_upstream: MakeUpstream, make_clients: MakeClients) -> None:
    """With a pool per client, a limit on pools is a limit on clients: those beyond find no host."""
    upstream = make_upstream()
    config = bootstrap(
        upstream.port,
        "max_connection_pools: 8, track_remaining: true",
        cluster="connection_pool_per_downstream_connection: true",
    )
    running = proxy(config, concurrency=WORKERS)
    clients = make_clients(running.port("web"))
    clients.ask(20)
    until(lambda: clients.told(b"HTTP/1.1 503(?s:.*)no healthy upstream") == 12 and len(upstream.held) == 8)
    assert running.stat("cluster.service.upstream_cx_pool_overflow") == 12
    assert (running.stat(f"{BREAKERS}cx_pool_open"), running.stat(f"{BREAKERS}remaining_cx_pools")) == (1, 0)
