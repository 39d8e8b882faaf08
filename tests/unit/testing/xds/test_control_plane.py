"""The control plane over real gRPC: what a client gets, what is remembered of it."""

from __future__ import annotations

import importlib
import queue
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import descriptor_pool

from proxeny.config.message_types import message_class
from proxeny.testing.xds import CDS, EDS, RDS, VHDS, ControlPlane, NothingCame, type_url
from proxeny.testing.xds.types import METHODS

Planes = Callable[..., ControlPlane]

ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
DELTA_ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
ROUTES = "/envoy.service.route.v3.RouteDiscoveryService/StreamRoutes"
WAIT_S = 20.0


class Client:
    """One stream as a proxy has it."""

    def __init__(self, plane: ControlPlane, path: str) -> None:
        self._delta = "/Delta" in path
        self._channel = grpc.insecure_channel(f"127.0.0.1:{plane.port}", [("grpc.use_local_subchannel_pool", 1)])
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._call: Any = self._channel.stream_stream(path)(iter(self._requests.get, None), timeout=WAIT_S)

    def ask(self, type_name: str, *names: str, version: str = "", nonce: str = "", error: str = "") -> None:
        """Send a request; the incremental one subscribes to the names."""
        message: Any
        if self._delta:
            message = discovery_pb2.DeltaDiscoveryRequest(resource_names_subscribe=names, response_nonce=nonce)
        else:
            message = discovery_pb2.DiscoveryRequest(resource_names=names, response_nonce=nonce, version_info=version)
        if type_name:
            message.type_url = type_url(type_name)
        if error:
            message.error_detail.code = 13
            message.error_detail.message = error
        self.send(message.SerializeToString())

    def send(self, data: bytes) -> None:
        self._requests.put(data)

    def receive(self) -> bytes:
        return bytes(next(self._call))

    def hear(self) -> Any:
        """The next response."""
        message: Any = discovery_pb2.DeltaDiscoveryResponse() if self._delta else discovery_pb2.DiscoveryResponse()
        message.ParseFromString(self.receive())
        return message

    def status(self) -> tuple[grpc.StatusCode, str]:
        """That of the stream, once it has ended."""
        with pytest.raises(grpc.RpcError):
            next(self._call)
        return self._call.code(), self._call.details()

    def close(self) -> None:
        self._requests.put(None)
        self._channel.close()


@pytest.fixture
def client() -> Iterator[Callable[[ControlPlane, str], Client]]:
    made: list[Client] = []

    def start(plane: ControlPlane, path: str = ADS) -> Client:
        made.append(Client(plane, path))
        return made[-1]

    yield start
    for one in made:
        one.close()


Clients = Callable[..., Client]


def test_a_dialogue(control_plane: Planes, client: Clients) -> None:
    plane = control_plane(identifier="me")
    plane.set(CDS, [{"name": "a"}], version="c1")
    proxy = client(plane)
    proxy.ask(CDS)
    first = proxy.hear()
    assert (first.version_info, first.type_url, first.control_plane.identifier) == ("c1", type_url(CDS), "me")
    assert [packed.type_url for packed in first.resources] == [type_url(CDS)]
    proxy.ask(CDS, version="c1", nonce=first.nonce)
    ack = plane.wait_for_ack(CDS, "c1")
    assert ack.answers == plane.responses[0]
    plane.update(CDS, [{"name": "b"}], removed=["a"], version="c2")
    second = proxy.hear()
    proxy.ask(CDS, version="c1", nonce=second.nonce, error="no")
    nack = plane.wait_for_nack(CDS, "c2")
    assert (nack.error, nack.error_code, nack.version) == ("no", 13, "c1")
    assert nack.answers is not None and nack.answers.names == ("b",)
    with pytest.raises(NothingCame, match="stream 1 <- CDS version='c2'"):
        plane.wait(lambda: None, timeout_s=0.0)


def test_what_happened_is_taken_once(control_plane: Planes, client: Clients) -> None:
    plane = control_plane()
    client(plane).ask(CDS)
    plane.wait_for(CDS)
    assert [str(event).partition(" ")[0] for event in plane.take()] == ["stream", "stream"]
    assert plane.take(timeout_s=0.0) == []


def test_responses_are_remembered_until_a_later_one_is_answered(control_plane: Planes, client: Clients) -> None:
    plane = control_plane()
    proxy = client(plane)
    proxy.ask(CDS)
    plane.wait_for(CDS)
    for version in "abc":
        plane.set(CDS, [], version)
    nonces = [proxy.hear().nonce for _ in "abc"]
    for version, nonce in zip("abc", nonces, strict=True):
        proxy.ask(CDS, version=version, nonce=nonce)
        plane.wait_for_ack(CDS, version)
    mark = plane.mark()
    proxy.ask(CDS, "more", version="c", nonce=nonces[2])
    proxy.ask(CDS, version="b", nonce=nonces[1])
    again = plane.wait_for(CDS, since=mark)
    assert again.answers is not None and again.answers.version == "c"
    assert plane.wait_for(CDS, since=mark, count=2).answers is None


