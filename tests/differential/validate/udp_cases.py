"""UDP listeners and their filters."""
# ruff: noqa: E501 - a case is a line

from textwrap import dedent, indent

from tests.differential.validate.corpus import ECHO, TYPE, Verdict

_UDP = f"{TYPE}/envoy.extensions.filters.udp"
_FILE_LOG = f"{TYPE}/envoy.extensions.access_loggers.file.v3.FileAccessLog"
_CARES = f"{TYPE}/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
_WRITER = f"{TYPE}/envoy.extensions.udp_packet_writer.v3"
_ADDRESS = "{socket_address: {protocol: UDP, address: 127.0.0.1, port_value: 19}}"
_NAMES = "address_list: {address: [10.0.0.1]}"


def _proxy(fields: str) -> str:
    if "cluster:" not in fields.replace("no-cluster", "") and "matcher:" not in fields:
        fields = f"cluster: one, {fields}"
    fields = fields.removeprefix("no-cluster, ").rstrip(", ")
    prefix = "" if "stat_prefix:" in fields else "stat_prefix: p, "
    return f'{{name: proxy, typed_config: {{"@type": {_UDP}.udp_proxy.v3.UdpProxyConfig, {prefix}{fields}}}}}'


def _dns(fields: str) -> str:
    prefix = "" if "stat_prefix:" in fields else "stat_prefix: p, "
    return f'{{name: dns, typed_config: {{"@type": {_UDP}.dns_filter.v3.DnsFilterConfig, {prefix}{fields}}}}}'


def udp(
    name: str, fields: str = "", stricter: str = "", filters: str = "", address: str = _ADDRESS, more: str = ""
) -> Verdict:
    """A UDP listener with `fields`; `more` is put behind it in the list of listeners."""
    listed = "" if "listener_filters:" in fields else f"listener_filters: [{filters or _proxy('')}]\n"
    body = indent(f"address: {address}\n{listed}" + dedent(fields).strip("\n"), "    ")
    text = "static_resources:\n  clusters: [{name: one, type: STATIC}]\n  listeners:\n  - name: first\n" + body + "\n"
    return Verdict(f"udp-{name}", text + indent(dedent(more), "  "), stricter)


def proxy(name: str, fields: str, stricter: str = "") -> Verdict:
    """One udp_proxy."""
    return udp(f"proxy-{name}", "", stricter, _proxy(fields))


def dns(name: str, fields: str, stricter: str = "") -> Verdict:
    """One dns_filter."""
    return udp(f"dns-{name}", "", stricter, _dns(fields))


def table(name: str, domains: str, stricter: str = "") -> Verdict:
    """One dns_filter with an inline table."""
    return dns(f"table-{name}", f"server_config: {{inline_dns_table: {{virtual_domains: [{domains}]}}}}", stricter)


def service(name: str, fields: str) -> Verdict:
    """One service in a table."""
    base = "" if "service_name:" in fields else "service_name: web, "
    base += "" if "targets:" in fields else "targets: [{host_name: x}], "
    return table(f"service-{name}", f"{{name: a.b, endpoint: {{service_list: {{services: [{{{base}{fields}}}]}}}}}}")


def client(name: str, fields: str, stricter: str = "") -> Verdict:
    """One dns_filter that asks other name servers."""
    limit = "" if "max_pending_lookups" in fields else "max_pending_lookups: 1, "
    return dns(
        f"client-{name}", f"server_config: {{inline_dns_table: {{}}}}, client_config: {{{limit}{fields}}}", stricter
    )


def log(name: str, fields: str) -> Verdict:
    """One dns_filter with an access log."""
    entry = f'{{name: log, typed_config: {{"@type": {_FILE_LOG}, path: /dev/null, {fields}}}}}'
    return dns(f"log-{name}", f"server_config: {{inline_dns_table: {{}}}}, access_log: [{entry}]")


def route(name: str, matcher: str, stricter: str = "") -> Verdict:
    """One udp_proxy that routes by the unified matcher."""
    return proxy(f"route-{name}", f"matcher: {{{matcher}}}", stricter)


