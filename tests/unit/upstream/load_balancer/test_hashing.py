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
from proxeny.upstream.stats import HOST_RQ_ACTIVE, UPSTREAM_RQ_ACTIVE

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
