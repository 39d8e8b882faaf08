"""Which cluster a datagram goes to: one for all, or what the unified matcher says (Envoy: ``Router::RouterImpl``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from proxeny.listener.udp_filter import local_of, peer_of
from proxeny.matcher.tree_compiler import MatchTreeCompiler
from proxeny.network.stream_info import ConnectionInfo

if TYPE_CHECKING:
    from proxeny.matcher.tree import MatchTree, OnMatch
    from proxeny.network.factory_context import FactoryContext

MOST_REMEMBERED: Final = 65536
"""Flows whose route is kept; then all are forgotten and asked for anew."""


class Router(Protocol):
    """Says where a flow goes."""

    cluster_names: tuple[str, ...]
    """Every cluster that it may say."""

    def route(self, flow: bytes) -> str | None:
        """The cluster of a flow; None when there is no route for it."""


class OneCluster:
    """``cluster``: all go to one."""

    __slots__ = ("_name", "cluster_names")

    def __init__(self, name: str) -> None:
        self._name = name
        self.cluster_names: tuple[str, ...] = (name,)

    def route(self, flow: bytes) -> str | None:
        """Always the same."""
        return self._name


class FlowData:
    """What the inputs of datagrams read."""

    __slots__ = ("connection_info", "stream_info")

    def __init__(self, flow: bytes) -> None:
        self.connection_info = ConnectionInfo(local_of(flow), peer_of(flow), 0)
        self.stream_info = None


class MatchedCluster:
    """``matcher``: by addresses and ports. A flow's never change: its route is remembered while the runtime stays."""

    __slots__ = ("_known", "_runtime", "_snapshot", "_tree", "cluster_names")

    def __init__(self, tree: MatchTree, cluster_names: tuple[str, ...], runtime: Any) -> None:
        self._tree = tree
        self._runtime = runtime
        self._snapshot: Any = None
        self._known: dict[bytes, str | None] = {}
        self.cluster_names = cluster_names

    def route(self, flow: bytes) -> str | None:
        """As the tree says."""
        runtime = self._runtime
        if runtime is not None and runtime.snapshot is not self._snapshot:
            self._snapshot = runtime.snapshot
            self._known.clear()
        if flow in self._known:
            return self._known[flow]
        action: RouteAction | None = self._tree.match(FlowData(flow))
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        name = self._known[flow] = None if action is None else action.cluster
        return name


class RouteAction:
    """``envoy.extensions.filters.udp.udp_proxy.v3.Route``."""

    __slots__ = ("cluster",)

    def __init__(self, cluster: str) -> None:
        self.cluster = cluster

    def __str__(self) -> str:
        return f"cluster '{self.cluster}'"


class RouteActionFactory:
    """The registered factory."""

    def create_action(self, message: Any, context: FactoryContext) -> RouteAction:
        """From the message."""
        return RouteAction(message.cluster)


ROUTE_ACTION = RouteActionFactory()


class RouteCompiler(MatchTreeCompiler):
    """Compiles a tree of routes and notes their clusters."""

    def __init__(self, context: FactoryContext) -> None:
        super().__init__(context, "udp_input", "udp_route_action")
        self.clusters: dict[str, None] = {}

    def on_match(self, message: Any) -> OnMatch:
        """From an OnMatch message."""
        made = super().on_match(message)
        if made.action is not None:
            self.clusters[made.action.cluster] = None
        return made


def compile_router(message: Any, context: FactoryContext) -> Router:
    """The router of a UdpProxyConfig; ConfigError in Envoy's words."""
    if message.WhichOneof("route_specifier") != "matcher":
        return OneCluster(message.cluster)
    compiler = RouteCompiler(context)
    tree = compiler.tree(message.matcher)
    return MatchedCluster(tree, tuple(compiler.clusters), context.runtime)
