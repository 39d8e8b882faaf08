"""What a request is matched to: ``Route``, and its ``RouteEntry`` when it goes to a cluster (Envoy: ``router.h``).

All objects are immutable and shared by all requests. A route table holds many thousands of them, so what routes have in
common (timeouts, retries, rewrites: ``RoutePolicy``; header mutations) is compiled once and shared, and what few routes
have (``RouteExtra``) is an object of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.http.grpc_timeout import find_grpc_timeout
from proxeny.router.header_mutation import HeaderMutation
from proxeny.router.path_rewrite import WHOLE_PATH, HostRewrite, PathRewrite, TemplateRewrite
from proxeny.router.retry_policy import NO_RETRIES, RetryPolicy

if TYPE_CHECKING:
    from proxeny.http.hash_policy import HashPolicy
    from proxeny.http.tracing import Sampling
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.stream_info import StreamInfo
    from proxeny.router.cluster_specifier import ClusterSpecifier, SpecifiedClusters
    from proxeny.router.connect_config import ConnectConfig
    from proxeny.router.cors_policy import CorsPolicy
    from proxeny.router.direct_response import DirectResponseEntry
    from proxeny.router.internal_redirect import InternalRedirectPolicy
    from proxeny.router.path_policy import PolicyRewrite
    from proxeny.router.per_filter_config import PerFilterConfigs
    from proxeny.router.rate_limit import RateLimits
    from proxeny.router.rds.stats_holder import StatsHolder
    from proxeny.router.route_condition import RouteCondition
    from proxeny.router.shadow import MirrorPolicy
    from proxeny.router.virtual_cluster import RequestStats, VirtualCluster
    from proxeny.router.weighted_cluster import WeightedClusters
    from proxeny.upstream.metadata_criteria import MetadataCriteria

DEFAULT_TIMEOUT_MS: Final = 15_000
"""``RouteAction.timeout`` when unset."""

PRIORITY_DEFAULT: Final = 0
PRIORITY_HIGH: Final = 1

_NO_MUTATIONS: Final[tuple[HeaderMutation, ...]] = ()


class RouteConfigInfo:
    """The facts of a ``RouteConfiguration`` that its virtual hosts share (Envoy: ``CommonConfig``)."""

    __slots__ = (
        "cluster_plugins",
        "ignore_path_parameters",
        "internal_only_headers",
        "max_direct_response_body_size",
        "metadata",
        "mirrors",
        "most_specific_wins",
        "name",
        "per_filter",
        "request_mutation",
        "response_mutation",
        "stats_holder",
        "uses_vhds",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.internal_only_headers: tuple[bytes, ...] = ()
        self.uses_vhds = False
        """Whether more virtual hosts may be had on demand."""
        self.most_specific_wins = False
        self.ignore_path_parameters = False
        self.max_direct_response_body_size = 4096
        self.cluster_plugins: dict[str, ClusterSpecifier] = {}
        """``cluster_specifier_plugins`` compiled, by name."""
        self.per_filter: PerFilterConfigs | None = None
        self.metadata: dict[str, Any] = {}
        self.mirrors: tuple[MirrorPolicy, ...] = ()
        self.request_mutation: HeaderMutation | None = None
        self.response_mutation: HeaderMutation | None = None
        self.stats_holder: StatsHolder | None = None
        """Of a discovered configuration's newest version that has this in it."""


