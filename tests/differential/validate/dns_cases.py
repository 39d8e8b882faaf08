"""DNS clusters and resolvers, hosts of several addresses."""
# ruff: noqa: E501 - a case is a line

from tests.differential.validate.corpus import TYPE, Verdict, bootstrap, cluster

_RESOLVER = f"{TYPE}/envoy.extensions.network.dns_resolver"
_CARES = "cares.v3.CaresDnsResolverConfig"
_GETADDRINFO = "getaddrinfo.v3.GetAddrInfoDnsResolverConfig"
_SERVER = "{socket_address: {address: 127.0.0.1, port_value: 53}}"

_CONSTRAINT = "Envoy does not hold this message against the constraints of its own API"
_LATER = "Envoy makes the server's resolver only when it serves, not when it validates"


def _host(address: str = "a.test", more: str = "") -> str:
    return f"{{endpoint: {{address: {{socket_address: {{address: '{address}', port_value: 80}}}}{more}}}}}"


def _hosts(*hosts: str, group: str = "") -> str:
    return f"load_assignment: {{cluster_name: one, endpoints: [{{{group}lb_endpoints: [{', '.join(hosts)}]}}]}}"


def _typed(kind: str, fields: str = "") -> str:
    return f'{{name: r, typed_config: {{"@type": {_RESOLVER}.{kind}, {fields}}}}}'


def _resolver(name: str, kind: str, fields: str = "", stricter: str = "") -> Verdict:
    return cluster(
        f"resolver-{name}",
        f"type: STRICT_DNS\ntyped_dns_resolver_config: {_typed(kind, fields)}\n" + _hosts(_host()),
        stricter,
    )


def _extension(name: str, fields: str = "", hosts: str = "", type_name: str = "envoy.cluster.dns") -> Verdict:
    config = f'{{"@type": {TYPE}/envoy.extensions.clusters.dns.v3.DnsCluster, {fields}}}'
    return cluster(
        f"dns-extension-{name}",
        f"cluster_type: {{name: {type_name}, typed_config: {config}}}\n" + (hosts or _hosts(_host())),
    )


def _additional(name: str, *addresses: str, main: str = "127.0.0.1", kind: str = "STATIC") -> Verdict:
    more = ", ".join(f"{{address: {address}}}" for address in addresses)
    return cluster(f"additional-{name}", f"type: {kind}\n" + _hosts(_host(main, f", additional_addresses: [{more}]")))


def _socket(address: str) -> str:
    return f"{{socket_address: {{address: '{address}', port_value: 80}}}}"


def _eyes(name: str, fields: str) -> Verdict:
    return cluster(f"happy-eyeballs-{name}", f"upstream_connection_options: {{happy_eyeballs_config: {{{fields}}}}}")


