"""UDP listeners and their filters."""

from typing import Final

from proxeny.config.support.table import Table, extension, fields

_CORE: Final = "envoy.config.core.v3"
_UDP: Final = "envoy.extensions.filters.udp"

TABLE: Final[Table] = {
    "envoy.config.listener.v3.UdpListenerConfig": fields(
        done="downstream_socket_config udp_packet_packet_writer_config"
    ),
    "envoy.extensions.udp_packet_writer.v3.UdpDefaultWriterFactory": extension(),
    f"{_CORE}.UdpSocketConfig": fields(done="max_rx_datagram_size prefer_gro"),
    f"{_UDP}.udp_proxy.v3.UdpProxyConfig": extension(
        done="""stat_prefix cluster matcher idle_timeout use_original_src_ip hash_policies upstream_socket_config
            use_per_packet_load_balancing access_log proxy_access_log access_log_options"""
    ),
    f"{_UDP}.udp_proxy.v3.Route": extension(done="cluster"),
    f"{_UDP}.udp_proxy.v3.UdpProxyConfig.HashPolicy": fields(done="source_ip key"),
    f"{_UDP}.udp_proxy.v3.UdpProxyConfig.UdpAccessLogOptions": fields(
        done="access_log_flush_interval", accepted="flush_access_log_on_tunnel_connected"
    ),
    f"{_UDP}.dns_filter.v3.DnsFilterConfig": extension(done="stat_prefix server_config client_config access_log"),
    f"{_UDP}.dns_filter.v3.DnsFilterConfig.ServerContextConfig": fields(done="inline_dns_table external_dns_table"),
    f"{_UDP}.dns_filter.v3.DnsFilterConfig.ClientContextConfig": fields(
        done="""resolver_timeout upstream_resolvers dns_resolution_config typed_dns_resolver_config
            max_pending_lookups"""
    ),
    "envoy.data.dns.v3.DnsTable": fields(done="external_retry_count virtual_domains", accepted="known_suffixes"),
}
