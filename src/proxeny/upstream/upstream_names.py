"""Which names connections for a request ask for and expect: ``UpstreamHttpProtocolOptions``.

They are left in the request's filter state, where filters may have put others before (``upstream.transport_options``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.upstream.dns_cache.names import parse_authority
from proxeny.upstream.transport_options import SERVER_NAME, SUBJECT_ALT_NAMES

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.connection import Connection
    from proxeny.network.stream_info import StreamInfo


class UpstreamNames:
    """``auto_sni``, ``auto_san_validation``, ``override_auto_sni_header`` of a cluster."""

    __slots__ = ("_expect", "_header", "_server_name")

    def __init__(self, config: Any) -> None:
        """``config``: an ``UpstreamHttpProtocolOptions`` message."""
        self._server_name: bool = config.auto_sni
        self._expect: bool = config.auto_san_validation
        self._header: bytes = config.override_auto_sni_header.lower().encode()

    def apply(self, headers: HeaderMap, info: StreamInfo, connection: Connection | None) -> None:
        """Set what nobody has set: the host that the request is for, or what the header says. Addresses are no SNI."""
        value = headers.get_joined(self._header) if self._header else None
        authority = parse_authority((value or headers.get(b":authority") or b"").decode("latin-1"))
        below = (connection.filter_state_map if connection is not None else None) or ()
        state = info.filter_state
        if self._server_name and not authority.is_ip and SERVER_NAME not in state and SERVER_NAME not in below:
            state[SERVER_NAME] = authority.host
        if self._expect and SUBJECT_ALT_NAMES not in state and SUBJECT_ALT_NAMES not in below:
            state[SUBJECT_ALT_NAMES] = (authority.host,)


def compile_upstream_names(config: Any) -> UpstreamNames | None:
    """None where an ``UpstreamHttpProtocolOptions`` message asks for nothing."""
    return UpstreamNames(config) if config.auto_sni or config.auto_san_validation else None
