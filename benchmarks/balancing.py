"""`python -m benchmarks.balancing`: what a pick costs in each way to choose, and what the load of all workers brings.

One process, no sockets. The first table is the cost of a pick among 100 and 1,000 hosts; least_request must stay flat.
The second simulates workers that send requests of random length by least_request over two choices, each seeing its own
requests or those of all: how busy the busiest host is, as a multiple of the mean.
"""

import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster

from proxeny import extensions
from proxeny.event.dispatcher import Dispatcher
from proxeny.extensions.load_balancing_policies.least_request import LeastRequest
from proxeny.extensions.load_balancing_policies.random import Random
from proxeny.extensions.load_balancing_policies.round_robin import RoundRobin
from proxeny.kernel.all_workers import AllWorkers
from proxeny.kernel.stats import Segment
from proxeny.network.factory_context import FactoryContext
from proxeny.stats.store import MainStore
from proxeny.upstream import cluster_config
from proxeny.upstream.endpoints import DEGRADED_EDS_HEALTH, HostEntry
from proxeny.upstream.host import Host
from proxeny.upstream.load_balancer.common_config import DEFAULT
from proxeny.upstream.load_balancer.contract import LbPolicy, LbSetting, LoadBalancer
from proxeny.upstream.load_balancer.locality_config import LocalityConfig
from proxeny.upstream.load_balancer.pickers import LeastRequestPicker
from proxeny.upstream.load_balancer.slow_start import SlowStartConfig
from proxeny.upstream.priority_set import PrioritySet
from proxeny.upstream.stats import HOST_RQ_ACTIVE

FEW, MANY = 100, 1000
ROUNDS, PICKS = 9, 20_000
MOST_GROWTH = 2.0
WORKERS = 4
ZONES = ("a", "b", "c")
REQUESTS, BUSY = 40_000, 4
"""How many are simulated, and how many are under way per host."""
Change = Callable[[int, HostEntry], None]


class Hosts:
    """Clusters of hosts of one context."""

    def __init__(self, all_workers: AllWorkers | None = None) -> None:
        extensions.install()
        self.context = FactoryContext("main", MainStore(), dispatcher=Dispatcher(), all_workers=all_workers)
        self.info = cluster_config.compile(Cluster(name="c"), self.context).info

    def make(self, count: int, change: Change = lambda at, entry: None) -> list[Host]:
        hosts = []
        for at in range(count):
            entry = HostEntry("127.0.0.1", at + 1)
            change(at, entry)
            hosts.append(Host(self.info, entry, self.info.host_stats(at)))
        return hosts

    def balancer(self, policy: LbPolicy, hosts: list[Host], fellows: list[Host] | None = None) -> LoadBalancer:
        members = PrioritySet(local=("", "a", ""))
        members.update(hosts)
        local = PrioritySet(local=("", "a", ""))
        local.update(fellows or [])
        setting = LbSetting(self.info, DEFAULT, members, self.context, lambda: local if fellows else None)
        made = policy.create(setting)
        made.refresh()
        return made


def weigh(at: int, entry: HostEntry) -> None:
    entry.weight = 1 + at % 5


def spread(at: int, entry: HostEntry) -> None:
    entry.zone = ZONES[at % 3]
    entry.locality_weight = 1 + at % 3


def degrade(at: int, entry: HostEntry) -> None:
    entry.health_flags = DEGRADED_EDS_HEALTH if at % 2 else 0


SLOW = SlowStartConfig(3_600_000)
WAYS: dict[str, tuple[LbPolicy, Change, bool]] = {
    "round_robin": (RoundRobin(), lambda at, entry: None, False),
    "round_robin, weights": (RoundRobin(), weigh, False),
    "round_robin, slow start": (RoundRobin(slow_start=SLOW), lambda at, entry: None, False),
    "random": (Random(), lambda at, entry: None, False),
    "least_request": (LeastRequest(), lambda at, entry: None, False),
    "least_request, weights": (LeastRequest(), weigh, False),
    "round_robin, half of the hosts degraded": (RoundRobin(), degrade, False),
    "round_robin, weighted localities": (RoundRobin(locality=LocalityConfig(weighted=True)), spread, False),
    "round_robin, zone-aware": (RoundRobin(), spread, True),
}


def microseconds(choose: Callable[[Any], Any]) -> float:
    """Of CPU per pick: the median of the rounds."""
    rounds = []
    for _ in range(ROUNDS):
        started = time.process_time_ns()
        for _ in range(PICKS):
            choose(None)
        rounds.append((time.process_time_ns() - started) / PICKS / 1000)
    return statistics.median(rounds)


def pick_cost(way: str, count: int, all_workers: AllWorkers | None = None) -> float:
    policy, change, zoned = WAYS[way]
    made = Hosts(all_workers)
    fellows = made.make(9, spread) if zoned else None
    return microseconds(made.balancer(policy, made.make(count, change), fellows).choose_host)


def busiest(hosts: int, seen_by_all: bool) -> float:
    """The most requests under way at one host, as a multiple of the mean, at the median of the simulation."""
    segments = [Segment.create() for _ in range(WORKERS)]
    made = [Hosts() for _ in range(WORKERS)]
    pickers = []
    for segment, one in zip(segments, made, strict=True):
        own = one.make(hosts)
        for host in own:
            host.stats = segment.block(host.stats.base, host.stats.size)
        pickers.append(LeastRequestPicker(own, 2, AllWorkers(segments if seen_by_all else [segment])))
    draw = random.Random(1)
    under_way: list[Host] = []
    active = dict.fromkeys(range(1, hosts + 1), 0)
    worst = []
    for _ in range(REQUESTS):
        if len(under_way) >= BUSY * hosts:
            at = draw.randrange(len(under_way))
            under_way[at], under_way[-1] = under_way[-1], under_way[at]
            gone = under_way.pop()
            gone.stats.dec(HOST_RQ_ACTIVE)
            active[gone.entry.port] -= 1
            worst.append(max(active.values()))
        host = pickers[draw.randrange(WORKERS)].pick()
        assert host is not None
        host.stats.inc(HOST_RQ_ACTIVE)
        active[host.entry.port] += 1
        under_way.append(host)
    return statistics.median(worst) / BUSY


def main() -> int:
    random.seed(1)
    segments = AllWorkers([Segment.create() for _ in range(WORKERS)])
    print(f"| a pick | among {FEW}, µs | among {MANY}, µs |\n|---|---|---|")
    rows = [(way, pick_cost(way, FEW), pick_cost(way, MANY)) for way in WAYS]
    shared = f"least_request, load of {WORKERS} workers"
    rows.append((shared, *(pick_cost("least_request", count, segments) for count in (FEW, MANY))))
    flat = True
    for name, few, many in rows:
        flat = flat and (name != "least_request" or many < few * MOST_GROWTH)
        print(f"| {name} | {few:.2f} | {many:.2f} |")
    print(f"\n| busiest host, {WORKERS} workers | own load | load of all |\n|---|---|---|")
    for hosts in (10, 100):
        print(f"| of {hosts} hosts | {busiest(hosts, False):.2f} | {busiest(hosts, True):.2f} |")
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