def by_input(message: str, fields: str = "") -> Verdict:
    """Routes by one input."""
    data_input = f"{{name: x, typed_config: {{'@type': {TYPE}/envoy.extensions.matching.common_inputs.network.v3.{message}{fields}}}}}"
    tree = f"matcher_tree: {{input: {data_input}, exact_match_map: {{map: {{'127.0.0.1': {{action: {_ROUTE}}}}}}}}}"
    return route(f"by-{message}", tree)


_ROUTE = f"{{name: r, typed_config: {{'@type': {_UDP}.udp_proxy.v3.Route, cluster: one}}}}"
_TCP = f"- name: second\n  address: {{socket_address: {{address: 127.0.0.1, port_value: 19}}}}\n  filter_chains: [{{filters: [{ECHO}]}}]\n"
_SECOND = f"- name: second\n  address: {_ADDRESS}\n  listener_filters: [{_proxy('')}]\n"
_OTHER = "{socket_address: {protocol: UDP, address: 127.0.0.1, port_value: 20}}"
_OTHER_TCP = "{socket_address: {address: 127.0.0.1, port_value: 20}}"

CASES = [
    udp("plain"),
    udp("no-filters", "listener_filters: []"),
    udp("two-filters", f"listener_filters: [{_proxy('')}, {_dns('')}]"),
    udp("filter-chain", f"filter_chains: [{{filters: [{ECHO}]}}]"),
    udp("default-filter-chain", f"default_filter_chain: {{filters: [{ECHO}]}}"),
    udp("not-bound", "bind_to_port: false"),
    udp("mptcp", "enable_mptcp: true"),
    udp("tcp-fields", "tcp_backlog_size: 5\nper_connection_buffer_limit_bytes: 10\nuse_original_dst: true\nlistener_filters_timeout: 1s\nmax_connections_to_accept_per_socket_event: 3"),
    udp("balanced", "connection_balance_config: {exact_balance: {}}"),
    udp("reuse-port", "enable_reuse_port: true"),
    udp("reuse-port-older", "reuse_port: true"),
    udp("additional-address", f"additional_addresses: [{{address: {_OTHER}}}]"),
    udp("additional-tcp-address", f"additional_addresses: [{{address: {_OTHER_TCP}}}]"),
    udp("tcp-listener-on-its-address", more=_TCP),
    udp("udp-listener-on-its-address", more=_SECOND),
    udp("pipe", address="{pipe: {path: '@proxeny-validate-udp'}}"),
    udp("tcp-filter", f"listener_filters: [{{name: envoy.filters.listener.original_dst, typed_config: {{'@type': {TYPE}/envoy.extensions.filters.listener.original_dst.v3.OriginalDst}}}}]"),
    udp("network-filter", f"listener_filters: [{ECHO}]"),
    udp("unknown-filter", "listener_filters: [{name: nothing}]"),
    udp("discovered-filter", f"listener_filters: [{{name: x, config_discovery: {{config_source: {{path_config_source: {{path: /tmp/x}}}}, type_urls: [{_UDP}.udp_proxy.v3.UdpProxyConfig]}}}}]"),
    udp("its-filter-on-tcp", f"filter_chains: [{{filters: [{ECHO}]}}]", address=_OTHER_TCP),
    udp("settings-on-tcp", f"udp_listener_config: {{}}\nlistener_filters: []\nfilter_chains: [{{filters: [{ECHO}]}}]", address=_OTHER_TCP),
    udp("settings-empty", "udp_listener_config: {}"),
    udp("size-0", "udp_listener_config: {downstream_socket_config: {max_rx_datagram_size: 0}}"),
    udp("size-65535", "udp_listener_config: {downstream_socket_config: {max_rx_datagram_size: 65535, prefer_gro: true}}"),
    udp("size-65536", "udp_listener_config: {downstream_socket_config: {max_rx_datagram_size: 65536}}"),
    udp("quic", "udp_listener_config: {quic_options: {}}\nlistener_filters: []"),
    udp("writer", f"udp_listener_config: {{udp_packet_packet_writer_config: {{name: x, typed_config: {{'@type': {_WRITER}.UdpDefaultWriterFactory}}}}}}"),
    udp("writer-gso", f"udp_listener_config: {{udp_packet_packet_writer_config: {{name: x, typed_config: {{'@type': {_WRITER}.UdpGsoBatchWriterFactory}}}}}}", stricter="batches of segments are not built"),
    udp("writer-unknown", f"udp_listener_config: {{udp_packet_packet_writer_config: {{name: x, typed_config: {{'@type': {_WRITER}.Nothing}}}}}}"),
    proxy("cluster-unknown", "cluster: nowhere"),
    proxy("cluster-empty", "cluster: ''"),
    route("always", f"on_no_match: {{action: {_ROUTE}}}"),
    route("never", ""),
    route("unknown-cluster", f"on_no_match: {{action: {_ROUTE.replace('one', 'nowhere')}}}"),
    route("empty-cluster", f"on_no_match: {{action: {_ROUTE.replace('one', '')}}}"),
    route("other-action", f"on_no_match: {{action: {{name: x, typed_config: {{'@type': {TYPE}/google.protobuf.StringValue, value: one}}}}}}"),
    *[by_input(message) for message in ("DestinationIPInput", "DestinationPortInput", "SourceIPInput", "SourcePortInput")],
    *[by_input(message) for message in ("DirectSourceIPInput", "SourceTypeInput", "ServerNameInput", "TransportProtocolInput")],
    by_input("ApplicationProtocolInput"),
    by_input("FilterStateInput", ", key: a"),
    proxy("cluster-and-matcher", f"cluster: one, matcher: {{on_no_match: {{action: {_ROUTE}}}}}"),
    proxy("no-route", "no-cluster, "),
    proxy("prefix-empty", "stat_prefix: ''"),
    proxy("idle-0", "idle_timeout: 0s"),
    proxy("idle-negative", "idle_timeout: -1s"),
    proxy("original-source", "use_original_src_ip: true"),
    proxy("hash-source", "hash_policies: [{source_ip: true}]"),
    proxy("hash-source-false", "hash_policies: [{source_ip: false}]"),
    proxy("hash-key", "hash_policies: [{key: a}]"),
    proxy("hash-key-empty", "hash_policies: [{key: ''}]"),
    proxy("hash-none", "hash_policies: [{}]"),
    proxy("hash-two", "hash_policies: [{source_ip: true}, {key: a}]"),
    proxy("upstream-socket", "upstream_socket_config: {max_rx_datagram_size: 100, prefer_gro: false}"),
    proxy("upstream-size-0", "upstream_socket_config: {max_rx_datagram_size: 0}"),
    proxy("per-packet", "use_per_packet_load_balancing: true"),
    proxy("flush-interval", "access_log_options: {access_log_flush_interval: 0.001s}"),
    proxy("flush-interval-0", "access_log_options: {access_log_flush_interval: 0s}"),
    proxy("flush-interval-short", "access_log_options: {access_log_flush_interval: 0.0005s}"),
    proxy("flush-on-tunnel", "access_log_options: {flush_access_log_on_tunnel_connected: true}"),
    proxy("logs", f'access_log: [{{name: a, typed_config: {{"@type": {_FILE_LOG}, path: /dev/null}}}}], proxy_access_log: [{{name: a, typed_config: {{"@type": {_FILE_LOG}, path: /dev/null}}}}]'),
    proxy("log-bad", f'access_log: [{{name: a, typed_config: {{"@type": {_FILE_LOG}, path: /dev/null, format: "%NOTHING%"}}}}]'),
    proxy("session-filter", f"session_filters: [{{name: x, typed_config: {{'@type': {_UDP}.udp_proxy.session.http_capsule.v3.FilterConfig}}}}]", stricter="session filters are not built"),
    proxy("session-filter-unknown", f"session_filters: [{{name: x, typed_config: {{'@type': {TYPE}/google.protobuf.StringValue, value: x}}}}]"),
    proxy("tunnelling", "tunneling_config: {proxy_host: h, target_host: x, default_target_port: 30}", stricter="tunnelling is not built"),
    dns("no-table", "server_config: {}"),
    dns("no-server-config", ""),
    dns("table-empty", "server_config: {inline_dns_table: {}}"),
    dns("prefix-empty", "stat_prefix: ''"),
    dns("retries-3", "server_config: {inline_dns_table: {external_retry_count: 3}}"),
    dns("retries-4", "server_config: {inline_dns_table: {external_retry_count: 4}}"),
    dns("known-suffixes", "server_config: {inline_dns_table: {known_suffixes: [{suffix: b}]}}"),
    dns("file-absent", "server_config: {external_dns_table: {filename: /nonexistent.yaml}}"),
    dns("file-inline", "server_config: {external_dns_table: {inline_string: 'virtual_domains: []'}}"),
    table("addresses", f"{{name: a.b, endpoint: {{{_NAMES}}}}}"),
    table("address-bad", "{name: a.b, endpoint: {address_list: {address: [10.0.0]}}}"),
    table("address-empty", "{name: a.b, endpoint: {address_list: {address: ['']}}}"),
    table("addresses-none", "{name: a.b, endpoint: {address_list: {}}}"),
    table("name-short", f"{{name: a, endpoint: {{{_NAMES}}}}}"),
    table("name-empty", f"{{name: '', endpoint: {{{_NAMES}}}}}"),
    table("name-with-blank", f"{{name: 'a b', endpoint: {{{_NAMES}}}}}"),
    table("wildcard", f"{{name: '*.b', endpoint: {{{_NAMES}}}}}"),
    table("wildcard-inside", f"{{name: 'a.*.b', endpoint: {{{_NAMES}}}}}"),
    table("star", f"{{name: '*', endpoint: {{{_NAMES}}}}}"),
    table("no-endpoint", "{name: a.b}"),
    table("endpoint-empty", "{name: a.b, endpoint: {}}"),
    table("cluster", "{name: a.b, endpoint: {cluster_name: nowhere}}"),
    table("cluster-empty", "{name: a.b, endpoint: {cluster_name: ''}}"),
    table("addresses-twice", f"{{name: a.b, endpoint: {{{_NAMES}}}}}, {{name: a.b, endpoint: {{{_NAMES}}}}}"),
    table("cluster-behind-addresses", f"{{name: a.b, endpoint: {{{_NAMES}}}}}, {{name: a.b, endpoint: {{cluster_name: c}}}}"),
    table("ttl-10", f"{{name: a.b, endpoint: {{{_NAMES}}}, answer_ttl: 10s}}"),
    table("ttl-30", f"{{name: a.b, endpoint: {{{_NAMES}}}, answer_ttl: 30s}}"),
    service("plain", "protocol: {name: tcp}"),
    service("no-protocol", ""),
    service("protocol-0", "protocol: {number: 0}"),
    service("protocol-300", "protocol: {number: 300}"),
    service("name-empty", "service_name: '', protocol: {name: tcp}"),
    service("no-targets", "targets: []"),
    service("target-empty", "targets: [{}]"),
    service("ttl-0", "ttl: 0s"),
    service("ttl-1", "ttl: 1s"),
    service("port-too-big", "targets: [{host_name: x, port: 70000}]"),
    service("weight-too-big", "targets: [{host_name: x, weight: 70000}]"),
    client("plain", ""),
    client("no-pending", "max_pending_lookups: 0"),
    client("timeout-1s", "resolver_timeout: 1s"),
    client("timeout-short", "resolver_timeout: 0.5s"),
    client("resolvers-older", "upstream_resolvers: [{socket_address: {address: 1.1.1.1, port_value: 53}}]"),
    client("resolution-config", "dns_resolution_config: {resolvers: [{socket_address: {address: 1.1.1.1, port_value: 53}}]}"),
    client("resolution-config-empty", "dns_resolution_config: {resolvers: []}"),
    client("resolver", f"typed_dns_resolver_config: {{name: x, typed_config: {{'@type': {_CARES}, resolvers: [{{socket_address: {{address: 1.1.1.1, port_value: 53}}}}]}}}}"),
    client("resolver-unknown", f"typed_dns_resolver_config: {{name: x, typed_config: {{'@type': {TYPE}/google.protobuf.StringValue, value: x}}}}"),
    log("default-format", ""),
    log("name", "log_format: {text_format_source: {inline_string: '%QUERY_NAME% %QUERY_TYPE(x):3% %QUERY_CLASS%'}}"),
    log("rest", "format: '%ANSWER_COUNT% %RESPONSE_CODE% %PARSE_STATUS%'"),
    log("json", "log_format: {json_format: {a: '%QUERY_NAME%'}}"),
    log("other-command", "log_format: {text_format_source: {inline_string: '%START_TIME%'}}"),
    log("other-command-json", "log_format: {json_format: {a: '%DOWNSTREAM_REMOTE_ADDRESS%'}}"),
    log("unknown-command", "format: '%NOTHING%'"),
]  # fmt: skip
