"""Consistent hashing over hosts: keys, weights, priorities, bounded load, configuration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.extensions.load_balancing_policies.ring_hash.v3 import ring_hash_pb2  # noqa: F401 - known to Any from here on
from google.protobuf.json_format import ParseDict

from proxeny.config.errors import ConfigError
from proxeny.extensions.load_balancing_policies.hashing import Hashing
from proxeny.matcher.xxhash import xxhash64
from proxeny.network.factory_context import FactoryContext
from proxeny.stats.store import MainStore
from proxeny.upstream.endpoints import FAILED_EDS_HEALTH, HostEntry
from proxeny.upstream.host import Host
from proxeny.upstream.load_balancer import policy
from proxeny.upstream.load_balancer.common_config import DEFAULT
from proxeny.upstream.load_balancer.contract import LbSetting
from proxeny.upstream.load_balancer.hash_table import HashingConfig
from proxeny.upstream.load_balancer.hashing import HashingLoadBalancer
from proxeny.upstream.priority_set import PrioritySet
from proxeny.upstream.stats import HOST_RQ_ACTIVE, LB_HEALTHY_PANIC, UPSTREAM_RQ_ACTIVE

MakeHosts = Callable[..., list[Host]]
CONTEXT = FactoryContext("main", MainStore())


def entry(port: int, **more: Any) -> HostEntry:
    return HostEntry("127.0.0.1", port, **more)


def balancer(
    make_hosts: MakeHosts, entries: list[HostEntry], kind: str = "maglev", **settings: Any
) -> HashingLoadBalancer:
    config = HashingConfig(**{"table_size": 251, **settings})
    hosts = make_hosts(entries=entries)
    priorities = PrioritySet()
    priorities.update(hosts)
    made = HashingLoadBalancer(LbSetting(hosts[0].cluster, DEFAULT, priorities, CONTEXT), kind, config)
    made.refresh()
    return made


def context(value: int | None, attempt: int = 0) -> Any:
    return SimpleNamespace(hash_key=lambda: value, host_selection_attempt=attempt)


@pytest.mark.parametrize("kind", ["ring_hash", "maglev"])
def test_equal_hashes_get_equal_hosts(make_hosts: MakeHosts, kind: str) -> None:
    made = balancer(make_hosts, [entry(1), entry(2), entry(3)], kind)
    for number in range(20):
        value = xxhash64(b"%d" % number)
        assert made.choose(context(value)) is made.choose(context(value))


def test_without_a_hash_any_host(make_hosts: MakeHosts) -> None:
    made = balancer(make_hosts, [entry(1), entry(2)])
    assert len({made.choose(context(None)) for _ in range(100)}) == 2
    assert made.choose(None) is not None


def test_weights_are_shares(make_hosts: MakeHosts) -> None:
    made = balancer(make_hosts, [entry(1, weight=3), entry(2, weight=1)])
    ports = Counter(made.choose(context(value)).entry.port for value in range(251))  # type: ignore[union-attr]
    assert ports[1] > 2.5 * ports[2]


def test_hosts_of_another_priority_take_over(make_hosts: MakeHosts) -> None:
    made = balancer(make_hosts, [entry(1, health_flags=FAILED_EDS_HEALTH), entry(2, priority=1)])
    assert {made.choose(context(value)).entry.port for value in range(100)} == {2}  # type: ignore[union-attr]


def test_without_hosts(make_hosts: MakeHosts) -> None:
    made = balancer(make_hosts, [entry(1)])
    made._setting.priority_set.update([])
    made.refresh()
    assert made.choose(context(1)) is None


def test_further_attempts_keep_the_hash(make_hosts: MakeHosts) -> None:
    made = balancer(make_hosts, [entry(port) for port in range(1, 9)])
    first = made.choose(context(7))
    others = {made.choose(context(None, attempt)) for attempt in range(1, 9)}
    assert len(others - {first}) > 1
    assert made.choose(context(None, 3)) is made.choose(context(None, 3))


def test_an_overloaded_host_gives_to_others_in_a_fixed_order(make_hosts: MakeHosts) -> None:
    made = balancer(make_hosts, [entry(1), entry(2), entry(3)], balance_factor=120)
    value = 12345
    busy = made.choose(context(value))
    assert busy is not None
    busy.stats.add(HOST_RQ_ACTIVE, 10)
    made._stats.add(UPSTREAM_RQ_ACTIVE, 10)
    other = made.choose(context(value))
    assert other is not busy
    assert all(made.choose(context(value)) is other for _ in range(5))


def compiled(**fields: Any) -> HashingConfig:
    cluster = ParseDict({"name": "c", **fields}, Cluster())
    context = FactoryContext("main", MainStore())
    made = policy.compile(cluster, {field.name: value for field, value in cluster.ListFields()}, context)
    assert isinstance(made, Hashing)
    return made.config


def test_settings_of_both_spellings() -> None:
    old = compiled(lb_policy="RING_HASH", ring_hash_lb_config={"minimum_ring_size": 5, "hash_function": 1})
    assert old == HashingConfig(min_ring_size=5, murmur=True)
    typed = {
        "@type": "type.googleapis.com/envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash",
        "minimum_ring_size": 5,
        "hash_function": "MURMUR_HASH_2",
    }
    new = compiled(
        load_balancing_policy={"policies": [{"typed_extension_config": {"name": "r", "typed_config": typed}}]}
    )
    assert new == old


def test_refused_settings() -> None:
    with pytest.raises(ConfigError, match="The table size of maglev must be prime number"):
        compiled(lb_policy="MAGLEV", maglev_lb_config={"table_size": 250})
    with pytest.raises(ConfigError, match=r"ring hash: minimum_ring_size \(9\) > maximum_ring_size \(8\)"):
        compiled(lb_policy="RING_HASH", ring_hash_lb_config={"minimum_ring_size": 9, "maximum_ring_size": 8})


def test_statistics_say_how_the_last_choice_was_made(make_hosts: MakeHosts) -> None:
    made = balancer(make_hosts, [entry(1), entry(2)])
    made.choose(context(None))
    assert not made.statistics()["by_hash"]
    made.choose(context(5))
    assert made.statistics()["by_hash"]
    assert made.statistics()["policy"] == "maglev"


def shares(made: HashingLoadBalancer, keys: int = 4000) -> dict[int, float]:
    """Which part of the keys each host gets, by port."""
    counted = Counter(made.choose(context(xxhash64(b"%d" % key))) for key in range(keys))
    return {host.entry.port: count / keys for host, count in counted.items() if host is not None}


def zone(port: int, name: str, share: int, **more: Any) -> HostEntry:
    return entry(port, zone=name, locality_weight=share, **more)


@pytest.mark.parametrize("kind", ["ring_hash", "maglev"])
def test_localities_share_by_their_weights(make_hosts: MakeHosts, kind: str) -> None:
    zones = [zone(1, "a", 1), zone(2, "b", 3, weight=1), zone(3, "b", 3, weight=2)]
    settings = {"table_size": 5003, "min_ring_size": 4096, "locality_weighted": True}
    found = shares(balancer(make_hosts, zones, kind, **settings))
    for port, share in ((1, 0.25), (2, 0.25), (3, 0.5)):
        assert abs(found[port] - share) < 0.05
    flat = shares(balancer(make_hosts, zones, kind, **{**settings, "locality_weighted": False}))
    assert abs(flat[3] - 0.5) < 0.05 and abs(flat[1] - 0.25) < 0.05


def test_localities_without_weights_have_no_hosts(make_hosts: MakeHosts) -> None:
    made = balancer(make_hosts, [entry(1, zone="a"), entry(2, zone="b")], locality_weighted=True)
    assert made.choose(context(1)) is None


def test_a_locality_without_healthy_hosts_leaves_the_others_all(make_hosts: MakeHosts) -> None:
    zones = [zone(1, "a", 9, health_flags=FAILED_EDS_HEALTH), zone(2, "b", 1), zone(3, "b", 1), zone(4, "b", 1)]
    assert set(shares(balancer(make_hosts, zones, locality_weighted=True), 500)) == {2, 3, 4}


@pytest.mark.parametrize("kind", ["ring_hash", "maglev"])
@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (1, 2, 4, 8)])
def test_few_keys_move_when_a_host_goes(make_hosts: MakeHosts, kind: str, weights: tuple[int, ...]) -> None:
    settings = {"table_size": 5003, "min_ring_size": 8192}
    hosts = [entry(port, weight=weight) for port, weight in enumerate(weights, start=1)]
    before, after = balancer(make_hosts, hosts, kind, **settings), balancer(make_hosts, hosts[1:], kind, **settings)
    gone = 0
    moved = 0
    for key in range(2000):
        value = xxhash64(b"%d" % key)
        first, second = before.choose(context(value)), after.choose(context(value))
        assert first is not None and second is not None
        gone += first.entry.port == 1
        moved += first.entry.port not in (1, second.entry.port)
    # Keys of the host that went must move; Maglev moves a few of the others, a ring with rounded shares hardly any.
    assert moved < 0.1 * 2000
    assert abs(gone / 2000 - weights[0] / sum(weights)) < 0.05


def test_tables_stay_where_nothing_about_them_changed(make_hosts: MakeHosts) -> None:
    made = balancer(make_hosts, [entry(1), entry(2), entry(3, priority=1)])
    first, second = [table.find for table in made._tables]
    made._setting.priority_set.hosts()[2].weight = 5
    made.refresh()
    assert [table.find for table in made._tables] == [first, second]
    made._setting.priority_set.hosts()[1].weight = 5
    made.refresh()
    assert made._tables[0].find != first
    assert made._tables[1].find == second


def test_panic_is_counted_once_per_choice(make_hosts: MakeHosts) -> None:
    made = balancer(make_hosts, [entry(1), entry(2, health_flags=FAILED_EDS_HEALTH), entry(3, health_flags=4)])
    made.choose(context(1))
    made.choose(context(1, 1))
    made.choose(context(1, 2))
    assert made._stats.get(LB_HEALTHY_PANIC) == 1
