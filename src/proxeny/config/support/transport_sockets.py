"""Transport sockets around others."""

from typing import Final

from proxeny.config.support.table import Table, extension, fields

_SOCKETS: Final = "envoy.extensions.transport_sockets"

TABLE: Final[Table] = {
    # Neither of the accepted ones has an effect in Envoy.
    f"{_SOCKETS}.proxy_protocol.v3.ProxyProtocolUpstreamTransport": extension(
        done="config transport_socket", accepted="allow_unspecified_address tlv_as_pool_key"
    ),
    "envoy.config.core.v3.PerHostConfig": extension(done="added_tlvs"),
    "envoy.config.core.v3.TlvEntry": fields(done="type value format_string"),
    f"{_SOCKETS}.http_11_proxy.v3.Http11ProxyUpstreamTransport": extension(done="transport_socket"),
    f"{_SOCKETS}.starttls.v3.StartTlsConfig": extension(done="cleartext_socket_config tls_socket_config"),
    f"{_SOCKETS}.starttls.v3.UpstreamStartTlsConfig": extension(done="cleartext_socket_config tls_socket_config"),
    f"{_SOCKETS}.tcp_stats.v3.Config": extension(done="transport_socket update_period"),
}
