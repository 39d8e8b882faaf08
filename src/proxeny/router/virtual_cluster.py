"""``VirtualCluster``: statistics of a share of a virtual host's requests, told apart by their headers; and those of a
route (``Route.stat_prefix``), which are the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.matcher.header import HeaderMatcher, compile_header_matchers, match_all
from proxeny.stats.schema import Schema

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext

VIRTUAL_CLUSTER: Final = Schema(
    "virtual_cluster",
    counters=(
        "upstream_rq_retry",
        "upstream_rq_retry_limit_exceeded",
        "upstream_rq_retry_overflow",
        "upstream_rq_retry_success",
        "upstream_rq_timeout",
        "upstream_rq_total",
    ),
)
"""Prefix ``vhost.<virtual host>.vcluster.<name>.`` or ``vhost.<virtual host>.route.<stat prefix>.``;
response codes and times join them at run time."""

RETRY: Final = VIRTUAL_CLUSTER.slot("upstream_rq_retry")
RETRY_LIMIT_EXCEEDED: Final = VIRTUAL_CLUSTER.slot("upstream_rq_retry_limit_exceeded")
RETRY_OVERFLOW: Final = VIRTUAL_CLUSTER.slot("upstream_rq_retry_overflow")
RETRY_SUCCESS: Final = VIRTUAL_CLUSTER.slot("upstream_rq_retry_success")
TIMEOUT: Final = VIRTUAL_CLUSTER.slot("upstream_rq_timeout")
TOTAL: Final = VIRTUAL_CLUSTER.slot("upstream_rq_total")

_CATCH_ALL: Final = "other"


class RequestStats:
    """Statistics of some of the requests."""

    __slots__ = ("_codes", "_dynamic", "stats")

    def __init__(self, prefix: str, context: FactoryContext) -> None:
        self.stats = context.stats.block(VIRTUAL_CLUSTER, prefix)
        self._dynamic = context.stats.dynamic(prefix)
        self._codes = self._dynamic.codes()

    def charge_code(self, code: int) -> None:
        """Count a response."""
        self._codes.charge(code)

    def charge_time(self, milliseconds: int) -> None:
        """Record how long the upstream took."""
        self._dynamic.record("upstream_rq_time", milliseconds)


class VirtualCluster(RequestStats):
    """One virtual cluster; ``headers`` () for the one that takes what no other does."""

    __slots__ = ("headers", "name")

    def __init__(self, host: str, name: str, headers: tuple[HeaderMatcher, ...], context: FactoryContext) -> None:
        super().__init__(f"vhost.{host}.vcluster.{name}.", context)
        self.name = name
        self.headers = headers


class _Blocks:
    """Several blocks that are counted in alike."""

    __slots__ = ("_blocks",)

    def __init__(self, *blocks: Any) -> None:
        self._blocks = blocks

    def inc(self, slot: int) -> None:
        """In all of them."""
        for block in self._blocks:
            block.inc(slot)


class ClusterAndRoute:
    """The statistics of a request that belongs to a virtual cluster and to a route with its own."""

    __slots__ = ("_route", "_virtual_cluster", "stats")

    def __init__(self, virtual_cluster: VirtualCluster, route: RequestStats) -> None:
        self._virtual_cluster = virtual_cluster
        self._route = route
        self.stats = _Blocks(virtual_cluster.stats, route.stats)

    def charge_code(self, code: int) -> None:
        """Count a response."""
        self._virtual_cluster.charge_code(code)
        self._route.charge_code(code)

    def charge_time(self, milliseconds: int) -> None:
        """Record how long the upstream took."""
        self._virtual_cluster.charge_time(milliseconds)
        self._route.charge_time(milliseconds)


def route_stats(host: str, stat_prefix: str, context: FactoryContext) -> RequestStats | None:
    """Those of a route with a ``stat_prefix``."""
    return RequestStats(f"vhost.{host}.route.{stat_prefix}.", context) if stat_prefix else None


def with_route_stats(route: RequestStats | None, virtual_cluster: VirtualCluster | None) -> Any:
    """Where a request is counted besides its cluster: both, either, or nowhere."""
    if route is None or virtual_cluster is None:
        return route or virtual_cluster
    return ClusterAndRoute(virtual_cluster, route)


def compile_virtual_clusters(host: str, configs: Sequence[Any], context: FactoryContext) -> tuple[VirtualCluster, ...]:
    """Those of a virtual host in their order, the catch-all last; () when there are none."""
    if not configs:
        return ()
    clusters = []
    for config in configs:
        if not config.headers:
            raise ConfigError("virtual clusters must define 'headers'")
        clusters.append(VirtualCluster(host, config.name, compile_header_matchers(config.headers), context))
    clusters.append(VirtualCluster(host, _CATCH_ALL, (), context))
    return tuple(clusters)


def find_virtual_cluster(clusters: tuple[VirtualCluster, ...], headers: HeaderMap) -> VirtualCluster | None:
    """The first that matches."""
    for cluster in clusters:
        if match_all(headers, cluster.headers):
            return cluster
    return None
