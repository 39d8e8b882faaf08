"""The compiled configuration of a TCP proxy (``envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy``)."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from proxeny.access_log.config import compile_access_logs
from proxeny.config.errors import ConfigError
from proxeny.extensions.network_filters.tcp_proxy.stats import TCP_PROXY
from proxeny.extensions.network_filters.tcp_proxy.tunnel import Tunneling
from proxeny.extensions.proxy_protocol_tlvs import compile_tlvs
from proxeny.http.hash_policy import FilterStateHash, SourceIpHash
from proxeny.upstream.metadata_criteria import MetadataCriteria, criteria_of

if TYPE_CHECKING:
    from proxeny.http.hash_policy import HashMethod
    from proxeny.network.factory_context import FactoryContext

DEFAULT_IDLE_TIMEOUT_MS: Final = 3_600_000
"""TcpProxy.idle_timeout: one hour when it is not set."""
UNSUPPORTED: Final = (
    "on_demand",
    "downstream_idle_timeout",
    "upstream_idle_timeout",
)
CONNECT_IMMEDIATELY: Final = 0
CONNECT_ON_DOWNSTREAM_DATA: Final = 1


def milliseconds(duration: Any) -> int:
    """A ``google.protobuf.Duration`` in milliseconds."""
    return int(duration.seconds) * 1000 + int(duration.nanos) // 1_000_000


class Backoff:
    """Fully jittered exponential back-off between connect attempts (``backoff_options``)."""

    __slots__ = ("base_ms", "max_ms")

    def __init__(self, message: Any) -> None:
        self.base_ms = max(milliseconds(message.base_interval), 1)
        # core.v3.BackoffStrategy.max_interval: ten times the base when it is not set.
        has_max = message.HasField("max_interval")
        self.max_ms = milliseconds(message.max_interval) if has_max else 10 * self.base_ms
        if self.max_ms < self.base_ms:
            raise ConfigError("max_backoff must be greater or equal to base_backoff")

    def delay_ms(self, attempts: int, random: int) -> int:
        """How long to wait after ``attempts`` failures; ``random`` is any large integer."""
        ceiling: int = min(self.base_ms << min(attempts - 1, 32), self.max_ms)
        return random % max(ceiling, 1)


class TcpProxyConfig:
    """One TCP proxy's configuration; immutable, shared by its connections."""

    __slots__ = (
        "_cluster",
        "_criteria",
        "_criteria_of",
        "_names",
        "_thresholds",
        "access_logs",
        "backoff",
        "connect_on_data",
        "context",
        "duration_jitter_percent",
        "flush_interval_ms",
        "flush_on_connected",
        "hash_method",
        "idle_timeout_ms",
        "max_connect_attempts",
        "max_duration_ms",
        "max_early_data_bytes",
        "proxy_protocol_tlvs",
        "stats",
        "tunneling",
    )

    def __init__(self, message: Any, context: FactoryContext) -> None:
        for field in UNSUPPORTED:
            if message.HasField(field):
                raise ConfigError(f"tcp_proxy: {field} is not supported yet")
        self.context = context
        self.stats = context.stats.block(TCP_PROXY, f"tcp.{message.stat_prefix}.")
        self._compile_clusters(message)
        self._compile_hash_policy(message)
        self._compile_timeouts(message)
        self._compile_connect(message)
        self.tunneling = Tunneling(message.tunneling_config) if message.HasField("tunneling_config") else None
        self.proxy_protocol_tlvs = compile_tlvs(message.proxy_protocol_tlvs)
        """What PROXY protocol headers upstream tell of connections that came without one."""
        self._compile_access_logs(message)

    def _compile_clusters(self, message: Any) -> None:
        self._cluster: str = message.cluster
        self._criteria = criteria_of(message.metadata_match)
        self._names: tuple[str, ...] = ()
        self._thresholds: tuple[int, ...] = ()
        self._criteria_of: tuple[MetadataCriteria | None, ...] = ()
        if message.WhichOneof("cluster_specifier") == "weighted_clusters":
            entries = message.weighted_clusters.clusters
            self._names = tuple([entry.name for entry in entries])
            self._thresholds = tuple(accumulate([entry.weight for entry in entries]))
            self._criteria_of = tuple([self._asking_for(entry) for entry in entries])

    def _asking_for(self, weighted: Any) -> MetadataCriteria | None:
        added = criteria_of(weighted.metadata_match)
        return added if added is None or self._criteria is None else self._criteria.merged(added.values)

    def _compile_hash_policy(self, message: Any) -> None:
        self.hash_method: HashMethod | None = None
        for policy in message.hash_policy:
            if policy.WhichOneof("policy_specifier") == "source_ip":
                self.hash_method = SourceIpHash()
            else:
                self.hash_method = FilterStateHash(policy.filter_state.key)

    def _compile_timeouts(self, message: Any) -> None:
        self.idle_timeout_ms = DEFAULT_IDLE_TIMEOUT_MS
        """0 = none."""
        if message.HasField("idle_timeout"):
            self.idle_timeout_ms = milliseconds(message.idle_timeout)
        self.max_duration_ms = 0
        self.duration_jitter_percent = 0.0
        if message.HasField("max_downstream_connection_duration"):
            self.max_duration_ms = milliseconds(message.max_downstream_connection_duration)
            if message.HasField("max_downstream_connection_duration_jitter_percentage"):
                self.duration_jitter_percent = message.max_downstream_connection_duration_jitter_percentage.value

    def _compile_connect(self, message: Any) -> None:
        attempts = message.max_connect_attempts
        self.max_connect_attempts: int = attempts.value if message.HasField("max_connect_attempts") else 1
        self.backoff = Backoff(message.backoff_options) if message.HasField("backoff_options") else None
        early = message.HasField("max_early_data_bytes")
        self.max_early_data_bytes: int | None = message.max_early_data_bytes.value if early else None
        """None: nothing is read from the client before the upstream connection is there."""
        mode = message.upstream_connect_mode
        if mode not in (CONNECT_IMMEDIATELY, CONNECT_ON_DOWNSTREAM_DATA):
            raise ConfigError(f"tcp_proxy: upstream_connect_mode {mode} is not supported yet")
        self.connect_on_data = mode == CONNECT_ON_DOWNSTREAM_DATA
        if self.connect_on_data and not early:
            raise ConfigError("max_early_data_bytes must be set when upstream_connect_mode is ON_DOWNSTREAM_DATA")

    def _compile_access_logs(self, message: Any) -> None:
        options = message.access_log_options
        if message.HasField("access_log_options") and (
            message.HasField("access_log_flush_interval") or message.flush_access_log_on_connected
        ):
            raise ConfigError(
                "Only one of access_log_flush_interval or flush_access_log_on_connected and access_log_options can be "
                "specified."
            )
        source = options if message.HasField("access_log_options") else message
        self.flush_interval_ms = 0
        if source.HasField("access_log_flush_interval"):
            self.flush_interval_ms = max(milliseconds(source.access_log_flush_interval), 1)
        self.flush_on_connected: bool = source.flush_access_log_on_connected
        self.access_logs = compile_access_logs(message.access_log, self.context)

    def pick(self) -> tuple[str, MetadataCriteria | None]:
        """The cluster of the next connection, and what is asked of its hosts' metadata."""
        if not self._names:
            return self._cluster, self._criteria
        number = bisect_right(self._thresholds, self.random() % self._thresholds[-1])
        return self._names[number], self._criteria_of[number] or self._criteria

    def describe_clusters(self) -> str:
        """The clusters that connections go to, for people."""
        if not self._names:
            return f"cluster '{self._cluster}'"
        weights = [end - start for start, end in zip((0, *self._thresholds), self._thresholds, strict=False)]
        shares = [f"'{name}' ({weight})" for name, weight in zip(self._names, weights, strict=True)]
        return f"clusters by weight: {', '.join(shares)}"

    def random(self) -> int:
        """A large random integer."""
        value: int = self.context.random.random()
        return value

    def max_duration_with_jitter_ms(self) -> int:
        """``max_downstream_connection_duration``, lengthened by up to the configured share."""
        longest = int(self.max_duration_ms * self.duration_jitter_percent / 100)
        return self.max_duration_ms + (self.random() % (longest + 1) if longest else 0)
