"""DNS clusters against a name server of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from envoy.config.cluster.v3 import cluster_pb2
from google.protobuf import json_format
from tests.name_server import Fault, NameServer

from proxeny.event.dispatcher import Dispatcher
from proxeny.network.factory_context import FactoryContext
from proxeny.runtime.snapshot import RuntimeReader
from proxeny.upstream.cluster_manager import ClusterManager
from proxeny.upstream.dns_cluster import NEW_IMPLEMENTATION, Backoff, ResolveTarget
from proxeny.upstream.dns_options import DnsOptions
from proxeny.upstream.dns_resolver import DnsAnswer
from proxeny.upstream.endpoints import HostUpdate
from proxeny.upstream.host import Host
from proxeny.upstream.main_cluster_manager import MainClusterManager
from proxeny.upstream.stats import CLUSTER, CLUSTER_MANAGER


@pytest.fixture
def server() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.close()


class Features(RuntimeReader):
    """Runtime features."""

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, bool]) -> None:
        super().__init__()
        self._values = values

    def get_boolean(self, key: str, default: bool) -> bool:
        return self._values.get(key, default)


class Setup:
    """Main's manager with one DNS cluster, and a manager that stands for a worker."""

    def __init__(self, context: FactoryContext, dispatcher: Dispatcher, server: NameServer) -> None:
        self.dispatcher = dispatcher
        self.server = server
        self.main = MainClusterManager(context)
        self.worker = ClusterManager(context)
        self.updates: list[HostUpdate] = []
        self.initialized = False
        self.main.on_hosts_changed = self._on_hosts
        self.context = context

    def _on_hosts(self, name: str, update: bytes) -> None:
        self.updates.append(msgspec.msgpack.decode(update, type=HostUpdate))
        self.worker.update_hosts(name, update)

    def start(self, *names: str, **fields: Any) -> None:
        endpoints = [
            {"endpoint": {"address": {"socket_address": {"address": name, "port_value": 80 + i}}}}
            for i, name in enumerate(names)
        ]
        proto = json_format.ParseDict(
            {
                "name": "d",
                "type": "STRICT_DNS",
                "dns_lookup_family": "V4_ONLY",
                "dns_resolvers": [{"socket_address": {"address": "127.0.0.1", "port_value": self.server.port}}],
                "load_assignment": {"cluster_name": "d", "endpoints": [{"lb_endpoints": endpoints}]},
                **fields,
            },
            cluster_pb2.Cluster(),
        )
        self.main.add_static([proto])
        self.worker.add_serialized(self.main.snapshot()[0])
        self.main.initialize(self._on_initialized)

    def _on_initialized(self) -> None:
        self.initialized = True

    def until(self, predicate: Callable[[], object]) -> None:
        self.dispatcher.run_until(predicate)

    def worker_hosts(self) -> list[Host]:
        cluster = self.worker.get("d")
        assert cluster is not None
        return cluster.priority_set.hosts()

    def hosts(self) -> list[str]:
        return sorted(host.address.as_string() for host in self.worker_hosts())

    def stats(self, *names: str) -> tuple[int, ...]:
        block = self.context.stats.block(CLUSTER, "cluster.d.")
        return tuple(block.get(CLUSTER.slot(name)) for name in names)


@pytest.fixture
def setup(context: FactoryContext, dispatcher: Dispatcher, server: NameServer) -> Iterator[Setup]:
    setup = Setup(context, dispatcher, server)
    yield setup
    setup.main.close()
    dispatcher.run_until_complete(asyncio.sleep(0))


def test_strict_dns(setup: Setup) -> None:
    setup.server.records = {"a.test": ["127.0.0.2", "127.0.0.3"], "b.test": ["127.0.0.2"]}
    setup.start("a.test", "b.test")
    assert not setup.initialized
    block = setup.context.stats.block(CLUSTER_MANAGER, "cluster_manager.")
    setup.until(lambda: setup.initialized and len(setup.updates) == 2)
    assert setup.hosts() == ["127.0.0.2:80", "127.0.0.2:81", "127.0.0.3:80"]
    assert setup.stats("update_attempt", "update_success", "update_failure") == (2, 2, 0)
    assert setup.stats("membership_total", "membership_change", "max_host_weight") == (3, 2, 1)
    assert block.get(CLUSTER_MANAGER.slot("warming_clusters")) == 0
    cluster = setup.worker.get("d")
    assert cluster is not None
    assert {host.hostname for host in cluster.priority_set.hosts()} == {"a.test", "b.test"}


