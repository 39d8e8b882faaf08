"""What every factory gets (Envoy: ``Server::Configuration::FactoryContext``), in main and in a worker alike.

In main (``role == "main"``) a compile validates and allots stats and must not open sockets or files; in a worker
(``role == "worker"``) it yields the runtime objects. The admin listener is compiled with ``role == "admin"`` in main.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from proxeny.filter_config.provider import DirectFilterConfigs
from proxeny.network.internal import InternalListeners
from proxeny.network.overload_state import OverloadState
from proxeny.secret.direct import DirectSecrets

if TYPE_CHECKING:
    from proxeny.access_log.manager import AccessLogManager
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.filter_config.provider import FilterConfigs
    from proxeny.kernel.all_workers import AllWorkers
    from proxeny.kernel.limits import LimitTable
    from proxeny.kernel.outlier import OutlierTable
    from proxeny.kernel.token_bucket import BucketTable
    from proxeny.router.rds.provider import RouteConfigProviders
    from proxeny.secret.sources import Secrets
    from proxeny.stats.store import Store
    from proxeny.xds.init_manager import InitManager
    from proxeny.xds.manager import XdsManager


class Runtime(Protocol):
    """Runtime values (Envoy: ``Runtime::Snapshot``)."""

    def get_integer(self, key: str, default: int) -> int:
        """The integer of ``key``."""

    def get_boolean(self, key: str, default: bool) -> bool:
        """The boolean of ``key``."""

    def get_float(self, key: str, default: float) -> float:
        """The number of ``key``."""

    def feature_enabled(self, key: str, numerator: int, denominator: int, random_value: int) -> bool:
        """Whether ``random_value`` falls into the fraction of ``key`` (default ``numerator/denominator``)."""


class DrainDecision(Protocol):
    """Whether connections should be told to go (Envoy: ``Network::DrainDecision``)."""

    def drain_close(self) -> bool:
        """True when the connection should close after this request."""


@dataclass(slots=True)
class LocalInfo:
    """Who we are (``bootstrap.node`` merged with the flags)."""

    cluster_name: str = ""
    node_id: str = ""
    zone: str = ""
    node: Any = None
    address: str = "127.0.0.1"


class ServerState:
    """Server-wide facts that requests ask for; main pushes changes to the workers."""

    __slots__ = ("draining", "health_check_failed", "live")

    def __init__(self) -> None:
        self.draining = False
        self.health_check_failed = False
        self.live = False


@dataclass(slots=True)
class FactoryContext:
    """Shared services for compiling and running configuration objects."""

    role: str
    stats: Store
    dispatcher: Dispatcher | None = None
    cluster_manager: Any = None
    access_log_manager: AccessLogManager | None = None
    runtime: Any = None
    local_info: LocalInfo = field(default_factory=LocalInfo)
    server_state: ServerState = field(default_factory=ServerState)
    options: Any = None
    dynamic_validation: Any = None
    """What becomes of the oddities of dynamic configuration (``xds.validation``); in main."""
    bootstrap: Any = None
    secrets: Secrets = field(default_factory=DirectSecrets)
    """What TLS contexts are made from: a ``secret.manager.SecretManager``, in workers ``WorkerSecrets``."""
    random: Any = None
    overload: OverloadState = field(default_factory=OverloadState)
    limits: LimitTable | None = None
    """Counts that hold across processes; None: within this one only."""
    token_buckets: BucketTable | None = None
    """The token buckets of all workers; None: buckets hold within this process only."""
    outliers: OutlierTable | None = None
    """The counts of outlier detection of all workers; None: counts hold within this process only."""
    all_workers: AllWorkers | None = None
    """What the hosts' counts are over all workers; None: in this process only."""
    cluster_names: Container[str] | None = None
    """Names of the clusters, for ``validate_clusters``; None where they are not known."""
    worker_index: int = 0
    concurrency: int = 1
    internal_listeners: InternalListeners = field(default_factory=InternalListeners)
    recent_failures: Any = None
    """Where failed requests are taken down (``http.recent_failures``); None: nowhere."""
    log_commands: Any = None
    """Commands that access log formats have besides or (a ``ClosedTable``) instead of the usual ones."""
    xds: XdsManager | None = None
    """Where subscriptions come from; in main."""
    init_manager: InitManager | None = None
    """Takes what must be waited for by what is being compiled: a listener's, a cluster's, or the server's; in main."""
    filter_configs: FilterConfigs = field(default_factory=DirectFilterConfigs)
    """Where filters come from that are discovered: a ``filter_config.manager.FilterConfigManager``, in workers
    ``WorkerFilterConfigs``."""
    routes: RouteConfigProviders | None = None
    """Where route configurations come from that are discovered: main's manager, or a worker's copies."""
    singletons: dict[str, Any] = field(default_factory=dict)
    """What extensions have once per process, by name (Envoy: ``Singleton::Manager``)."""
    # Facts of the listener being compiled.
    listener_name: str = ""
    listener_scope: str = ""
    """Stat prefix of the listener: ``listener.127.0.0.1_80.``."""
    listener_direction: int = 0
    drain_decision: Any = None

    @contextmanager
    def initializing(self, init_manager: InitManager) -> Iterator[InitManager]:
        """What is compiled within adds its targets to ``init_manager``."""
        before, self.init_manager = self.init_manager, init_manager
        try:
            yield init_manager
        finally:
            self.init_manager = before

    @property
    def is_worker(self) -> bool:
        """Whether runtime objects may be opened."""
        return self.role != "main"

    def for_listener(self, name: str, scope: str, direction: int, drain_decision: Any = None) -> FactoryContext:
        """A copy that carries one listener's facts."""
        return replace(
            self,
            listener_name=name,
            listener_scope=scope,
            listener_direction=direction,
            drain_decision=drain_decision,
        )

    def with_drain_decision(self, drain_decision: DrainDecision) -> FactoryContext:
        """A copy for what drains by itself within its listener: a filter chain."""
        return replace(self, drain_decision=drain_decision)
