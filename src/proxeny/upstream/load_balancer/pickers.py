"""Pickers: how one of a list of equally usable hosts is chosen. ``pick`` is on the hot path of every request.

A picker is built anew whenever the hosts change; equal weights (or one host) never pay for a scheduler.
"""

from __future__ import annotations

from heapq import heapify, heapreplace
from random import random
from typing import TYPE_CHECKING, Any, Protocol

from proxeny.upstream.stats import HOST_RQ_ACTIVE

if TYPE_CHECKING:
    from proxeny.upstream.host import Host


class Picker(Protocol):
    """Chooses among its hosts."""

    def pick(self, context: Any = None) -> Host | None:
        """The next host; None only when there is none."""


def weights_differ(hosts: list[Host]) -> bool:
    """Whether a scheduler is needed."""
    weight = hosts[0].weight
    return any([host.weight != weight for host in hosts])


class NoHost:
    """An empty list."""

    __slots__ = ()

    def pick(self, context: Any = None) -> Host | None:
        return None


class OneHost:
    """A list of one."""

    __slots__ = ("host",)

    def __init__(self, host: Host) -> None:
        self.host = host

    def pick(self, context: Any = None) -> Host | None:
        return self.host


class RandomPicker:
    """Any host, all alike (Envoy's RANDOM does not look at weights)."""

    __slots__ = ("count", "hosts")

    def __init__(self, hosts: list[Host]) -> None:
        self.hosts = hosts
        self.count = len(hosts)

    def pick(self, context: Any = None) -> Host | None:
        return self.hosts[int(random() * self.count)]


class RoundRobinPicker:
    """One after the other, from a random start (so that many proxies do not all begin with the same host)."""

    __slots__ = ("count", "hosts", "index")

    def __init__(self, hosts: list[Host]) -> None:
        self.hosts = hosts
        self.count = len(hosts)
        self.index = int(random() * self.count)

    def pick(self, context: Any = None) -> Host | None:
        index = self.index
        self.index = index + 1 if index + 1 < self.count else 0
        return self.hosts[index]


class WeightedRoundRobinPicker:
    """Earliest deadline first (Envoy: ``EdfScheduler``): each pick moves a host's deadline by 1 / weight."""

    __slots__ = ("heap",)

    def __init__(self, hosts: list[Host]) -> None:
        # The number breaks ties, so that hosts themselves are never compared.
        self.heap: list[tuple[float, int, Host]] = [(1.0 / host.weight, i, host) for i, host in enumerate(hosts)]
        heapify(self.heap)
        for _ in range(int(random() * len(hosts))):
            self.pick()

    def pick(self, context: Any = None) -> Host | None:
        heap = self.heap
        deadline, number, host = heap[0]
        heapreplace(heap, (deadline + 1.0 / host.weight, number, host))
        return host


class LeastRequestPicker:
    """The least busy of ``choice_count`` hosts drawn at random (power of two choices)."""

    __slots__ = ("choices", "count", "hosts")

    def __init__(self, hosts: list[Host], choice_count: int) -> None:
        self.hosts = hosts
        self.count = len(hosts)
        self.choices = range(choice_count - 1)

    def pick(self, context: Any = None) -> Host | None:
        hosts = self.hosts
        count = self.count
        best = hosts[int(random() * count)]
        least = best.stats.get(HOST_RQ_ACTIVE)
        for _ in self.choices:
            host = hosts[int(random() * count)]
            active = host.stats.get(HOST_RQ_ACTIVE)
            if active < least:
                best, least = host, active
        return best


class LeastRequestScanPicker:
    """The least busy of all hosts (``selection_method: FULL_SCAN``); among equals a random one."""

    __slots__ = ("hosts",)

    def __init__(self, hosts: list[Host]) -> None:
        self.hosts = hosts

    def pick(self, context: Any = None) -> Host | None:
        best: Host | None = None
        least = equals = 0
        for host in self.hosts:
            active = host.stats.get(HOST_RQ_ACTIVE)
            if best is None or active < least:
                best, least, equals = host, active, 1
            elif active == least:
                equals += 1
                if random() * equals < 1.0:
                    best = host
        return best


class WeightedLeastRequestPicker:
    """Earliest deadline first with the weight ``weight / (active + 1) ^ active_request_bias`` of the moment."""

    __slots__ = ("bias", "heap")

    def __init__(self, hosts: list[Host], bias: float) -> None:
        self.bias = bias
        self.heap: list[tuple[float, int, Host]] = [
            (1.0 / self.weight_of(host), i, host) for i, host in enumerate(hosts)
        ]
        heapify(self.heap)
        for _ in range(int(random() * len(hosts))):
            self.pick()

    def weight_of(self, host: Host) -> float:
        """The host's weight as it is busy now."""
        bias = self.bias
        if bias == 0.0:
            return host.weight
        active: int = host.stats.get(HOST_RQ_ACTIVE) + 1
        return host.weight / active if bias == 1.0 else float(host.weight / active**bias)

    def pick(self, context: Any = None) -> Host | None:
        heap = self.heap
        deadline, number, host = heap[0]
        heapreplace(heap, (deadline + 1.0 / self.weight_of(host), number, host))
        return host
