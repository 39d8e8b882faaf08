"""Whether the parts of one entry of ``configPatches`` fit together (Istio: ``pkg/config/validation/envoyfilter``).

What Istio's code silently leaves alone (an operation that its object does not have, a removal that says not what) is
refused here; what has no effect but does no harm is a warning.
"""

from __future__ import annotations

from typing import Any, Final

import re2

from proxeny.config.errors import ConfigError
from proxeny.config.patch.envoy_filter import INSERTS, MERGES
from proxeny.config.patch.schema import ApplyTo, Context, FilterClass, Operation

HTTP_CONNECTION_MANAGER: Final = "envoy.filters.network.http_connection_manager"
HTTP_CONNECTION_MANAGER_NAMES: Final = frozenset((HTTP_CONNECTION_MANAGER, "envoy.http_connection_manager"))
MAX_VERSION_PATTERN: Final = 1024
"""Characters of a ``proxyVersion``; Istio takes longer ones for patterns that match nothing."""

_OBJECT_FIELDS: Final = ("listener", "route_configuration", "cluster", "waypoint")
_LISTENER_CLASS: Final = frozenset(
    (ApplyTo.LISTENER, ApplyTo.FILTER_CHAIN, ApplyTo.NETWORK_FILTER, ApplyTo.HTTP_FILTER, ApplyTo.LISTENER_FILTER)
)
_ROUTE_CLASS: Final = frozenset((ApplyTo.ROUTE_CONFIGURATION, ApplyTo.VIRTUAL_HOST, ApplyTo.HTTP_ROUTE))
_FILTERS: Final = frozenset((ApplyTo.NETWORK_FILTER, ApplyTo.HTTP_FILTER, ApplyTo.LISTENER_FILTER))

_LIST: Final = MERGES | {Operation.ADD, Operation.REMOVE}
_OPERATIONS: Final[dict[ApplyTo, frozenset[Operation]]] = {
    ApplyTo.LISTENER: _LIST,
    ApplyTo.FILTER_CHAIN: _LIST,
    ApplyTo.CLUSTER: _LIST,
    ApplyTo.VIRTUAL_HOST: _LIST | {Operation.REPLACE},
    ApplyTo.HTTP_ROUTE: _LIST | INSERTS,
    ApplyTo.ROUTE_CONFIGURATION: MERGES,
    ApplyTo.BOOTSTRAP: MERGES,
    ApplyTo.EXTENSION_CONFIG: frozenset((Operation.ADD, Operation.REPLACE)),
    **dict.fromkeys(_FILTERS, INSERTS | {Operation.MERGE, Operation.ADD, Operation.REMOVE, Operation.REPLACE}),
}
# Order does not matter for these: Istio makes an insertion an addition.
_UNORDERED: Final = frozenset(
    (ApplyTo.LISTENER, ApplyTo.FILTER_CHAIN, ApplyTo.CLUSTER, ApplyTo.VIRTUAL_HOST, ApplyTo.EXTENSION_CONFIG)
)


def checked_operation(entry: Any) -> Operation:
    """The operation of an entry, an insertion where order means nothing made an addition; ConfigError."""
    _check_numbers(entry)
    if not entry.apply_to:
        raise ConfigError("missing applyTo", "apply_to")
    if not entry.HasField("patch"):
        raise ConfigError("missing patch", "patch")
    if not entry.patch.operation:
        raise ConfigError("missing patch operation", "patch.operation")
    kind, operation = ApplyTo(entry.apply_to), Operation(entry.patch.operation)
    if operation in INSERTS and kind in _UNORDERED:
        operation = Operation.ADD
    allowed = _OPERATIONS[kind]
    if operation not in allowed:
        names = ", ".join(one.name for one in sorted(allowed))
        raise ConfigError(f"{operation.name} is not an operation of {kind.name}: {names} are", "patch.operation")
    if operation is not Operation.REMOVE and not entry.patch.HasField("value"):
        raise ConfigError("missing patch value for non-remove operation", "patch.value")
    return operation


def _check_numbers(entry: Any) -> None:
    """Values of enums may be written as numbers, also as ones that stand for nothing."""
    for kind, number, path in (
        (ApplyTo, entry.apply_to, "apply_to"),
        (Operation, entry.patch.operation, "patch.operation"),
        (FilterClass, entry.patch.filter_class, "patch.filter_class"),
        (Context, entry.match.context, "match.context"),
    ):
        if number not in kind._value2member_map_:
            raise ConfigError(f"{kind.__name__} has no value {number}", path)