def test_hosts_come_and_go_and_those_that_stay_stay(setup: Setup) -> None:
    setup.server.records = {"a.test": ["127.0.0.2", "127.0.0.3"]}
    setup.start("a.test", dns_refresh_rate="0.01s")
    setup.until(lambda: setup.updates)
    cluster = setup.worker.get("d")
    assert cluster is not None
    before = {host.address.ip: host for host in cluster.priority_set.hosts()}
    setup.server.records = {"a.test": ["127.0.0.3", "127.0.0.4"]}
    setup.until(lambda: len(setup.updates) == 2)
    after = {host.address.ip: host for host in cluster.priority_set.hosts()}
    assert sorted(after) == ["127.0.0.3", "127.0.0.4"]
    assert after["127.0.0.3"] is before["127.0.0.3"]
    assert {entry.stat_index for entry in setup.updates[1].hosts} == {1, 2}
    # Same answer again: nothing is sent.
    attempts = setup.stats("update_attempt")[0]
    setup.until(lambda: setup.stats("update_attempt")[0] > attempts + 2)
    assert len(setup.updates) == 2
    assert setup.stats("update_no_rebuild")[0] > 0
    # The name is gone.
    setup.server.records = {}
    setup.until(lambda: len(setup.updates) == 3)
    assert setup.hosts() == []
    # Envoy has the counter, and never counts.
    assert setup.stats("update_empty", "membership_total", "max_host_weight") == (0, 0, 1)


def test_failure_initializes_too_and_is_retried(setup: Setup) -> None:
    setup.server.records = {"a.test": Fault.REFUSED}
    setup.start("a.test", dns_failure_refresh_rate={"base_interval": "0.005s", "max_interval": "0.01s"})
    setup.until(lambda: setup.initialized)
    assert setup.stats("update_failure", "membership_total")[0] >= 1
    setup.server.records = {"a.test": ["127.0.0.2"]}
    setup.until(lambda: setup.updates)
    assert setup.hosts() == ["127.0.0.2:80"]


def test_ttl_is_respected_when_asked(setup: Setup) -> None:
    setup.server.records = {"a.test": ["127.0.0.2"]}
    setup.server.ttl = 1
    setup.start("a.test", respect_dns_ttl=True, dns_refresh_rate="3600s")
    setup.until(lambda: setup.updates)
    setup.server.records = {"a.test": ["127.0.0.3"]}
    setup.until(lambda: len(setup.updates) == 2)


def test_logical_dns_has_one_host_of_all_addresses(setup: Setup) -> None:
    setup.server.records = {"a.test": ["127.0.0.2", "127.0.0.3"]}
    setup.start("a.test", type="LOGICAL_DNS", dns_refresh_rate="0.01s")
    setup.until(lambda: setup.updates)
    (host,) = setup.worker_hosts()
    assert host.address.as_string() == "127.0.0.2:80"
    assert host.entry.additional_addresses == (("127.0.0.3", 80),)
    # Another order is another host, whose connections are new.
    for number, addresses in enumerate((["127.0.0.3", "127.0.0.2"], ["127.0.0.3"], ["127.0.0.9"]), start=2):
        setup.server.records = {"a.test": addresses}
        setup.until(lambda number=number: len(setup.updates) == number)  # type: ignore[misc]
        (newer,) = setup.worker_hosts()
        assert newer is not host
        assert newer.stats is not host.stats
        host = newer
    assert setup.stats("membership_total", "membership_change", "max_host_weight") == (1, 4, 0)
    (status,) = setup.main.clusters()
    assert [h.address_text for h in status.hosts] == ["127.0.0.9:80"]
    assert status.hosts[0].hostname == "a.test"