CASES = [
    _resolver("cares", _CARES),
    _resolver(
        "cares-all",
        _CARES,
        f"resolvers: [{_SERVER}], use_resolvers_as_fallback: true, filter_unroutable_families: true, dns_resolver_options: {{use_tcp_for_dns_lookups: true, no_default_search_domain: true}}, udp_max_queries: 10, query_timeout_seconds: 2, query_tries: 3, rotate_nameservers: true, edns0_max_payload_size: 4096, max_udp_channel_duration: 10s, reinit_channel_on_timeout: true",
    ),
    _resolver("cares-port-zero", _CARES, "resolvers: [{socket_address: {address: 127.0.0.1, port_value: 0}}]"),
    _resolver("cares-v6", _CARES, "resolvers: [{socket_address: {address: '::1', port_value: 53}}]"),
    _resolver("cares-pipe", _CARES, "resolvers: [{pipe: {path: /tmp/x}}]"),
    _resolver("cares-name", _CARES, "resolvers: [{socket_address: {address: ns.test, port_value: 53}}]"),
    _resolver("cares-edns-too-big", _CARES, "edns0_max_payload_size: 5000", _CONSTRAINT),
    _resolver("cares-edns-too-small", _CARES, "edns0_max_payload_size: 100", _CONSTRAINT),
    _resolver("cares-no-tries", _CARES, "query_tries: 0", _CONSTRAINT),
    _resolver("cares-no-time", _CARES, "query_timeout_seconds: 0", _CONSTRAINT),
    _resolver("cares-no-queries", _CARES, "udp_max_queries: 0"),
    _resolver("cares-unknown-field", _CARES, "nothing: 1"),
    _resolver("getaddrinfo", _GETADDRINFO),
    _resolver("getaddrinfo-all", _GETADDRINFO, "num_retries: 0, num_resolver_threads: 4"),
    _resolver("getaddrinfo-no-threads", _GETADDRINFO, "num_resolver_threads: 0"),
    _resolver("apple", "apple.v3.AppleDnsResolverConfig"),
    cluster("resolver-empty", "type: STRICT_DNS\ntyped_dns_resolver_config: {name: r}\n" + _hosts(_host())),
    cluster(
        "resolver-of-static",
        "typed_dns_resolver_config: " + _typed("apple.v3.AppleDnsResolverConfig"),
        "nobody asks for it",
    ),
    cluster("resolution-config", f"type: STRICT_DNS\ndns_resolution_config: {{resolvers: [{_SERVER}]}}"),
    cluster("resolution-config-empty", "type: STRICT_DNS\ndns_resolution_config: {resolvers: []}"),
    cluster("resolution-config-pipe", "type: STRICT_DNS\ndns_resolution_config: {resolvers: [{pipe: {path: /x}}]}"),
    cluster("dns-resolvers-pipe", "type: STRICT_DNS\ndns_resolvers: [{pipe: {path: /tmp/x}}]"),
    cluster("dns-tcp", "type: LOGICAL_DNS\nuse_tcp_for_dns_lookups: true\n" + _hosts(_host())),
    bootstrap("resolver-of-the-server", f"typed_dns_resolver_config: {_typed(_CARES, f'resolvers: [{_SERVER}]')}"),
    bootstrap(
        "resolver-of-the-server-unknown",
        f"typed_dns_resolver_config: {_typed('apple.v3.AppleDnsResolverConfig')}",
        _LATER,
    ),
    bootstrap(
        "resolver-of-the-server-pipe",
        f"typed_dns_resolver_config: {_typed(_CARES, 'resolvers: [{pipe: {path: /x}}]')}",
        _LATER,
    ),
    bootstrap("resolution-of-the-server", f"dns_resolution_config: {{resolvers: [{_SERVER}]}}"),
    bootstrap("resolver-of-the-server-tcp", "use_tcp_for_dns_lookups: true"),
    cluster("logical-dns-priority", "type: LOGICAL_DNS\n" + _hosts(_host(), group="priority: 3, ")),
    cluster("strict-dns-priority", "type: STRICT_DNS\n" + _hosts(_host(), group="priority: 3, ")),
    cluster("strict-dns-many", "type: STRICT_DNS\n" + _hosts(_host(), _host("b.test"), _host("a.test"))),
    cluster(
        "logical-dns-resolver-name",
        "type: LOGICAL_DNS\n"
        + _hosts("{endpoint: {address: {socket_address: {address: a, port_value: 1, resolver_name: x}}}}"),
    ),
    cluster("dns-jitter-negative", "type: STRICT_DNS\ndns_jitter: -1s"),
    cluster("dns-failure-base-zero", "type: STRICT_DNS\ndns_failure_refresh_rate: {base_interval: 0s}"),
    cluster("dns-failure", "type: STRICT_DNS\ndns_failure_refresh_rate: {base_interval: 1s, max_interval: 1s}"),
    _extension("plain"),
    _extension("other-name", type_name="anything"),
    _extension("single", "all_addresses_in_single_endpoint: true"),
    _extension("single-without-hosts", "all_addresses_in_single_endpoint: true", "connect_timeout: 1s"),
    _extension("single-of-two", "all_addresses_in_single_endpoint: true", _hosts(_host(), _host("b.test"))),
    _extension("without-hosts", "", "connect_timeout: 1s"),
    _extension("refresh-zero", "dns_refresh_rate: 0s"),
    _extension("failure-order", "dns_failure_refresh_rate: {base_interval: 5s, max_interval: 1s}"),
    _extension("resolver", f"typed_dns_resolver_config: {_typed(_GETADDRINFO)}"),
    _extension("resolver-unknown", f"typed_dns_resolver_config: {_typed('apple.v3.AppleDnsResolverConfig')}"),
    cluster("dns-extension-untyped", "cluster_type: {name: envoy.cluster.dns}\n" + _hosts(_host())),
    cluster("dns-extension-strict-by-name", "cluster_type: {name: envoy.cluster.strict_dns}\n" + _hosts(_host())),
    cluster("dns-extension-unknown-name", "cluster_type: {name: envoy.clusters.dns}\n" + _hosts(_host())),
    _additional("plain", _socket("127.0.0.2"), _socket("::1")),
    _additional("name", _socket("b.test")),
    _additional("pipe", "{pipe: {path: /tmp/b}}"),
    _additional("empty", "{}"),
    _additional("missing-address", "null"),
    _additional("of-a-name", _socket("127.0.0.2"), main="a.test", kind="STRICT_DNS"),
    _additional("of-a-name-another-name", _socket("b.test"), main="a.test", kind="STRICT_DNS"),
    _eyes("plain", ""),
    _eyes("six", "first_address_family_version: V6, first_address_family_count: 2"),
    _eyes("none", "first_address_family_count: 0"),
    _eyes("unknown", "first_address_family_version: V5"),
]