def test_the_incremental_protocol(control_plane: Planes, client: Clients) -> None:
    plane = control_plane()
    plane.set(EDS, [{"cluster_name": "a"}, {"cluster_name": "b"}], version="e1")
    proxy = client(plane, DELTA_ADS)
    proxy.ask(EDS, "a", "c")
    heard = proxy.hear()
    assert [(item.name, item.version) for item in heard.resources] == [("a", "e1")]
    assert (list(heard.removed_resources), heard.system_version_info) == (["c"], "e1")
    request = plane.wait_for(EDS)
    assert (request.delta, request.subscribe, request.names) == (True, ("a", "c"), ())


def test_a_stream_of_one_type(control_plane: Planes, client: Clients) -> None:
    plane = control_plane()
    plane.set(RDS, [{"name": "r"}], version="r1")
    proxy = client(plane, ROUTES)
    proxy.ask("", "r")
    assert proxy.hear().version_info == "r1"
    (stream,) = plane.streams
    assert stream.method is METHODS[ROUTES]
    assert "user-agent" in dict(stream.metadata)


def test_types_are_held(control_plane: Planes, client: Clients) -> None:
    plane = control_plane()
    plane.set(CDS, [], version="c1")
    plane.set(EDS, [{"cluster_name": "a"}], version="e1")
    plane.hold(CDS)
    proxy = client(plane)
    proxy.ask(CDS)
    proxy.ask(EDS, "a")
    assert proxy.hear().version_info == "e1"
    plane.set(CDS, [], version="c2")
    plane.release()
    assert proxy.hear().version_info == "c2"


def test_responses_by_hand(control_plane: Planes, client: Clients) -> None:
    plane = control_plane()
    proxy = client(plane)
    proxy.ask(CDS)
    plane.wait_for(CDS)
    plane.send(CDS, [{"name": "a"}], version="mine", nonce="my nonce")
    assert proxy.hear().nonce == "my nonce"
    plane.send_raw(CDS, b"\xff\xff")
    assert proxy.receive() == b"\xff\xff"
    plane.end_streams(grpc.StatusCode.INTERNAL, "enough")
    assert proxy.status() == (grpc.StatusCode.INTERNAL, "enough")
    plane.wait_until_closed()


def test_streams_are_refused(control_plane: Planes, client: Clients) -> None:
    plane = control_plane()
    plane.set(CDS, [], version="c1")
    plane.refuse(grpc.StatusCode.PERMISSION_DENIED, "not you")
    assert client(plane).status() == (grpc.StatusCode.PERMISSION_DENIED, "not you")
    plane.accept()
    proxy = client(plane)
    proxy.ask(CDS)
    assert proxy.hear().version_info == "c1"


def test_it_comes_back(control_plane: Planes, client: Clients) -> None:
    plane = control_plane()
    plane.set(CDS, [], version="c1")
    port = plane.port
    proxy = client(plane)
    proxy.ask(CDS)
    proxy.hear()
    plane.stop()
    assert proxy.status()[0] in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
    plane.start()
    assert plane.port == port
    proxy = client(plane)
    proxy.ask(CDS)
    assert proxy.hear().version_info == "c1"
    assert len(plane.wait_for_streams(2)) == 2


def test_what_is_no_request_or_no_method(control_plane: Planes, client: Clients) -> None:
    plane = control_plane()
    proxy = client(plane)
    proxy.send(b"\xff\xff")
    assert proxy.status()[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert client(plane, "/a.B/C").status()[0] is grpc.StatusCode.UNIMPLEMENTED


def test_all_methods() -> None:
    """Those of the API, by its own descriptors; xds-protos has none of VHDS."""
    for name in ("discovery.v3.ads", "listener.v3.lds", "cluster.v3.cds", "route.v3.rds", "route.v3.srds",
                 "endpoint.v3.eds", "secret.v3.sds", "runtime.v3.rtds", "extension.v3.config_discovery"):  # fmt: skip
        importlib.import_module(f"envoy.service.{name}_pb2")
    pool = descriptor_pool.Default()
    for method in METHODS.values():
        assert not method.type_name or message_class(method.type_name)
        if method.type_name != VHDS:
            found = pool.FindMethodByName(method.path[1:].replace("/", "."))
            assert found.input_type.name == ("DeltaDiscoveryRequest" if method.delta else "DiscoveryRequest")
            assert found.client_streaming and found.server_streaming
