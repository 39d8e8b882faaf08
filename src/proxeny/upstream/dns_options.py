"""The DNS settings of a cluster, from its own (legacy) fields or from the ``envoy.cluster.dns`` extension."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from proxeny.config.errors import ConfigError
from proxeny.upstream import dns_resolver_config
from proxeny.upstream.dns_resolver_config import ResolverOptions

AUTO: Final = 0
V4_ONLY: Final = 1
V6_ONLY: Final = 2
V4_PREFERRED: Final = 3
ALL: Final = 4
"""Cluster.DnsLookupFamily."""

_COMMON_FAMILY: Final = {0: AUTO, 1: AUTO, 2: V4_ONLY, 3: V6_ONLY, 4: V4_PREFERRED, 5: ALL}
"""extensions.clusters.common.dns.v3.DnsLookupFamily numbers them differently."""


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
    resolver: ResolverOptions | None = None
    """None: the server's default resolver."""


def milliseconds(duration: Any) -> int:
    """A google.protobuf.Duration in whole milliseconds."""
    return int(duration.seconds * 1000 + duration.nanos // 1_000_000)


def from_cluster(cluster: Any) -> DnsOptions:
    """The settings in the cluster's own fields."""
    return _build(cluster, cluster.dns_lookup_family, dns_resolver_config.of_cluster(cluster))


def from_extension(config: Any) -> DnsOptions:
    """The settings of an ``envoy.extensions.clusters.dns.v3.DnsCluster``."""
    typed = config.typed_dns_resolver_config
    resolver = dns_resolver_config.from_typed(typed) if typed.typed_config.type_url else None
    return _build(config, _COMMON_FAMILY.get(config.dns_lookup_family, AUTO), resolver)


def _build(config: Any, family: int, resolver: ResolverOptions | None) -> DnsOptions:
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
        resolver=resolver,
    )
