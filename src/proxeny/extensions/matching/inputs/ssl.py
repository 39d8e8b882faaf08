"""``envoy.matching.inputs.*`` of the client's certificate, as the unified matcher reads them; absent without one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from proxeny.extensions.matching.inputs.network import ConnectionInput

if TYPE_CHECKING:
    from proxeny.network.ssl_connection import SslConnectionInfo
    from proxeny.network.stream_info import ConnectionInfo


def _of_session(read: Callable[[SslConnectionInfo], str]) -> Callable[[ConnectionInfo], bytes | None]:
    def fact(info: ConnectionInfo) -> bytes | None:
        ssl = info.ssl
        return (read(ssl).encode("utf-8", "surrogateescape") or None) if ssl is not None else None

    return fact


URI_SAN = ConnectionInput("URI SAN", _of_session(lambda ssl: ",".join(ssl.uri_sans_peer_certificate)))
DNS_SAN = ConnectionInput("DNS SAN", _of_session(lambda ssl: ",".join(ssl.dns_sans_peer_certificate)))
SUBJECT = ConnectionInput("subject", _of_session(lambda ssl: ssl.subject_peer_certificate))
