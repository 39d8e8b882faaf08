"""``envoy.filters.connection_pools.http.http``: HTTP to the upstream, tunnels too: a proxy is there that ends them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from proxeny.router.filter import RouterFilter
    from proxeny.upstream.host import Host
    from proxeny.upstream.thread_local_cluster import ThreadLocalCluster


class HttpPoolFactory:
    """Never plain bytes."""

    def pool(self, cluster: ThreadLocalCluster, host: Host, tunnel: bool, router: RouterFilter) -> Any:
        """As GenericPoolFactory."""
        options = router.decoder_callbacks.upstream_options
        return cluster.http_pool(host, router.entry.policy.priority, router.stream_info.protocol, options, router)


FACTORY = HttpPoolFactory()
