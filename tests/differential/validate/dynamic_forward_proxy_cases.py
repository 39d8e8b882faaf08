"""Dynamic forward proxies: caches, clusters and filters; cluster types that are not served."""
# ruff: noqa: E501 - a case is a line

from tests.differential.validate.corpus import TYPE, Verdict

_EXTENSIONS = f"{TYPE}/envoy.extensions"
_CACHE = "dns_cache_config: {name: foo}"
_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_TCP = f'{{name: tcp, typed_config: {{"@type": {_EXTENSIONS}.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: p, cluster: c}}}}'


def _cluster(config: str = _CACHE, more: str = "", name: str = "c", policy: str = "CLUSTER_PROVIDED") -> str:
    typed = f'"@type": {_EXTENSIONS}.clusters.dynamic_forward_proxy.v3.ClusterConfig'
    typed += f", {config}" if config else ""
    more = f", {more}" if more else ""
    return (
        f"{{name: {name}, lb_policy: {policy}, "
        f"cluster_type: {{name: envoy.clusters.dynamic_forward_proxy, typed_config: {{{typed}}}}}{more}}}"
    )


def clusters(name: str, *listed: str, stricter: str = "") -> Verdict:
    """These clusters."""
    return Verdict(f"dfp-{name}", f"static_resources:\n  clusters: [{', '.join(listed)}]\n", stricter)


def cache(name: str, fields: str, stricter: str = "") -> Verdict:
    """One cluster whose cache has these fields."""
    named = fields if fields.startswith("name:") else f"name: foo, {fields}"
    return clusters(f"cache-{name}", _cluster(f"dns_cache_config: {{{named}}}"), stricter=stricter)


def http(name: str, config: str, per_route: str = "", cluster: str = "") -> Verdict:
    """The HTTP filter, with a route to a cluster."""
    if per_route:
        typed = f'{{"@type": {_EXTENSIONS}.filters.http.dynamic_forward_proxy.v3.PerRouteConfig, {per_route}}}'
        per_route = f", typed_per_filter_config: {{dfp: {typed}}}"
    manager = (
        f'"@type": {_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: p, '
        f'http_filters: [{{name: dfp, typed_config: {{"@type": {_EXTENSIONS}.filters.http.dynamic_forward_proxy.v3.FilterConfig, {config}}}}}, '
        f'{{name: router, typed_config: {{"@type": {_EXTENSIONS}.filters.http.router.v3.Router}}}}], '
        f"route_config: {{virtual_hosts: [{{name: all, domains: ['*'], routes: [{{match: {{prefix: /}}, route: {{cluster: c}}{per_route}}}]}}]}}"
    )
    return _listener(f"http-{name}", f"{{name: hcm, typed_config: {{{manager}}}}}", cluster or _cluster())


def sni(name: str, fields: str) -> Verdict:
    """The filter for server names, before a TCP proxy."""
    typed = f'"@type": {_EXTENSIONS}.filters.network.sni_dynamic_forward_proxy.v3.FilterConfig'
    typed += f", {fields}" if fields else ""
    return _listener(f"sni-{name}", f"{{name: sni, typed_config: {{{typed}}}}}, {_TCP}", _cluster())


def _listener(name: str, filters: str, cluster: str) -> Verdict:
    address = "{socket_address: {address: 127.0.0.1, port_value: 19}}"
    return Verdict(
        f"dfp-{name}",
        f"static_resources:\n  clusters: [{cluster}]\n"
        f"  listeners: [{{name: l, address: {address}, filter_chains: [{{filters: [{filters}]}}]}}]\n",
    )


def _http_options(fields: str) -> str:
    explicit = "explicit_http_config: {http_protocol_options: {}}"
    return f'typed_extension_protocol_options: {{{_OPTIONS}: {{"@type": {TYPE}/{_OPTIONS}, {explicit}{fields}}}}}'


def _custom(name: str, typed: str = "", more: str = "lb_policy: CLUSTER_PROVIDED") -> str:
    typed = f", typed_config: {{{typed}}}" if typed else ""
    return f"{{name: c, cluster_type: {{name: {name}{typed}}}, {more}}}"


SUB = "sub_clusters_config"

