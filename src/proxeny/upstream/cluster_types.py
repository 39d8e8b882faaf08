"""The cluster types of Envoy's enum, and how the type of a cluster is found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.config.loader import unpack_any
from proxeny.registry import REGISTRY
from proxeny.upstream import dns_options, original_dst_config
from proxeny.upstream.discovery import ClusterType, Compiled, PlainClusterFactory
from proxeny.upstream.dns_cluster import DnsCluster
from proxeny.upstream.eds_cluster import ASSIGNMENT_TYPE, EdsCluster, EdsOptions
from proxeny.upstream.endpoints import parse_dns, parse_static
from proxeny.upstream.original_dst import OriginalDstHosts
from proxeny.xds.config_source import check_node, is_passed_over, is_path

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.cluster_config import ClusterConfig
    from proxeny.upstream.discovery import ClusterFactory, ClusterLoadBalancer, Discovery, DiscoveryOwner, WorkerSeat
    from proxeny.upstream.dns_options import DnsOptions
    from proxeny.upstream.endpoints import DnsTarget, HostEntry

_BY_NUMBER: Final = ("STATIC", "STRICT_DNS", "LOGICAL_DNS", "EDS", "ORIGINAL_DST")
_DNS_CLUSTER: Final = "envoy.extensions.clusters.dns.v3.DnsCluster"


class StaticClusterFactory(PlainClusterFactory):
    """STATIC: the hosts are in the configuration."""

    def compile(self, cluster: Any, present: dict[str, Any], context: FactoryContext) -> Compiled:
        endpoints = present.get("load_assignment")
        return Compiled(hosts=[] if endpoints is None else parse_static(endpoints))


@dataclass(slots=True)
class DnsClusterOptions:
    """How the names (and pipes) of a DNS cluster are resolved."""

    dns: DnsOptions
    targets: list[DnsTarget | HostEntry]


class DnsClusterFactory(PlainClusterFactory):
    """STRICT_DNS and LOGICAL_DNS."""

    def compile(self, cluster: Any, present: dict[str, Any], context: FactoryContext) -> Compiled:
        custom = present.get("cluster_type")
        if custom is not None and _type_name(custom) == _DNS_CLUSTER:
            dns = dns_options.from_extension(unpack_any(custom.typed_config))
        else:
            dns = dns_options.from_cluster(cluster)
        return Compiled(DnsClusterOptions(dns, self._targets(present.get("load_assignment"))))

    def _targets(self, assignment: Any) -> list[DnsTarget | HostEntry]:
        if self.type is ClusterType.STRICT_DNS:
            return parse_dns(assignment, "STRICT_DNS") if assignment is not None else []
        if assignment is None:
            raise ConfigError("LOGICAL_DNS clusters must have a single host")
        if len(assignment.endpoints) != 1 or len(assignment.endpoints[0].lb_endpoints) != 1:
            raise ConfigError("LOGICAL_DNS clusters must have a single locality_lb_endpoint and a single lb_endpoint")
        return parse_dns(assignment, "LOGICAL_DNS")

    def discovery(self, config: ClusterConfig, owner: DiscoveryOwner) -> Discovery | None:
        return DnsCluster(config, owner)


class OriginalDstClusterFactory(PlainClusterFactory):
    """ORIGINAL_DST: workers make a host of every destination that they meet."""

    def compile(self, cluster: Any, present: dict[str, Any], context: FactoryContext) -> Compiled:
        return Compiled(original_dst_config.compile(cluster, present))

    def load_balancer(self, config: ClusterConfig, seat: WorkerSeat) -> ClusterLoadBalancer | None:
        return OriginalDstHosts(config.info, config.options, seat.dispatcher, seat.worker_index, seat.report)


_STRICT_DNS: Final = DnsClusterFactory(ClusterType.STRICT_DNS)
_LOGICAL_DNS: Final = DnsClusterFactory(ClusterType.LOGICAL_DNS)


class EdsClusterFactory(PlainClusterFactory):
    """EDS: the hosts are a resource of their own."""

    def compile(self, cluster: Any, present: dict[str, Any], context: FactoryContext) -> Compiled:
        config = present.get("eds_cluster_config")
        if config is None:
            raise ConfigError("cannot create an EDS cluster without an EDS config")
        source = config.eds_config
        if context.role == "main" and not is_passed_over(source, context.options):
            if context.local_info.node is not None:
                check_node(context.local_info.node, ASSIGNMENT_TYPE)
            if context.xds is not None:
                context.xds.check_source(source)
        options = EdsOptions(config.service_name or cluster.name, config.service_name, source)
        return Compiled(options, is_secondary=not is_path(source))

    def discovery(self, config: ClusterConfig, owner: DiscoveryOwner) -> Discovery | None:
        options = owner.context.options
        return None if is_passed_over(config.options.source, options) else EdsCluster(config, owner)


_BY_NAME: Final[dict[str, ClusterFactory]] = {
    "STATIC": StaticClusterFactory(ClusterType.STATIC),
    "STRICT_DNS": _STRICT_DNS,
    "LOGICAL_DNS": _LOGICAL_DNS,
    "EDS": EdsClusterFactory(ClusterType.EDS),
    "ORIGINAL_DST": OriginalDstClusterFactory(ClusterType.ORIGINAL_DST, provides_lb=True),
}
_BY_EXTENSION: Final = {
    "envoy.cluster.static": "STATIC",
    "envoy.cluster.strict_dns": "STRICT_DNS",
    "envoy.cluster.logical_dns": "LOGICAL_DNS",
    "envoy.cluster.dns": "STRICT_DNS",
    "envoy.cluster.eds": "EDS",
    original_dst_config.EXTENSION_NAME: "ORIGINAL_DST",
}


def factory_of(cluster: Any, present: dict[str, Any]) -> ClusterFactory:
    """The type of a Cluster message whose set fields are ``present``; ConfigError for one that is not known."""
    name = _BY_NUMBER[cluster.type]
    if name != "EDS" and "eds_cluster_config" in present:
        # Also where ``cluster_type`` names the extension of EDS, as in Envoy.
        raise ConfigError("eds_cluster_config set in a non-EDS cluster")
    custom = present.get("cluster_type")
    return _BY_NAME[name] if custom is None else _of_extension(custom)


def type_text(cluster: Any) -> str:
    """The type as errors name it."""
    return cluster.cluster_type.name or f"envoy.cluster.{_BY_NUMBER[cluster.type].lower()}"


def _of_extension(custom: Any) -> ClusterFactory:
    type_name = _type_name(custom)
    if type_name == _DNS_CLUSTER:
        # As Envoy: the type of the configuration counts, whatever the name.
        config: Any = unpack_any(custom.typed_config)
        return _LOGICAL_DNS if config.all_addresses_in_single_endpoint else _STRICT_DNS
    name = _BY_EXTENSION.get(custom.name)
    if name is not None:
        return _BY_NAME[name]
    for key, kind in ((custom.name, type_name), (custom.name, "")):
        if REGISTRY.knows("cluster", key, kind):
            factory: ClusterFactory = REGISTRY.factory("cluster", key, kind)
            return factory
    raise UnsupportedFieldError(f"Didn't find a registered cluster factory implementation for name: '{custom.name}'")


def _type_name(custom: Any) -> str:
    return str(custom.typed_config.type_url.rpartition("/")[2])
