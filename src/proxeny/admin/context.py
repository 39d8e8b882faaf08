"""What the admin pages need of the server; the main process implements it (Envoy: Server::Instance)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from proxeny.explain.world import World
from proxeny.http.recent_failures import FailedRequest
from proxeny.network.address import Address
from proxeny.secret.certificates import ContextCertificates
from proxeny.stats.snapshot import StatsView
from proxeny.upstream.cluster_status import ClusterStatus
from proxeny.xds.record import XdsRecord

LIVE, DRAINING, PRE_INITIALIZING, INITIALIZING = 0, 1, 2, 3
"""``envoy.admin.v3.ServerInfo.State``."""


class ListenerStatus(NamedTuple):
    """A listener and the addresses that it is bound to, the main one first."""

    name: str
    addresses: Sequence[Address]


class MemoryUsage(NamedTuple):
    """Bytes, over all processes."""

    allocated: int
    heap_size: int
    physical: int


class Resource(NamedTuple):
    """A piece of configuration as a message, and when it was loaded (seconds since the epoch)."""

    message: Any
    last_updated: float


class Packed(NamedTuple):
    """A message that is only parsed when it is shown."""

    type_name: str
    serialized: bytes


class ResourceState(NamedTuple):
    """One generation of a dynamic resource."""

    version: str
    message: Any
    """Itself, or ``Packed``."""
    last_updated: float
    name: str = ""


class RefusedUpdate(NamedTuple):
    """A resource that an update of configuration could not add or change."""

    message: Any
    """Itself, or ``Packed``; None: it is not kept."""
    details: str
    last_attempt: float
    """0 where it is not told."""
    version: str = ""


class ScopedRoutes(NamedTuple):
    """The scopes of one scoped routing configuration, as ``ScopedRouteConfiguration`` messages."""

    name: str
    version: str
    scopes: Sequence[Any]
    last_updated: float
    is_dynamic: bool


class DynamicSecret(NamedTuple):
    """A secret that is discovered."""

    name: str
    kind: str
    """Field of ``tls.v3.Secret``."""
    version: str
    last_updated: float
    message: Any
    """What was delivered last, with the contents of its files; None: nothing."""


class DynamicClusters(NamedTuple):
    """Clusters of dynamic configuration; each is (version, message, when it was loaded)."""

    version: str
    active: Sequence[ResourceState]
    warming: Sequence[ResourceState]


@dataclass(slots=True)
class DynamicListener:
    """A listener of dynamic configuration: its generations, and what was refused. Without a name: only the latter."""

    name: str = ""
    active: ResourceState | None = None
    warming: ResourceState | None = None
    draining: ResourceState | None = None
    error: RefusedUpdate | None = None


class UnreadyTargets(NamedTuple):
    """An init manager and the targets that it waits for."""

    name: str
    targets: Sequence[str]


class RuntimeAdmin(Protocol):
    """The runtime loader."""

    @property
    def has_admin_layer(self) -> bool:
        """Whether /runtime_modify is allowed."""
        ...

    def layer_table(self) -> tuple[list[str], dict[str, list[str]]]:
        """Layer names, and each key's raw value in each layer ("" where it has none)."""
        ...

    def merge_admin_values(self, values: dict[str, str]) -> None:
        """Sets keys of the admin layer; an empty value removes one."""
        ...


