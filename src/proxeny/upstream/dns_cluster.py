"""STRICT_DNS and LOGICAL_DNS clusters in main (Envoy: ``DnsClusterImpl``).

Each name of a cluster is a target with its own refresh timer; a target of a logical cluster makes one host of all its
addresses. Any change of any target's addresses gives a new list of all hosts to the owner. An entry stands for one host
as long as that is there.
"""

from __future__ import annotations

import copy
from random import random
from typing import TYPE_CHECKING, Final

from proxeny.upstream.discovery import ClusterType
from proxeny.upstream.endpoints import DnsTarget, HostEntry
from proxeny.upstream.stats import (
    DEFAULT_TOTAL_MATCH_COUNT,
    MAX_HOST_WEIGHT,
    UPDATE_ATTEMPT,
    UPDATE_FAILURE,
    UPDATE_NO_REBUILD,
    UPDATE_SUCCESS,
)

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.upstream.cluster_config import ClusterConfig
    from proxeny.upstream.discovery import DiscoveryOwner
    from proxeny.upstream.dns_options import DnsOptions
    from proxeny.upstream.dns_resolver import DnsAnswer, DnsQuery

NEW_IMPLEMENTATION: Final = "envoy.reloadable_features.enable_new_dns_implementation"
"""Runtime: without it a logical host stays the same one, with its connections, wherever its addresses move."""


class Backoff:
    """How long to wait after failures, in milliseconds: the same time always, or (``max_ms``) exponential with full
    jitter (Envoy: ``FixedBackOffStrategy``, ``JitteredExponentialBackOffStrategy``)."""

    __slots__ = ("_base", "_max", "_next")

    def __init__(self, base_ms: int, max_ms: int = 0) -> None:
        self._base = max(1, base_ms)
        self._max = max_ms
        self._next = self._base

    def next_ms(self) -> int:
        """How long to wait now."""
        if not self._max:
            return self._base
        interval = self._next
        self._next = min(self._next * 2, max(self._max, self._base))
        return int(random() * interval)

    def reset(self) -> None:
        """It worked again."""
        self._next = self._base


class ResolveTarget:
    """One name: resolves, waits, resolves again."""

    __slots__ = ("_addresses", "_cluster", "_query", "_target", "_timer", "hosts")

    def __init__(self, cluster: DnsCluster, target: DnsTarget, dispatcher: Dispatcher) -> None:
        self._cluster = cluster
        self._target = target
        self._query: DnsQuery | None = None
        self._addresses: list[str] = []
        self.hosts: list[HostEntry] = []
        self._timer = dispatcher.create_timer(self.start)

    def start(self) -> None:
        """Resolve now."""
        cluster = self._cluster
        cluster.stats.inc(UPDATE_ATTEMPT)
        self._query = cluster.resolver.resolve(self._target.name, cluster.options.family, self._on_answer)

    def _on_answer(self, answer: DnsAnswer) -> None:
        self._query = None
        cluster = self._cluster
        # A logical cluster never goes back to having no host.
        succeeded = answer.ok and bool(answer.addresses or not cluster.logical)
        if succeeded:
            self._on_addresses(answer.addresses)
        else:
            cluster.stats.inc(UPDATE_FAILURE)
        wait = self._after_success_ms(answer) if succeeded else cluster.backoff.next_ms()
        cluster.on_resolved()
        self._timer.enable(wait)

    def _on_addresses(self, addresses: list[str]) -> None:
        cluster = self._cluster
        cluster.stats.inc(UPDATE_SUCCESS)
        # Envoy builds (and matches a transport socket for) every resolved host, also known ones.
        cluster.stats.add(DEFAULT_TOTAL_MATCH_COUNT, 1 if cluster.logical else len(addresses))
        if self._take_logical(addresses) if cluster.logical else self._take(addresses):
            cluster.publish()
        else:
            cluster.stats.inc(UPDATE_NO_REBUILD)
        cluster.backoff.reset()

    def _take(self, addresses: list[str]) -> bool:
        """A host for each address; whether there are others than before."""
        known = {entry.address: entry for entry in self.hosts}
        hosts = [known.get(address) or self._host(address) for address in addresses]
        self._cluster.stats.set(MAX_HOST_WEIGHT, self._target.template.weight if hosts else 1)
        if known.keys() == set(addresses):
            return False
        self.hosts = hosts
        return True

    def _take_logical(self, addresses: list[str]) -> bool:
        """One host for all addresses; whether they, or their order, are others than before."""
        if addresses == self._addresses:
            return False
        self._addresses = addresses
        host = self._host(addresses[0])
        port = self._target.port
        host.additional_addresses = tuple([(address, port) for address in addresses[1:]])
        if self.hosts and not self._cluster.replaces_logical_host:
            known = self.hosts[0]
            known.address, known.additional_addresses = host.address, host.additional_addresses
        else:
            self.hosts = [host]
        return True

    def _host(self, address: str) -> HostEntry:
        entry = copy.copy(self._target.template)
        entry.address = address
        entry.port = self._target.port
        return entry

    def _after_success_ms(self, answer: DnsAnswer) -> int:
        options = self._cluster.options
        wait = answer.ttl_s * 1000 if options.respect_ttl and answer.ttl_s else options.refresh_ms
        return wait + int(random() * options.jitter_ms)

    def close(self) -> None:
        """Resolve no more."""
        if self._query is not None:
            self._query.cancel()
            self._query = None
        self._timer.close()


class DnsCluster:
    """The targets of one cluster. It publishes the complete list whenever it changed; it is initialized when the first
    resolution of any target is done (however it ended)."""

    __slots__ = (
        "_owner",
        "_pipes",
        "_targets",
        "_waits",
        "backoff",
        "logical",
        "options",
        "replaces_logical_host",
        "resolver",
        "stats",
    )

    def __init__(self, config: ClusterConfig, owner: DiscoveryOwner) -> None:
        dispatcher = owner.context.dispatcher
        assert dispatcher is not None
        options: DnsOptions = config.options.dns
        self.options = options
        self.logical = config.type is ClusterType.LOGICAL_DNS
        runtime = owner.context.runtime
        self.replaces_logical_host = runtime is None or runtime.get_boolean(NEW_IMPLEMENTATION, True)
        self.stats = config.info.stats
        self.resolver = owner.resolver(options.resolver)
        self.backoff = Backoff(options.failure_base_ms or options.refresh_ms, options.failure_max_ms)
        """All targets wait longer while any fails, as in Envoy."""
        self._owner = owner
        self._waits = config.wait_for_warm_on_init
        self._pipes = [target for target in config.options.targets if isinstance(target, HostEntry)]
        self._targets = [
            ResolveTarget(self, target, dispatcher)
            for target in config.options.targets
            if isinstance(target, DnsTarget)
        ]

    def start(self) -> None:
        """Begin to resolve."""
        if self._pipes:
            self.publish()
        if not self._targets or not self._waits:
            self._owner.initialized()
        for target in self._targets:
            target.start()

    def on_resolved(self) -> None:
        """A target has an answer, whichever."""
        self._owner.initialized()

    def publish(self) -> None:
        """Some target has other hosts. What several have in common is as many hosts."""
        hosts = list(self._pipes)
        for target in self._targets:
            hosts += target.hosts
        self._owner.publish(hosts)

    def close(self) -> None:
        """Resolve no more."""
        for target in self._targets:
            target.close()
        self._targets = []
