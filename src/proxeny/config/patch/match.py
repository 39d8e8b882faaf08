"""Which objects a patch matches, its context aside (Istio: ``listenerMatch``, ``filterChainMatch``...).

What a patch does not say matches everything; each function assumes that the objects around its own matched.
"""

from __future__ import annotations

from typing import Any, Final

from proxeny.config.patch.checks import HTTP_CONNECTION_MANAGER_NAMES, selects
from proxeny.config.patch.envoy_filter import Patch
from proxeny.config.patch.proxy import VIRTUAL_LISTENERS
from proxeny.config.patch.schema import ApplyTo, Context, RouteAction

HCM_TYPE: Final = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ACTIONS: Final = {
    "route": RouteAction.ROUTE,
    "redirect": RouteAction.REDIRECT,
    "direct_response": RouteAction.DIRECT_RESPONSE,
}


def listener_matches(patch: Patch, listener: Any) -> bool:
    """By name and port. In a virtual listener, which takes all ports, the chains have the port (``chain_matches``)."""
    wanted = patch.match.listener
    if wanted.name and wanted.name != listener.name:
        return False
    if not wanted.port_number or (patch.apply_to is not ApplyTo.LISTENER and listener.name in VIRTUAL_LISTENERS):
        return True
    return bool(listener.address.socket_address.port_value == wanted.port_number)


def chain_matches(patch: Patch, listener: Any, chain: Any) -> bool:
    """By what the chain itself matches, its name and its transport socket."""
    wanted, conditions = patch.match.listener.filter_chain, chain.filter_chain_match
    port = patch.match.listener.port_number
    if port and listener.name in VIRTUAL_LISTENERS and conditions.destination_port.value != port:
        return False
    return (
        (not wanted.name or wanted.name == chain.name)
        and (not wanted.sni or wanted.sni in conditions.server_names)
        and (not wanted.transport_protocol or wanted.transport_protocol == conditions.transport_protocol)
        and (not wanted.destination_port or wanted.destination_port == conditions.destination_port.value)
        and (not wanted.transport_socket or wanted.transport_socket == chain.transport_socket.name)
        and (
            not wanted.application_protocols
            or set(wanted.application_protocols.split(",")) <= set(conditions.application_protocols)
        )
    )


def network_filter_matches(patch: Patch, network_filter: Any) -> bool:
    """By name; an HTTP connection manager also by its canonical name, whatever it is called."""
    if not patch.match.listener.filter_chain.HasField("filter"):
        return True
    wanted = patch.match.listener.filter_chain.filter.name
    return bool(wanted == network_filter.name) or (
        wanted in HTTP_CONNECTION_MANAGER_NAMES and is_connection_manager(network_filter)
    )


def is_connection_manager(network_filter: Any) -> bool:
    """Whether a network filter is the HTTP connection manager."""
    return bool(network_filter.typed_config.type_url.rpartition("/")[2] == HCM_TYPE)


def http_filter_matches(patch: Patch, http_filter: Any) -> bool:
    """By name."""
    wanted = patch.match.listener.filter_chain.filter
    return not wanted.HasField("sub_filter") or bool(wanted.sub_filter.name == http_filter.name)


def listener_filter_matches(patch: Patch, listener_filter: Any) -> bool:
    """By name."""
    wanted = patch.match.listener.listener_filter
    return not wanted or bool(wanted == listener_filter.name)


def routes_match(patch: Patch, routes: Any, context: Context, listener_port: int) -> bool:
    """By the name of a route configuration and what Istio's names say: a port, a gateway's port name and the gateway.

    A name that says no port stands for the port of the listener around it (0: not known).
    """
    wanted = patch.match.route_configuration
    if wanted.name and wanted.name != routes.name:
        return False
    if context is Context.GATEWAY:
        port, port_name, gateway = gateway_route_name(routes.name)
        if (wanted.port_name and wanted.port_name != port_name) or (wanted.gateway and wanted.gateway != gateway):
            return False
    elif routes.name.startswith("inbound"):
        port = subset_key(routes.name)[1]
    else:
        port = _number(routes.name)
    return not wanted.port_number or bool(wanted.port_number == (port or listener_port))


def virtual_host_matches(patch: Patch, host: Any) -> bool:
    """By name and domain."""
    wanted = patch.match.route_configuration.vhost
    return (not wanted.name or wanted.name == host.name) and (
        not wanted.domain_name or wanted.domain_name in host.domains
    )


def route_matches(patch: Patch, route: Any) -> bool:
    """By name and kind of action."""
    if not selects(ApplyTo.HTTP_ROUTE, patch.match):
        return True
    wanted = patch.match.route_configuration.vhost.route
    if wanted.name and wanted.name != route.name:
        return False
    action = _ACTIONS.get(route.WhichOneof("action") or "")
    return wanted.action == RouteAction.ANY or action is None or bool(wanted.action == action)


def cluster_matches(patch: Patch, cluster: Any) -> bool:
    """By name alone where one is given, else by the parts of the name that Istio gives a service's clusters."""
    wanted = patch.match.cluster
    if wanted.name:
        return bool(wanted.name == cluster.name)
    direction, port, subset, host = subset_key(cluster.name)
    hosts = {host}
    if direction == "inbound":
        hosts |= _services(cluster)
    return (
        (not wanted.subset or wanted.subset == subset)
        and (not wanted.service or wanted.service in hosts)
        and (not wanted.port_number or wanted.port_number == port)
    )


def _services(cluster: Any) -> set[str]:
    """Hosts of the services of an inbound cluster: its name has none, Istio writes them into its metadata."""
    metadata = cluster.metadata.filter_metadata
    if "istio" not in metadata:
        return set()
    services = metadata["istio"].fields
    values = services["services"].list_value.values if "services" in services else ()
    return {value.struct_value.fields["host"].string_value for value in values if "host" in value.struct_value.fields}


def subset_key(name: str) -> tuple[str, int, str, str]:
    """(direction, port, subset, host) of ``outbound|80|v1|host`` or ``outbound_.80_.v1_.host``; of others nothing."""
    separator = "_." if name.startswith(("outbound_.", "inbound_.")) else "|"
    parts = name.split(separator)
    if len(parts) != 4:
        return "", 0, "", ""
    return parts[0], _number(parts[1]), parts[2], parts[3]


def gateway_route_name(name: str) -> tuple[int, str, str]:
    """(port, port name, namespace/gateway) of ``http.80`` or ``https.443.name.gateway.namespace``."""
    parts = name.split(".")
    if parts[0] == "http" and len(parts) == 2:
        return _number(parts[1]), "", ""
    if parts[0] == "https" and len(parts) == 5:
        return _number(parts[1]), parts[2], f"{parts[4]}/{parts[3]}"
    return 0, "", ""


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
