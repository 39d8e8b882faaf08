"""Addresses, sockets, listeners and their filter chains."""

from typing import Final

from proxeny.config.support.table import Table, extension, fields

_LISTENER: Final = "envoy.config.listener.v3"
_CORE: Final = "envoy.config.core.v3"

TABLE: Final[Table] = {
    # Also the content of an endpoint's metadata (http_11_proxy).
    f"{_CORE}.Address": extension(done="socket_address pipe envoy_internal_address"),
    f"{_CORE}.EnvoyInternalAddress": fields(done="server_listener_name endpoint_id"),
    f"{_CORE}.SocketAddress": fields(
        done="protocol address port_value ipv4_compat resolver_name network_namespace_filepath"
    ),
    f"{_CORE}.Pipe": fields(done="path mode"),
    f"{_CORE}.SocketOption": fields(done="description level name int_value buf_value state type"),
    f"{_CORE}.SocketOption.SocketType": fields(done="stream datagram"),
    f"{_CORE}.SocketOption.SocketType.Stream": fields(),
    f"{_CORE}.SocketOption.SocketType.Datagram": fields(),
    f"{_CORE}.BindConfig": fields(
        done="""source_address freebind socket_options extra_source_addresses additional_source_addresses
            local_address_selector"""
    ),
    f"{_CORE}.ExtraSourceAddress": fields(done="address socket_options"),
    f"{_CORE}.SocketOptionsOverride": fields(done="socket_options"),
    "envoy.config.upstream.local_address_selector.v3.DefaultLocalAddressSelector": extension(),
    f"{_LISTENER}.Listener": fields(
        done="""name address additional_addresses internal_listener stat_prefix filter_chains default_filter_chain
            filter_chain_matcher
            per_connection_buffer_limit_bytes metadata drain_type socket_options traffic_direction reuse_port
            enable_reuse_port access_log bind_to_port deprecated_v1 tcp_backlog_size
            transparent freebind tcp_fast_open_queue_length enable_mptcp
            max_connections_to_accept_per_socket_event use_original_dst listener_filters listener_filters_timeout
            continue_on_listener_filters_timeout connection_balance_config udp_listener_config
            ignore_global_conn_limit bypass_overload_manager""",
    ),
    f"{_LISTENER}.Listener.DeprecatedV1": fields(done="bind_to_port"),
    f"{_LISTENER}.Listener.ConnectionBalanceConfig": fields(done="exact_balance extend_balance"),
    f"{_LISTENER}.ListenerFilter": fields(done="name typed_config config_discovery filter_disabled"),
    f"{_LISTENER}.Listener.InternalListenerConfig": fields(),
    f"{_LISTENER}.AdditionalAddress": fields(done="address socket_options"),
    f"{_LISTENER}.Filter": fields(done="name typed_config config_discovery"),
    f"{_LISTENER}.FilterChain": fields(
        done="""filter_chain_match use_proxy_proto filters metadata transport_socket name
            transport_socket_connect_timeout"""
    ),
    f"{_LISTENER}.FilterChainMatch": fields(
        done="""destination_port prefix_ranges source_type source_prefix_ranges source_ports
            direct_source_prefix_ranges server_names transport_protocol application_protocols address_suffix
            suffix_len"""
    ),
    f"{_CORE}.TransportSocket": fields(done="name typed_config"),
    "envoy.extensions.filters.listener.original_dst.v3.OriginalDst": extension(),
    "envoy.extensions.filters.listener.original_src.v3.OriginalSrc": extension(done="mark", accepted="bind_port"),
    "envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport": extension(
        done="passthrough_metadata transport_socket"
    ),
    "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer": extension(),
}