def check_match(entry: Any, operation: Operation) -> list[str]:
    """Warnings about the match of an entry and its class of filters; ConfigError where it cannot be meant."""
    kind, match = ApplyTo(entry.apply_to), entry.match
    if match.context == Context.WAYPOINT or match.HasField("waypoint"):
        raise ConfigError("the context WAYPOINT is not supported by this build of Proxeny", "match.context")
    _check_version(match.proxy.proxy_version)
    warnings = _check_object(kind, match)
    if kind in _FILTERS:
        _check_selection(kind, operation, match)
    if entry.patch.filter_class and (operation is not Operation.ADD or kind not in _FILTERS):
        name = FilterClass(entry.patch.filter_class).name
        warnings.append(f"filterClass {name} has no effect: it places filters that are added (operation ADD)")
    return warnings


def _check_version(pattern: str) -> None:
    if len(pattern) > MAX_VERSION_PATTERN:
        raise ConfigError(f"longer than {MAX_VERSION_PATTERN} characters", "match.proxy.proxy_version")
    try:
        re2.compile(pattern)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise ConfigError(f"invalid regex for proxy version: {text}", "match.proxy.proxy_version") from None


def _check_object(kind: ApplyTo, match: Any) -> list[str]:
    present = [name for name in _OBJECT_FIELDS if match.HasField(name)]
    if len(present) > 1:
        raise ConfigError(f"only one of {' and '.join(present)} can be matched", "match")
    found = present[0] if present else ""
    if kind in _LISTENER_CLASS:
        if found not in ("", "listener"):
            raise ConfigError("applyTo for listener class objects cannot have non listener match", f"match.{found}")
        return _check_listener(kind, match.listener)
    if kind in _ROUTE_CLASS:
        if found not in ("", "route_configuration"):
            text = "applyTo for http route class objects cannot have non route configuration match"
            raise ConfigError(text, f"match.{found}")
    elif kind is ApplyTo.CLUSTER:
        if found not in ("", "cluster"):
            raise ConfigError("applyTo for cluster class objects cannot have non cluster match", f"match.{found}")
    elif found:
        return [f"the {found} match has no effect when used with {kind.name}"]
    return []


def _check_listener(kind: ApplyTo, listener: Any) -> list[str]:
    warnings = []
    if listener.port_name:
        warnings.append("the match of a listener's portName has no effect (Istio has none either)")
    chain = listener.filter_chain
    if not chain.HasField("filter"):
        return warnings
    if kind in (ApplyTo.LISTENER, ApplyTo.FILTER_CHAIN, ApplyTo.LISTENER_FILTER):
        warnings.append(f"the filter match has no effect when used with {kind.name}")
    path = "match.listener.filter_chain.filter"
    if not chain.filter.name:
        raise ConfigError("filter match has no name to match on", path)
    if chain.filter.HasField("sub_filter"):
        if kind is not ApplyTo.HTTP_FILTER:
            raise ConfigError("subfilter match can be used with applyTo HTTP_FILTER only", f"{path}.sub_filter")
        if chain.filter.name not in HTTP_CONNECTION_MANAGER_NAMES:
            raise ConfigError(f"subfilter match requires filter match with {HTTP_CONNECTION_MANAGER}", path)
        if not chain.filter.sub_filter.name:
            raise ConfigError("subfilter match has no name to match on", f"{path}.sub_filter")
    return warnings


def selects(kind: ApplyTo, match: Any) -> bool:
    """Whether a match names one object of a list (a filter, a route), not just the list."""
    if kind is ApplyTo.LISTENER_FILTER:
        return bool(match.listener.listener_filter)
    if kind is ApplyTo.NETWORK_FILTER:
        return bool(match.listener.filter_chain.HasField("filter"))
    if kind is ApplyTo.HTTP_FILTER:
        return bool(match.listener.filter_chain.filter.HasField("sub_filter"))
    return bool(match.route_configuration.vhost.HasField("route"))


_SELECTORS: Final = {
    ApplyTo.LISTENER_FILTER: "listener.listenerFilter",
    ApplyTo.NETWORK_FILTER: "listener.filterChain.filter",
    ApplyTo.HTTP_FILTER: "listener.filterChain.filter.subFilter",
}


def _check_selection(kind: ApplyTo, operation: Operation, match: Any) -> None:
    """What is removed or replaced is named; of listener filters also what is merged into."""
    needed = operation in (Operation.REMOVE, Operation.REPLACE) or (
        operation is Operation.MERGE and kind is ApplyTo.LISTENER_FILTER
    )
    if needed and not selects(kind, match):
        raise ConfigError(f"{operation.name} {kind.name} needs a match of {_SELECTORS[kind]}", "match")
