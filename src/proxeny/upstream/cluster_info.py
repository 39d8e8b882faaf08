"""What requests need to know of a cluster (Envoy: ``Upstream::ClusterInfo``): settings, statistics, circuit breakers.

Cheap to hold by the thousand: what only a used cluster needs (limits, code counters) is made at the first use, and
equal settings are shared objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.http.http1.settings import Http1Settings
from proxeny.http.http2.stats import HTTP2
from proxeny.http.http2.upstream_settings import for_upstream
from proxeny.kernel.limits import LimitTable
from proxeny.network.address import InternalAddress
from proxeny.network.connection import ClientConnection
from proxeny.network.happy_eyeballs import ANY_VERSION, HappyEyeballsConnection, sort_addresses
from proxeny.network.internal import InternalClientConnection
from proxeny.network.socket_options import source_of
from proxeny.upstream.bind_config import NOTHING, LocalAddress
from proxeny.upstream.endpoints import EXCLUDED_VIA_IMMEDIATE_HC_FAIL, host_scope, host_stat_prefix
from proxeny.upstream.resource_manager import PRIORITY_NAMES, ResourceManager
from proxeny.upstream.stats import (
    CLUSTER,
    HOST,
    LIMITS,
    LOAD_REPORT,
    REMAINING,
    REQUEST_RESPONSE_SIZES,
    TIMEOUT_BUDGETS,
    UPSTREAM_CX_RX_BYTES_BUFFERED,
    UPSTREAM_CX_RX_BYTES_TOTAL,
    UPSTREAM_CX_TX_BYTES_BUFFERED,
    UPSTREAM_CX_TX_BYTES_TOTAL,
    UPSTREAM_RQ_COMPLETED,
)
from proxeny.upstream.transport_socket_match import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.event.dispatcher import Dispatcher
    from proxeny.http.http2.settings import Http2Settings
    from proxeny.kernel.randomness import RandomGenerator
    from proxeny.kernel.stats import Block, CodeStats, DynamicStats
    from proxeny.network.address import Address
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.socket_options import SocketOption
    from proxeny.pool.options import PoolOptions
    from proxeny.upstream.bind_config import LocalAddressSelector
    from proxeny.upstream.host import Host
    from proxeny.upstream.http_protocol_options import HttpProtocolOptions
    from proxeny.upstream.load_balancer.contract import OrcaListener
    from proxeny.upstream.load_metrics import LoadMetrics
    from proxeny.upstream.outlier.monitor import OutlierRules
    from proxeny.upstream.resource_manager import Thresholds
    from proxeny.upstream.transport_socket_match import ClusterSocket, TransportSockets
    from proxeny.upstream.upstream_names import UpstreamNames

DEFAULT_CONNECT_TIMEOUT_MS = 5000
"""Cluster.connect_timeout."""
DEFAULT_BUFFER_LIMIT = 1024 * 1024
"""Cluster.per_connection_buffer_limit_bytes."""


def reports_load(context: FactoryContext) -> bool:
    """Whether a control plane hears of loads (``cluster_manager.load_stats_config``)."""
    bootstrap = context.bootstrap
    return bootstrap is not None and bool(bootstrap.cluster_manager.HasField("load_stats_config"))


class ClusterInfo:
    """One cluster's facts; shared by its hosts, pools and requests. ``metadata`` is a core.v3.Metadata or None."""

    __slots__ = (
        "_canary_codes",
        "_codes",
        "_context",
        "_dynamic",
        "_external_codes",
        "_http1_settings",
        "_internal_codes",
        "_maintenance",
        "_managers",
        "_own_table",
        "_remaining",
        "_snapshot",
        "address_selector",
        "connect_timeout_ms",
        "drop_overload",
        "happy_eyeballs",
        "health_checked",
        "host_scope",
        "http",
        "http2_settings",
        "http2_stats",
        "limits_base",
        "load_metrics",
        "load_report",
        "local_address",
        "max_connections_per_host",
        "metadata",
        "name",
        "observability_name",
        "orca",
        "outlier",
        "overrides",
        "per_connection_buffer_limit",
        "preconnect_ratio",
        "request_response_sizes",
        "stats",
        "thresholds",
        "timeout_budgets",
        "tracked",
        "transport_socket",
        "transport_sockets",
        "upstream_names",
        "upstream_pool",
    )

    def __init__(
        self,
        name: str,
        observability_name: str,
        context: FactoryContext,
        http: HttpProtocolOptions,
        thresholds: tuple[Thresholds, Thresholds],
        generation: int = 0,
    ) -> None:
        self.name = name
        self.host_scope = host_scope(name, generation)
        self.observability_name = observability_name or name
        self.http = http
        self.thresholds = thresholds
        self.connect_timeout_ms = DEFAULT_CONNECT_TIMEOUT_MS
        self.per_connection_buffer_limit = DEFAULT_BUFFER_LIMIT
        self.health_checked = False
        """Whether responses may take their host out of rotation (x-envoy-immediate-health-check-fail)."""
        self.drop_overload = 0.0
        """The part of requests that is answered at once (``drop_overloads``), from 0 to 1."""
        self.metadata: Any = None
        self.overrides: Any = None
        """What the router does otherwise for this cluster (``router.cluster_overrides``), None for nearly all."""
        self.orca: OrcaListener | None = None
        self.load_metrics: LoadMetrics | None = None
        """Who sums up metrics for load reports; it hears first, and tells whoever listens besides."""
        self.load_report: Block | None = None
        """Where dropped requests are counted for load reports; None: nobody reports loads."""
        """Who wants the load reports of endpoints; None: nobody."""
        self.outlier: OutlierRules | None = None
        """How hosts are watched for being outliers; None: they are not."""
        self.local_address = NOTHING
        """Where upstream connections come from, with their socket options."""
        self.address_selector: LocalAddressSelector | None = None
        """Who chooses that for each connection, where there is a choice."""
        self.happy_eyeballs = (ANY_VERSION, 1)
        """Which IP version goes first where hosts have several addresses, and how many of it in a row."""
        self.upstream_names: UpstreamNames | None = None
        """What requests say of the names that connections ask for and expect; None: nothing."""
        self.upstream_pool: Any = None
        """The factory that ``Cluster.upstream_config`` names, None = the generic one."""
        self.transport_socket: ClusterSocket = PLAIN
        """What connections to hosts speak through."""
        self.transport_sockets: TransportSockets | None = None
        """Where hosts have different ones (``transport_socket_matches``)."""
        self._context = context
        prefix = self.stat_prefix
        store = context.stats
        self.stats: Block = store.block(CLUSTER, prefix)
        if reports_load(context):
            self.load_report = store.block(LOAD_REPORT, prefix)
        self.preconnect_ratio = 1.0
        """``per_upstream_preconnect_ratio``"""
        self.max_connections_per_host: tuple[int, int] | None = None
        """``per_host_thresholds`` by priority, None for nearly all."""
        self.limits_base: int = store.block(LIMITS, f"cluster.{name}.").base
        self._remaining: tuple[Block | None, ...] = tuple(
            store.block(REMAINING, f"{prefix}circuit_breakers.{PRIORITY_NAMES[i]}.") if t.track_remaining else None
            for i, t in enumerate(thresholds)
        )
        self._managers: list[ResourceManager | None] = [None, None]
        self._snapshot: Any = None
        self._maintenance = False
        self._own_table: LimitTable | None = None
        self.tracked = False
        """Whether attempts are measured: one of the two that follow."""
        self.timeout_budgets: Block | None = None
        self.request_response_sizes: Block | None = None
        self._http1_settings: Http1Settings | None = None
        self.http2_settings: Http2Settings
        """What HTTP/2 codecs towards this cluster are told, and where they count; only where there may be some."""
        self.http2_stats: Block
        if http.may_speak_http2:
            self.http2_settings = for_upstream(http)
            self.http2_stats = store.block(HTTP2, f"{prefix}http2.")
        self._dynamic: DynamicStats | None = None
        self._codes: CodeStats | None = None
        self._internal_codes: CodeStats | None = None
        self._external_codes: CodeStats | None = None
        self._canary_codes: CodeStats | None = None

    @property
    def stat_prefix(self) -> str:
        """``cluster.<observability name>.``"""
        return f"cluster.{self.observability_name}."

    def hear_orca(self, listener: OrcaListener | None, instead_of: OrcaListener | None = None) -> None:
        """``listener`` hears of endpoints' reports from now on; with ``instead_of`` only if that does now."""
        first = self.load_metrics
        current = self.orca if first is None else first.next
        if instead_of is not None and current is not instead_of:
            return
        if first is None:
            self.orca = listener
        else:
            first.next = listener

    def track(self, timeout_budgets: bool, request_response_sizes: bool) -> None:
        """Cluster.track_cluster_stats."""
        self.tracked = timeout_budgets or request_response_sizes
        if timeout_budgets:
            self.timeout_budgets = self._context.stats.block(TIMEOUT_BUDGETS, self.stat_prefix)
        if request_response_sizes:
            self.request_response_sizes = self._context.stats.block(REQUEST_RESPONSE_SIZES, self.stat_prefix)

    @property
    def random(self) -> RandomGenerator:
        """Where random numbers come from."""
        generator: RandomGenerator = self._context.random
        return generator

    def host_stats(self, index: int) -> Block:
        """The per-host block ``index``."""
        return self._context.stats.block(HOST, host_stat_prefix(self.host_scope, index))

    def clear_host_stats(self, index: int) -> None:
        """That block is about to be another host's."""
        self.host_stats(index).clear(HOST.histograms_from)

    @property
    def dynamic(self) -> DynamicStats:
        """Statistics of this cluster whose names are met at run time."""
        if self._dynamic is None:
            self._dynamic = self._context.stats.dynamic(self.stat_prefix)
        return self._dynamic

    # -- response codes (Envoy: Http::CodeStatsImpl::chargeResponseStat) -----------------------------------------
    def charge_response_code(self, code: int, internal: bool, canary: bool = False) -> None:
        """Count a response: upstream_rq_<code>, _<class>xx, _completed; also under internal./external. and canary."""
        codes = self._codes
        if codes is None:
            codes = self._codes = self._code_stats("")
            codes.count_completed_in(self.stats, UPSTREAM_RQ_COMPLETED)
        codes.charge(code)
        if internal:
            inner = self._internal_codes
            if inner is None:
                inner = self._internal_codes = self._code_stats("internal.")
            inner.charge(code)
        else:
            outer = self._external_codes
            if outer is None:
                outer = self._external_codes = self._code_stats("external.")
            outer.charge(code)
        if canary:
            if self._canary_codes is None:
                self._canary_codes = self._code_stats("canary.")
            self._canary_codes.charge(code)

    def _code_stats(self, part: str) -> CodeStats:
        dynamic: DynamicStats = self._context.stats.dynamic(self.stat_prefix + part)
        return dynamic.codes()

    # -- circuit breakers ----------------------------------------------------------------------------------------
    def resource_manager(self, priority: int) -> ResourceManager:
        """The limits of a routing priority (0 default, 1 high)."""
        runtime = self._context.runtime
        if runtime is not None and runtime.snapshot is not self._snapshot:
            self._on_runtime_changed(runtime.snapshot)
        manager = self._managers[priority]
        if manager is None:
            manager = self._managers[priority] = ResourceManager(
                self.name, priority, self.thresholds[priority], self.limit_table(), self.limits_base, runtime
            )
        return manager

    def limit_table(self) -> LimitTable:
        """Where the counts of all workers are."""
        context = self._context
        table: LimitTable | None = getattr(context.cluster_manager, "limits", None) or context.limits
        if table is None:
            # Alone (unit tests, tools): limits that hold in this process.
            table = self._own_table = self._own_table or LimitTable.create(1)
        return table

    def remaining_block(self, priority: int) -> Block | None:
        """The block of the ``remaining_*`` gauges, with ``track_remaining``."""
        return self._remaining[priority]

    def host_failed(self, host: Host) -> None:
        """A response asked for its host to be taken out of rotation: main is told, who decides for all workers."""
        if self.health_checked and not host.entry.is_unchecked:
            host.set_health_flags(host.health_flags | EXCLUDED_VIA_IMMEDIATE_HC_FAIL)
            self._context.cluster_manager.host_failed(self.name, host.entry.stat_index)

    @property
    def http1_settings(self) -> Http1Settings:
        """What HTTP/1 codecs towards this cluster are told."""
        if self._http1_settings is None:
            self._http1_settings = Http1Settings.for_upstream(self.http)
        return self._http1_settings

    # -- runtime -------------------------------------------------------------------------------------------------
    def in_maintenance(self) -> bool:
        """Runtime ``upstream.maintenance_mode.<name>``: answer everything with a 503. Asked for every request."""
        runtime = self._context.runtime
        if runtime is None:
            return False
        snapshot = runtime.snapshot
        if snapshot is not self._snapshot:
            self._on_runtime_changed(snapshot)
        return self._maintenance and self._draw_maintenance()

    def _on_runtime_changed(self, snapshot: Any) -> None:
        self._snapshot = snapshot
        self._maintenance = f"upstream.maintenance_mode.{self.name}" in snapshot.entries
        for manager in self._managers:
            if manager is not None:
                manager.apply(self._context.runtime)

    def _draw_maintenance(self) -> bool:
        random = self._context.random
        value = random.random() if random is not None else 0
        key = f"upstream.maintenance_mode.{self.name}"
        return bool(self._context.runtime.feature_enabled(key, 0, 100, value))

    def create_connection(
        self,
        dispatcher: Dispatcher,
        address: Address,
        options: PoolOptions | None = None,
        additional: list[Address] | None = None,
        on_another: Callable[[], object] = lambda: None,
    ) -> ClientConnection:
        """A connection to ``address`` with this cluster's settings and byte counters, not yet connecting.

        With ``additional`` addresses it is to the one that answers first; ``on_another`` is told of further attempts.
        """
        if isinstance(address, InternalAddress):
            passthrough = None if options is None else options.passthrough
            listeners = self._context.internal_listeners
            internal = InternalClientConnection(dispatcher, address, listeners, passthrough)
            self._set_up(internal)
            return internal

        def local_to(endpoint: Address) -> tuple[Address | None, tuple[SocketOption, ...]]:
            local = self.local_address_to(endpoint)
            if options is None:
                return local.address, local.options
            return source_of(options.socket_options) or local.address, local.options + options.socket_options

        if additional:
            addresses = sort_addresses([address, *additional], *self.happy_eyeballs)
            connection: ClientConnection = HappyEyeballsConnection(dispatcher, addresses, local_to, on_another)
        else:
            connection = ClientConnection(dispatcher, address, *local_to(address))
        self._set_up(connection)
        return connection

    def local_address_to(self, endpoint: Address) -> LocalAddress:
        """Where a connection to ``endpoint`` comes from."""
        return self.local_address if self.address_selector is None else self.address_selector.select(endpoint)

    def _set_up(self, connection: ClientConnection) -> None:
        connection.set_stats(
            self.stats,
            UPSTREAM_CX_RX_BYTES_TOTAL,
            UPSTREAM_CX_RX_BYTES_BUFFERED,
            UPSTREAM_CX_TX_BYTES_TOTAL,
            UPSTREAM_CX_TX_BYTES_BUFFERED,
        )
        connection.set_buffer_limits(self.per_connection_buffer_limit)

    def __repr__(self) -> str:
        return f"<ClusterInfo {self.name}>"
