"""``envoy.clusters.dynamic_forward_proxy``: a request goes to the host that it names, resolved by a DNS cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.config.loader import unpack_any
from proxeny.extensions.clusters.dynamic_forward_proxy import sub_clusters
from proxeny.extensions.clusters.dynamic_forward_proxy.absent_host import ABSENT_STAT_INDEX
from proxeny.extensions.clusters.dynamic_forward_proxy.load_balancer import DynamicLoadBalancer
from proxeny.extensions.clusters.dynamic_forward_proxy.members import DynamicMembers
from proxeny.extensions.clusters.dynamic_forward_proxy.sub_clusters import (
    SubClusterDiscovery,
    SubClusterLoadBalancer,
    SubClusterOptions,
)
from proxeny.upstream import http_protocol_options
from proxeny.upstream.discovery import Compiled, PlainClusterFactory
from proxeny.upstream.dns_cache.caches import MainDnsCaches, WorkerDnsCaches

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.cluster_config import ClusterConfig
    from proxeny.upstream.discovery import ClusterLoadBalancer, Discovery, DiscoveryOwner, WorkerSeat
    from proxeny.upstream.dns_cache.worker_cache import WorkerDnsCache

_OLD_OPTIONS: Final = "upstream_http_protocol_options"


@dataclass(slots=True)
class DynamicForwardProxyOptions:
    """Which DNS cache, or what sub-clusters."""

    cache_name: str
    cache: WorkerDnsCache | None = None
    """In a worker: the copy."""
    sub_clusters: SubClusterOptions | None = None
    proto: Any = None
    """In main: what sub-clusters are made after."""


class DynamicForwardProxyFactory(PlainClusterFactory):
    """The type of clusters."""

    def compile(self, cluster: Any, present: dict[str, Any], context: FactoryContext) -> Compiled:
        """ConfigError in Envoy's words."""
        config: Any = unpack_any(cluster.cluster_type.typed_config)
        if _OLD_OPTIONS not in present:
            cluster = _with_names_of_hosts(cluster)
            present[_OLD_OPTIONS] = cluster.upstream_http_protocol_options
        if context.role == "worker":
            cache = WorkerDnsCaches.of(context).add(config.dns_cache_config)
            options = DynamicForwardProxyOptions(cache.options.name, cache)
        else:
            settings = MainDnsCaches.of(context).add(config.dns_cache_config)
            options = DynamicForwardProxyOptions(settings.name, proto=cluster)
        if not config.allow_insecure_cluster_options and not _is_secure(present):
            raise ConfigError(
                "dynamic_forward_proxy cluster must have auto_sni and auto_san_validation true unless "
                "allow_insecure_cluster_options is set."
            )
        if config.HasField("sub_clusters_config"):
            options.sub_clusters = sub_clusters.compile(config.sub_clusters_config, cluster.name, context)
        # One block for what an absent host counts; no real one has this number.
        return Compiled(options, host_blocks=ABSENT_STAT_INDEX + 1)

    def discovery(self, config: ClusterConfig, owner: DiscoveryOwner) -> Discovery:
        """Main's list of hosts, or of sub-clusters."""
        options = config.options
        if options.sub_clusters is not None:
            return SubClusterDiscovery(options.proto, options.sub_clusters, owner)
        return DynamicMembers(config.info, MainDnsCaches.of(owner.context).find(config.options.cache_name), owner)

    def load_balancer(self, config: ClusterConfig, seat: WorkerSeat) -> ClusterLoadBalancer:
        """A worker's choice among them."""
        options = config.options
        if options.sub_clusters is not None:
            return SubClusterLoadBalancer(config, options.sub_clusters, seat.dispatcher.monotonic_ns)
        return DynamicLoadBalancer(config.info, config.options.cache, seat.dispatcher.monotonic_ns)


def _with_names_of_hosts(cluster: Any) -> Any:
    """Where the older options are absent, connections ask for, and expect, the names of their hosts, as in Envoy; typed
    ones take precedence over that.
    """
    made = type(cluster)()
    made.CopyFrom(cluster)
    made.upstream_http_protocol_options.auto_sni = True
    made.upstream_http_protocol_options.auto_san_validation = True
    return made


def _is_secure(present: dict[str, Any]) -> bool:
    """Whether server names and certificates follow the hosts."""
    options = http_protocol_options.names_of(present)
    return options is not None and bool(options.auto_sni and options.auto_san_validation)


FACTORY = DynamicForwardProxyFactory(provides_lb=True)
