"""Listener filters that look at a connection's first bytes."""

from typing import Final

from proxeny.config.support.table import Table, extension, fields

_LISTENER: Final = "envoy.extensions.filters.listener"

TABLE: Final[Table] = {
    f"{_LISTENER}.tls_inspector.v3.TlsInspector": extension(
        done="""enable_ja3_fingerprinting enable_ja4_fingerprinting initial_read_buffer_size max_client_hello_size
            close_connection_on_client_hello_parsing_errors"""
    ),
    f"{_LISTENER}.http_inspector.v3.HttpInspector": extension(),
    f"{_LISTENER}.proxy_protocol.v3.ProxyProtocol": extension(
        done="""rules allow_requests_without_proxy_protocol pass_through_tlvs disallowed_versions stat_prefix
            tlv_location"""
    ),
    f"{_LISTENER}.proxy_protocol.v3.ProxyProtocol.Rule": fields(done="tlv_type on_tlv_present"),
    f"{_LISTENER}.proxy_protocol.v3.ProxyProtocol.KeyValuePair": fields(done="metadata_namespace key"),
    f"{_LISTENER}.local_ratelimit.v3.LocalRateLimit": extension(done="stat_prefix token_bucket runtime_enabled"),
    "envoy.config.core.v3.ProxyProtocolPassThroughTLVs": fields(done="match_type tlv_type"),
}