class VirtualHost:
    """What a virtual host's routes share (Envoy: ``CommonVirtualHostImpl``); it does not know its routes: no cycles."""

    __slots__ = (
        "config",
        "cors",
        "hedge_on_per_try_timeout",
        "include_attempt_count_in_response",
        "include_is_timeout_retry_header",
        "include_request_attempt_count",
        "metadata",
        "mirrors",
        "name",
        "per_filter",
        "rate_limits",
        "request_buffer_limit",
        "request_mutation",
        "response_mutation",
        "retry_policy",
        "stats_holder",
        "virtual_clusters",
    )

    def __init__(self, name: str, config: RouteConfigInfo) -> None:
        self.name = name
        self.config = config
        self.include_request_attempt_count = False
        self.include_attempt_count_in_response = False
        self.include_is_timeout_retry_header = False
        self.request_buffer_limit: int | None = None
        self.retry_policy: RetryPolicy = NO_RETRIES
        self.hedge_on_per_try_timeout = False
        self.mirrors = config.mirrors
        self.virtual_clusters: tuple[VirtualCluster, ...] = ()
        self.per_filter: PerFilterConfigs | None = None
        self.metadata: dict[str, Any] = {}
        self.request_mutation: HeaderMutation | None = None
        self.response_mutation: HeaderMutation | None = None
        self.cors: CorsPolicy | None = None
        self.rate_limits: RateLimits | None = None
        self.stats_holder: StatsHolder | None = None
        """As of ``config``: an update may take over this one and not that, or the other way round."""


class RoutePolicy:
    """How requests of a route are treated. Times in milliseconds; ``timeout_ms`` 0 = none.

    ``max_stream_duration_ms`` None = not set; ``using_new_timeouts``: the message was given at all, which switches the
    route timeout off (Envoy: ``usingNewTimeouts``).
    """

    __slots__ = (
        "append_x_forwarded_host",
        "auto_host_rewrite",
        "cluster_not_found_response_code",
        "connect",
        "cors",
        "expected_timeout",
        "flush_timeout_ms",
        "global_timeout_ms",
        "grpc_timeout_header_max_ms",
        "grpc_timeout_header_offset_ms",
        "grpc_timeout_offset_ms",
        "hash_policy",
        "hedge_on_per_try_timeout",
        "host_rewrite",
        "idle_timeout_ms",
        "internal_redirect",
        "max_grpc_timeout_ms",
        "max_stream_duration_ms",
        "metadata_match",
        "mirrors",
        "path_rewrite",
        "priority",
        "rate_limits",
        "request_buffer_limit",
        "retry_policy",
        "timeout_ms",
        "upgrades",
        "using_new_timeouts",
    )

    def __init__(self, retry_policy: RetryPolicy) -> None:
        self.timeout_ms = DEFAULT_TIMEOUT_MS
        self.idle_timeout_ms: int | None = None
        self.flush_timeout_ms: int | None = None
        self.max_stream_duration_ms: int | None = None
        self.grpc_timeout_header_max_ms: int | None = None
        self.grpc_timeout_header_offset_ms: int | None = None
        self.max_grpc_timeout_ms: int | None = None
        self.grpc_timeout_offset_ms: int | None = None
        self.using_new_timeouts = False
        self.retry_policy = retry_policy
        self.hedge_on_per_try_timeout = False
        self.mirrors: tuple[MirrorPolicy, ...] = ()
        self.priority = PRIORITY_DEFAULT
        self.cluster_not_found_response_code = 503
        self.hash_policy: HashPolicy | None = None
        self.internal_redirect: InternalRedirectPolicy | None = None
        self.cors: CorsPolicy | None = None
        self.rate_limits: RateLimits | None = None
        self.path_rewrite: PathRewrite | PolicyRewrite | TemplateRewrite | None = None
        self.host_rewrite: HostRewrite | None = None
        self.auto_host_rewrite = False
        self.append_x_forwarded_host = False
        self.request_buffer_limit: int | None = None
        self.metadata_match: MetadataCriteria | None = None
        self.upgrades: dict[bytes, bool] = {}
        self.connect: ConnectConfig | None = None
        """How CONNECT ends here, None = it is HTTP to the upstream as well."""
        self.global_timeout_ms = 0
        """The route timeout as the router applies it: none where ``max_stream_duration`` is given."""
        self.expected_timeout = b""
        """``x-envoy-expected-rq-timeout-ms`` of a request that overrides nothing; b"" = none."""
        self.freeze()

    def stream_duration_ms(self, headers: HeaderMap, default_ms: int) -> int | None:
        """How long a stream may live, None = for ever; ``default_ms`` is the connection manager's limit (0: none).

        A ``grpc-timeout`` counts where ``grpc_timeout_header_max`` is given (0 there: uncapped).
        """
        cap = self.grpc_timeout_header_max_ms
        timeout = find_grpc_timeout(headers.get(b"grpc-timeout")) if cap is not None else None
        if timeout is None or cap is None:
            return (default_ms if self.max_stream_duration_ms is None else self.max_stream_duration_ms) or None
        if 0 < cap < timeout:
            timeout = cap
        return max(0, timeout - (self.grpc_timeout_header_offset_ms or 0))

    def freeze(self) -> None:
        """Derive what requests need from the fields; call after the last change."""
        per_try = self.retry_policy.per_try_timeout_ms
        timeout = self.global_timeout_ms = 0 if self.using_new_timeouts else self.timeout_ms
        if per_try and not self.hedge_on_per_try_timeout and (not timeout or per_try < timeout):
            timeout = per_try
        self.expected_timeout = b"%d" % timeout if timeout else b""


