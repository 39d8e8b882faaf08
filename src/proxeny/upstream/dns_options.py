"""The DNS settings of a cluster, from its own (legacy) fields or from the ``envoy.clusters.dns`` extension."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.config.loader import unpack_any
from proxeny.upstream.endpoints import socket_address_pair

AUTO: Final = 0
V4_ONLY: Final = 1
V6_ONLY: Final = 2
V4_PREFERRED: Final = 3
ALL: Final = 4
"""Cluster.DnsLookupFamily."""

_COMMON_FAMILY: Final = {0: AUTO, 1: AUTO, 2: V4_ONLY, 3: V6_ONLY, 4: V4_PREFERRED, 5: ALL}
"""extensions.clusters.common.dns.v3.DnsLookupFamily numbers them differently."""

_CARES: Final = "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"


@dataclass(slots=True, frozen=True)
class DnsOptions:
    """How a cluster's names are resolved, and how often; times in milliseconds."""

    refresh_ms: int = 5000
    failure_base_ms: int = 0
    """0: no failure refresh rate was given, failures wait ``refresh_ms`` too."""
    failure_max_ms: int = 0
    jitter_ms: int = 0
    respect_ttl: bool = False
    family: int = AUTO
    servers: tuple[str, ...] = ()
    """``ip:port`` of the resolvers; empty: the system's (resolv.conf)."""
    use_tcp: bool = False
    no_search: bool = False


def milliseconds(duration: Any) -> int:
    """A google.protobuf.Duration in whole milliseconds."""
    return int(duration.seconds * 1000 + duration.nanos // 1_000_000)


def from_cluster(cluster: Any) -> DnsOptions:
    """The settings in the cluster's own fields."""
    return _build(cluster, cluster.dns_lookup_family, _servers(cluster))


def from_extension(config: Any, cluster: Any) -> DnsOptions:
    """The settings of an ``envoy.extensions.clusters.dns.v3.DnsCluster``."""
    servers = _typed_servers(config.typed_dns_resolver_config) if config.HasField("typed_dns_resolver_config") else None
    return _build(config, _COMMON_FAMILY.get(config.dns_lookup_family, AUTO), servers or _servers(cluster))


def from_client(config: Any) -> DnsOptions:
    """The settings of a DNS filter's ``client_config``."""
    servers, use_tcp, no_search = _addresses(config.upstream_resolvers), False, False
    if config.HasField("typed_dns_resolver_config") or config.HasField("dns_resolution_config"):
        servers, use_tcp, no_search = _servers(config)
    return DnsOptions(servers=servers, use_tcp=use_tcp, no_search=no_search)


def _build(config: Any, family: int, servers: tuple[tuple[str, ...], bool, bool]) -> DnsOptions:
    refresh = milliseconds(config.dns_refresh_rate) if config.HasField("dns_refresh_rate") else 5000
    base = largest = 0
    if config.HasField("dns_failure_refresh_rate"):
        rate = config.dns_failure_refresh_rate
        base = milliseconds(rate.base_interval)
        largest = milliseconds(rate.max_interval) if rate.HasField("max_interval") else base * 10
        if largest < base:
            raise ConfigError(
                "dns_failure_refresh_rate must have max_interval greater than or equal to the base_interval"
            )
    return DnsOptions(
        refresh_ms=refresh,
        failure_base_ms=base,
        failure_max_ms=largest,
        jitter_ms=milliseconds(config.dns_jitter) if config.HasField("dns_jitter") else 0,
        respect_ttl=config.respect_dns_ttl,
        family=family,
        servers=servers[0],
        use_tcp=servers[1],
        no_search=servers[2],
    )


def _servers(cluster: Any) -> tuple[tuple[str, ...], bool, bool]:
    """Resolver addresses, use TCP, no default search domain: the typed config counts before the deprecated fields."""
    if cluster.HasField("typed_dns_resolver_config"):
        return _typed_servers(cluster.typed_dns_resolver_config)
    if cluster.HasField("dns_resolution_config"):
        config = cluster.dns_resolution_config
        options = config.dns_resolver_options
        return _addresses(config.resolvers), options.use_tcp_for_dns_lookups, options.no_default_search_domain
    return _addresses(cluster.dns_resolvers), cluster.use_tcp_for_dns_lookups, False


def _typed_servers(typed: Any) -> tuple[tuple[str, ...], bool, bool]:
    type_name = typed.typed_config.type_url.rpartition("/")[2]
    if type_name.endswith("GetAddrInfoDnsResolverConfig"):
        return (), False, False
    if type_name != _CARES:
        raise UnsupportedFieldError(f"DNS resolver '{typed.name}' ({type_name}) is not supported")
    config: Any = unpack_any(typed.typed_config)
    options = config.dns_resolver_options
    return _addresses(config.resolvers), options.use_tcp_for_dns_lookups, options.no_default_search_domain


def _addresses(resolvers: Any) -> tuple[str, ...]:
    servers = []
    for resolver in resolvers:
        ip, port = socket_address_pair(resolver.socket_address)
        servers.append(f"[{ip}]:{port or 53}" if ":" in ip else f"{ip}:{port or 53}")
    return tuple(servers)
