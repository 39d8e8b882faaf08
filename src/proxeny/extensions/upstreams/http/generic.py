"""``envoy.filters.connection_pools.http.generic``: HTTP to the upstream, or plain bytes for a tunnel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.extensions.upstreams.http.tcp import TcpUpstreamPool

if TYPE_CHECKING:
    from proxeny.router.filter import RouterFilter
    from proxeny.upstream.host import Host
    from proxeny.upstream.thread_local_cluster import ThreadLocalCluster


class GenericPoolFactory:
    """The default of every cluster."""

    def pool(self, cluster: ThreadLocalCluster, host: Host, tunnel: bool, router: RouterFilter) -> Any:
        """Where the request gets its stream: ``new_stream(response_decoder, callbacks)``, as an HTTP pool's."""
        if tunnel:
            return TcpUpstreamPool(cluster, host, router)
        options = router.decoder_callbacks.upstream_options
        return cluster.http_pool(host, router.entry.policy.priority, router.stream_info.protocol, options, router)


FACTORY = GenericPoolFactory()
