"""``filter_chain_matcher``: the unified matcher chooses a filter chain by name (Envoy: ``FilterChainManagerImpl``).

The chains' own ``filter_chain_match`` is ignored then. A matcher that leads to no action leaves the connection to the
default filter chain; one that names a chain which does not exist leaves it to none.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from proxeny.config.errors import ConfigError
from proxeny.event.slices import Steps
from proxeny.listener.filter_chain_levels import MatchError
from proxeny.listener.filter_chain_match import check_implemented
from proxeny.matcher.tree import MatchTree, Observer
from proxeny.matcher.tree_compiler import MatchTreeCompiler

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.stream_info import ConnectionInfo, StreamInfo

log = logging.getLogger("proxeny.config")

INPUT_KIND = "network_input"
ACTION_KIND = "filter_chain_action"


class FilterChainAction(Protocol):
    """What a match yields."""

    def chain_name(self, info: ConnectionInfo) -> str:
        """The name of the chain to take, which need not exist."""


class ConnectionData:
    """What network inputs read."""

    __slots__ = ("connection_info", "stream_info")

    def __init__(self, info: ConnectionInfo, stream: StreamInfo | None) -> None:
        self.connection_info = info
        self.stream_info = stream


class UnifiedFilterChainMatcher:
    """The chains of a listener by name, and the tree that chooses among them."""

    __slots__ = ("_by_name", "_tree", "chains", "default", "only")

    def __init__(self, tree: MatchTree, by_name: dict[str, Any], default: Any) -> None:
        self._tree = tree
        self._by_name = by_name
        self.chains: Sequence[Any] = tuple(by_name.values())
        self.default = default
        self.only: Any = None
        """There is no chain that takes every connection unasked."""

    def find(self, info: ConnectionInfo, stream: StreamInfo | None = None) -> Any:
        """The chain for a connection, or None."""
        action: FilterChainAction | None = self._tree.match(ConnectionData(info, stream))
        return self.default if action is None else self._by_name.get(action.chain_name(info))

    def trace(self, info: ConnectionInfo, observer: Observer, stream: StreamInfo | None = None) -> tuple[Any, Any]:
        """As ``find``: the action (None where the default applies), and its chain (None where there is no such one)."""
        action: FilterChainAction | None = self._tree.match(ConnectionData(info, stream), observer)
        return action, None if action is None else self._by_name.get(action.chain_name(info))


class NamedFilterChains:
    """Takes the chains of a listener one by one and makes their matcher."""

    def __init__(self, matcher: Any, context: FactoryContext) -> None:
        self._matcher = matcher
        self._context = context
        self._by_name: dict[str, Any] = {}

    def check(self, message: Any) -> None:
        """Refuse a FilterChain that asks for what nothing serves."""
        check_implemented(message)

    def add(self, message: Any, chain: Any) -> None:
        """A FilterChain, compiled to ``chain``; ConfigError in Envoy's words."""
        name = message.name
        if not name:
            raise MatchError('"name" field is required when using a listener matcher')
        if name in self._by_name:
            raise MatchError(f"\"name\" field is duplicated with value '{name}'")
        if message.HasField("filter_chain_match"):
            log.debug("filter chain match in chain '%s' is ignored", name)
        self._by_name[name] = chain

    def build_steps(self, default: Any = None) -> Steps[UnifiedFilterChainMatcher]:
        """The matcher of all that was added."""
        yield
        try:
            tree = MatchTreeCompiler(self._context, INPUT_KIND, ACTION_KIND).tree(self._matcher)
        except ConfigError as error:
            raise ConfigError(f"cannot create a filter chain matcher: {error.message}") from None
        return UnifiedFilterChainMatcher(tree, self._by_name, default)
