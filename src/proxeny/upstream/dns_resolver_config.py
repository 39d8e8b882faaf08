"""Which DNS resolver a configuration asks for (Envoy: ``dns_factory_util``), as plain data; nothing is opened here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.config.loader import duration_ms, unpack_any
from proxeny.upstream.endpoints import socket_address_pair

_PACKAGE: Final = "envoy.extensions.network.dns_resolver"
_CARES: Final = f"{_PACKAGE}.cares.v3.CaresDnsResolverConfig"
_GETADDRINFO: Final = f"{_PACKAGE}.getaddrinfo.v3.GetAddrInfoDnsResolverConfig"
_HICKORY: Final = f"{_PACKAGE}.hickory.v3.HickoryDnsResolverConfig"
CARES_TIMEOUT_MS: Final = 5000
"""CaresDnsResolverConfig.query_timeout_seconds; c-ares by itself waits 2 s."""
CARES_TRIES: Final = 4
"""CaresDnsResolverConfig.query_tries; c-ares by itself makes 3."""


@dataclass(slots=True, frozen=True)
class CaresOptions:
    """``CaresDnsResolverConfig``; equal options may share a resolver."""

    servers: tuple[str, ...] = ()
    """``ip:port`` of the name servers; empty: the system's (resolv.conf)."""
    use_tcp: bool = False
    no_search: bool = False
    servers_as_fallback: bool = False
    """Use ``servers`` only where the system names none."""
    filter_unroutable: bool = False
    udp_max_queries: int = 0
    timeout_ms: int = CARES_TIMEOUT_MS
    tries: int = CARES_TRIES
    rotate: bool = False
    edns_payload: int = 0
    """0: c-ares' own size."""
    channel_ms: int = 0
    """A channel of this age is replaced; 0: never."""
    reinit_on_timeout: bool = False


@dataclass(slots=True, frozen=True)
class GetAddrInfoOptions:
    """``GetAddrInfoDnsResolverConfig``."""

    retries: int | None = None
    """None: a lookup that fails for the moment (EAI_AGAIN) is repeated until it does not."""
    threads: int = 1


ResolverOptions = CaresOptions | GetAddrInfoOptions


def from_typed(typed: Any) -> ResolverOptions:
    """A ``typed_dns_resolver_config``; ConfigError in Envoy's words, UnsupportedFieldError for what is not served."""
    type_name = typed.typed_config.type_url.rpartition("/")[2]
    if type_name == _CARES:
        return _cares(unpack_any(typed.typed_config))
    if type_name == _GETADDRINFO:
        return _getaddrinfo(unpack_any(typed.typed_config))
    if type_name == _HICKORY:
        raise UnsupportedFieldError(f"DNS resolver '{typed.name}' ({type_name}) is not supported")
    raise ConfigError(
        f"Didn't find a registered implementation for '{typed.name}' with type URL: '{type_name}'",
    )


def select(config: Any) -> ResolverOptions:
    """What a message says of its resolver: ``typed_dns_resolver_config``, else ``dns_resolution_config``, else
    ``use_tcp_for_dns_lookups`` and ``dns_resolvers`` where it has them."""
    fields = {field.name: value for field, value in config.ListFields()}
    typed = fields.get("typed_dns_resolver_config")
    if typed is not None and typed.typed_config.type_url:
        return from_typed(typed)
    resolution = fields.get("dns_resolution_config")
    if resolution is not None:
        options = resolution.dns_resolver_options
        return CaresOptions(
            servers=_addresses(resolution.resolvers),
            use_tcp=options.use_tcp_for_dns_lookups,
            no_search=options.no_default_search_domain,
        )
    return CaresOptions(
        servers=_addresses(fields.get("dns_resolvers", ())), use_tcp=bool(fields.get("use_tcp_for_dns_lookups"))
    )


def default(bootstrap: Any) -> ResolverOptions:
    """The server's resolver, which all use that name no other."""
    return CaresOptions() if bootstrap is None else select(bootstrap)


def of_cluster(cluster: Any) -> ResolverOptions | None:
    """A cluster's own resolver, where its (legacy) fields name name servers or a type; None: the server's."""
    if (
        cluster.typed_dns_resolver_config.typed_config.type_url
        or cluster.dns_resolution_config.resolvers
        or cluster.dns_resolvers
    ):
        return select(cluster)
    return None


def of_dns_filter(client: Any) -> ResolverOptions:
    """A DNS filter's resolver (``client_config``)."""
    if client.HasField("typed_dns_resolver_config") or client.HasField("dns_resolution_config"):
        return select(client)
    return CaresOptions(servers=_addresses(client.upstream_resolvers))


def _cares(config: Any) -> CaresOptions:
    options = config.dns_resolver_options
    return CaresOptions(
        servers=_addresses(config.resolvers),
        use_tcp=options.use_tcp_for_dns_lookups,
        no_search=options.no_default_search_domain,
        servers_as_fallback=config.use_resolvers_as_fallback,
        filter_unroutable=config.filter_unroutable_families,
        udp_max_queries=config.udp_max_queries.value,
        timeout_ms=config.query_timeout_seconds.value * 1000 or CARES_TIMEOUT_MS,
        tries=config.query_tries.value or CARES_TRIES,
        rotate=config.rotate_nameservers,
        edns_payload=config.edns0_max_payload_size.value,
        channel_ms=duration_ms(config.max_udp_channel_duration),
        reinit_on_timeout=config.reinit_channel_on_timeout,
    )


def _getaddrinfo(config: Any) -> GetAddrInfoOptions:
    return GetAddrInfoOptions(
        retries=config.num_retries.value if config.HasField("num_retries") else None,
        threads=max(config.num_resolver_threads.value, 1),
    )


def _addresses(resolvers: Any) -> tuple[str, ...]:
    servers = []
    for resolver in resolvers:
        if resolver.WhichOneof("address") == "pipe":
            raise ConfigError(f"DNS resolver '{resolver.pipe.path}' is not an IP address")
        ip, port = socket_address_pair(resolver.socket_address)
        servers.append(f"[{ip}]:{port or 53}" if ":" in ip else f"{ip}:{port or 53}")
    return tuple(servers)
