"""Clusters from dynamic configuration (Envoy: ``CdsApiImpl``, ``CdsApiHelper``)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from envoy.config.cluster.v3 import cluster_pb2

from proxeny.config.errors import ConfigError
from proxeny.event.slices import finish
from proxeny.stats.schema import Schema
from proxeny.xds.config_source import check_node, is_passed_over
from proxeny.xds.rejection import RefusedResource, UpdateRejected, told
from proxeny.xds.resource import DecodedResource, ResourceDecoder
from proxeny.xds.stats import SubscriptionStats
from proxeny.xds.subscription import FailureReason

if TYPE_CHECKING:
    from proxeny.event.slices import Steps
    from proxeny.stats.store import Store
    from proxeny.upstream.main_cluster_manager import MainClusterManager
    from proxeny.xds.manager import XdsManager
    from proxeny.xds.validation import DynamicValidation

log = logging.getLogger("proxeny.upstream")

CLUSTER_TYPE: Final = "envoy.config.cluster.v3.Cluster"
_FEW: Final = 32
"""Up to so many clusters are changed in one step."""
_PREFIX: Final = "cluster_manager.cds."
_CDS: Final = Schema("cds", counters=("config_reload",), gauges=("config_reload_time_ms",))
_CONFIG_RELOAD: Final = _CDS.slot("config_reload")
_CONFIG_RELOAD_TIME_MS: Final = _CDS.slot("config_reload_time_ms")


def has_cds(dynamic: Any, options: Any) -> bool:
    """Whether ``dynamic_resources`` bring clusters."""
    if dynamic.cds_resources_locator:
        return True
    return dynamic.HasField("cds_config") and not is_passed_over(dynamic.cds_config, options)


def check_cds(dynamic: Any, node: Any, xds: XdsManager) -> None:
    """ConfigError for ``dynamic_resources`` that clusters cannot come from."""
    check_node(node, CLUSTER_TYPE)
    xds.check_collection(dynamic.cds_resources_locator, dynamic.cds_config, CLUSTER_TYPE)


class CdsApi:
    """Subscribes to clusters and keeps the cluster manager equal to what the source says; ConfigError."""

    def __init__(
        self,
        xds: XdsManager,
        dynamic: Any,
        clusters: MainClusterManager,
        store: Store,
        validation: DynamicValidation,
    ) -> None:
        """``dynamic``: the ``dynamic_resources`` that say whence."""
        self._clusters = clusters
        self._stats = store.block(_CDS, _PREFIX)
        self._on_ready: Callable[[], None] | None = None
        self.version_info = ""
        decoder = ResourceDecoder(cluster_pb2.Cluster, "name", validation)
        stats = SubscriptionStats(store, _PREFIX)
        self._subscription = xds.subscribe_collection(
            dynamic.cds_resources_locator, dynamic.cds_config, self, decoder, stats
        )

    def start(self, on_ready: Callable[[], None]) -> None:
        """Fetch the first clusters; ``on_ready`` is called when they are there, or cannot be had."""
        self._on_ready = on_ready
        self._subscription.start()

    def on_config_update(self, resources: Sequence[DecodedResource], version: str) -> Steps[None] | None:
        """Add and update, then remove what is no longer there; what is refused does not keep the rest from it."""
        named = {resource.name for resource in resources}
        removed = [name for name in self._clusters.all_names() if name not in named]
        return self.on_config_delta(resources, removed, version)

    def on_config_delta(
        self, added: Sequence[DecodedResource], removed: Sequence[str], version: str
    ) -> Steps[None] | None:
        """Likewise, for what changed."""
        steps = self._take(added, removed, version)
        if len(added) + len(removed) > _FEW:
            return steps
        finish(steps)
        return None

    def _take(self, added: Sequence[DecodedResource], removed: Sequence[str], version: str) -> Steps[None]:
        # What all of it needs is asked for at once, when it is known.
        with self._clusters.pause_resources():
            changed, errors = yield from self._change(added, removed, version)
        self._ready()
        if errors:
            reasons = ", ".join([f"{one.name}: {one.told}" for one in errors])
            raise UpdateRejected(f"Error adding/updating cluster(s) {reasons}", errors)
        if changed:
            self._stats.inc(_CONFIG_RELOAD)
            self._stats.set(_CONFIG_RELOAD_TIME_MS, int(time.time() * 1000))

    def _change(
        self, added: Sequence[DecodedResource], removed: Sequence[str], version: str
    ) -> Steps[tuple[int, list[RefusedResource]]]:
        """How many were added or updated, and what is wrong, cluster by cluster; the rest is applied."""
        log.info(
            "cds: response indicates %d added/updated cluster(s), %d removed cluster(s); applying changes",
            len(added),
            len(removed),
        )
        errors: list[RefusedResource] = []
        seen: set[str] = set()
        changed = gone = 0
        for resource in added:
            try:
                changed += self._apply(resource, seen)
            except ConfigError as error:
                name = resource.message.name
                errors.append(RefusedResource(name, str(error), resource.serialized, told=told(error)))
            yield
        for name in removed:
            gone += self._clusters.remove_dynamic(name)
            yield
        log.info(
            "cds: added/updated %d cluster(s) (skipped %d unmodified cluster(s)); removed %d cluster(s)",
            changed,
            len(added) - changed - len(errors),
            gone,
        )
        if changed or gone:
            self.version_info = version
        return changed, errors

    def _apply(self, resource: DecodedResource, seen: set[str]) -> bool:
        if resource.name not in seen and self._clusters.is_current(resource.name, resource.serialized):
            seen.add(resource.name)
            return False
        name = resource.message.name
        if name in seen:
            raise ConfigError(f"duplicate cluster {name} found")
        seen.add(name)
        if resource.error is not None:
            raise resource.error
        applied = self._clusters.add_or_update(
            resource.message, version=resource.version, delivered=resource.serialized
        )
        log.debug("cds: add/update cluster '%s'%s", name, "" if applied else " skipped")
        return applied

    def on_config_update_failed(self, reason: FailureReason, error: ConfigError | None) -> None:
        """The start goes on without."""
        if reason is not FailureReason.CONNECTION_FAILURE:
            self._ready()

    def _ready(self) -> None:
        callback, self._on_ready = self._on_ready, None
        if callback is not None:
            callback()

    def close(self) -> None:
        """Hear of no more updates."""
        self._subscription.close()
