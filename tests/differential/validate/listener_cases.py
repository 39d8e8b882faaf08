"""Addresses, listeners, filter chains, network filters."""
# ruff: noqa: E501 - a case is a line

from tests.differential.validate.corpus import ECHO, TYPE, listener

_NETWORK = f"{TYPE}/envoy.extensions.filters.network"
_TCP = f'{{"@type": {_NETWORK}.tcp_proxy.v3.TcpProxy'


def _matches(name: str, *matches: str) -> object:
    """A chain per FilterChainMatch."""
    chains = ", ".join(
        f"{{name: c{index}, filter_chain_match: {match}, {_CHAINS}}}" for index, match in enumerate(matches)
    )
    return listener(f"match-{name}", f"filter_chains: [{chains}]")


_SAME = "address: {socket_address: {address: 127.0.0.1, port_value: 19}}"
_CHAINS = "filters: [" + ECHO + "]"


def _second(fields: str) -> str:
    return f"- name: second\n  filter_chains: [{{filters: [{ECHO}]}}]\n  {fields}\n"


def _tcp(name: str, fields: str, stricter: str = "") -> object:
    """A chain of one tcp_proxy."""
    return listener(
        f"tcp-{name}", f"filter_chains: [{{filters: [{{name: tcp, typed_config: {_TCP}, {fields}}}}}]}}]", stricter
    )


