"""`python -m benchmarks.chains`: the cost of finding a filter chain, and a listener, among few and among many.

One process, no sockets: what a worker asks for every connection. Cost must not grow with the number of chains or, where
connections are handed to the listener of their original destination, of listeners.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from envoy.config.listener.v3.listener_components_pb2 import FilterChain

from proxeny.listener.filter_chain_match import FilterChainMatcher, FilterChainTable
from proxeny.listener.listen_address import ListenAddress
from proxeny.listener.listener_lookup import ListenerLookup
from proxeny.network.address import ip_address
from proxeny.network.stream_info import ConnectionInfo

FEW, MANY = 10, 5000
ROUNDS, LOOKUPS = 9, 20_000
MOST_GROWTH = 1.5
"""Five hundred times the chains may cost this much more: caches, not scans."""


class Chain:
    def __init__(self, name: str) -> None:
        self.name = name


def by_port(message: Any, number: int) -> None:
    message.destination_port.value = number + 1


def by_name(message: Any, number: int) -> None:
    message.server_names.append(f"host{number}.test")


def by_wildcard(message: Any, number: int) -> None:
    message.server_names.append(f"*.domain{number}.test")


def by_address(message: Any, number: int) -> None:
    cidr = message.prefix_ranges.add(address_prefix=f"10.{number >> 8}.{number & 255}.0")
    cidr.prefix_len.value = 24


def by_everything(message: Any, number: int) -> None:
    by_port(message, number)
    by_address(message, number)
    by_name(message, number)
    message.transport_protocol = "tls"
    message.application_protocols.append("h2")


KINDS: dict[str, Callable[[Any, int], None]] = {
    "destination port": by_port,
    "server name": by_name,
    "wildcard name": by_wildcard,
    "destination address": by_address,
    "five criteria": by_everything,
}


def matcher_of(kind: Callable[[Any, int], None], count: int) -> FilterChainMatcher:
    table = FilterChainTable()
    for number in range(count):
        message = FilterChain(name=f"c{number}")
        kind(message.filter_chain_match, number)
        table.check(message)
        table.add(message, Chain(message.name))
    return table.build()


def connections(count: int) -> Iterator[ConnectionInfo]:
    """Some that match chains from all over the table."""
    for number in range(0, count, max(count // 100, 1)):
        local = ip_address(f"10.{number >> 8}.{number & 255}.7", number + 1)
        info = ConnectionInfo(local, ip_address("192.0.2.1", 4000), 1)
        info.transport_protocol = "tls"
        info.requested_application_protocols = ("h2",)
        yield info


def microseconds(name: str, count: int) -> float:
    """The cost of a look-up."""
    matcher = matcher_of(KINDS[name], count)
    infos = list(connections(count))
    for number, info in zip(range(0, count, max(count // 100, 1)), infos, strict=True):
        host = f"x.domain{number}.test" if name == "wildcard name" else f"host{number}.test"
        info.requested_server_name = host
        found = matcher.find(info)
        assert found is not None and found.name == f"c{number}"
    return cost(matcher.find, infos)


def listener_microseconds(count: int) -> float:
    """The same of a listener by address."""
    lookup = ListenerLookup()
    addresses = [ip_address(f"10.{number >> 8}.{number & 255}.7", 80) for number in range(count)]
    for address in addresses:
        lookup.add(address, [(ListenAddress(address, ()), address)])
    asked = addresses[:: max(count // 100, 1)]
    assert all(lookup.find(address) is address for address in asked)
    return cost(lookup.find, asked)


def cost(find: Callable[[Any], Any], asked: Sequence[Any]) -> float:
    """Microseconds of CPU per call: the median of the rounds."""
    repeats = LOOKUPS // len(asked)
    rounds = []
    for _ in range(ROUNDS):
        started = time.process_time_ns()
        for _ in range(repeats):
            for item in asked:
                find(item)
        rounds.append((time.process_time_ns() - started) / (repeats * len(asked)) / 1000)
    return statistics.median(rounds)


def main() -> int:
    print(f"| look-up of | among {FEW}, µs | among {MANY}, µs |\n|---|---|---|")
    flat = True
    rows = [(f"a chain by {name}", microseconds(name, FEW), microseconds(name, MANY)) for name in KINDS]
    rows.append(("a listener by address", listener_microseconds(FEW), listener_microseconds(MANY)))
    for name, few, many in rows:
        flat = flat and many < few * MOST_GROWTH
        print(f"| {name} | {few:.2f} | {many:.2f} |")
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