class RouteEntry:
    """A route that forwards to a cluster.

    ``cluster`` is the name, "" when it comes from a request header (``cluster_header``). ``plain``: nothing is to be
    changed in the request's headers, so ``finalize_request_headers`` need not be called.
    """

    __slots__ = (
        "cluster",
        "cluster_header",
        "host_literal",
        "idle_timeout_ms",
        "limits_duration",
        "matched",
        "plain",
        "policy",
        "request_mutations",
        "response_mutations",
        "virtual_host",
    )

    is_direct: Final = False

    def __init__(
        self,
        virtual_host: VirtualHost,
        policy: RoutePolicy,
        cluster: str,
        matched: int = WHOLE_PATH,
        request_mutations: tuple[HeaderMutation, ...] = _NO_MUTATIONS,
        response_mutations: tuple[HeaderMutation, ...] = _NO_MUTATIONS,
        cluster_header: bytes = b"",
        host_literal: bytes = b"",
    ) -> None:
        self.virtual_host = virtual_host
        self.policy = policy
        self.cluster = cluster
        self.cluster_header = cluster_header
        self.matched = matched
        self.request_mutations = request_mutations
        self.response_mutations = response_mutations
        self.host_literal = host_literal
        self.limits_duration = policy.using_new_timeouts
        """Whether ``policy.stream_duration_ms`` replaces the connection manager's ``max_stream_duration``."""
        self.idle_timeout_ms = policy.idle_timeout_ms
        """The stream idle timeout of this route, None = the connection manager's."""
        self.plain = not (request_mutations or host_literal or policy.path_rewrite or policy.host_rewrite)

    def cluster_name(self, headers: HeaderMap) -> str:
        """The cluster for this request; "" when the header that should name it is missing."""
        if self.cluster_header:
            return (headers.get(self.cluster_header) or b"").decode("latin-1")
        return self.cluster

    def finalize_request_headers(
        self, headers: HeaderMap, stream_info: StreamInfo, insert_envoy_original_path: bool
    ) -> None:
        """Mutations of all levels, then the host rewrite, then the path rewrite."""
        for mutation in self.request_mutations:
            mutation.evaluate(headers, headers, None, stream_info)
        if self.host_literal:
            headers.set(b":authority", self.host_literal)
        policy = self.policy
        if policy.host_rewrite is not None:
            policy.host_rewrite.apply(headers, insert_envoy_original_path, stream_info)
        if policy.path_rewrite is not None:
            policy.path_rewrite.apply(headers, self.matched, insert_envoy_original_path, stream_info)

    def finalize_response_headers(
        self, headers: HeaderMap, stream_info: StreamInfo, request_headers: HeaderMap | None = None
    ) -> None:
        """Response header mutations of all levels."""
        for mutation in self.response_mutations:
            mutation.evaluate(headers, request_headers, headers, stream_info)

    @property
    def timeout_ms(self) -> int:
        """The route timeout, 0 = none."""
        return self.policy.timeout_ms

    @property
    def max_stream_duration_ms(self) -> int | None:
        """The longest life of a stream, None = not set, 0 = no limit."""
        return self.policy.max_stream_duration_ms

    @property
    def retry_policy(self) -> RetryPolicy:
        """The retry policy (never None)."""
        return self.policy.retry_policy

    @property
    def priority(self) -> int:
        """0 default, 1 high."""
        return self.policy.priority

    def __repr__(self) -> str:
        return f"RouteEntry(cluster={self.cluster!r}, virtual_host={self.virtual_host.name!r})"


