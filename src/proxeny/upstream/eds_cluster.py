"""Clusters of type EDS in main (Envoy: ``EdsClusterImpl``): their hosts are a resource that is subscribed to."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from envoy.config.endpoint.v3 import endpoint_pb2

from proxeny.config.errors import ConfigError
from proxeny.config.loader import LoadOptions
from proxeny.matcher.xxhash import xxhash64
from proxeny.upstream.dns_options import milliseconds
from proxeny.upstream.endpoints import parse_static
from proxeny.upstream.load_assignment import parse_policy
from proxeny.upstream.membership import unique
from proxeny.upstream.stats import (
    ASSIGNMENT_STALE,
    ASSIGNMENT_TIMEOUT_RECEIVED,
    ASSIGNMENT_USE_CACHED,
    DEFAULT_TOTAL_MATCH_COUNT,
    EDS,
    EDS_INIT_FETCH_TIMEOUT,
    EDS_UPDATE_DURATION,
    EDS_UPDATE_REJECTED,
    EDS_UPDATE_TIME,
    MAX_HOST_WEIGHT,
    UPDATE_ATTEMPT,
    UPDATE_EMPTY,
    UPDATE_FAILURE,
    UPDATE_NO_REBUILD,
    UPDATE_SUCCESS,
)
from proxeny.xds.resource import DecodedResource, ResourceDecoder
from proxeny.xds.stats import release_stats
from proxeny.xds.subscription import FailureReason
from proxeny.xds.validation import DynamicValidation

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.stats.store import MainStore
    from proxeny.upstream.cluster_config import ClusterConfig
    from proxeny.upstream.cluster_info import ClusterInfo
    from proxeny.upstream.discovery import DiscoveryOwner
    from proxeny.upstream.endpoints import HostEntry

log = logging.getLogger("proxeny.upstream")

USE_CACHE: Final = "envoy.restart_features.use_eds_cache_for_ads"
"""Runtime."""
ASSIGNMENT_TYPE: Final = "envoy.config.endpoint.v3.ClusterLoadAssignment"


@dataclass(slots=True, frozen=True)
class EdsOptions:
    """``eds_cluster_config``."""

    service_name: str
    """Which resource is this cluster's."""
    configured_name: str
    """That, where it is not the cluster's own name by default."""
    source: Any
    """A ``config.core.v3.ConfigSource``."""


class EdsStats:
    """Those of the subscription, among the cluster's own."""

    __slots__ = ("_block", "_own", "_prefix", "_store", "_table")

    def __init__(self, info: ClusterInfo, store: MainStore) -> None:
        self._block = info.stats
        self._prefix = info.stat_prefix
        self._store = store
        with store.recording() as self._table:
            self._own = store.block(EDS, self._prefix)
        if not store.text_readouts.get(f"{self._prefix}version_text"):
            # A predecessor's version holds until there is another.
            store.text_readout(f"{self._prefix}version_text", "")

    def attempt(self) -> None:
        self._block.inc(UPDATE_ATTEMPT)

    def failure(self) -> None:
        self._block.inc(UPDATE_FAILURE)

    def rejected(self) -> None:
        self._own.inc(EDS_UPDATE_REJECTED)

    def success(self, version: str, duration_ms: int | None = None) -> None:
        self._block.inc(UPDATE_SUCCESS)
        if duration_ms is not None:
            self._own.record(EDS_UPDATE_DURATION, duration_ms)
        self._own.set(EDS_UPDATE_TIME, int(time.time() * 1000))
        self._store.wide_gauge(f"{self._prefix}version", xxhash64(version.encode()))
        self._store.text_readout(f"{self._prefix}version_text", version)

    def timed_out(self) -> None:
        self._own.inc(EDS_INIT_FETCH_TIMEOUT)

    @property
    def prefix(self) -> str:
        return self._prefix

    def close(self) -> None:
        """The subscription is gone."""
        release_stats(self._store, self._table, self._prefix, EDS)


def _decoder(context: FactoryContext) -> ResourceDecoder:
    """The one of all clusters."""
    found = context.singletons.get(ASSIGNMENT_TYPE)
    if found is None:
        validation = context.dynamic_validation or DynamicValidation(LoadOptions())
        found = ResourceDecoder(endpoint_pb2.ClusterLoadAssignment, "cluster_name", validation)
        context.singletons[ASSIGNMENT_TYPE] = found
    return cast("ResourceDecoder", found)


