"""What an update of CDS does to the clusters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.cluster.v3 import cluster_pb2
from google.protobuf import json_format
from tests.unit.upstream.fake_xds import FakeXds

from proxeny.config.loader import LoadOptions
from proxeny.event.dispatcher import Dispatcher
from proxeny.network.factory_context import FactoryContext
from proxeny.server.cds_api import CdsApi
from proxeny.stats.store import MainStore
from proxeny.upstream.main_cluster_manager import MainClusterManager
from proxeny.xds.rejection import UpdateRejected
from proxeny.xds.validation import DynamicValidation


class Setup:
    def __init__(self) -> None:
        self.dispatcher = Dispatcher()
        store = MainStore()
        context = FactoryContext(role="main", stats=store, dispatcher=self.dispatcher)
        self.xds = FakeXds(self.dispatcher)
        context.xds = self.xds  # type: ignore[assignment]
        self.clusters = MainClusterManager(context, 1)
        self.clusters.add_static([cluster("static")])
        dynamic = bootstrap_pb2.Bootstrap.DynamicResources()
        dynamic.cds_config.ads.SetInParent()
        self.cds = CdsApi(self.xds, dynamic, self.clusters, store, DynamicValidation(LoadOptions()))  # type: ignore[arg-type]
        (self.subscription,) = self.xds.subscriptions
        self.done: list[bool] = []
        self.clusters.initialize(lambda: self.done.append(True), self.cds.start)

    def names(self) -> set[str]:
        return set(self.clusters.all_names())


@pytest.fixture
def setup() -> Iterator[Setup]:
    made = Setup()
    yield made
    made.cds.close()
    made.clusters.close()
    made.dispatcher.close()


def cluster(name: str, **fields: Any) -> Any:
    return json_format.ParseDict({"name": name, **fields}, cluster_pb2.Cluster())


def test_the_start_waits_for_the_first_update(setup: Setup) -> None:
    assert not setup.done
    setup.subscription.fail_to_connect()
    assert not setup.done
    setup.subscription.deliver(cluster("a"))
    assert setup.done
    assert setup.names() == {"static", "a"}


@pytest.mark.parametrize("how", ["time_out", "refuse"])
def test_the_start_goes_on_without(setup: Setup, how: str) -> None:
    getattr(setup.subscription, how)()
    assert setup.done


def test_a_state_of_the_world_removes_the_rest(setup: Setup) -> None:
    setup.subscription.deliver(cluster("a"), cluster("b"), version="1")
    setup.subscription.deliver(cluster("b"), cluster("c"), version="2")
    assert setup.names() == {"static", "b", "c"}
    assert setup.cds.version_info == "2"


def test_a_difference_removes_what_it_names(setup: Setup) -> None:
    setup.subscription.change(cluster("a"), cluster("b"))
    setup.subscription.change(cluster("c"), removed=["a", "static", "unknown"])
    assert setup.names() == {"static", "b", "c"}


def test_what_does_not_change_is_not_touched(setup: Setup) -> None:
    setup.subscription.deliver(cluster("a"), cluster("b"), version="1")
    a = setup.clusters.find("a")
    setup.subscription.deliver(cluster("a"), cluster("b"), version="2")
    assert setup.clusters.find("a") is a
    assert setup.cds.version_info == "1"
    setup.subscription.deliver(cluster("a", connect_timeout="1s"), cluster("b"), version="3")
    assert setup.clusters.find("a") is not a
    setup.subscription.deliver(cluster("a"), cluster("b"), version="4")
    found = setup.clusters.find("a")
    assert found is not None and found.version == "4"


def test_a_cluster_of_the_bootstrap_stays(setup: Setup) -> None:
    static = setup.clusters.find("static")
    for _ in range(2):
        setup.subscription.deliver(cluster("static", connect_timeout="1s"))
    assert setup.clusters.find("static") is static


def test_the_good_part_is_applied(setup: Setup) -> None:
    with pytest.raises(UpdateRejected) as caught:
        setup.subscription.deliver(cluster("a"), cluster("bad", type="EDS"), cluster("a"), cluster("b"))
    assert caught.value.message == (
        "Error adding/updating cluster(s) bad: cannot create an EDS cluster without an EDS config, "
        "a: duplicate cluster a found"
    )
    assert [one.name for one in caught.value.refused] == ["bad", "a"]
    assert setup.names() == {"static", "a", "b"}
    assert setup.done


def test_what_clusters_need_is_asked_for_at_once(setup: Setup) -> None:
    setup.subscription.deliver(cluster("a"))
    assert setup.xds.log == [
        "pause ClusterLoadAssignment,LbEndpoint,Secret",
        "resume ClusterLoadAssignment,LbEndpoint,Secret",
    ]
