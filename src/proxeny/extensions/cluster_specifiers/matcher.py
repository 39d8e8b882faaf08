"""``envoy.router.cluster_specifier_plugin.matcher``: a match tree whose actions are clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.http.matching import HTTP_INPUT, HttpMatchingData
from proxeny.matcher.tree_compiler import MatchTreeCompiler

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.matcher.tree import MatchTree
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.stream_info import StreamInfo

CLUSTER_ACTION: Final = "cluster_action"
"""The kind of actions that are clusters."""


class MatcherSpecifier:
    """The compiled plugin."""

    __slots__ = ("_tree",)

    def __init__(self, tree: MatchTree) -> None:
        self._tree = tree

    def cluster(self, headers: HeaderMap, info: StreamInfo | None) -> str:
        """See router.cluster_specifier."""
        name = self._tree.match(HttpMatchingData(headers, info))
        return name if isinstance(name, str) else ""


class MatcherSpecifierFactory:
    """The registered factory."""

    def create(self, config: Any, context: FactoryContext) -> MatcherSpecifier:
        """From a ``MatcherClusterSpecifier``."""
        return MatcherSpecifier(MatchTreeCompiler(context, HTTP_INPUT, CLUSTER_ACTION).tree(config.cluster_matcher))


class ClusterActionFactory:
    """The registered factory of the action."""

    def create_action(self, config: Any, context: FactoryContext) -> str:
        """The cluster's name."""
        name: str = config.cluster
        return name


FACTORY: Final = MatcherSpecifierFactory()
CLUSTER: Final = ClusterActionFactory()
