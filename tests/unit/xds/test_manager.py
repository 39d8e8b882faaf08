"""Where subscriptions come from: ADS, streams of their own, collections, pauses."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import config_source_pb2
from google.protobuf.json_format import ParseDict
from tests.unit.xds.streams import NODE, FakeClient, Owner, assignments, delta_requests, requests

from proxeny.config.errors import ConfigError
from proxeny.config.loader import LoadOptions
from proxeny.event.dispatcher import Dispatcher
from proxeny.event.time_source import SimulatedTimeSource
from proxeny.stats.snapshot import StatsView
from proxeny.stats.store import MainStore
from proxeny.xds.manager import XdsManager
from proxeny.xds.resource import ResourceDecoder
from proxeny.xds.stats import SubscriptionStats
from proxeny.xds.validation import DynamicValidation

VIA = [{"envoyGrpc": {"clusterName": "plane"}}]
ADS = {"apiType": "GRPC", "transportApiVersion": "V3", "grpcServices": VIA, "setNodeOnFirstMessageOnly": True}
CLUSTERS = "xdstp://auth/envoy.config.cluster.v3.Cluster/*"


class Clients:
    """One client for whoever asks."""

    def __init__(self) -> None:
        self.client = FakeClient()
        self.prefixes: list[str] = []

    def of(self, grpc_service: Any, stat_prefix: str) -> FakeClient:
        self.prefixes.append(stat_prefix)
        return self.client

    def check(self, grpc_service: Any) -> None:
        return


class Managed:
    """A manager of a bootstrap with a static cluster ``plane``."""

    def __init__(self, ads: Any = None, node: Any = NODE, **more: Any) -> None:
        tree = {"staticResources": {"clusters": [{"name": "plane"}]}, **more}
        if ads is not None:
            tree["dynamicResources"] = {"adsConfig": ads}
        self.store = MainStore()
        self.validation = DynamicValidation(LoadOptions())
        bootstrap = ParseDict(tree, bootstrap_pb2.Bootstrap())
        loop = Dispatcher(SimulatedTimeSource())
        self.manager = XdsManager(loop, bootstrap, node, self.store, lambda: self.validation)
        self.clients = Clients()
        self.manager.grpc_clients = self.clients
        self.owner = Owner()

    def subscribe(self, source: Any) -> Any:
        stats = SubscriptionStats(self.store, "x.")
        return self.manager.subscribe(source, self.owner, assignments(), stats)

    def collect(self, locator: str, source: Any) -> Any:
        decoder = ResourceDecoder(cluster_pb2.Cluster, "name", self.validation)
        return self.manager.subscribe_collection(
            locator, source, self.owner, decoder, SubscriptionStats(self.store, "cds.")
        )

    @property
    def stream(self) -> Any:
        return self.clients.client.streams[-1]


def source(**fields: Any) -> Any:
    return ParseDict(fields, config_source_pb2.ConfigSource())


def test_ads_is_one_stream_for_all() -> None:
    made = Managed(ADS)
    made.manager.initialize()
    assert made.clients.prefixes == [""]
    for name in ("a", "b"):
        made.subscribe(source(ads={})).start([name])
    assert made.clients.client.streams == []
    made.manager.start()
    assert made.stream.method.endswith("/StreamAggregatedResources")
    assert requests(made.stream) == ["ClusterLoadAssignment v= n= b a node"]
    assert StatsView(made.store).value("control_plane.connected_state") == 1
    assert made.manager.eds_cache is not None
    with made.manager.pause("envoy.config.endpoint.v3.ClusterLoadAssignment"):
        made.subscribe(source(ads={})).start(["c"])
        assert requests(made.stream) == []
    assert requests(made.stream) == ["ClusterLoadAssignment v= n= c b a"]
    made.manager.close()
    assert made.stream.was_reset


def test_what_is_configured_before_ads_is_there_finds_it_at_its_start() -> None:
    made = Managed(ADS)
    subscription = made.subscribe(source(ads={}))
    made.manager.initialize()
    made.manager.start()
    subscription.start(["a"])
    assert requests(made.stream) == ["ClusterLoadAssignment v= n= a node"]


@pytest.mark.parametrize(("kind", "method"), [("GRPC", "StreamEndpoints"), ("DELTA_GRPC", "DeltaEndpoints")])
def test_a_stream_of_its_own_begins_and_ends_with_its_subscription(kind: str, method: str) -> None:
    made = Managed()
    made.manager.initialize()
    made.manager.start()
    api = {"apiType": kind, "transportApiVersion": "V3", "grpcServices": VIA}
    subscription = made.subscribe(source(apiConfigSource=api))
    assert (made.clients.prefixes, made.clients.client.streams) == (["x."], [])
    subscription.start(["a"])
    assert made.stream.method == f"/envoy.service.endpoint.v3.EndpointDiscoveryService/{method}"
    assert StatsView(made.store).value("x.control_plane.connected_state") == 1
    stream = made.stream
    subscription.close()
    assert stream.was_reset
    assert StatsView(made.store).value("x.control_plane.connected_state") is None


def test_a_subscription_that_was_never_started_leaves_nothing() -> None:
    made = Managed()
    api = {"apiType": "GRPC", "transportApiVersion": "V3", "grpcServices": VIA}
    made.subscribe(source(apiConfigSource=api)).close()
    assert made.clients.client.is_closed
    assert StatsView(made.store).value("x.control_plane.connected_state") is None


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"self": {}}, "Missing config source specifier in envoy::config::core::v3::ConfigSource"),
        ({"ads": {}}, "ADS must be configured to support an ADS config source"),
        ({"path": "/no/such/file"}, "paths must refer to an existing path in the system: '/no/such/file' does not"),
    ],
)
def test_sources_that_are_refused(fields: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Managed().subscribe(source(**fields))
    assert str(caught.value).startswith(words)


def test_ads_needs_a_node_and_a_cluster() -> None:
    with pytest.raises(ConfigError, match=r"^ads: node 'id' and 'cluster' are required"):
        Managed(ADS, type(NODE)(id="a")).manager.initialize()
    with pytest.raises(ConfigError, match=r"^Unknown gRPC client cluster 'no'$"):
        Managed({**ADS, "grpcServices": [{"envoyGrpc": {"clusterName": "no"}}]}).manager.initialize()


def test_a_collection_over_ads_says_who_asks() -> None:
    made = Managed({**ADS, "apiType": "DELTA_GRPC"}, nodeContextParams=["id", "cluster"])
    made.manager.initialize()
    made.manager.start()
    api = {"apiType": "AGGREGATED_DELTA_GRPC", "transportApiVersion": "V3", "grpcServices": VIA}
    made.collect(CLUSTERS, source(apiConfigSource=api)).start()
    assert delta_requests(made.stream) == [
        f"Cluster n= +{CLUSTERS}?xds.node.cluster=mine&xds.node.id=me node",
    ]


def test_without_a_locator_it_is_everything() -> None:
    made = Managed(ADS)
    made.manager.initialize()
    made.manager.start()
    made.collect("", source(ads={})).start()
    assert requests(made.stream) == ["Cluster v= n= node"]


@pytest.mark.parametrize(
    ("locator", "made_source", "words"),
    [
        (CLUSTERS, source(ads={}), "ADS must be configured to support an ADS config source"),
        (CLUSTERS, source(path="/dev/null"), "Missing or not supported config source specifier in envoy::config"),
        ("x", source(ads={}), "x does not have a xdstp:, http: or file: scheme"),
    ],
)
def test_collections_that_are_refused(locator: str, made_source: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Managed().collect(locator, made_source)
    assert str(caught.value).startswith(words)