CASES: list[Verdict] = [
    clusters("plain", _cluster()),
    clusters("nothing", _cluster("")),
    clusters("two-of-one-cache", _cluster(), _cluster(name="d")),
    clusters("two-caches-of-one-name", _cluster(), _cluster("dns_cache_config: {name: foo, max_hosts: 5}", name="d")),
    clusters("policy", _cluster(policy="ROUND_ROBIN")),
    clusters("type-too", _cluster(more="type: STATIC")),
    clusters("hosts", _cluster(more="load_assignment: {cluster_name: c}")),
    clusters("coalesced", _cluster(f"{_CACHE}, allow_coalesced_connections: true")),
    clusters("not-secure", _cluster(more=_http_options(""))),
    clusters("not-secure-legacy", _cluster(more="upstream_http_protocol_options: {}")),
    clusters("insecure", _cluster(f"{_CACHE}, allow_insecure_cluster_options: true", _http_options(""))),
    clusters("sub", _cluster(f"{SUB}: {{}}")),
    clusters(
        "sub-all",
        _cluster(
            f"{SUB}: {{lb_policy: LEAST_REQUEST, max_sub_clusters: 5, sub_cluster_ttl: 1s, preresolve_clusters: [{{address: a, port_value: 1}}]}}"
        ),
    ),
    clusters("sub-none", _cluster(f"{SUB}: {{max_sub_clusters: 0}}")),
    clusters("sub-no-time", _cluster(f"{SUB}: {{sub_cluster_ttl: 0s}}")),
    clusters("sub-provided", _cluster(f"{SUB}: {{lb_policy: CLUSTER_PROVIDED}}")),
    clusters("sub-policy", _cluster(f"{SUB}: {{lb_policy: 77}}")),
    clusters("both", _cluster(f"{_CACHE}, {SUB}: {{}}")),
    cache("no-name", "name: ''"),
    cache("no-hosts", "max_hosts: 0"),
    cache("no-life", "host_ttl: 0s"),
    cache("short-life", "host_ttl: 0.000001s"),
    cache("refresh-fast", "dns_refresh_rate: 0.0001s"),
    cache("refresh", "dns_refresh_rate: 0.001s"),
    cache("least-rate", "dns_min_refresh_rate: 0.5s"),
    cache("family", "dns_lookup_family: 77"),
    cache(
        "all",
        "dns_lookup_family: ALL, dns_min_refresh_rate: 1s, host_ttl: 1s, max_hosts: 1, disable_dns_refresh_on_failure: true, dns_query_timeout: 0s, dns_cache_circuit_breaker: {max_pending_requests: 0}",
    ),
    cache("failure-rate", "dns_failure_refresh_rate: {base_interval: 2s, max_interval: 1s}"),
    cache("failure-rate-empty", "dns_failure_refresh_rate: {}"),
    cache("failure-rate-fast", "dns_failure_refresh_rate: {base_interval: 0.0001s}"),
    cache("timeout-negative", "dns_query_timeout: -1s"),
    cache("preresolved", "preresolve_hostnames: [{address: localhost, port_value: 1}]"),
    cache(
        "preresolved-too-many",
        "max_hosts: 1, preresolve_hostnames: [{address: a, port_value: 1}, {address: b, port_value: 1}]",
    ),
    cache("preresolved-empty", "preresolve_hostnames: [{address: '', port_value: 1}]"),
    cache("preresolved-port", "preresolve_hostnames: [{address: a, port_value: 65536}]"),
    cache("tcp", "use_tcp_for_dns_lookups: true"),
    cache("servers", "dns_resolution_config: {resolvers: [{socket_address: {address: 127.0.0.1, port_value: 53}}]}"),
    cache("no-servers", "dns_resolution_config: {resolvers: []}"),
    cache("server-name", "dns_resolution_config: {resolvers: [{socket_address: {address: nobody, port_value: 53}}]}"),
    cache(
        "resolver",
        f'typed_dns_resolver_config: {{name: x, typed_config: {{"@type": {_EXTENSIONS}.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig}}}}',
    ),
    cache(
        "resolver-unknown",
        f'typed_dns_resolver_config: {{name: x, typed_config: {{"@type": {TYPE}/google.protobuf.Duration, value: 1s}}}}',
    ),
    cache(
        "stored",
        f'key_value_config: {{config: {{name: x, typed_config: {{"@type": {_EXTENSIONS}.key_value.file_based.v3.FileBasedKeyValueStoreConfig, filename: /tmp/x}}}}}}',
        stricter="not served",
    ),
    http("plain", _CACHE),
    http("saved", f"{_CACHE}, save_upstream_address: true, allow_dynamic_host_from_filter_state: true"),
    http("another-cache", "dns_cache_config: {name: bar}"),
    http("other-settings", "dns_cache_config: {name: foo, max_hosts: 5}"),
    http("no-name", "dns_cache_config: {}"),
    http("sub", "sub_cluster_config: {}", cluster=_cluster(f"{SUB}: {{}}")),
    http("sub-timeout", "sub_cluster_config: {cluster_init_timeout: 0s}"),
    http("literal", _CACHE, "host_rewrite_literal: a.test"),
    http("header", _CACHE, "host_rewrite_header: x-host"),
    http("header-odd", _CACHE, "host_rewrite_header: 'x host'"),
    http("route-empty", _CACHE, "host_rewrite_literal: ''"),
    sni("plain", _CACHE),
    sni("port", f"{_CACHE}, port_value: 443"),
    sni("port-none", f"{_CACHE}, port_value: 0"),
    sni("port-large", f"{_CACHE}, port_value: 65536"),
    sni("no-cache", ""),
    sni("saved", f"{_CACHE}, save_upstream_address: true"),
    clusters("type-unknown", _custom("nobody")),
    clusters("type-unknown-message", _custom("nobody", f'"@type": {TYPE}/google.protobuf.Duration, value: 1s')),
    clusters(
        "type-redis",
        _custom(
            "envoy.clusters.redis",
            f'"@type": {_EXTENSIONS}.clusters.redis.v3.RedisClusterConfig',
            "connect_timeout: 1s, lb_policy: CLUSTER_PROVIDED",
        ),
        stricter="not served",
    ),
]
