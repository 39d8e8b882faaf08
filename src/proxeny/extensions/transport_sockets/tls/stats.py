"""Stat schemas of TLS (Envoy: ``ALL_SSL_STATS``, ``ALL_SSL_SOCKET_FACTORY_STATS``)."""

from __future__ import annotations

from typing import Final

from proxeny.kernel.tls_context import COUNTERS
from proxeny.stats.schema import Schema

SSL: Final = Schema("ssl", counters=COUNTERS)
"""``<scope>ssl.*``."""

SOCKET_FACTORY: Final = Schema(
    "ssl_socket_factory",
    counters=(
        "downstream_context_secrets_not_ready",
        "ssl_context_update_by_sds",
        "upstream_context_secrets_not_ready",
    ),
)
"""``<scope>server_ssl_socket_factory.*``, ``<scope>client_ssl_socket_factory.*``."""

DOWNSTREAM_NOT_READY: Final = SOCKET_FACTORY.slot("downstream_context_secrets_not_ready")
UPDATE_BY_SDS: Final = SOCKET_FACTORY.slot("ssl_context_update_by_sds")
UPSTREAM_NOT_READY: Final = SOCKET_FACTORY.slot("upstream_context_secrets_not_ready")
