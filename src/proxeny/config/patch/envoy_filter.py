"""One patch of an EnvoyFilter: what it is for, what it matches, what it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import extension_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from proxeny.config.patch.schema import ApplyTo, Context, FilterClass, Operation

VALUE_TYPES: Final[dict[ApplyTo, Any]] = {
    ApplyTo.LISTENER: listener_pb2.Listener,
    ApplyTo.FILTER_CHAIN: listener_components_pb2.FilterChain,
    ApplyTo.NETWORK_FILTER: listener_components_pb2.Filter,
    ApplyTo.LISTENER_FILTER: listener_components_pb2.ListenerFilter,
    ApplyTo.HTTP_FILTER: http_connection_manager_pb2.HttpFilter,
    ApplyTo.ROUTE_CONFIGURATION: route_pb2.RouteConfiguration,
    ApplyTo.VIRTUAL_HOST: route_components_pb2.VirtualHost,
    ApplyTo.HTTP_ROUTE: route_components_pb2.Route,
    ApplyTo.CLUSTER: cluster_pb2.Cluster,
    ApplyTo.EXTENSION_CONFIG: extension_pb2.TypedExtensionConfig,
    ApplyTo.BOOTSTRAP: bootstrap_pb2.Bootstrap,
}
INSERTS: Final = frozenset((Operation.INSERT_BEFORE, Operation.INSERT_AFTER, Operation.INSERT_FIRST))
MERGES: Final = frozenset((Operation.MERGE, Operation.MERGE_AND_REPLACE_LIST))


@dataclass(slots=True, eq=False)
class Patch:
    """One entry of ``configPatches``, checked; ``origin`` says where it was written, ``labels`` whom it selects."""

    origin: str
    apply_to: ApplyTo
    operation: Operation
    context: Context
    match: Any
    value: Any = None
    filter_class: FilterClass = FilterClass.UNSPECIFIED
    labels: dict[str, str] | None = None
    priority: int = 0

    def __str__(self) -> str:
        return f"{self.origin} ({self.operation.name} {self.apply_to.name})"

    @property
    def merges(self) -> bool:
        """Whether it merges its value into what it matches."""
        return self.operation in MERGES

    @property
    def replaces_lists(self) -> bool:
        """Whether lists are replaced by the merge, instead of appended to."""
        return self.operation is Operation.MERGE_AND_REPLACE_LIST
