"""What a cluster's ``HttpProtocolOptions`` say to the router: they go before what the route says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.http.filter_compiler import CLUSTER_FILTERS, compile_filters
from proxeny.http.hash_policy import compile_hash_policy
from proxeny.router.retry_policy import RetryPolicy
from proxeny.router.shadow import MirrorPolicy, compile_mirrors

if TYPE_CHECKING:
    from proxeny.http.filter_chain import FilterChain
    from proxeny.http.hash_policy import HashPolicy
    from proxeny.network.factory_context import FactoryContext


class ClusterOverrides:
    """Compiled; only of clusters that have something to say."""

    __slots__ = ("hash_policy", "mirrors", "retry_policy", "upstream_chain")

    def __init__(self) -> None:
        self.upstream_chain: FilterChain | None = None
        self.mirrors: tuple[MirrorPolicy, ...] = ()
        self.retry_policy: RetryPolicy | None = None
        self.hash_policy: HashPolicy | None = None


class ClusterOverridesFactory:
    """The registered factory (kind ``cluster_overrides``)."""

    def compile(self, config: Any, cluster: str, context: FactoryContext) -> ClusterOverrides:
        """``config``: an ``HttpProtocolOptions`` message; ConfigError in Envoy's words."""
        overrides = ClusterOverrides()
        overrides.mirrors = compile_mirrors(config.request_mirror_policies, context)
        if config.HasField("retry_policy"):
            overrides.retry_policy = RetryPolicy.compile(config.retry_policy)
        overrides.hash_policy = compile_hash_policy(config.hash_policy)
        if config.http_filters:
            overrides.upstream_chain = compile_filters(
                config.http_filters, f"cluster.{cluster}.", context, CLUSTER_FILTERS
            )
        return overrides


FACTORY = ClusterOverridesFactory()
