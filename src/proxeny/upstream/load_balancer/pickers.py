"""Pickers: how one of a list of equally usable hosts is chosen. ``pick`` is on the hot path of every request.

A picker is built anew whenever the hosts change; equal weights (or one host) never pay for a scheduler. Schedulers are
earliest deadline first (Envoy: ``EdfScheduler``): each pick moves a host's deadline by 1 / weight. All begin at a
random point of their cycle, so that workers and proxies do not all begin with the same host.
"""

from __future__ import annotations

from heapq import heapify, heapreplace
from random import random
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from proxeny.kernel.all_workers import AllWorkers
from proxeny.upstream.stats import HOST_RQ_ACTIVE, HOST_RQ_PENDING_ACTIVE

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.upstream.host import Host

    Entry = TypeVar("Entry")

MAX_TURNS = 429496729
"""How far into its cycle a scheduler may begin (Envoy: ``EdfScheduler::createWithPicks``)."""


class Picker(Protocol):
    """Chooses among its hosts."""

    def pick(self, context: Any = None) -> Host | None:
        """The next host; None only when there is none."""


def weights_differ(hosts: list[Host]) -> bool:
    """Whether a scheduler is needed."""
    return len({host.weight for host in hosts}) > 1


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
    """One after the other. ``turn`` counts on from the picker before this one, at first from a random number."""

    __slots__ = ("count", "hosts", "turn")

    def __init__(self, hosts: list[Host], turn: int) -> None:
        self.hosts = hosts
        self.count = len(hosts)
        self.turn = turn

    def pick(self, context: Any = None) -> Host | None:
        turn = self.turn
        self.turn = turn + 1
        return self.hosts[turn % self.count]


class WeightedRoundRobinPicker:
    """By weights that stay."""

    __slots__ = ("heap", "order")

    def __init__(self, hosts: list[Host]) -> None:
        # The number breaks ties, first come first served, so that hosts themselves are never compared.
        self.heap, rest = begun_somewhere(hosts, [float(host.weight) for host in hosts])
        self.order = len(hosts)
        for _ in range(rest):
            self.pick()

    def pick(self, context: Any = None) -> Host | None:
        heap = self.heap
        deadline, _, host = heap[0]
        self.order += 1
        heapreplace(heap, (deadline + 1.0 / host.weight, self.order, host))
        return host


class LeastRequestPicker:
    """The least busy of ``choice_count`` hosts drawn at random (power of two choices)."""

    __slots__ = ("choices", "count", "hosts", "pending", "workers")

    def __init__(self, hosts: list[Host], choice_count: int, workers: AllWorkers, pending: bool = False) -> None:
        self.hosts = hosts
        self.count = len(hosts)
        self.choices = range(choice_count - 1)
        self.workers = workers
        self.pending = pending

    def load_of(self, host: Host) -> int:
        """How busy it is."""
        active = self.workers.get(host.stats, HOST_RQ_ACTIVE)
        return active + self.workers.get(host.stats, HOST_RQ_PENDING_ACTIVE) if self.pending else active

    def pick(self, context: Any = None) -> Host | None:
        hosts = self.hosts
        count = self.count
        best = hosts[int(random() * count)]
        least = self.load_of(best)
        for _ in self.choices:
            host = hosts[int(random() * count)]
            active = self.load_of(host)
            if active < least:
                best, least = host, active
        return best


class LeastRequestScanPicker(LeastRequestPicker):
    """The least busy of all hosts (``selection_method: FULL_SCAN``); among equals a random one."""

    __slots__ = ()

    def pick(self, context: Any = None) -> Host | None:
        best: Host | None = None
        least = equals = 0
        for host in self.hosts:
            active = self.load_of(host)
            if best is None or active < least:
                best, least, equals = host, active, 1
            elif active == least:
                equals += 1
                if random() * equals < 1.0:
                    best = host
        return best


class ScheduledPicker:
    """By weights that change from pick to pick: a host's own is asked for whenever it is put back."""

    __slots__ = ("heap", "order", "weight_of")

    def __init__(self, hosts: list[Host], weight_of: Callable[[Host], float]) -> None:
        self.weight_of = weight_of
        self.heap, rest = begun_somewhere(hosts, [weight_of(host) for host in hosts])
        self.order = len(hosts)
        for _ in range(rest):
            self.pick()

    def pick(self, context: Any = None) -> Host | None:
        heap = self.heap
        deadline, _, host = heap[0]
        self.order += 1
        heapreplace(heap, (deadline + 1.0 / self.weight_of(host), self.order, host))
        return host


class BusyWeight:
    """The weight ``weight / (active + 1) ^ bias`` of the moment."""

    __slots__ = ("bias", "pending", "workers")

    def __init__(self, bias: float, workers: AllWorkers, pending: bool = False) -> None:
        self.bias = bias
        self.workers = workers
        self.pending = pending

    def of(self, host: Host) -> float:
        """The host's weight as it is busy now."""
        bias = self.bias
        weight: float = host.weight
        if bias == 0.0:
            return weight
        active = self.workers.get(host.stats, HOST_RQ_ACTIVE) + 1
        if self.pending:
            active += self.workers.get(host.stats, HOST_RQ_PENDING_ACTIVE)
        return weight / active if bias == 1.0 else float(weight / active**bias)


class WeightedEntries:
    """The same over numbers (of localities): by weights that stay."""

    __slots__ = ("heap", "order", "weights")

    def __init__(self, entries: list[int], weights: list[float]) -> None:
        self.weights = dict(zip(entries, weights, strict=True))
        self.heap, rest = begun_somewhere(entries, weights)
        self.order = len(entries)
        for _ in range(rest):
            self.pick()

    def pick(self) -> int:
        """The next entry."""
        heap = self.heap
        deadline, _, entry = heap[0]
        self.order += 1
        heapreplace(heap, (deadline + 1.0 / self.weights[entry], self.order, entry))
        return entry


def begun_somewhere(entries: list[Entry], weights: list[float]) -> tuple[list[tuple[float, int, Entry]], int]:
    """A heap of deadlines as it is after a random number of picks, but for some: these are still to be made.

    After ``n`` picks an entry was picked about ``n * weight / sum`` times. Rounded down this is exact but for less than
    one pick per entry, so most picks need not be made one by one.
    """
    turns = int(random() * MAX_TURNS)
    share = turns / sum(weights)
    done = [int(share * weight) for weight in weights]
    heap = [((done[i] + 1) / weights[i], i, entry) for i, entry in enumerate(entries)]
    heapify(heap)
    return heap, min(turns - sum(done), len(entries))
