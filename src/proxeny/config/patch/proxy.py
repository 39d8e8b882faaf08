"""Whom patches are for: this proxy, as its node tells, and whose traffic each of its objects serves.

Istio generates each object for a context. Here the context is found in the configuration: a node id that begins with
``router~`` makes everything GATEWAY; else a listener's ``traffic_direction`` decides (or its name, where that is
``virtualInbound`` or ``virtualOutbound``), and of clusters and route configurations the names that Istio gives the
inbound ones. A listener without any of these has no context: only patches for ANY match it.
"""

from __future__ import annotations

from typing import Any, Final

import re2
from envoy.config.core.v3 import base_pb2

from proxeny.config.patch.envoy_filter import Patch
from proxeny.config.patch.schema import Context

VIRTUAL_INBOUND: Final = "virtualInbound"
VIRTUAL_OUTBOUND: Final = "virtualOutbound"
VIRTUAL_LISTENERS: Final = frozenset((VIRTUAL_INBOUND, VIRTUAL_OUTBOUND))

_ROUTER: Final = "router~"
_INBOUND: Final = "inbound"
_INBOUND_CLUSTERS: Final = ("inbound|", "inbound_.", "InboundPassthroughCluster")
_DIRECTIONS: Final = {
    base_pb2.INBOUND: Context.SIDECAR_INBOUND,
    base_pb2.OUTBOUND: Context.SIDECAR_OUTBOUND,
}
_BY_NAME: Final = {VIRTUAL_INBOUND: Context.SIDECAR_INBOUND, VIRTUAL_OUTBOUND: Context.SIDECAR_OUTBOUND}


class Proxy:
    """The node of a bootstrap; ``node_id`` (--service-node) wins over the one written there."""

    __slots__ = ("is_router", "labels", "metadata", "version")

    def __init__(self, node: Any, node_id: str = "") -> None:
        self.is_router: bool = (node_id or node.id).startswith(_ROUTER)
        fields = node.metadata.fields
        self.metadata = {
            key: fields[key].string_value for key in fields if fields[key].WhichOneof("kind") == "string_value"
        }
        self.version = self.metadata.get("ISTIO_VERSION", "")
        self.labels: dict[str, str] | None = None
        if "LABELS" in fields:
            labels = fields["LABELS"].struct_value.fields
            self.labels = {key: labels[key].string_value for key in labels}

    def refuses(self, patch: Patch) -> str:
        """Why a patch is not for this proxy; empty when it is."""
        if patch.labels and self.labels is not None and not patch.labels.items() <= self.labels.items():
            return "its workloadSelector does not select this proxy's labels"
        wanted = patch.match.proxy
        if wanted.proxy_version and not self.version:
            return "it matches a proxyVersion, and the node's metadata has no ISTIO_VERSION"
        if wanted.proxy_version and not re2.search(wanted.proxy_version, self.version):
            return f"its proxyVersion does not match {self.version}"
        for key, value in wanted.metadata.items():
            if self.metadata.get(key) != value:
                return f"the node's metadata {key} is not '{value}'"
        return ""

    def contexts(self) -> tuple[Context, ...]:
        """The contexts that this proxy's objects can have."""
        return (Context.GATEWAY,) if self.is_router else (Context.SIDECAR_INBOUND, Context.SIDECAR_OUTBOUND)

    def adds(self, patch: Patch) -> bool:
        """Whether a listener or cluster that a patch adds is for a context of this proxy."""
        return patch.context is Context.ANY or patch.context in self.contexts()

    def listener_context(self, listener: Any) -> Context:
        """The context of a listener; ANY when it has none."""
        if self.is_router:
            return Context.GATEWAY
        found = _DIRECTIONS.get(listener.traffic_direction)
        return found if found is not None else _BY_NAME.get(listener.name, Context.ANY)

    def cluster_context(self, name: str) -> Context:
        """The context of a cluster."""
        if self.is_router:
            return Context.GATEWAY
        return Context.SIDECAR_INBOUND if name.startswith(_INBOUND_CLUSTERS) else Context.SIDECAR_OUTBOUND

    def route_context(self, name: str) -> Context:
        """The context of a route configuration that comes without its listener."""
        if self.is_router:
            return Context.GATEWAY
        return Context.SIDECAR_INBOUND if name.startswith(_INBOUND) else Context.SIDECAR_OUTBOUND
