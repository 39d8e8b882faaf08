"""What filters ask of upstream transport sockets, by filter state (Envoy: ``TransportSocketOptionsUtility``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.network.filter_state import FilterState
from proxeny.network.proxy_protocol import PROXY_PROTOCOL_OPTIONS as PROXY_PROTOCOL
from proxeny.network.proxy_protocol import ProxyProtocolData
from proxeny.network.transport_socket import TransportSocketOptions

if TYPE_CHECKING:
    from proxeny.upstream.internal_upstream import SharedState
    from proxeny.upstream.load_balancer.context import LbContext

SERVER_NAME: Final = "envoy.network.upstream_server_name"
SUBJECT_ALT_NAMES: Final = "envoy.network.upstream_subject_alt_names"
APPLICATION_PROTOCOLS: Final = "envoy.network.application_protocols"
HTTP11_PROXY: Final = "envoy.network.transport_socket.http_11_proxy.info"
KEYS: Final = (SERVER_NAME, SUBJECT_ALT_NAMES, APPLICATION_PROTOCOLS, PROXY_PROTOCOL, HTTP11_PROXY)


def has_filter_state(context: LbContext | None) -> bool:
    """Whether a request, or its connection, has any: else nothing is asked of transport sockets."""
    if context is None:
        return False
    info = context.request_stream_info
    if info is not None and info.filter_state_map:
        return True
    connection = context.downstream_connection
    return connection is not None and bool(connection.filter_state_map)


def transport_options(
    context: LbContext | None, shared: SharedState, addresses: bool = False
) -> TransportSocketOptions | None:
    """What the filter state of a request, or of its connection, asks for; None: nothing.

    With ``addresses`` what PROXY protocol headers tell is the connection's addresses where filter state does not say.
    """
    found: dict[str, Any] = {}
    if context is not None:
        connection = context.downstream_connection
        info = context.request_stream_info
        for state in (
            None if connection is None else connection.filter_state_map,
            None if info is None else info.filter_state_map,
        ):
            if isinstance(state, FilterState):
                found.update({name: state[name] for name in KEYS if name in state})
        if addresses and connection is not None and PROXY_PROTOCOL not in found:
            here = connection.connection_info
            found[PROXY_PROTOCOL] = ProxyProtocolData(here.remote_address, here.local_address)
    if not found and not shared:
        return None
    return TransportSocketOptions(
        server_name_override=str(found.get(SERVER_NAME, "")),
        verify_san_list_override=_names(found.get(SUBJECT_ALT_NAMES)),
        alpn_override=_names(found.get(APPLICATION_PROTOCOLS)),
        proxy_protocol=found.get(PROXY_PROTOCOL),
        http11_proxy=found.get(HTTP11_PROXY),
        shared=shared,
    )


def _names(value: Any) -> tuple[str, ...]:
    """A list of names: a sequence, or text with commas between them."""
    if value is None:
        return ()
    return tuple(value.split(",")) if isinstance(value, str) else tuple(value)