def test_logical_dns_never_goes_back_to_no_host(setup: Setup) -> None:
    setup.server.records = {"a.test": ["127.0.0.2"]}
    setup.start("a.test", type="LOGICAL_DNS", dns_refresh_rate="0.005s")
    setup.until(lambda: setup.updates)
    for what in ({}, {"a.test": []}, {"a.test": Fault.SERVFAIL}):
        failures = setup.stats("update_failure")[0]
        setup.server.records = what  # type: ignore[assignment]
        setup.until(lambda failures=failures: setup.stats("update_failure")[0] > failures + 1)  # type: ignore[misc]
    assert setup.hosts() == ["127.0.0.2:80"]
    assert len(setup.updates) == 1


def test_the_old_logical_dns_keeps_its_host(setup: Setup) -> None:
    setup.context.runtime = Features({NEW_IMPLEMENTATION: False})
    setup.server.records = {"a.test": ["127.0.0.2", "127.0.0.3"]}
    setup.start("a.test", type="LOGICAL_DNS", dns_refresh_rate="0.01s")
    setup.until(lambda: setup.updates)
    (host,) = setup.worker_hosts()
    setup.server.records = {"a.test": ["127.0.0.9"]}
    setup.until(lambda: host.address.ip == "127.0.0.9")
    assert setup.worker_hosts() == [host]
    assert setup.stats("membership_total", "membership_change") == (1, 1)


def test_several_targets_priorities_and_localities(setup: Setup) -> None:
    """What names have in common is as many hosts; each keeps its own when others change."""
    setup.server.records = {"a.test": ["127.0.0.2", "127.0.0.3"], "b.test": ["127.0.0.2"]}

    def endpoint(name: str, **fields: Any) -> dict[str, Any]:
        return {"endpoint": {"address": {"socket_address": {"address": name, "port_value": 80}}}, **fields}

    groups = [
        {"locality": {"zone": "z0"}, "lb_endpoints": [endpoint("a.test", load_balancing_weight=3), endpoint("b.test")]},
        {"priority": 1, "locality": {"zone": "z1"}, "lb_endpoints": [endpoint("b.test", health_status="DEGRADED")]},
    ]
    setup.start(dns_refresh_rate="0.01s", load_assignment={"cluster_name": "d", "endpoints": groups})
    setup.until(lambda: len(setup.worker_hosts()) == 4)
    cluster = setup.worker.get("d")
    assert cluster is not None
    seen = [[(h.address.ip, h.locality[1], h.weight) for h in s.hosts] for s in cluster.priority_set.host_sets]
    assert seen == [[("127.0.0.2", "z0", 3), ("127.0.0.3", "z0", 3), ("127.0.0.2", "z0", 1)], [("127.0.0.2", "z1", 1)]]
    assert setup.stats("membership_healthy", "membership_degraded") == (3, 1)
    before = setup.worker_hosts()
    assert len({host.entry.stat_index for host in before}) == 4
    setup.server.records = {"a.test": ["127.0.0.3"], "b.test": ["127.0.0.2"]}
    setup.until(lambda: len(setup.worker_hosts()) == 3)
    assert setup.worker_hosts() == before[1:]


def test_a_logical_host_is_of_priority_0(setup: Setup) -> None:
    setup.server.records = {"a.test": ["127.0.0.2"]}
    address = {"socket_address": {"address": "a.test", "port_value": 80}}
    groups = [{"priority": 3, "lb_endpoints": [{"endpoint": {"address": address}}]}]
    setup.start(type="LOGICAL_DNS", load_assignment={"cluster_name": "d", "endpoints": groups})
    setup.until(lambda: setup.updates)
    assert [host.priority for host in setup.worker_hosts()] == [0]


def test_a_thousand_addresses_come_and_go(setup: Setup) -> None:
    many = [f"10.0.{i // 250}.{i % 250}" for i in range(1000)]
    setup.server.records = {"a.test": many}
    setup.start("a.test", dns_refresh_rate="0.01s")
    setup.until(lambda: setup.updates)
    before = {host.address.ip: host for host in setup.worker_hosts()}
    assert sorted(before) == sorted(many)
    setup.server.records = {"a.test": [*many[1::2], "127.0.0.9"]}
    setup.until(lambda: len(setup.updates) == 2)
    after = {host.address.ip: host for host in setup.worker_hosts()}
    assert sorted(after) == sorted([*many[1::2], "127.0.0.9"])
    assert all(after[ip] is before[ip] for ip in many[1::2])


