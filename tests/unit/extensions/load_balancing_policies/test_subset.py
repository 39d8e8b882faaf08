"""Subsets: who is in them, how they follow hosts, fallbacks; the rest is differential."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import Metadata
from google.protobuf.json_format import ParseDict

from proxeny.config.errors import ConfigError
from proxeny.event.dispatcher import Dispatcher
from proxeny.extensions import install
from proxeny.network.factory_context import FactoryContext
from proxeny.upstream import cluster_config
from proxeny.upstream.endpoints import FAILED_EDS_HEALTH, HostEntry
from proxeny.upstream.metadata_criteria import MetadataCriteria
from proxeny.upstream.stats import LB_SUBSETS_FALLBACK, LB_SUBSETS_FALLBACK_PANIC, LB_SUBSETS_SELECTED
from proxeny.upstream.thread_local_cluster import ThreadLocalCluster

BY_STAGE = {"subset_selectors": [{"keys": ["stage"]}]}


@pytest.fixture(autouse=True)
def registered() -> None:
    install()


def entry(port: int, metadata: dict[str, Any] | None = None, **more: Any) -> HostEntry:
    data = b""
    if metadata is not None:
        data = ParseDict({"filter_metadata": {"envoy.lb": metadata}}, Metadata()).SerializeToString()
    return HostEntry("127.0.0.1", port, metadata=data, stat_index=port, **more)


class World:
    """One cluster with subsets."""

    def __init__(self, dispatcher: Dispatcher, context: FactoryContext, subset: dict[str, Any], **fields: Any) -> None:
        message = ParseDict({"name": "c", "lb_subset_config": subset, **fields}, Cluster())
        self.cluster = ThreadLocalCluster(cluster_config.compile(message, context), dispatcher)
        self.asked = 0

    def hosts(self, *entries: HostEntry) -> World:
        self.cluster.update_hosts(list(entries))
        return self

    def ports(self, criteria: dict[str, Any] | None = None, picks: int = 40, attempt: int = 0) -> set[int]:
        asked = None if criteria is None else MetadataCriteria(criteria)
        context = SimpleNamespace(metadata_match=asked, hash_key=lambda: None, host_selection_attempt=attempt)
        chosen = [self.cluster.choose_host(context) for _ in range(picks)]
        return {0 if host is None else host.entry.port for host in chosen}

    def count(self, slot: int) -> int:
        return int(self.cluster.info.stats.get(slot))


MakeWorld = Callable[..., World]


@pytest.fixture
def world(dispatcher: Dispatcher, context: FactoryContext) -> MakeWorld:
    return lambda subset, **fields: World(dispatcher, context, subset, **fields)


def three() -> list[HostEntry]:
    return [entry(1, {"stage": "a"}), entry(2, {"stage": "a", "v": 1}), entry(3, {"stage": "b", "v": 1})]


def test_hosts_are_found_by_values(world: MakeWorld) -> None:
    made = world(BY_STAGE).hosts(*three(), entry(4))
    assert made.ports({"stage": "a"}) == {1, 2}
    assert made.ports({"stage": "b"}) == {3}
    assert made.ports({"stage": "c"}) == made.ports({"v": 1}) == made.ports({}) == made.ports() == {0}
    assert made.count(LB_SUBSETS_SELECTED) == 80


def test_subsets_follow_hosts(world: MakeWorld) -> None:
    made = world(BY_STAGE).hosts(*three())
    made.hosts(entry(1, {"stage": "b"}), entry(2, {"stage": "a"}))
    assert (made.ports({"stage": "a"}), made.ports({"stage": "b"})) == ({2}, {1})
    made.hosts(entry(1, {"stage": "b"}))
    assert made.ports({"stage": "a"}) == {0}
    made.hosts(*three())
    assert made.ports({"stage": "a"}) == {1, 2}


def test_health_and_weights_reach_the_subsets(world: MakeWorld) -> None:
    made = world(BY_STAGE).hosts(*three())
    sick = entry(1, {"stage": "a"}, health_flags=FAILED_EDS_HEALTH)
    made.hosts(sick, *three()[1:])
    assert made.ports({"stage": "a"}) == {2}
    made.cluster.update_health({1: 0, 2: FAILED_EDS_HEALTH}, True)
    assert made.ports({"stage": "a"}) == {1}


def test_an_unhealthy_subset_does_not_fall_back(world: MakeWorld) -> None:
    common = {"healthy_panic_threshold": {"value": 0}}
    made = world({**BY_STAGE, "fallback_policy": "ANY_ENDPOINT"}, common_lb_config=common)
    made.hosts(entry(1, {"stage": "a"}, health_flags=FAILED_EDS_HEALTH), entry(2, {"stage": "b"}))
    assert made.ports({"stage": "a"}) == {0}
    assert made.ports({"stage": "x"}) == {2}


def test_default_subset_and_panic(world: MakeWorld) -> None:
    made = world(
        {**BY_STAGE, "fallback_policy": "DEFAULT_SUBSET", "default_subset": {"v": 1}, "panic_mode_any": True}
    ).hosts(*three())
    assert made.ports({"stage": "x"}, 20) | made.ports(None, 20) == {2, 3}
    assert made.count(LB_SUBSETS_FALLBACK) == 40
    made.hosts(three()[0])
    assert made.ports({"stage": "x"}, 5) == {1}
    assert made.count(LB_SUBSETS_FALLBACK_PANIC) == 5


def test_declined_hosts_are_not_counted_again(world: MakeWorld) -> None:
    made = world(BY_STAGE).hosts(*three())
    made.ports({"stage": "a"}, 3, attempt=1)
    assert made.count(LB_SUBSETS_SELECTED) == 0


def test_single_host(world: MakeWorld) -> None:
    made = world({"subset_selectors": [{"keys": ["stage"], "single_host_per_subset": True}]})
    made.hosts(
        entry(1, {"stage": "a"}, priority=1), entry(2, {"stage": "a"}, health_flags=FAILED_EDS_HEALTH), *three()[2:]
    )
    assert made.ports({"stage": "a"}) == {2}
    made.hosts(entry(1, {"stage": "a"}, priority=1))
    assert made.ports({"stage": "a"}) == {1}


def test_lists(world: MakeWorld) -> None:
    selectors = {"subset_selectors": [{"keys": ["stage", "v"]}], "list_as_any": True}
    made = world(selectors).hosts(entry(1, {"stage": ["a", "b"], "v": [1, 2]}), entry(2, {"stage": "a", "v": 2}))
    assert made.ports({"stage": "a", "v": 2}) == {1, 2}
    assert made.ports({"stage": "b", "v": 1}) == {1}
    assert made.ports({"stage": "b", "v": 3}) == {0}


def test_retries_by_priority(world: MakeWorld) -> None:
    made = world(BY_STAGE).hosts(entry(1, {"stage": "a"}), entry(2, {"stage": "a"}, priority=1))
    context = SimpleNamespace(metadata_match=MetadataCriteria({"stage": "a"}), host_selection_attempt=0)
    host = made.cluster.choose_host_by(lambda hosts, load: load._replace(healthy=[0, 100]), context)
    assert host is not None and host.entry.port == 2


def test_weights_of_localities_reach_the_subsets(world: MakeWorld) -> None:
    aware = {**BY_STAGE, "locality_weight_aware": True}
    made = world(aware, common_lb_config={"locality_weighted_lb_config": {}}, lb_policy="MAGLEV")

    def hosts(first: int, second: int) -> list[HostEntry]:
        zones = (entry(1, {"stage": "a"}, zone="x", locality_weight=first), entry(3, {"stage": "b"}, zone="x"))
        return [*zones, entry(2, {"stage": "a"}, zone="y", locality_weight=second)]

    made.hosts(*hosts(1, 0))
    assert made.ports({"stage": "a"}) == {1}
    made.hosts(*hosts(0, 1))
    assert made.ports({"stage": "a"}) == {2}


def test_who_is_asked_for_nothing(world: MakeWorld) -> None:
    made = world({**BY_STAGE, "fallback_policy": "ANY_ENDPOINT"}).hosts(*three())
    assert made.cluster.choose_host(None) is not None


def test_statistics_are_those_of_all_hosts(world: MakeWorld) -> None:
    made = world(BY_STAGE).hosts(*three(), entry(4, {"stage": "a"}, priority=1))
    found = made.cluster.statistics()["load_balancer"]
    assert (found["policy"], found["subsets"]) == ("subset", 2)
    assert (found["healthy_load"], found["degraded_load"], found["panic"]) == ([100, 0], [0, 0], [False, False])


def test_closing(world: MakeWorld) -> None:
    made = world({**BY_STAGE, "fallback_policy": "ANY_ENDPOINT"}).hosts(*three())
    made.cluster.close()
    assert made.cluster.choose_host(None) is None


@pytest.mark.parametrize(
    ("selector", "words"),
    [
        ({"fallback_keys_subset": ["a"]}, "fallback_keys_subset can be set only for KEYS_SUBSET fallback_policy"),
        ({"fallback_policy": "KEYS_SUBSET"}, "fallback_keys_subset cannot be empty"),
        (
            {"fallback_policy": "KEYS_SUBSET", "fallback_keys_subset": ["x"]},
            "fallback_keys_subset must be a subset of selector keys",
        ),
        (
            {"fallback_policy": "KEYS_SUBSET", "fallback_keys_subset": ["b", "a"]},
            "fallback_keys_subset cannot be equal to keys",
        ),
    ],
)
def test_refused_selectors(world: MakeWorld, selector: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        world({"subset_selectors": [{"keys": ["a", "b"], **selector}]})
