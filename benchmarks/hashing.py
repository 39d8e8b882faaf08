"""`python -m benchmarks.hashing`: what consistent hashing and subsets cost a worker, with few hosts and with many.

One process, no sockets. A pick is what a request pays: it must not grow with the hosts (nor, of subsets, with their
number). An update is what a change of all hosts holds the worker up for. Of each the least of several rounds counts.
"""

import argparse
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from google.protobuf.json_format import ParseDict

from proxeny import extensions
from proxeny.config.message_types import message_class
from proxeny.event.dispatcher import Dispatcher
from proxeny.matcher.xxhash import xxhash64
from proxeny.network.factory_context import FactoryContext
from proxeny.stats.store import MainStore
from proxeny.upstream import cluster_config
from proxeny.upstream.endpoints import HostEntry
from proxeny.upstream.metadata_criteria import MetadataCriteria
from proxeny.upstream.thread_local_cluster import ThreadLocalCluster

SIZES = (10, 100, 1_000)
ROUNDS, PICKS = 7, 2_000
MOST_GROWTH = 1.5
"""What a pick among the most hosts may cost, as a multiple of one among the fewest."""
MOST_UPDATE_MS = 50.0
"""What a change of all hosts may hold a worker up for."""
SHARDS = 50

KINDS: dict[str, dict[str, Any]] = {
    "ring_hash": {"lb_policy": "RING_HASH"},
    "maglev": {"lb_policy": "MAGLEV"},
    "maglev, bounded": {
        "lb_policy": "MAGLEV",
        "common_lb_config": {"consistent_hashing_lb_config": {"hash_balance_factor": 200}},
    },
    f"{SHARDS} subsets": {"lb_policy": "RANDOM", "lb_subset_config": {"subset_selectors": [{"keys": ["shard"]}]}},
}


def entries(count: int, first: int) -> list[HostEntry]:
    """Hosts in shards."""
    metadata = message_class("envoy.config.core.v3.Metadata")
    shards = [
        ParseDict({"filter_metadata": {"envoy.lb": {"shard": str(number)}}}, metadata()).SerializeToString()
        for number in range(SHARDS)
    ]
    return [
        HostEntry(f"10.0.{number // 250}.{number % 250}", 80, metadata=shards[number % SHARDS], stat_index=number)
        for number in range(first, first + count)
    ]


def least(run: Callable[[int], object]) -> float:
    """Seconds of the fastest round."""
    found = []
    for number in range(ROUNDS):
        start = time.process_time()
        run(number)
        found.append(time.process_time() - start)
    return min(found)


def measure(kind: str, count: int, context: FactoryContext, dispatcher: Dispatcher) -> tuple[float, float]:
    """Nanoseconds of a pick, milliseconds of an update."""
    fields = {"name": f"{kind} {count}", **KINDS[kind]}
    message = ParseDict(fields, message_class("envoy.config.cluster.v3.Cluster")())
    cluster = ThreadLocalCluster(cluster_config.compile(message, context), dispatcher)
    hosts = [entries(count, first) for first in range(ROUNDS)]
    update = least(lambda number: cluster.update_hosts(hosts[number]))
    contexts = [asking(number) for number in range(PICKS)]

    def pick(_round: int) -> None:
        choose = cluster.choose_host
        for one in contexts:
            choose(one)

    return least(pick) / PICKS * 1e9, update * 1e3


def asking(number: int) -> Any:
    """A request's context."""
    value = xxhash64(b"key-%d" % number)
    criteria = MetadataCriteria({"shard": str(number % 10)})
    return SimpleNamespace(host_selection_attempt=0, hash_key=lambda: value, metadata_match=criteria)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hashing", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when a target is missed")
    check = parser.parse_args(arguments).check
    extensions.install()
    dispatcher = Dispatcher()
    context = FactoryContext(role="main", stats=MainStore(), dispatcher=dispatcher)
    missed = []
    print(f"{'':<18}" + "".join(f"{f'{count} hosts':>24}" for count in SIZES))
    for kind in KINDS:
        measured = [measure(kind, count, context, dispatcher) for count in SIZES]
        print(f"{kind:<18}" + "".join(f"{pick:>11.0f} ns {update:>7.2f} ms" for pick, update in measured))
        if measured[-1][0] > MOST_GROWTH * measured[0][0]:
            missed.append(f"{kind}: a pick costs more with more hosts")
        if measured[-1][1] > MOST_UPDATE_MS:
            missed.append(f"{kind}: an update takes more than {MOST_UPDATE_MS:.0f} ms")
    dispatcher.close()
    print("\n".join(missed) if missed else "all targets met")
    return 1 if check and missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