def test_a_name_that_flaps(setup: Setup) -> None:
    """A host that was away is a new one, in a stat block that nobody else has."""
    setup.start("a.test", dns_refresh_rate="0.002s")
    seen = set()
    for addresses in (["127.0.0.2"], ["127.0.0.3"], [], ["127.0.0.2"], ["127.0.0.3", "127.0.0.2"]) * 3:
        setup.server.records = {"a.test": addresses}
        setup.until(lambda addresses=addresses: setup.hosts() == sorted(f"{ip}:80" for ip in addresses))  # type: ignore[misc]
        indexes = [host.entry.stat_index for host in setup.worker_hosts()]
        assert len(set(indexes)) == len(indexes)
        seen |= set(indexes)
    assert len(seen) > 3


def test_not_waiting_for_the_first_answer(setup: Setup) -> None:
    setup.server.records = {"a.test": ["127.0.0.2"]}
    setup.start("a.test", wait_for_warm_on_init=False)
    assert setup.initialized


def test_a_worker_that_comes_later_gets_all(setup: Setup) -> None:
    setup.server.records = {"a.test": ["127.0.0.2"]}
    setup.start("a.test")
    setup.until(lambda: setup.updates)
    late = ClusterManager(setup.context)
    late.add_serialized(setup.main.snapshot()[0])
    for name, update in setup.main.host_updates():
        late.update_hosts(name, update)
    cluster = late.get("d")
    assert cluster is not None
    assert [host.address.as_string() for host in cluster.priority_set.hosts()] == ["127.0.0.2:80"]


def test_backoff_doubles_up_to_its_maximum() -> None:
    backoff = Backoff(100, 350)
    assert all(backoff.next_ms() < bound for bound in (100, 200, 350, 350, 350))
    backoff.reset()
    assert backoff.next_ms() < 100


def test_without_a_failure_rate_failures_wait_like_answers() -> None:
    backoff = Backoff(100)
    assert [backoff.next_ms() for _ in range(3)] == [100, 100, 100]


def test_jitter_comes_on_top_and_ttls_count_when_asked() -> None:
    cluster = SimpleNamespace(options=DnsOptions(refresh_ms=1000, jitter_ms=100, respect_ttl=True), backoff=Backoff(5))
    target = ResolveTarget.__new__(ResolveTarget)
    target._cluster = cluster  # type: ignore[assignment]
    waits = [target._after_success_ms(DnsAnswer(True, ["127.0.0.2"], ttl)) for ttl in (0, 3) for _ in range(200)]
    assert all(1000 <= wait < 1100 for wait in waits[:200])
    assert all(3000 <= wait < 3100 for wait in waits[200:])
    assert len(set(waits)) > 50


def test_one_back_off_for_all_names(setup: Setup) -> None:
    """As in Envoy: while one name fails, others that fail wait longer, too."""
    setup.server.records = {"a.test": Fault.SERVFAIL, "b.test": Fault.SERVFAIL}
    setup.start("a.test", "b.test", dns_failure_refresh_rate={"base_interval": "0.002s", "max_interval": "0.004s"})
    setup.until(lambda: setup.stats("update_failure")[0] >= 6)
    setup.server.records = {"a.test": ["127.0.0.2"], "b.test": ["127.0.0.3"]}
    setup.until(lambda: setup.hosts() == ["127.0.0.2:80", "127.0.0.3:81"])


def test_a_cluster_that_goes_asks_no_more(setup: Setup) -> None:
    setup.server.records = {"a.test": ["127.0.0.2"]}
    setup.start("a.test", dns_refresh_rate="0.002s")
    setup.until(lambda: setup.updates)
    assert setup.main.remove("d")
    asked = setup.stats("update_attempt")
    setup.dispatcher.run_until_complete(asyncio.sleep(0.01))
    assert setup.stats("update_attempt") == asked
