"""DnsCacheConfig compiled; refused in Envoy's words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.upstream import dns_resolver_config
from proxeny.upstream.dns_options import milliseconds
from proxeny.upstream.dns_resolver_config import ResolverOptions

DEFAULT_REFRESH_MS: Final = 60_000
DEFAULT_MIN_REFRESH_MS: Final = 5_000
DEFAULT_HOST_TTL_MS: Final = 300_000
DEFAULT_QUERY_TIMEOUT_MS: Final = 5_000
DEFAULT_MAX_HOSTS: Final = 1024
DEFAULT_MAX_PENDING: Final = 1024
"""DnsCacheConfig and DnsCacheCircuitBreakers."""


@dataclass(slots=True, frozen=True)
class DnsCacheOptions:
    """One cache's settings; times in milliseconds."""

    name: str
    family: int
    """A Cluster.DnsLookupFamily."""
    resolver: ResolverOptions | None = None
    """None: the server's."""
    refresh_ms: int = DEFAULT_REFRESH_MS
    """Until a name without addresses is resolved again; others go by their TTL."""
    failure_base_ms: int = 0
    """0: failures wait ``refresh_ms``."""
    failure_max_ms: int = 0
    min_refresh_ms: int = DEFAULT_MIN_REFRESH_MS
    host_ttl_ms: int = DEFAULT_HOST_TTL_MS
    query_timeout_ms: int = DEFAULT_QUERY_TIMEOUT_MS
    """0: none."""
    max_hosts: int = DEFAULT_MAX_HOSTS
    max_pending: int = DEFAULT_MAX_PENDING
    refresh_failures: bool = True
    """Whether a name that failed is resolved again by itself; if not, the next request does it."""
    preresolve: tuple[tuple[str, int], ...] = ()
    """Hosts and ports to resolve at the start."""


def compile(config: Any) -> DnsCacheOptions:
    """From an ``envoy.extensions.common.dynamic_forward_proxy.v3.DnsCacheConfig``; ConfigError."""
    max_hosts = config.max_hosts.value if config.HasField("max_hosts") else DEFAULT_MAX_HOSTS
    if len(config.preresolve_hostnames) > max_hosts:
        raise ConfigError(
            f"DNS Cache [{config.name}] configured with preresolve_hostnames={len(config.preresolve_hostnames)} "
            f"larger than max_hosts={max_hosts}"
        )
    if config.HasField("key_value_config"):
        raise UnsupportedFieldError(f"key_value_config is not supported yet (DNS cache '{config.name}')")
    breaker = config.dns_cache_circuit_breaker
    base, largest = _failure_refresh(config)
    has_limit = breaker.HasField("max_pending_requests")
    return DnsCacheOptions(
        name=config.name,
        family=config.dns_lookup_family,
        resolver=_resolver(config),
        refresh_ms=_milliseconds(config, "dns_refresh_rate", DEFAULT_REFRESH_MS),
        failure_base_ms=base,
        failure_max_ms=largest,
        min_refresh_ms=_milliseconds(config, "dns_min_refresh_rate", DEFAULT_MIN_REFRESH_MS),
        host_ttl_ms=_milliseconds(config, "host_ttl", DEFAULT_HOST_TTL_MS),
        query_timeout_ms=_milliseconds(config, "dns_query_timeout", DEFAULT_QUERY_TIMEOUT_MS),
        max_hosts=max_hosts,
        max_pending=breaker.max_pending_requests.value if has_limit else DEFAULT_MAX_PENDING,
        refresh_failures=not config.disable_dns_refresh_on_failure,
        preresolve=tuple([(host.address, host.port_value) for host in config.preresolve_hostnames]),
    )


def _failure_refresh(config: Any) -> tuple[int, int]:
    """The first and the longest wait after failures."""
    if not config.HasField("dns_failure_refresh_rate"):
        return 0, 0
    rate = config.dns_failure_refresh_rate
    base = milliseconds(rate.base_interval)
    # Unlike for clusters, Envoy takes a longest wait below the first.
    return base, milliseconds(rate.max_interval) if rate.HasField("max_interval") else base * 10


def _resolver(config: Any) -> ResolverOptions | None:
    if config.HasField("typed_dns_resolver_config") or config.HasField("dns_resolution_config"):
        return dns_resolver_config.select(config)
    return dns_resolver_config.select(config) if config.use_tcp_for_dns_lookups else None


def _milliseconds(config: Any, field: str, default: int) -> int:
    return milliseconds(getattr(config, field)) if config.HasField(field) else default
