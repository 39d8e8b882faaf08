"""STRICT_DNS and LOGICAL_DNS clusters in main (Envoy: ``StrictDnsClusterImpl``, ``LogicalDnsCluster``).

Each name of a cluster is a target with its own refresh timer. Any change of any target's addresses gives a new list of
all hosts to the owner.
"""

from __future__ import annotations

import copy
from random import random
from typing import TYPE_CHECKING

from proxeny.upstream.discovery import ClusterType
from proxeny.upstream.endpoints import DnsTarget, HostEntry
from proxeny.upstream.stats import (
    DEFAULT_TOTAL_MATCH_COUNT,
    UPDATE_ATTEMPT,
    UPDATE_EMPTY,
    UPDATE_FAILURE,
    UPDATE_NO_REBUILD,
    UPDATE_SUCCESS,
)

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.upstream.cluster_config import ClusterConfig
    from proxeny.upstream.discovery import DiscoveryOwner
    from proxeny.upstream.dns_options import DnsOptions
    from proxeny.upstream.dns_resolver import DnsAnswer


class Backoff:
    """Exponential with full jitter (Envoy: ``JitteredExponentialBackOffStrategy``), in milliseconds."""

    __slots__ = ("_base", "_max", "_next")

    def __init__(self, base_ms: int, max_ms: int) -> None:
        self._base = max(1, base_ms)
        self._max = max(self._base, max_ms)
        self._next = self._base

    def next_ms(self) -> int:
        """How long to wait now."""
        interval = self._next
        self._next = min(self._next * 2, self._max)
        return int(random() * interval)

    def reset(self) -> None:
        """It worked again."""
        self._next = self._base


class ResolveTarget:
    """One name: resolves, waits, resolves again."""

    __slots__ = ("_backoff", "_closed", "_cluster", "_failure_configured", "hosts", "target", "timer")

    def __init__(self, cluster: DnsCluster, target: DnsTarget, dispatcher: Dispatcher) -> None:
        self._cluster = cluster
        self.target = target
        options = cluster.options
        self._backoff = Backoff(options.failure_base_ms, options.failure_max_ms)
        self._failure_configured = options.failure_base_ms > 0
        self._closed = False
        self.hosts: list[HostEntry] = []
        self.timer = dispatcher.create_timer(self.start)

    def start(self) -> None:
        """Resolve now."""
        self._cluster.stats.inc(UPDATE_ATTEMPT)
        self._cluster.resolver.resolve(self.target.name, self._cluster.options.family, self._on_answer)

    def _on_answer(self, answer: DnsAnswer) -> None:
        if self._closed:
            return
        cluster = self._cluster
        changed = False
        if answer.ok:
            cluster.stats.inc(UPDATE_SUCCESS)
            self._backoff.reset()
            if not answer.addresses:
                cluster.stats.inc(UPDATE_EMPTY)
            # Envoy builds (and matches a transport socket for) every resolved host, also known ones.
            cluster.stats.add(DEFAULT_TOTAL_MATCH_COUNT, min(len(answer.addresses), 1 if cluster.logical else 1 << 16))
            changed = self._take(answer.addresses)
        else:
            cluster.stats.inc(UPDATE_FAILURE)
        self.timer.enable(self._next_ms(answer))
        cluster.on_resolved(changed, answer.ok)

    def _take(self, addresses: list[str]) -> bool:
        if self._cluster.logical:
            if not addresses:
                return False
            addresses = addresses[:1]
        hosts = []
        for address in addresses:
            entry = copy.copy(self.target.template)
            entry.address = address
            entry.port = self.target.port
            hosts.append(entry)
        if sorted(h.address for h in hosts) == sorted(h.address for h in self.hosts):
            return False
        self.hosts = hosts
        return True

    def _next_ms(self, answer: DnsAnswer) -> int:
        options = self._cluster.options
        if not answer.ok:
            return self._backoff.next_ms() if self._failure_configured else options.refresh_ms
        wait = answer.ttl_s * 1000 if options.respect_ttl and answer.ttl_s else options.refresh_ms
        return wait + int(random() * options.jitter_ms)

    def close(self) -> None:
        """Resolve no more."""
        self._closed = True
        self.timer.close()


class DnsCluster:
    """The targets of one cluster. It publishes the complete list whenever it changed; it is initialized when the first
    resolution of any target is done (however it ended)."""

    __slots__ = (
        "_owner",
        "_pipes",
        "_targets",
        "_waits",
        "logical",
        "options",
        "resolver",
        "stats",
    )

    def __init__(self, config: ClusterConfig, owner: DiscoveryOwner) -> None:
        dispatcher = owner.context.dispatcher
        assert dispatcher is not None
        self.options: DnsOptions = config.options.dns
        self.logical = config.type is ClusterType.LOGICAL_DNS
        self.stats = config.info.stats
        self.resolver = owner.resolver(self.options.resolver)
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
            self._publish()
        if not self._targets or not self._waits:
            self._owner.initialized()
        for target in self._targets:
            target.start()

    def on_resolved(self, changed: bool, ok: bool) -> None:
        """A target has an answer."""
        if changed:
            self._publish()
        elif ok:
            self.stats.inc(UPDATE_NO_REBUILD)
        self._owner.initialized()

    def _publish(self) -> None:
        hosts: list[HostEntry] = []
        seen: set[tuple[str, int]] = set()
        for entry in [*self._pipes, *(host for target in self._targets for host in target.hosts)]:
            if (entry.address, entry.port) not in seen:
                seen.add((entry.address, entry.port))
                hosts.append(copy.copy(entry))
        self._owner.publish(hosts)

    def close(self) -> None:
        """Resolve no more."""
        for target in self._targets:
            target.close()
        self._targets = []