CASES = [
    listener("plain", ""),
    listener("without-address", "", address="none"),
    listener("bad-ip", "", address="{socket_address: {address: 1.2.3, port_value: 0}}"),
    listener("host-name", "", address="{socket_address: {address: localhost, port_value: 0}}"),
    listener("port-too-big", "", address="{socket_address: {address: 127.0.0.1, port_value: 65536}}"),
    listener("port-missing", "", address="{socket_address: {address: 127.0.0.1}}"),
    listener("port-named", "", address="{socket_address: {address: 127.0.0.1, named_port: http}}"),
    listener("address-empty", "", address="{socket_address: {address: '', port_value: 0}}"),
    listener("address-none-chosen", "", address="{}"),
    listener("address-both", "", address="{socket_address: {address: 127.0.0.1, port_value: 0}, pipe: {path: /tmp/x}}"),
    listener("ipv6", "", address="{socket_address: {address: '::1', port_value: 0}}"),
    listener("ipv6-any-ipv4-too", "", address="{socket_address: {address: '::', port_value: 0, ipv4_compat: true}}"),
    listener(
        "ipv4-with-compat", "", address="{socket_address: {address: 127.0.0.1, port_value: 0, ipv4_compat: true}}"
    ),
    listener("address-with-port-inside", "", address="{socket_address: {address: '127.0.0.1:80', port_value: 0}}"),
    listener("resolver-unknown", "", address="{socket_address: {address: a, port_value: 0, resolver_name: nothing}}"),
    listener("pipe", "", address="{pipe: {path: '@proxeny-validate-one'}}"),
    listener("pipe-empty", "", address="{pipe: {path: ''}}"),
    listener("pipe-mode-too-big", "", address="{pipe: {path: /tmp/proxeny-x, mode: 512}}"),
    listener("pipe-too-long", "", address="{pipe: {path: " + "/x" * 60 + "}}"),
    listener("no-chains", "filter_chains: []"),
    listener("chain-without-filters", "filter_chains: [{}]"),
    listener("default-chain-only", f"filter_chains: []\ndefault_filter_chain: {{{_CHAINS}}}"),
    listener("name-missing", "", more=f"- filter_chains: [{{filters: [{ECHO}]}}]\n  {_SAME}\n"),
    listener("same-name", "", more=_second(_SAME).replace("second", "first")),
    listener(
        "same-address",
        "",
        address="{socket_address: {address: 127.0.0.1, port_value: 19}}",
        more=_second(_SAME),
    ),
    listener("same-port-zero", "", more=_second("address: {socket_address: {address: 127.0.0.1, port_value: 0}}")),
    listener(
        "same-address-unbound",
        "bind_to_port: false",
        address="{socket_address: {address: 127.0.0.1, port_value: 19}}",
        more=_second(_SAME),
    ),
    listener(
        "same-address-first-unbound",
        "",
        address="{socket_address: {address: 127.0.0.1, port_value: 19}}",
        more=_second(_SAME + "\n  bind_to_port: false"),
    ),
    listener(
        "same-port-zero-unbound",
        "bind_to_port: false",
        more=_second("address: {socket_address: {address: 127.0.0.1, port_value: 0}}"),
    ),
    listener(
        "same-port-zero-second-unbound",
        "",
        more=_second("address: {socket_address: {address: 127.0.0.1, port_value: 0}}\n  bind_to_port: false"),
    ),
    listener("unbound-exact-balance", "bind_to_port: false\nconnection_balance_config: {exact_balance: {}}"),
    listener("unbound-shared", "bind_to_port: false\nenable_reuse_port: false"),
    listener("unbound-original-dst", "bind_to_port: false\nuse_original_dst: true"),
    listener("unbound-mptcp", "bind_to_port: false\nenable_mptcp: true"),
    listener("unbound-pipe", "bind_to_port: false", address="{pipe: {path: '@proxeny-validate-six'}}"),
    listener("ignores-limit", "ignore_global_conn_limit: true\nbypass_overload_manager: true"),
    listener("bind-deprecated", "deprecated_v1: {bind_to_port: false}"),
    listener("bind-both", "bind_to_port: true\ndeprecated_v1: {bind_to_port: false}"),
    listener("unbound-option-bound", "bind_to_port: false\nsocket_options: [{level: 1, name: 9, int_value: 1}]"),
    listener(
        "additional-address", "additional_addresses: [{address: {socket_address: {address: '::1', port_value: 0}}}]"
    ),
    listener("additional-address-empty", "additional_addresses: [{}]"),
    listener(
        "additional-address-same",
        "additional_addresses: [{" + _SAME + "}]",
        address="{socket_address: {address: 127.0.0.1, port_value: 19}}",
    ),
    listener("same-match", f"filter_chains: [{{{_CHAINS}}}, {{{_CHAINS}}}]"),
    listener(
        "same-match-explicit",
        f"filter_chains: [{{filter_chain_match: {{destination_port: 80}}, {_CHAINS}}}, "
        f"{{filter_chain_match: {{destination_port: 80}}, {_CHAINS}}}]",
    ),
    listener(
        "other-match",
        f"filter_chains: [{{filter_chain_match: {{destination_port: 80}}, {_CHAINS}}}, "
        f"{{filter_chain_match: {{destination_port: 81}}, {_CHAINS}}}]",
    ),
    listener(
        "same-chain-name",
        f"filter_chains: [{{name: a, filter_chain_match: {{destination_port: 80}}, {_CHAINS}}}, {{name: a, {_CHAINS}}}]",
    ),
    listener(
        "match-bad-prefix",
        f"filter_chains: [{{filter_chain_match: {{prefix_ranges: [{{address_prefix: x}}]}}, {_CHAINS}}}]",
    ),
    listener(
        "match-long-prefix",
        "filter_chains: [{filter_chain_match: {prefix_ranges: [{address_prefix: 10.0.0.0, prefix_len: 129}]}, "
        + _CHAINS
        + "}]",
    ),
    listener("match-port-zero", f"filter_chains: [{{filter_chain_match: {{destination_port: 0}}, {_CHAINS}}}]"),
    listener("match-source-port-zero", f"filter_chains: [{{filter_chain_match: {{source_ports: [0]}}, {_CHAINS}}}]"),
    listener(
        "match-partial-wildcard", f"filter_chains: [{{filter_chain_match: {{server_names: ['a*.test']}}, {_CHAINS}}}]"
    ),
    listener(
        "match-source-type", f"filter_chains: [{{filter_chain_match: {{source_type: SAME_IP_OR_LOOPBACK}}, {_CHAINS}}}]"
    ),
    listener("match-unknown-source-type", f"filter_chains: [{{filter_chain_match: {{source_type: 9}}, {_CHAINS}}}]"),
    _matches("length-33", "{prefix_ranges: [{address_prefix: 10.0.0.0, prefix_len: 33}]}"),
    _matches(
        "length-33-and-32",
        "{prefix_ranges: [{address_prefix: 10.0.0.0, prefix_len: 33}]}",
        "{prefix_ranges: [{address_prefix: 10.0.0.0, prefix_len: 32}]}",
    ),
    _matches(
        "no-length-is-zero",
        "{prefix_ranges: [{address_prefix: 10.0.0.0}]}",
        "{prefix_ranges: [{address_prefix: 0.0.0.0, prefix_len: 0}]}",
    ),
    _matches(
        "no-length-and-32",
        "{prefix_ranges: [{address_prefix: 10.0.0.0}]}",
        "{prefix_ranges: [{address_prefix: 10.0.0.0, prefix_len: 32}]}",
    ),
    _matches(
        "host-bits",
        "{source_prefix_ranges: [{address_prefix: 10.0.0.1, prefix_len: 24}]}",
        "{source_prefix_ranges: [{address_prefix: 10.0.0.2, prefix_len: 24}]}",
    ),
    _matches("any-address-and-none", "{prefix_ranges: [{address_prefix: 0.0.0.0, prefix_len: 0}]}", "{}"),
    _matches("malformed-prefix", "{prefix_ranges: [{address_prefix: 10.0.0, prefix_len: 8}]}"),
    _matches("bad-source-prefix", "{source_prefix_ranges: [{address_prefix: here, prefix_len: 8}]}"),
    _matches("bad-direct-prefix", "{direct_source_prefix_ranges: [{address_prefix: '', prefix_len: 8}]}"),
    _matches("bracketed-prefix", "{prefix_ranges: [{address_prefix: '[::1]', prefix_len: 8}]}"),
    _matches("mapped-prefix", "{prefix_ranges: [{address_prefix: '::ffff:10.0.0.0', prefix_len: 104}]}"),
    _matches("star", "{server_names: ['*']}"),
    _matches("star-dot", "{server_names: ['*.']}"),
    _matches("two-stars", "{server_names: ['*.*.test']}"),
    _matches("late-star", "{server_names: ['*.a*']}"),
    _matches("empty-name-and-none", "{server_names: ['']}", "{}"),
    _matches("case-of-names", "{server_names: [A.b]}", "{server_names: [a.B]}"),
    _matches("wildcard-and-dot", "{server_names: ['*.a']}", "{server_names: [.a]}"),
    _matches("order-of-names", "{server_names: [a, b]}", "{server_names: [b, a]}"),
    _matches("name-twice", "{server_names: [a, a]}"),
    _matches("protocol-overlap", "{application_protocols: [h2, h3]}", "{application_protocols: [h3]}"),
    _matches("suffix", "{address_suffix: a}"),
    _matches("suffix-length", "{suffix_len: 0}"),
    _matches("two-without-match", "{}", "{}"),
    listener("match-one-absent", f"filter_chains: [{{filter_chain_match: {{}}, {_CHAINS}}}, {{{_CHAINS}}}]"),
    listener(
        "match-of-default-is-ignored",
        f"default_filter_chain: {{filter_chain_match: {{address_suffix: a, server_names: ['*']}}, {_CHAINS}}}",
    ),
    listener(
        "chains-of-one-name",
        f"filter_chains: [{{name: a, filter_chain_match: {{destination_port: 1}}, {_CHAINS}}}, {{name: a, {_CHAINS}}}]",
    ),
    listener(
        "filter-without-name", f'filter_chains: [{{filters: [{{typed_config: {{"@type": {_NETWORK}.echo.v3.Echo}}}}]}}]'
    ),
    listener(
        "filter-unknown-name",
        f'filter_chains: [{{filters: [{{name: nothing, typed_config: {{"@type": {_NETWORK}.echo.v3.Echo}}}}]}}]',
    ),
    listener("filter-without-config", "filter_chains: [{filters: [{name: envoy.filters.network.echo}]}]"),
    listener("filter-unknown-both", "filter_chains: [{filters: [{name: nothing}]}]"),
    listener(
        "filter-wrong-type",
        f'filter_chains: [{{filters: [{{name: a, typed_config: {{"@type": {TYPE}/envoy.config.core.v3.Node}}}}]}}]',
    ),
    listener(
        "not-terminal-last",
        'filter_chains: [{filters: [{name: a, typed_config: {"@type": '
        f"{_NETWORK}.connection_limit.v3.ConnectionLimit, stat_prefix: a, max_connections: 1}}}}]}}]",
    ),
    listener("terminal-not-last", f"filter_chains: [{{filters: [{ECHO}, {ECHO}]}}]"),
    listener(
        "direct-response",
        f'filter_chains: [{{filters: [{{name: d, typed_config: {{"@type": {_NETWORK}.direct_response.v3.Config, response: {{inline_string: hi}}}}}}]}}]',
    ),
    listener(
        "direct-response-file",
        f'filter_chains: [{{filters: [{{name: d, typed_config: {{"@type": {_NETWORK}.direct_response.v3.Config, response: {{filename: /no/such/file}}}}}}]}}]',
    ),
    listener(
        "direct-response-empty",
        f'filter_chains: [{{filters: [{{name: d, typed_config: {{"@type": {_NETWORK}.direct_response.v3.Config, response: {{}}}}}}]}}]',
    ),
    listener("buffer-limit-zero", "per_connection_buffer_limit_bytes: 0"),
    listener("backlog", "tcp_backlog_size: 5"),
    listener("backlog-huge", "tcp_backlog_size: 4294967295"),
    listener("backlog-too-huge", "tcp_backlog_size: 4294967296"),
    listener("transparent", "transparent: true"),
    listener("freebind", "freebind: true"),
    listener("freebind-on-a-pipe", "freebind: true", address="{pipe: {path: '@proxeny-validate-two'}}"),
    listener("fast-open", "tcp_fast_open_queue_length: 5"),
    listener("fast-open-negative", "tcp_fast_open_queue_length: -1"),
    listener("mptcp", "enable_mptcp: true"),
    listener("mptcp-on-a-pipe", "enable_mptcp: true", address="{pipe: {path: '@proxeny-validate-three'}}"),
    listener(
        "mptcp-additional-pipe",
        "enable_mptcp: true\nadditional_addresses: [{address: {pipe: {path: '@proxeny-validate-four'}}}]",
    ),
    listener(
        "additional-of-another-type",
        "additional_addresses: [{address: {socket_address: {protocol: UDP, address: 127.0.0.1, port_value: 0}}}]",
    ),
    listener(
        "additional-compat-beside-ipv4",
        "additional_addresses: [{address: {socket_address: {address: '::', port_value: 0, ipv4_compat: true}}}]",
    ),
    listener(
        "additional-ipv4-compat",
        "additional_addresses: [{address: {socket_address: {address: 127.0.0.1, port_value: 0, ipv4_compat: true}}}]",
        address="{socket_address: {address: '::', port_value: 0, ipv4_compat: true}}",
    ),
    listener(
        "ipv4-mapped-compat",
        "",
        address="{socket_address: {address: '::ffff:127.0.0.1', port_value: 0, ipv4_compat: true}}",
    ),
    listener("additional-options-empty", "additional_addresses: [{" + _SAME + ", socket_options: {}}]"),
    listener(
        "additional-options-bad", "additional_addresses: [{" + _SAME + ", socket_options: {socket_options: [{}]}}]"
    ),
    listener(
        "resolver-ip", "", address="{socket_address: {address: 127.0.0.1, port_value: 0, resolver_name: envoy.ip}}"
    ),
    listener(
        "network-namespace",
        "",
        address="{socket_address: {address: 127.0.0.1, port_value: 0, network_namespace_filepath: /no/such}}",
    ),
    listener(
        "same-address-other-namespace",
        "",
        address="{socket_address: {address: 127.0.0.1, port_value: 19, network_namespace_filepath: /no/such}}",
        more=_second(_SAME),
    ),
    listener(
        "same-address-same-namespace",
        "",
        address="{socket_address: {address: 127.0.0.1, port_value: 19, network_namespace_filepath: /no/such}}",
        more=_second(_SAME.replace("19}", "19, network_namespace_filepath: /no/such}")),
    ),
    listener("pipe-abstract-mode", "", address="{pipe: {path: '@proxeny-validate-five', mode: 384}}"),
    listener("reuse-port-both", "enable_reuse_port: false\nreuse_port: true"),
    listener("accepts-per-event-zero", "max_connections_to_accept_per_socket_event: 0"),
    listener("reuse-port", "enable_reuse_port: false"),
    listener("reuse-port-deprecated", "reuse_port: true"),
    listener("drain-type-undefined", "drain_type: 5", "an undefined enum number means nothing"),
    listener("drain-type", "drain_type: modify_only"),
    listener("traffic-direction", "traffic_direction: INBOUND"),
    listener("traffic-direction-undefined", "traffic_direction: 7", "an undefined enum number means nothing"),
    listener("socket-option", "socket_options: [{level: 1, name: 9, int_value: 1, state: STATE_PREBIND}]"),
    listener("socket-option-stream", "socket_options: [{level: 1, name: 9, int_value: 1, type: {stream: {}}}]"),
    listener(
        "socket-option-both-types",
        "socket_options: [{level: 1, name: 9, int_value: 1, type: {stream: {}, datagram: {}}}]",
    ),
    listener("socket-option-refused-by-system", "socket_options: [{level: 1, name: 9999, int_value: 1}]"),
    listener("socket-option-64-bits", "socket_options: [{level: 5000000000, name: 9, int_value: 5000000000}]"),
    listener("socket-option-too-large", "socket_options: [{level: 1, name: 9, int_value: 9223372036854775808}]"),
    listener("socket-option-buffer", "socket_options: [{level: 1, name: 9, buf_value: AQAAAA==}]"),
    listener("socket-option-empty-buffer", "socket_options: [{level: 1, name: 9, buf_value: ''}]"),
    listener("socket-option-without-value", "socket_options: [{level: 1, name: 9}]"),
    listener("socket-option-state", "socket_options: [{level: 1, name: 9, int_value: 1, state: 7}]"),
    listener(
        "transport-socket-raw",
        f'filter_chains: [{{{_CHAINS}, transport_socket: {{name: raw, typed_config: {{"@type": {TYPE}/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}}}}}]',
    ),
    listener("transport-socket-unknown", f"filter_chains: [{{{_CHAINS}, transport_socket: {{name: nothing}}}}]"),
    listener("transport-socket-nameless", f"filter_chains: [{{{_CHAINS}, transport_socket: {{}}}}]"),
    listener(
        "transport-socket-timeout-negative", f"filter_chains: [{{{_CHAINS}, transport_socket_connect_timeout: -1s}}]"
    ),
    listener("listener-filter-unknown", "listener_filters: [{name: nothing}]"),
    listener("log-unknown", "access_log: [{name: nothing}]"),
    _tcp("unknown-cluster", "stat_prefix: a, cluster: nothing"),
    _tcp("without-cluster", "stat_prefix: a"),
    _tcp("without-prefix", "cluster: a"),
    _tcp("weighted", "stat_prefix: a, weighted_clusters: {clusters: [{name: a, weight: 1}, {name: b, weight: 2}]}"),
    _tcp("weighted-empty", "stat_prefix: a, weighted_clusters: {clusters: []}"),
    _tcp("weighted-zero", "stat_prefix: a, weighted_clusters: {clusters: [{name: a, weight: 0}]}"),
    _tcp(
        "weighted-overflow",
        "stat_prefix: a, weighted_clusters: {clusters: [{name: a, weight: 4294967295}, {name: b, weight: 4294967295}]}",
    ),
    _tcp("both-clusters", "stat_prefix: a, cluster: a, weighted_clusters: {clusters: [{name: a, weight: 1}]}"),
    _tcp("attempts-zero", "stat_prefix: a, cluster: a, max_connect_attempts: 0"),
    _tcp("idle-negative", "stat_prefix: a, cluster: a, idle_timeout: -1s"),
    _tcp("idle-zero", "stat_prefix: a, cluster: a, idle_timeout: 0s"),
    _tcp("duration-too-short", "stat_prefix: a, cluster: a, max_downstream_connection_duration: 0s"),
    _tcp(
        "log-bad-format",
        'stat_prefix: a, cluster: a, access_log: [{name: l, typed_config: {"@type": '
        f"{TYPE}/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog, log_format: {{text_format_source: {{inline_string: '%NOTHING%'}}}}}}}}]",
    ),
]
