"""A UDP listener in a worker, with upstream sockets and clients of the test's own, all on one event loop."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.access_loggers.file.v3 import file_pb2 as _file  # noqa: F401
from envoy.extensions.filters.udp.dns_filter.v3 import dns_filter_pb2 as _dns_filter  # noqa: F401
from envoy.extensions.filters.udp.udp_proxy.v3 import route_pb2 as _route  # noqa: F401
from envoy.extensions.filters.udp.udp_proxy.v3 import udp_proxy_pb2 as _udp_proxy  # noqa: F401
from envoy.extensions.matching.common_inputs.network.v3 import network_inputs_pb2 as _inputs  # noqa: F401
from envoy.extensions.network.dns_resolver.cares.v3 import cares_dns_resolver_pb2 as _cares  # noqa: F401
from google.protobuf import json_format

from proxeny import extensions
from proxeny.event.dispatcher import Dispatcher
from proxeny.event.time_source import SimulatedTimeSource
from proxeny.kernel.randomness import RandomGenerator
from proxeny.listener.connection_handler import ConnectionHandler
from proxeny.listener.kinds import compile_listener
from proxeny.listener.socket_factory import ListenSocketFactory
from proxeny.network.factory_context import FactoryContext
from proxeny.stats.store import MainStore
from proxeny.upstream.cluster_manager import ClusterManager

TYPE = "type.googleapis.com/envoy.extensions.filters.udp"


class Logger:
    """An access log that keeps what it is given."""

    def __init__(self) -> None:
        self.lines: list[tuple[Any, ...]] = []

    def log(self, rq: Any, rs: Any, tr: Any, info: Any, log_type: bytes | None = None) -> None:
        host = info.upstream_host.address.as_string() if info.upstream_host else "-"
        self.lines.append((log_type, info.flags_short(), host, dict(info.dynamic_metadata)))


class World:
    """One UDP listener, its upstreams and its clients."""

    def __init__(self) -> None:
        self.time = SimulatedTimeSource()
        self.dispatcher = Dispatcher(self.time)
        self.store = MainStore()
        self.context = FactoryContext("worker", self.store, self.dispatcher, random=RandomGenerator())
        self.clusters = self.context.cluster_manager = ClusterManager(self.context)
        self.sockets: list[socket.socket] = []
        self.closing: list[Any] = []
        self.logger = Logger()

    def udp(self, host: str = "127.0.0.1", port: int | None = 0) -> socket.socket:
        """A socket of the test's own."""
        made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        made.setblocking(False)
        if port is not None:
            made.bind((host, port))
        self.sockets.append(made)
        return made

    def cluster(self, name: str, *ports: int, statuses: tuple[str, ...] = (), **fields: Any) -> None:
        """A STATIC cluster of loopback endpoints."""
        endpoints = [
            {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
            for port in ports
        ]
        for endpoint, status in zip(endpoints, statuses, strict=False):
            endpoint["health_status"] = status  # type: ignore[assignment]
        message = {
            "name": name,
            "type": "STATIC",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
            **fields,
        }
        self.clusters.add_or_update(json_format.ParseDict(message, cluster_pb2.Cluster()))

    def listen(self, *filters: dict[str, Any], host: str = "127.0.0.1", **fields: Any) -> tuple[str, int]:
        """Start the listener; its address."""
        message = {
            "name": "l",
            "address": {"socket_address": {"protocol": "UDP", "address": host, "port_value": 0}},
            "listener_filters": list(filters),
            **fields,
        }
        self.config: Any = compile_listener(json_format.ParseDict(message, listener_pb2.Listener()), self.context)
        for made in self.config.filters:
            made.config.access_logs = (self.logger,)
        self.factory = ListenSocketFactory(self.config, 1)
        self.handler = ConnectionHandler(self.context)
        fds = [socket.dup(fd) for fd in self.factory.fds(0)]
        self.listener: Any = self.handler.add_listener(1, self.config, fds)
        self.closing += [self.handler, self.factory]
        address = self.factory.addresses[0]
        return address.ip, address.port

    def wait(self, predicate: Callable[[], object]) -> None:
        self.dispatcher.run_until(predicate)

    def receive(self, sock: socket.socket) -> tuple[bytes, Any]:
        """The next datagram and its sender."""
        found: list[tuple[bytes, Any]] = []

        def more() -> bool:
            if not found:
                with contextlib.suppress(BlockingIOError):
                    found.append(sock.recvfrom(65536))
            return bool(found)

        self.wait(more)
        return found[0]

    def silent(self, sock: socket.socket) -> bool:
        """Whether nothing has come."""
        for _ in range(3):
            self.dispatcher.run_once()
        try:
            sock.recvfrom(65536)
        except BlockingIOError:
            return True
        return False

    def advance(self, ms: int) -> None:
        """Let time pass."""
        self.time.advance_ms(ms)
        self.dispatcher.run_once()

    def stat(self, name: str) -> int:
        """One statistic by its full name; 0 where nothing has allotted it yet."""
        for entry in self.store.entries.values():
            if name.startswith(entry.prefix) and name[len(entry.prefix) :] in entry.schema.names:
                return self.store.blocks_of(entry)[0].get(entry.schema.slot(name[len(entry.prefix) :]))
        return 0

    def close(self) -> None:
        for one in self.closing:
            one.close()
        for sock in self.sockets:
            sock.close()
        self.clusters.close()
        self.dispatcher.close()


@pytest.fixture(scope="session", autouse=True)
def installed() -> None:
    extensions.install()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()
