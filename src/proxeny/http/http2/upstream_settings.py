"""The HTTP/2 settings of a cluster's codecs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envoy.config.core.v3 import protocol_pb2

from proxeny.http.http2.settings import Http2Settings, compile_http2

if TYPE_CHECKING:
    from proxeny.upstream.http_protocol_options import HttpProtocolOptions


def for_upstream(http: HttpProtocolOptions) -> Http2Settings:
    """Of a cluster's options; ConfigError in Envoy's words."""
    return compile_http2(
        protocol_pb2.Http2ProtocolOptions.FromString(http.http2),
        client=True,
        max_headers_kb=http.max_response_headers_kb,
        max_headers_count=http.max_headers_count,
        headers_with_underscores_action=http.headers_with_underscores_action,
    )
