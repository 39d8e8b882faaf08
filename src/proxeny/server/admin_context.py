"""What the admin pages see of the server (implements ``admin.context.AdminContext``)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from envoy.config.core.v3 import extension_pb2

from proxeny.admin.context import (
    DynamicClusters,
    DynamicListener,
    DynamicSecret,
    ListenerStatus,
    MemoryUsage,
    Packed,
    RefusedUpdate,
    Resource,
    ResourceState,
    RuntimeAdmin,
    ScopedRoutes,
    UnreadyTargets,
)
from proxeny.server.cds_api import CLUSTER_TYPE
from proxeny.server.explain_world import RunningWorld
from proxeny.server.lds_api import LISTENER_TYPE
from proxeny.server.listener_dump import dump_listeners
from proxeny.server.log import LOG_LEVELS
from proxeny.server.reload.reloader import DEFAULT_PATIENCE_S
from proxeny.server.server_stats import memory_used
from proxeny.server.version import HOT_RESTART_DISABLED, version_text
from proxeny.upstream.cluster_status import eds_service_name

if TYPE_CHECKING:
    from proxeny.explain.world import World
    from proxeny.http.recent_failures import FailedRequest
    from proxeny.secret.certificates import ContextCertificates
    from proxeny.server.bootstrap import Bootstrapped
    from proxeny.server.server import Server
    from proxeny.upstream.cluster_status import ClusterStatus
    from proxeny.upstream.main_cluster import MainCluster


def _state(cluster: MainCluster) -> ResourceState:
    message = Packed(CLUSTER_TYPE, cluster.serialized)
    return ResourceState(cluster.version, message, cluster.updated_at, cluster.name)


class ServerAdminContext:
    """The running server, for its admin pages."""

    def __init__(self, server: Server, parts: Bootstrapped) -> None:
        self._server = server
        self._parts = parts
        self._loaded_at = time.time()
        self.stats = server.stats_view
        self.runtime: RuntimeAdmin = parts.configuration.runtime
        self.options: Any = server.options
        self.xds_record = parts.configuration.xds.record
        self.node: Any = parts.configuration.local_info.node
        self.version = version_text()
        self.hot_restart_version = HOT_RESTART_DISABLED

    def refresh_stats(self) -> None:
        """Set the gauges that nobody counts."""
        self._server.refresh_stats()

    def state(self) -> int:
        """``ServerInfo.State``."""
        return self._server.state

    def uptime_s(self) -> int:
        """Whole seconds."""
        return self._server.stats.uptime_s

    def uptime_all_epochs_s(self) -> int:
        """There is only one epoch."""
        return self._server.stats.uptime_s

    def memory(self) -> MemoryUsage:
        """Main, zygote and workers; shared pages count once."""
        private, resident = memory_used(self._server.pids())
        return MemoryUsage(private, private, resident)

    def listeners(self) -> Sequence[ListenerStatus]:
        """Active listeners, and new ones that are on their way to the workers: they listen already."""
        return [ListenerStatus(one.name, one.addresses) for one in self._parts.listeners.listening()]

    def world(self) -> World:
        """Listeners and clusters that serve now, as main keeps them."""
        return RunningWorld(self._parts)

    def recent_failures(self) -> Sequence[FailedRequest]:
        """What the workers told."""
        return self._parts.failures.newest_first()

    def clusters(self, matches: Callable[[str], bool] | None = None) -> Iterable[ClusterStatus]:
        """All clusters, or those whose names match, with their hosts."""
        return self._parts.clusters.clusters(None if matches is None else lambda one: matches(one.name))

    def endpoints(self, matches: Callable[[str], bool], dynamic: bool) -> Iterable[ClusterStatus]:
        """Clusters of the bootstrap or the others, of which the names of their assignments match."""
        return self._parts.clusters.clusters(
            lambda one: one.added_via_api is dynamic and matches(eds_service_name(one) or one.name)
        )

    def bootstrap(self) -> Resource:
        """The bootstrap that was loaded."""
        return Resource(self._parts.loaded.bootstrap, self._loaded_at)

    def dynamic_clusters(self) -> DynamicClusters:
        """Those that did not come with the bootstrap."""
        cds = self._parts.cds
        active, warming = self._parts.clusters.dynamic()
        return DynamicClusters(
            "" if cds is None else cds.version_info, [_state(one) for one in active], [_state(one) for one in warming]
        )

    def static_clusters(self) -> Sequence[Resource]:
        """Cluster messages of the bootstrap."""
        found = self._parts.loaded.bootstrap.static_resources.clusters
        return [Resource(cluster, self._loaded_at) for cluster in found]

    def static_listeners(self) -> Sequence[Resource]:
        """Listener messages of the bootstrap."""
        found = self._parts.listeners.listeners()
        return [Resource(one.compiled.as_configured, one.updated_at) for one in found if one.is_static]

    def listeners_version(self) -> str:
        """What the last LDS update said, if it changed something."""
        return self._parts.lds.version_info if self._parts.lds is not None else ""

    def dynamic_listeners(self) -> Sequence[DynamicListener]:
        """Their generations by name; of several that drain the oldest shows, as in Envoy."""
        versions = {name: one.version for name, one in self.xds_record.refusals(LISTENER_TYPE).items()}
        return dump_listeners(self._parts.listeners, versions)

    def dynamic_routes(self) -> Sequence[ResourceState]:
        """Route configurations that are discovered and have come."""
        subscriptions = self._parts.routes.subscriptions()
        found = [(one.provider.name, one.version) for one in subscriptions if one.version is not None]
        return [
            ResourceState(one.version_info, Packed(one.message.DESCRIPTOR.full_name, one.data), one.last_updated, name)
            for name, one in found
        ]

    def scoped_routes(self) -> Sequence[ScopedRoutes]:
        """Scopes that are discovered."""
        return [
            ScopedRoutes(
                one.provider.name,
                one.version_info,
                [scope.message for scope in one.scopes.values()],
                one.last_updated,
                is_dynamic=True,
            )
            for one in self._parts.routes.scoped_subscriptions()
            if one.last_updated
        ]

    def extension_configs(self) -> Sequence[tuple[str, Sequence[ResourceState]]]:
        """Discovered extensions, kind by kind."""
        found: dict[str, list[ResourceState]] = {}
        for one in self._parts.configuration.filter_configs.subscriptions():
            states = found.setdefault(f"ecds_filter_{one.kind.name}", [])
            if one.config is not None:
                message = extension_pb2.TypedExtensionConfig(name=one.name, typed_config=one.config)
                states.append(ResourceState(one.version, message, one.updated_at, one.name))
        return list(found.items())

    def refused(self, type_name: str) -> Mapping[str, RefusedUpdate]:
        """What was refused of a type and not taken since, by name."""
        return {
            name: RefusedUpdate(
                None if one.serialized is None else Packed(type_name, one.serialized), one.details, one.at, one.version
            )
            for name, one in self.xds_record.refusals(type_name).items()
        }

    def unready_targets(self) -> Sequence[UnreadyTargets]:
        """By listener."""
        listeners = self._parts.listeners
        found = listeners.warming() if listeners.workers_are_started else listeners.listeners()
        managers = [listener.compiled.init_manager for listener in found]
        return [UnreadyTargets(one.name, one.unready()) for one in managers]

    def static_secrets(self) -> Sequence[Any]:
        """``tls.v3.Secret`` messages of the bootstrap, kind by kind."""
        return self._parts.secrets.static_by_kind()

    def dynamic_secrets(self) -> Sequence[DynamicSecret]:
        """Those that are discovered, kind by kind."""
        found = self._parts.secrets.dynamic()
        return [DynamicSecret(one.name, one.kind, one.version, one.updated_at, one.shown) for one in found]

    def certificates(self) -> Sequence[ContextCertificates]:
        """The certificates of every TLS context in use."""
        return self._parts.secrets.certificates.contexts()

    def log_levels(self) -> dict[str, str]:
        """Component -> level."""
        return LOG_LEVELS.levels()

    def set_log_level(self, component: str | None, level: str) -> None:
        """One component, or all (None), in all processes."""
        self._server.set_log_level(component or "", level)

    def shutdown(self) -> None:
        """/quitquitquit: in the next turn, so that the answer leaves first."""
        self._server.dispatcher.call_soon(self._server.shutdown)

    def fail_health_check(self, fail: bool) -> None:
        """/healthcheck/fail and /healthcheck/ok."""
        self._server.fail_health_check(fail)

    def reopen_logs(self) -> None:
        """/reopen_logs."""
        self._server.reopen_logs()

    def drain_listeners(self, graceful: bool, skip_exit: bool, inbound_only: bool) -> None:
        """/drain_listeners."""
        self._parts.listeners.drain_all(graceful, skip_exit, inbound_only)

    def reload(self, plan_only: bool, partial: bool, patience_s: float | None) -> dict[str, Any]:
        """/reload."""
        patience = DEFAULT_PATIENCE_S if patience_s is None else patience_s
        begun = self._server.reloader.begin(plan_only=plan_only, partial=partial, patience_s=patience)
        return begun.as_json()

    def last_reload(self) -> dict[str, Any] | None:
        """/reload/status."""
        last = self._server.reloader.last
        return None if last is None else last.as_json()
