"""Listener filters that look at a connection's first bytes."""

from typing import Final

from proxeny.config.support.table import Table, extension

_LISTENER: Final = "envoy.extensions.filters.listener"

TABLE: Final[Table] = {
    f"{_LISTENER}.tls_inspector.v3.TlsInspector": extension(
        done="""enable_ja3_fingerprinting enable_ja4_fingerprinting initial_read_buffer_size max_client_hello_size
            close_connection_on_client_hello_parsing_errors"""
    ),
    f"{_LISTENER}.http_inspector.v3.HttpInspector": extension(),
}
