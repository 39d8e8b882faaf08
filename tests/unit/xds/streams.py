"""A gRPC client without a network, and owners of resources that write down what they hear."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

from envoy.config.core.v3 import base_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.service.discovery.v3 import discovery_pb2

from proxeny.config.errors import ConfigError
from proxeny.config.loader import LoadOptions
from proxeny.event.dispatcher import Dispatcher
from proxeny.event.time_source import SimulatedTimeSource
from proxeny.stats.snapshot import StatsView
from proxeny.stats.store import MainStore
from proxeny.xds.backoff import JitteredExponentialBackOff
from proxeny.xds.config_stream import ConfigStream, ConfigStreamCallbacks, StreamOptions
from proxeny.xds.control_plane_stats import ControlPlaneStats
from proxeny.xds.grpc_client import GrpcStreamCallbacks, Metadata
from proxeny.xds.rate_limit import TokenBucket
from proxeny.xds.resource import DecodedResource, ResourceDecoder
from proxeny.xds.subscription import FailureReason
from proxeny.xds.validation import DynamicValidation

CLA = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
NODE = base_pb2.Node(id="me", cluster="mine")


class FakeStream:
    """Keeps what is sent."""

    def __init__(self, method: str, callbacks: GrpcStreamCallbacks) -> None:
        self.method = method
        self.callbacks = callbacks
        self.sent: list[bytes] = []
        self.was_reset = False
        self.ends_when_sent_on = False

    def send(self, data: bytes) -> None:
        self.sent.append(data)
        if self.ends_when_sent_on:
            self.callbacks.on_close(14, "ended")

    def half_close(self) -> None:
        raise AssertionError

    def reset(self) -> None:
        self.was_reset = True


class FakeClient:
    """Opens streams while it is up."""

    def __init__(self) -> None:
        self.up = True
        self.is_closed = False
        self.streams: list[FakeStream] = []

    def open(self, method: str, callbacks: GrpcStreamCallbacks, metadata: Metadata = ()) -> FakeStream | None:
        if not self.up:
            return None
        self.streams.append(FakeStream(method, callbacks))
        return self.streams[-1]

    def unary(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError

    def close(self) -> None:
        self.is_closed = True


class Owner:
    """Hears of updates; refuses those of a version that begins with "bad"."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.failures: list[tuple[FailureReason, str]] = []

    def on_config_update(self, resources: Sequence[DecodedResource], version: str) -> None:
        self.heard.append((version, [one.name for one in resources]))
        if version.startswith("bad"):
            raise ConfigError("refused")

    def on_config_delta(self, added: Sequence[DecodedResource], removed: Sequence[str], version: str) -> None:
        self.heard.append((version, [one.name for one in added], list(removed)))
        if version.startswith("bad"):
            raise ConfigError("refused")

    def on_config_update_failed(self, reason: FailureReason, error: ConfigError | None) -> None:
        self.failures.append((reason, str(error or "")))

    def news(self) -> list[tuple[Any, ...]]:
        """What was heard since it was last asked."""
        heard, self.heard = self.heard, []
        return heard


@functools.cache
def assignments() -> ResourceDecoder:
    return ResourceDecoder(endpoint_pb2.ClusterLoadAssignment, "cluster_name", DynamicValidation(LoadOptions()))


def assignment(name: str) -> Any:
    return endpoint_pb2.ClusterLoadAssignment(cluster_name=name)


class World:
    """A dispatcher whose time stands still, a client, and what streams need."""

    def __init__(self, response: Any, *, limit: tuple[int, float] | None = None) -> None:
        self.time = SimulatedTimeSource()
        self.dispatcher = Dispatcher(self.time)
        self.client = FakeClient()
        self.store = MainStore()
        bucket = None if limit is None else TokenBucket(*limit, self.time)
        backoff = JitteredExponentialBackOff(500, 30_000, lambda interval: interval - 1)
        self.options = StreamOptions(self.client, "plane", "/service/Method", response, backoff, bucket)

    def open_stream(self, callbacks: ConfigStreamCallbacks) -> ConfigStream:
        return ConfigStream(self.dispatcher, callbacks, self.options, ControlPlaneStats(self.store, ""))

    def stat(self, name: str) -> int | None:
        return StatsView(self.store).value(name)

    def advance(self, ms: int) -> None:
        """Let time pass, and what is due happen."""
        self.time.advance_ms(ms)
        self.dispatcher.run_once()
        self.dispatcher.run_once()

    @property
    def stream(self) -> FakeStream:
        return self.client.streams[-1]


def text_of(request: Any) -> str:
    """A state-of-the-world request in one line, without its node's contents."""
    parts = [request.type_url.rpartition(".")[2], f"v={request.version_info}", f"n={request.response_nonce}"]
    parts += list(request.resource_names)
    if request.HasField("node"):
        parts.append("node")
    if request.HasField("error_detail"):
        parts.append(f"error {request.error_detail.code} {request.error_detail.message}")
    return " ".join(parts)


def delta_text_of(request: Any) -> str:
    """Likewise a delta request: names with a sign, versions with a colon."""
    parts = [request.type_url.rpartition(".")[2], f"n={request.response_nonce}"]
    parts += [f"+{name}" for name in sorted(request.resource_names_subscribe)]
    parts += [f"-{name}" for name in sorted(request.resource_names_unsubscribe)]
    parts += [f"{name}:{version}" for name, version in sorted(request.initial_resource_versions.items())]
    if request.HasField("node"):
        parts.append("node")
    if request.HasField("error_detail"):
        parts.append(f"error {request.error_detail.code} {request.error_detail.message}")
    return " ".join(parts)


def requests(stream: FakeStream) -> list[str]:
    """State-of-the-world requests since it was last asked."""
    sent, stream.sent = stream.sent, []
    return [text_of(discovery_pb2.DiscoveryRequest.FromString(data)) for data in sent]


def delta_requests(stream: FakeStream) -> list[str]:
    """Delta requests since it was last asked."""
    sent, stream.sent = stream.sent, []
    return [delta_text_of(discovery_pb2.DeltaDiscoveryRequest.FromString(data)) for data in sent]


def response(version: str, nonce: str, resources: Iterable[Any] = (), type_url: str = CLA, identifier: str = "") -> Any:
    """A state-of-the-world response; messages are packed, Anys taken as they are."""
    made = discovery_pb2.DiscoveryResponse(version_info=version, nonce=nonce, type_url=type_url)
    for one in resources:
        if hasattr(one, "type_url"):
            made.resources.add().CopyFrom(one)
        else:
            made.resources.add().Pack(one)
    if identifier:
        made.control_plane.identifier = identifier
    return made


def wrapped(name: str, message: Any = None, version: str = "", ttl_ms: int = 0, aliases: Sequence[str] = ()) -> Any:
    """A ``discovery.v3.Resource``."""
    made = discovery_pb2.Resource(name=name, version=version, aliases=aliases)
    if message is not None:
        made.resource.Pack(message)
    if ttl_ms:
        made.ttl.FromMilliseconds(ttl_ms)
    return made
