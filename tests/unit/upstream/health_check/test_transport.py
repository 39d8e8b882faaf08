"""Through what health checks speak."""

from types import SimpleNamespace
from typing import Any

from envoy.config.core.v3 import base_pb2, health_check_pb2
from google.protobuf import json_format

from proxeny.network.address import ip_address, pipe_address
from proxeny.network.transport_socket import UpstreamTransportSocketFactory
from proxeny.upstream.endpoints import INTERNAL, PIPE, HostEntry
from proxeny.upstream.health_check.session import Session
from proxeny.upstream.health_check.transport import CheckedHost, CheckTransport
from proxeny.upstream.transport_socket_match import PLAIN, ClusterSocket, SocketMatch, TransportSockets

NAMESPACE = "envoy.transport_socket_match"


class Factory(UpstreamTransportSocketFactory):
    """Remembers what it was asked."""

    secure = True

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def create(self, connection: Any, options: Any, host: Any) -> None:
        self.asked.append((connection, options, host.address))


class Connection:
    transport: Any = "untouched"

    def set_transport(self, transport: Any) -> None:
        self.transport = transport


class Stats:
    counted = 0

    def inc(self, slot: int) -> None:
        self.counted += 1


class Info:
    """A cluster's sockets."""

    transport_sockets: TransportSockets | None = None

    def __init__(self, socket: ClusterSocket) -> None:
        self.transport_socket = socket


def transport(**fields: Any) -> CheckTransport:
    return CheckTransport(json_format.ParseDict(fields, health_check_pb2.HealthCheck()))


def apply(made: CheckTransport, info: Info, entry: HostEntry) -> Any:
    connection = Connection()
    made.apply(connection, entry, info)  # type: ignore[arg-type]
    return connection.transport


def entry(metadata: dict[str, Any] | None = None, port: int = 443, address: str = "10.0.0.1") -> HostEntry:
    made = base_pb2.Metadata()
    if metadata is not None:
        made.filter_metadata[NAMESPACE].update(metadata)
    return HostEntry(address, port, metadata=made.SerializeToString() if metadata is not None else b"")


def test_plain_clusters_are_left_alone() -> None:
    assert apply(transport(), Info(PLAIN), entry()) == "untouched"


def test_the_clusters_socket_and_the_checks_protocols() -> None:
    factory = Factory()
    made = transport(tls_options={"alpn_protocols": ["check", "h2"]})
    assert apply(made, Info(ClusterSocket(factory)), entry()) is None
    ((_, options, address),) = factory.asked
    assert options.alpn_override == ("check", "h2")
    assert address == ip_address("10.0.0.1", 443)
    assert apply(made, Info(ClusterSocket(factory)), entry(port=INTERNAL, address="inside")) == "untouched"


def test_matches_by_the_host_or_by_criteria() -> None:
    one, other, stats = Factory(), Factory(), Stats()
    labels = json_format.ParseDict({"kind": "tls"}, base_pb2.Metadata().filter_metadata[NAMESPACE])
    match = SocketMatch(dict(labels.fields.items()), ClusterSocket(one), stats, 0)  # type: ignore[arg-type]
    info = Info(ClusterSocket(other))
    info.transport_sockets = TransportSockets([match], SocketMatch({}, info.transport_socket, stats, 0))  # type: ignore[arg-type]
    apply(transport(), info, entry({"kind": "tls"}))
    apply(transport(), info, entry())
    assert (len(one.asked), len(other.asked), stats.counted) == (1, 1, 0)
    apply(transport(transport_socket_match_criteria={"kind": "tls"}), info, entry())
    assert (len(one.asked), stats.counted) == (2, 1)
    apply(transport(transport_socket_match_criteria={"kind": "other"}), info, entry({"kind": "tls"}))
    assert (len(other.asked), stats.counted) == (2, 2)
    assert transport().is_secure(entry(), info)  # type: ignore[arg-type]


def test_hosts() -> None:
    host = CheckedHost(entry({"kind": "tls"}))
    assert NAMESPACE in host.metadata.filter_metadata
    assert host.locality_metadata is None
    assert CheckedHost(entry(port=PIPE, address="/x")).address == pipe_address("/x")


def test_schemes() -> None:
    for socket, scheme in ((PLAIN, b"http"), (ClusterSocket(Factory()), b"https")):
        session = object.__new__(Session)
        config = SimpleNamespace(transport=transport())
        session.checker = SimpleNamespace(config=config, info=Info(socket))  # type: ignore[assignment]
        session.entry = entry()
        assert session.scheme == scheme
