"""`python -m benchmarks.hosts`: what hosts cost a worker: a change of 1,000 of them, and a pick among 100 and 1,000.

One process, no sockets. Main's half makes the update that a change of DNS gives, the worker's half decodes it, builds
hosts with their statistics, host sets and the load balancer's tables: all that stands between two requests. A change
must take less than 50 ms of the worker, a pick must not cost more among many hosts.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster

from proxeny import extensions
from proxeny.event.dispatcher import Dispatcher
from proxeny.network.factory_context import FactoryContext
from proxeny.stats.store import MainStore, WorkerStore
from proxeny.upstream.cluster_manager import ClusterManager
from proxeny.upstream.endpoints import NEW_HOST, HostEntry
from proxeny.upstream.main_cluster_manager import MainClusterManager

FEW, MANY = 100, 1000
ROUNDS, PICKS = 9, 20_000
MOST_MS = 50.0
MOST_GROWTH = 2.0
"""Ten times the hosts may cost this much more: caches, not scans."""
POLICIES = ("ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "RING_HASH", "MAGLEV")


class Context:
    """What a hashing load balancer asks of a request."""

    metadata_match = override_host = None
    host_selection_attempt = 0

    def __init__(self) -> None:
        self._hash = 0

    def hash_key(self) -> int:
        self._hash = (self._hash * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        return self._hash


class Change:
    """A DNS cluster in main and in a worker."""

    def __init__(self, policy: str) -> None:
        store = MainStore()
        self.dispatcher = Dispatcher()
        main_context = FactoryContext(role="main", stats=store, dispatcher=self.dispatcher)
        self.main = MainClusterManager(main_context)
        proto = Cluster(name="d", type=Cluster.STRICT_DNS, lb_policy=Cluster.LbPolicy.Value(policy))
        self.main.add_static([proto])
        worker_store = WorkerStore(store.create_worker_segment(0))
        clusters, table = self.main.snapshot()
        worker_store.install(self.main.process_table)
        worker_store.install(table)
        context = FactoryContext(role="worker", stats=worker_store, dispatcher=self.dispatcher)
        self.worker = ClusterManager(context)
        self.worker.add_serialized(clusters)
        self.updates: list[bytes] = []
        found = self.main.find("d")
        assert found is not None
        found.on_hosts = self.updates.append
        self.publish = found.publish

    def hosts(self, network: int, count: int) -> list[HostEntry]:
        return [HostEntry(f"10.{network}.{i >> 8}.{i & 255}", 80, "a.test", stat_index=NEW_HOST) for i in range(count)]

    def apply(self) -> float:
        """The worker's time for the update published last, in ms."""
        cluster = self.worker.get("d")
        assert cluster is not None
        start = time.process_time_ns()
        self.worker.update_hosts("d", self.updates[-1])
        return (time.process_time_ns() - start) / 1e6

    def close(self) -> None:
        self.worker.close()
        self.main.close()
        self.dispatcher.close()


def change_ms(policy: str, replace: bool) -> tuple[float, float]:
    """(main, worker): medians for 1,000 hosts of which all, or one, are others than before."""
    change = Change(policy)
    hosts = change.hosts(0, MANY)
    change.publish(list(hosts))
    change.apply()
    main, worker = [], []
    for number in range(1, ROUNDS + 1):
        hosts = change.hosts(number, MANY) if replace else [*hosts[1:], *change.hosts(number, 1)]
        start = time.process_time_ns()
        change.publish(list(hosts))
        main.append((time.process_time_ns() - start) / 1e6)
        worker.append(change.apply())
    change.close()
    return statistics.median(main), statistics.median(worker)


def pick_ns(policy: str, count: int) -> float:
    """One pick among ``count`` hosts."""
    change = Change(policy)
    change.publish(change.hosts(0, count))
    change.apply()
    cluster = change.worker.get("d")
    assert cluster is not None
    context: Any = Context()
    choose: Callable[[Any], Any] = cluster.choose_host
    times = []
    for _ in range(ROUNDS):
        start = time.process_time_ns()
        for _ in range(PICKS):
            choose(context)
        times.append((time.process_time_ns() - start) / PICKS)
    change.close()
    return min(times)


def main() -> int:
    extensions.install()
    missed = False
    print(f"{'policy':15}{'all new':>12}{'one new':>12}{'main':>10}{f'pick of {FEW}':>14}{f'of {MANY}':>10}")
    for policy in POLICIES:
        in_main, all_new = change_ms(policy, replace=True)
        _, one_new = change_ms(policy, replace=False)
        few, many = pick_ns(policy, FEW), pick_ns(policy, MANY)
        missed = missed or all_new > MOST_MS or many > few * MOST_GROWTH
        print(f"{policy:15}{all_new:9.1f} ms{one_new:9.1f} ms{in_main:7.1f} ms{few:11.0f} ns{many:7.0f} ns")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