class EdsCluster:
    """The subscription of one cluster.

    A cluster that was updated waits for its assignment anew; when none comes in time, it takes the one that came over
    the aggregated stream for its predecessor.
    """

    __slots__ = (
        "_cache",
        "_context",
        "_host_count",
        "_info",
        "_last_priority",
        "_options",
        "_owner",
        "_stale_ms",
        "_stale_timer",
        "_stats",
        "_subscription",
        "_taken",
        "_uses_cached",
    )

    def __init__(self, config: ClusterConfig, owner: DiscoveryOwner) -> None:
        context = owner.context
        dispatcher, xds = context.dispatcher, context.xds
        assert dispatcher is not None and xds is not None
        self._context = context
        self._info = config.info
        self._options: EdsOptions = config.options
        self._owner = owner
        self._last_priority = 0
        self._taken: bytes | None = None
        """The assignment that the hosts are, as it was delivered, where the same one would change nothing."""
        self._host_count = self._stale_ms = 0
        """What it said."""
        self._stats = EdsStats(config.info, cast("MainStore", context.stats))
        runtime = context.runtime
        self._cache = xds.eds_cache if runtime is None or runtime.get_boolean(USE_CACHE, True) else None
        self._uses_cached = False
        """Whether the hosts are those of a cached assignment."""
        self._stale_timer = dispatcher.create_timer(self._on_stale)
        self._subscription = xds.subscribe(
            self._options.source, self, _decoder(context), self._stats, owner.clusters.file_watcher
        )

    def start(self) -> None:
        """Fetch."""
        self._subscription.start([self._options.service_name])

    def on_config_update(self, resources: Sequence[DecodedResource], version: str) -> None:
        """The assignment, which must be this cluster's alone."""
        name, stats = self._options.service_name, self._info.stats
        if not resources:
            log.debug("Missing ClusterLoadAssignment for %s in onConfigUpdate()", name)
            stats.inc(UPDATE_EMPTY)
            self._owner.initialized()
            return
        if len(resources) != 1:
            raise ConfigError(f"Unexpected EDS resource length: {len(resources)}")
        (resource,) = resources
        if self._taken is not None and resource.serialized == self._taken:
            self._take_again()
            return
        assignment = resource.message
        if assignment.cluster_name != name:
            raise ConfigError(f"Unexpected EDS cluster (expecting {name}): {assignment.cluster_name}")
        if resource.error is not None:
            raise resource.error
        policy = assignment.policy
        stale_ms = milliseconds(policy.endpoint_stale_after) if policy.HasField("endpoint_stale_after") else 0
        self._expect_staleness(stale_ms)
        self._take(assignment)
        self._release_cached()
        if resource.serialized and not policy.drop_overloads:
            # How much is dropped depends on the runtime too.
            self._taken, self._stale_ms = resource.serialized, stale_ms

    def _take_again(self) -> None:
        """Likewise, for an assignment that did not change."""
        self._expect_staleness(self._stale_ms)
        self._info.stats.add(DEFAULT_TOTAL_MATCH_COUNT, self._host_count)
        self._info.stats.inc(UPDATE_NO_REBUILD)
        self._release_cached()

    def _expect_staleness(self, stale_ms: int) -> None:
        name = self._options.service_name
        if self._stale_timer.enabled:
            self._stale_timer.disable()
            if self._cache is not None:
                self._cache.disable_expiry(name)
        if stale_ms > 0:
            self._info.stats.inc(ASSIGNMENT_TIMEOUT_RECEIVED)
            self._stale_timer.enable(stale_ms)
            if self._cache is not None:
                self._cache.set_expiry(name, stale_ms)

    def _take(self, assignment: Any) -> None:
        policy = parse_policy(assignment, self._info.name, self._context)
        self._taken = None
        hosts = unique(parse_static(assignment))
        self._host_count = len(hosts)
        self._info.stats.add(DEFAULT_TOTAL_MATCH_COUNT, len(hosts))
        self._show_max_weight(assignment, hosts)
        if not self._owner.publish(hosts, policy):
            self._info.stats.inc(UPDATE_NO_REBUILD)
        self._owner.initialized()

    def _show_max_weight(self, assignment: Any, hosts: list[HostEntry]) -> None:
        """As Envoy: that of the last priority there ever was."""
        last = self._last_priority = max([self._last_priority, *[group.priority for group in assignment.endpoints]])
        weights = [entry.weight for entry in hosts if entry.priority == last]
        self._info.stats.set(MAX_HOST_WEIGHT, max(weights, default=1))

    def _on_stale(self) -> None:
        """``endpoint_stale_after``: nobody confirmed the endpoints; they count as gone."""
        self._take_none()
        if self._cache is not None:
            self._cache.remove(self._options.service_name)
        self._info.stats.inc(ASSIGNMENT_STALE)

    def _take_none(self) -> None:
        self._take(endpoint_pb2.ClusterLoadAssignment(cluster_name=self._options.service_name))

    def _on_cached_removed(self, name: str) -> None:
        """The cached assignment is not valid any more, and nothing newer came."""
        self._stale_timer.disable()
        self._take_none()

    def _release_cached(self) -> None:
        if self._uses_cached and self._cache is not None:
            self._cache.stop_listening(self._options.service_name, self._on_cached_removed)
        self._uses_cached = False

    def on_config_delta(self, added: Sequence[DecodedResource], removed: Sequence[str], version: str) -> None:
        """Likewise; the hosts of a removed assignment stay."""
        self.on_config_update(added, version)

    def on_config_update_failed(self, reason: FailureReason, error: ConfigError | None) -> None:
        """The start goes on without, or with what came before."""
        if reason is FailureReason.CONNECTION_FAILURE:
            return
        if reason is FailureReason.FETCH_TIMED_OUT and self._cache is not None:
            name = self._options.service_name
            cached = self._cache.get(name, self._on_cached_removed)
            if cached is not None:
                log.debug(
                    "Did not receive EDS response on time, using cached ClusterLoadAssignment for cluster %s", name
                )
                self._info.stats.inc(ASSIGNMENT_USE_CACHED)
                self._uses_cached = True
                self._take(cached)
                return
        self._owner.initialized()

    def close(self) -> None:
        """Hear of no more updates."""
        self._release_cached()
        self._subscription.close()
        self._stale_timer.close()
        self._stats.close()
