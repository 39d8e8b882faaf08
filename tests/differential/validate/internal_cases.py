"""Internal listeners, their bootstrap extension, endpoints and upstream transport socket; filter state to bring along."""
# ruff: noqa: E501 - a case is a line

from tests.differential.validate.corpus import TYPE, bootstrap

_EXT = f"{TYPE}/envoy.extensions"
_CHAINS = f'filter_chains: [{{filters: [{{name: e, typed_config: {{"@type": {_EXT}.filters.network.echo.v3.Echo}}}}]}}]'
_RAW = f'transport_socket: {{name: raw, typed_config: {{"@type": {_EXT}.transport_sockets.raw_buffer.v3.RawBuffer}}}}'
_ADDRESS = "{envoy_internal_address: {server_listener_name: one, endpoint_id: a}}"


def _extension(fields: str = "") -> str:
    kind = f"{_EXT}.bootstrap.internal_listener.v3.InternalListener"
    return f'bootstrap_extensions: [{{name: i, typed_config: {{"@type": {kind}{fields}}}}}]\n'


def _listener(
    name: str, fields: str = "", head: str = _extension(), chains: str = _CHAINS, stricter: str = ""
) -> object:
    listener = f"{{name: one, internal_listener: {{}}, {fields}{chains}}}"
    return bootstrap(f"internal-listener-{name}", f"{head}static_resources: {{listeners: [{listener}]}}", stricter)


def _cluster(name: str, address: str = _ADDRESS, socket: str = "", head: str = _extension()) -> object:
    hosts = (
        f"load_assignment: {{cluster_name: one, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {address}}}}}]}}]}}"
    )
    return bootstrap(
        f"internal-cluster-{name}", f"{head}static_resources: {{clusters: [{{name: one, {hosts}{socket}}}]}}"
    )


def _socket(*sources: str, inner: str = _RAW) -> str:
    kind = f"{_EXT}.transport_sockets.internal_upstream.v3.InternalUpstreamTransport"
    listed = f", passthrough_metadata: [{', '.join(sources)}]" if sources else ""
    return f', transport_socket: {{name: t, typed_config: {{"@type": {kind}, {inner}{listed}}}}}'


def _state(name: str, value: str, stricter: str = "") -> object:
    state = f'{{name: s, typed_config: {{"@type": {_EXT}.filters.network.set_filter_state.v3.Config, on_new_connection: [{value}]}}}}'
    chains = f'filter_chains: [{{filters: [{state}, {{name: e, typed_config: {{"@type": {_EXT}.filters.network.echo.v3.Echo}}}}]}}]'
    return _listener(f"state-{name}", chains=chains, stricter=stricter)


_FORMAT = "format_string: {text_format_source: {inline_string: a}}"

CASES = [
    _state("none", ""),
    _state("string", f"{{object_key: mine, factory_key: envoy.string, {_FORMAT}}}"),
    _state(
        "hashable", f"{{object_key: mine, factory_key: envoy.hashable_string, shared_with_upstream: ONCE, {_FORMAT}}}"
    ),
    _state("address", f"{{object_key: envoy.network.transport_socket.original_dst_address, {_FORMAT}}}"),
    _state("no-factory", f"{{object_key: mine, {_FORMAT}}}"),
    _state("unknown-factory", f"{{object_key: mine, factory_key: other, {_FORMAT}}}"),
    _state("no-key", f"{{{_FORMAT}}}"),
    _state("empty-key", f"{{object_key: '', {_FORMAT}}}"),
    _state("no-value", "{object_key: envoy.string}"),
    _state("bad-format", "{object_key: envoy.string, format_string: {text_format_source: {inline_string: '%NOPE%'}}}"),
    _state("not-served", f"{{object_key: envoy.network.network_namespace, {_FORMAT}}}", "nothing looks at it"),
    _listener("plain"),
    _listener("without-extension", head=""),
    _listener("with-address", f"address: {_ADDRESS}, "),
    _listener("with-additional-address", f"additional_addresses: [{{address: {_ADDRESS}}}], "),
    _listener("transparent", "transparent: true, "),
    _listener("freebind", "freebind: true, "),
    _listener("backlog", "tcp_backlog_size: 5, "),
    _listener("fast-open", "tcp_fast_open_queue_length: 5, "),
    _listener("reuse-port", "enable_reuse_port: true, "),
    _listener("no-reuse-port", "enable_reuse_port: false, "),
    _listener("bind-to-port", "bind_to_port: false, "),
    _listener("mptcp", "enable_mptcp: true, "),
    _listener("exact-balance", "connection_balance_config: {exact_balance: {}}, "),
    _listener("socket-options", "socket_options: [{level: 1, name: 1, int_value: 1}], "),
    _listener("use-original-dst", "use_original_dst: true, "),
    _listener(
        "timeouts", "listener_filters_timeout: 1s, per_connection_buffer_limit_bytes: 5, drain_type: MODIFY_ONLY, "
    ),
    _listener("without-chains", chains="filter_chains: []"),
    _listener("buffer-size", head=_extension(", buffer_size_kb: 8192")),
    _listener("buffer-size-zero", head=_extension(", buffer_size_kb: 0")),
    _listener("buffer-size-too-large", head=_extension(", buffer_size_kb: 8193")),
    bootstrap(
        "internal-address-alone",
        f"{_extension()}static_resources: {{listeners: [{{name: one, address: {_ADDRESS}, {_CHAINS}}}]}}",
    ),
    bootstrap("api-listener", "static_resources: {listeners: [{name: one, api_listener: {}}]}"),
    bootstrap(
        "bootstrap-extension-unknown",
        f'bootstrap_extensions: [{{name: a, typed_config: {{"@type": {TYPE}/envoy.config.core.v3.Node}}}}]',
    ),
    _cluster("plain"),
    _cluster("without-extension", head=""),
    _cluster("without-name", "{envoy_internal_address: {}}"),
    _cluster("transport-socket", socket=_socket()),
    _cluster("transport-socket-alone", socket=_socket(inner="")),
    _cluster("transport-socket-to-the-network", "{socket_address: {address: 127.0.0.1, port_value: 1}}", _socket()),
    _cluster("metadata", socket=_socket("{kind: {host: {}}, name: a}", "{kind: {cluster: {}}, name: b}")),
    _cluster("metadata-of-route", socket=_socket("{kind: {route: {}}, name: a}")),
    _cluster("metadata-of-request", socket=_socket("{kind: {request: {}}, name: a}")),
    _cluster("metadata-without-kind", socket=_socket("{name: a}")),
    _cluster("metadata-without-name", socket=_socket("{kind: {host: {}}}")),
]
