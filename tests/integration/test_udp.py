"""UDP through the real proxy: sessions, and what becomes of them when a worker dies."""

import json
import os
import random
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.configs import ADMIN
from tests.integration.test_workers import wait_until
from tests.unit.extensions.udp_filters.dns import query, read

from proxeny.testing import RunningProxy

Start = Callable[..., RunningProxy]
PROXY = "type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig"


def udp_proxy(port: int, address: str = "127.0.0.1") -> str:
    """A UDP listener ``datagrams`` that proxies everything to one upstream."""
    return (
        ADMIN
        + f"""
static_resources:
  listeners:
  - name: datagrams
    address: {{socket_address: {{protocol: UDP, address: {address}, port_value: 0}}}}
    listener_filters:
    - name: envoy.filters.udp_listener.udp_proxy
      typed_config: {{"@type": {PROXY}, stat_prefix: p, cluster: service}}
  clusters:
  - name: service
    load_assignment:
      cluster_name: service
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}
"""
    )


class Echo:
    """A UDP upstream that answers each datagram, prefixed with the port of the session that it came from."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            data, session = self.socket.recvfrom(65536)
            if data == b"stop":
                return
            self.socket.sendto(b"%d:%b" % (session[1], data), session)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stopper:
            stopper.sendto(b"stop", ("127.0.0.1", self.port))
        self._thread.join()
        self.socket.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    made = Echo()
    yield made
    made.close()


class Client:
    """One peer: sends to the proxy, knows which upstream socket its datagrams come out of."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", port))
        self.sent = 0

    def send(self) -> None:
        self.sent += 1
        self.socket.send(b"%d" % self.sent)

    def session(self) -> int:
        """The port of the session that carried the last datagram."""
        port, _, data = self.socket.recv(100).partition(b":")
        assert int(data) == self.sent
        return int(port)

    def ask(self) -> int:
        self.send()
        return self.session()


@pytest.fixture
def clients() -> Iterator[list[Client]]:
    made: list[Client] = []
    yield made
    for client in made:
        client.socket.close()


def inodes(pid: int) -> set[str]:
    """The sockets of a process."""
    found = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(os.readlink(fd).removeprefix("socket:[").rstrip("]"))
        except FileNotFoundError:
            continue
    return found


def owners(pids: list[int]) -> dict[int, int]:
    """The process that has each UDP port's connected socket."""
    of_pid = {pid: inodes(pid) for pid in pids}
    found = {}
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        local, remote, inode = fields[1], fields[2], fields[9]
        if not remote.endswith(":0000"):
            for pid, sockets in of_pid.items():
                if inode in sockets:
                    found[int(local.rpartition(":")[2], 16)] = pid
    return found


def test_sessions_of_other_workers_go_on_when_one_dies(proxy: Start, echo: Echo, clients: list[Client]) -> None:
    running = proxy(udp_proxy(echo.port), concurrency=4)
    port = running.port("datagrams")
    clients += [Client(port) for _ in range(80)]
    before = {client: client.ask() for client in clients}
    owner = owners(running.worker_pids())
    assert {owner[session] for session in before.values()} == set(running.worker_pids())
    victim = running.worker_pids()[1]
    orphans = [client for client in clients if owner[before[client]] == victim]
    others = [client for client in clients if owner[before[client]] != victim]

    os.kill(victim, signal.SIGKILL)
    # At once, while the dead worker's socket is served by another or by nobody yet: nothing is lost, nobody moves.
    for client in clients:
        client.send()
    assert {client: client.session() for client in others} == {client: before[client] for client in others}
    moved = {client: client.session() for client in orphans}
    assert not set(moved.values()) & set(before.values())

    running.wait_for_stat("server.worker_restarts", 1)
    wait_until(lambda: set(running.worker_pids()) - set(owner.values()), "no new worker")
    fresh = set(running.worker_pids()) - set(owner.values())
    # The replacement takes over once it is ready; from then on its clients stay with it.
    after: dict[Client, int] = {}

    def taken_over() -> bool:
        after.update({client: client.ask() for client in orphans})
        now = owners(running.worker_pids())
        return {now.get(session) for session in after.values()} == fresh

    wait_until(taken_over, "the replacement does not get its datagrams")
    assert {client: client.ask() for client in orphans} == after
    assert {client: client.ask() for client in others} == {client: before[client] for client in others}
    assert running.stop() == 0