class RouteExtra:
    """What few routes have."""

    __slots__ = ("decorator", "decorator_propagate", "metadata", "sampling", "stats")

    def __init__(
        self,
        metadata: dict[str, Any],
        decorator: str,
        decorator_propagate: bool,
        sampling: Sampling | None = None,
        stats: RequestStats | None = None,
    ) -> None:
        self.metadata = metadata
        self.decorator = decorator
        self.decorator_propagate = decorator_propagate
        self.sampling = sampling
        """Of ``Route.tracing``; None: the connection manager's."""
        self.stats = stats
        """Of a route with a ``stat_prefix``."""


NO_EXTRA: Final = RouteExtra({}, "", True)


class Route:
    """A matched route: its entry says what to do, the rest is what filters and logs may ask."""

    __slots__ = ("condition", "entry", "extra", "name", "per_filter", "switches_filters", "virtual_host", "weighted")

    def __init__(
        self,
        name: str,
        virtual_host: VirtualHost,
        entry: RouteEntry | DirectResponseEntry,
        per_filter: PerFilterConfigs | None = None,
        extra: RouteExtra = NO_EXTRA,
        condition: RouteCondition | None = None,
        weighted: WeightedClusters | SpecifiedClusters | None = None,
    ) -> None:
        self.name = name
        self.virtual_host = virtual_host
        self.entry = entry
        self.per_filter = per_filter
        self.extra = extra
        self.condition = condition
        self.weighted = weighted
        levels = (per_filter, virtual_host.per_filter, virtual_host.config.per_filter)
        self.switches_filters = any([level is not None and any(level.disabled.values()) for level in levels])
        """Whether some filter is disabled here, or is on some level (and perhaps enabled on a more specific one)."""

    @property
    def metadata(self) -> dict[str, Any]:
        """``Route.metadata.filter_metadata`` as plain dictionaries."""
        return self.extra.metadata

    @property
    def decorator(self) -> str:
        """The operation name of ``Route.decorator``, "" when there is none."""
        return self.extra.decorator

    def per_filter_config(self, name: str) -> Any:
        """The most specific compiled config of the filter ``name``, or None."""
        for level in (self.per_filter, self.virtual_host.per_filter, self.virtual_host.config.per_filter):
            if level is not None:
                config = level.configs.get(name)
                if config is not None:
                    return config
        return None

    def per_filter_configs(self, name: str) -> list[Any]:
        """The configs of all levels, from the least to the most specific."""
        levels = (self.virtual_host.config.per_filter, self.virtual_host.per_filter, self.per_filter)
        return [config for level in levels if level is not None for config in level.all(name)]

    def filter_disabled(self, name: str) -> bool | None:
        """Whether the filter ``name`` is switched off (True) or on (False) here; None = not said."""
        for level in (self.per_filter, self.virtual_host.per_filter, self.virtual_host.config.per_filter):
            if level is not None:
                disabled = level.disabled.get(name)
                if disabled is not None:
                    return disabled
        return None

    def __repr__(self) -> str:
        return f"Route({self.name!r}, {self.entry!r})"