class AdminContext(Protocol):
    """The server behind the admin pages. All of it is called in main's event loop."""

    stats: StatsView
    runtime: RuntimeAdmin
    options: Any
    """Command-line options; attributes are named as the flags."""
    xds_record: XdsRecord
    """What became of everything that is discovered."""
    node: Any
    """``config.core.v3.Node`` as it goes to control planes."""
    version: str
    """As ``--version`` prints it: ``revision/number/state/type/ssl``."""
    hot_restart_version: str

    def refresh_stats(self) -> None:
        """Sets the gauges that are only computed when somebody looks (server.uptime, memory...)."""
        ...

    def state(self) -> int:
        """LIVE, DRAINING, PRE_INITIALIZING or INITIALIZING."""
        ...

    def uptime_s(self) -> int:
        """Whole seconds since this epoch started."""
        ...

    def uptime_all_epochs_s(self) -> int:
        """Whole seconds since the first epoch started."""
        ...

    def memory(self) -> MemoryUsage:
        """Memory of main and the workers."""
        ...

    def listeners(self) -> Sequence[ListenerStatus]:
        """All listeners but admin's."""
        ...

    def world(self) -> World:
        """All active listeners but admin's, as they decide about connections, and all clusters."""
        ...

    def recent_failures(self) -> Sequence[FailedRequest]:
        """The last failed requests of all workers, the newest first."""
        ...

    def clusters(self, matches: Callable[[str], bool] | None = None) -> Iterable[ClusterStatus]:
        """All clusters that are there now, or those whose names match, with their hosts as they are when it is looked.

        One that goes meanwhile is left out.
        """
        ...

    def endpoints(self, matches: Callable[[str], bool], dynamic: bool) -> Iterable[ClusterStatus]:
        """Likewise clusters of dynamic configuration, or the others, of which the names of the assignments match."""
        ...

    def bootstrap(self) -> Resource:
        """The bootstrap that was loaded."""
        ...

    def dynamic_clusters(self) -> DynamicClusters:
        """Those that did not come with the bootstrap."""
        ...

    def static_clusters(self) -> Sequence[Resource]:
        """Cluster messages of the bootstrap."""
        ...

    def static_listeners(self) -> Sequence[Resource]:
        """Listener messages of the bootstrap."""
        ...

    def listeners_version(self) -> str:
        """Version of the last update of dynamic listeners that changed something."""
        ...

    def dynamic_listeners(self) -> Sequence[DynamicListener]:
        """Listeners of dynamic configuration, then the refusals of the last update."""
        ...

    def dynamic_routes(self) -> Sequence[ResourceState]:
        """Route configurations that are discovered and have come."""
        ...

    def scoped_routes(self) -> Sequence[ScopedRoutes]:
        """Scopes that are discovered."""
        ...

    def extension_configs(self) -> Sequence[tuple[str, Sequence[ResourceState]]]:
        """Discovered extensions (``TypedExtensionConfig``), by the kind that Envoy has a section of its own for."""
        ...

    def refused(self, type_name: str) -> Mapping[str, RefusedUpdate]:
        """What was refused of a type and not taken since, by name."""
        ...

    def unready_targets(self) -> Sequence[UnreadyTargets]:
        """What each warming listener waits for; all listeners, before the workers have started."""
        ...

    def static_secrets(self) -> Sequence[Any]:
        """``tls.v3.Secret`` messages of the bootstrap, kind by kind."""
        ...

    def dynamic_secrets(self) -> Sequence[DynamicSecret]:
        """Those that are discovered, kind by kind."""
        ...

    def certificates(self) -> Sequence[ContextCertificates]:
        """The certificates of every TLS context in use."""
        ...

    def log_levels(self) -> dict[str, str]:
        """Component -> level, in the order to print."""
        ...

    def set_log_level(self, component: str | None, level: str) -> None:
        """Sets the level of one component, or of all (None), in all processes. Both names are known to be good."""
        ...

    def shutdown(self) -> None:
        """Ends the server after the answer has left."""
        ...

    def fail_health_check(self, fail: bool) -> None:
        """Makes health checks of this server fail, or pass again."""
        ...

    def reopen_logs(self) -> None:
        """Reopens access logs in all processes."""
        ...

    def drain_listeners(self, graceful: bool, skip_exit: bool, inbound_only: bool) -> None:
        """Begins to drain and stop listeners."""
        ...

    def reload(self, plan_only: bool, partial: bool, patience_s: float | None) -> dict[str, Any]:
        """Begins to load the configuration anew; ConfigError while that is under way."""
        ...

    def last_reload(self) -> dict[str, Any] | None:
        """What became of the last reload; None: there was none."""
        ...