def test_a_new_generation_of_sessions_after_the_listener_stops(proxy: Start, echo: Echo, clients: list[Client]) -> None:
    running = proxy(udp_proxy(echo.port), concurrency=2)
    clients += [Client(running.port("datagrams")) for _ in range(10)]
    for client in clients:
        client.ask()
    running.wait_for_stat("udp.p.downstream_sess_active", 10)
    running.admin("/drain_listeners", "POST")
    wait_until(lambda: running.stat("udp.p.downstream_sess_active") == 0, "sessions outlive their listener")
    assert running.stat("udp.p.downstream_sess_total") == 10
    assert running.stop() == 0


@pytest.mark.parametrize("data", [b"", b"\0" * 1500, b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 1400])
def test_any_bytes_pass(proxy: Start, echo: Echo, clients: list[Client], data: bytes) -> None:
    running = proxy(udp_proxy(echo.port, "0.0.0.0"), concurrency=1)
    clients.append(Client(running.port("datagrams")))
    client = clients[0].socket
    client.send(data)
    assert client.recv(65536).partition(b":")[2] == data
    assert running.stop() == 0


def dynamic(folder: Path, port: int) -> str:
    """A bootstrap that takes its listeners from a file."""
    head, _, clusters = udp_proxy(port).partition("  listeners:")
    lds = f"dynamic_resources: {{lds_config: {{path_config_source: {{path: {folder}/lds.json}}}}}}"
    return f"node: {{id: one, cluster: some}}\n{lds}\n{head}  clusters:{clusters.partition('  clusters:')[2]}"


def publish(folder: Path, *prefixes: str) -> None:
    """Move a new list of listeners into place."""
    listeners = [
        {
            "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
            "name": "datagrams",
            "address": {"socket_address": {"protocol": "UDP", "address": "127.0.0.1", "port_value": 0}},
            "listener_filters": [
                {
                    "name": "envoy.filters.udp_listener.udp_proxy",
                    "typed_config": {"@type": PROXY, "stat_prefix": prefix, "cluster": "service"},
                }
            ],
        }
        for prefix in prefixes
    ]
    (folder / "next.json").write_text(json.dumps({"resources": listeners}))
    (folder / "next.json").rename(folder / "lds.json")


def test_an_updated_listener_keeps_its_sockets_and_begins_new_sessions(
    proxy: Start, echo: Echo, clients: list[Client], tmp_path: Path
) -> None:
    publish(tmp_path, "one")
    running = proxy(dynamic(tmp_path, echo.port), concurrency=2)
    running.wait_for_stat("listener_manager.listener_create_success", 2)
    port = running.port("datagrams")
    clients += [Client(port) for _ in range(10)]
    before = [client.ask() for client in clients]
    publish(tmp_path, "two")
    running.wait_for_stat("listener_manager.listener_modified", 1)
    wait_until(lambda: running.stat("udp.one.downstream_sess_active") == 0, "old sessions stay")
    assert running.port("datagrams") == port
    after = [client.ask() for client in clients]
    assert not set(before) & set(after)
    assert running.stat("udp.two.downstream_sess_active") == 10
    publish(tmp_path)
    wait_until(lambda: running.stat("udp.two.downstream_sess_active") == 0, "sessions outlive their listener")
    assert running.stop() == 0


NAMES = """
static_resources:
  listeners:
  - name: names
    address: {socket_address: {protocol: UDP, address: 127.0.0.1, port_value: 0}}
    listener_filters:
    - name: envoy.filters.udp.dns_filter
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.udp.dns_filter.v3.DnsFilterConfig
        stat_prefix: d
        server_config:
          inline_dns_table:
            virtual_domains:
            - {name: www.foo.com, endpoint: {address_list: {address: [10.0.0.1]}}}
"""


def test_a_name_server_over_all_workers_and_any_bytes(proxy: Start) -> None:
    running = proxy(ADMIN + NAMES, concurrency=2)
    to = ("127.0.0.1", running.port("names"))
    generator = random.Random(5)
    for number in range(40):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(20)
            client.sendto(query("www.foo.com", id=number), to)
            reply = read(client.recv(4096))
            assert (reply.id, reply.values) == (number, ["10.0.0.1"])
            client.sendto(generator.randbytes(generator.randrange(600)), to)
            assert len(client.recv(4096)) >= 12
    assert running.stat("dns_filter.d.downstream_rx_queries") == 80
    assert running.stat("dns_filter.d.local_a_record_answers") == 40
    assert running.stat("server.worker_restarts") == 0
    assert running.stop() == 0
