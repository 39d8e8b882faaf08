"""What of Envoy's API this build serves: tables by message type, one file per area.

A type without an entry is served as a whole wherever a served field holds it (percentages, matchers and the like).
"""

from typing import Final

from proxeny.config.message_types import is_extension_type
from proxeny.config.support import (
    access_log,
    bootstrap,
    grpc,
    health,
    http,
    listener,
    listener_filters,
    matching,
    network_filters,
    overload,
    route_actions,
    router,
    secrets,
    tls,
    transport_sockets,
    udp,
    upstream,
    xds,
)
from proxeny.config.support.table import MessageSupport, Table

AREAS: Final[dict[str, Table]] = {
    "Bootstrap, admin, runtime": bootstrap.TABLE,
    "Overload manager": overload.TABLE,
    "Listeners and addresses": listener.TABLE,
    "Listener filters": listener_filters.TABLE,
    "UDP": udp.TABLE,
    "Matching": matching.TABLE,
    "Network filters": network_filters.TABLE,
    "HTTP connection manager and HTTP filters": http.TABLE,
    "Routes": router.TABLE,
    "Route actions": route_actions.TABLE,
    "Clusters and load balancing": upstream.TABLE,
    "Health checks": health.TABLE,
    "Secrets": secrets.TABLE,
    "Transport sockets": transport_sockets.TABLE,
    "TLS": tls.TABLE,
    "Access logs": access_log.TABLE,
    "Dynamic configuration": xds.TABLE,
    "gRPC services": grpc.TABLE,
}
TABLES: Final[Table] = {name: support for table in AREAS.values() for name, support in table.items()}


def support_of(type_name: str) -> MessageSupport | None:
    """The table's entry for a message type."""
    return TABLES.get(type_name)


def is_extension(type_name: str) -> bool:
    """Whether some extension here takes a message of this type as its configuration."""
    support = TABLES.get(type_name)
    if support is not None:
        return support.extension
    return is_extension_type(type_name)
