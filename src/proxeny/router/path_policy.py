"""``path_match_policy``, ``path_rewrite_policy``: extensions that match and rewrite paths (Envoy: ``PathMatcher``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from proxeny.config.errors import ConfigError
from proxeny.config.loader import unpack_any
from proxeny.registry import REGISTRY
from proxeny.router.path_rewrite import ORIGINAL_PATH, path_end

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.stream_info import StreamInfo

MATCH: Final = "path_match"
REWRITE: Final = "path_rewrite"
"""Kinds in the registry."""


class PathPattern(Protocol):
    """What ``path_match_policy`` says, in a form that can be indexed."""

    template: bytes
    """As it is configured."""
    regex: bytes | None
    """A regex for the paths (without query) that match as a whole; None: no path does."""


class PathRewriter(Protocol):
    """What ``path_rewrite_policy`` says."""

    def rewrite(self, path: bytes) -> bytes | None:
        """The new path for one (without query) that was matched; None: it stays."""


class PathMatchFactory(Protocol):
    """Registered under ``path_match``."""

    def create_pattern(self, message: Any, context: FactoryContext) -> PathPattern:
        """The pattern of a configuration; ConfigError in Envoy's words."""


class PathRewriteFactory(Protocol):
    """Registered under ``path_rewrite``."""

    def create_rewriter(self, message: Any, pattern: PathPattern | None, context: FactoryContext) -> PathRewriter:
        """The rewriter of a route whose ``path_match_policy`` is ``pattern``; ConfigError in Envoy's words."""


def compile_pattern(match: Any, context: FactoryContext) -> PathPattern | None:
    """``path_match_policy`` of a ``RouteMatch`` message, None where there is none."""
    if not match.HasField("path_match_policy"):
        return None
    pattern: PathPattern = _factory(MATCH, match.path_match_policy).create_pattern(
        unpack_any(match.path_match_policy.typed_config), context
    )
    return pattern


def compile_rewriter(action: Any, pattern: PathPattern | None, context: FactoryContext) -> PathRewriter | None:
    """``path_rewrite_policy`` of a ``RouteAction`` message, None where there is none."""
    if not action.HasField("path_rewrite_policy"):
        return None
    rewriter: PathRewriter = _factory(REWRITE, action.path_rewrite_policy).create_rewriter(
        unpack_any(action.path_rewrite_policy.typed_config), pattern, context
    )
    return rewriter


class PolicyRewrite:
    """The path rewrite of a route with a ``path_rewrite_policy``."""

    __slots__ = ("_rewriter",)

    def __init__(self, rewriter: PathRewriter) -> None:
        self._rewriter = rewriter

    def apply(
        self, headers: HeaderMap, matched: int, insert_original_path: bool, info: StreamInfo | None = None
    ) -> None:
        """Set ``:path``; its query stays."""
        path = headers.get(b":path")
        if path is None:
            return
        end = path_end(path)
        new_path = self._rewriter.rewrite(path[:end])
        if insert_original_path:
            headers.set(ORIGINAL_PATH, path)
        if new_path is not None:
            headers.set(b":path", new_path + path[end:])


def check_rewrites(config: Any, pattern: PathPattern | None) -> None:
    """ConfigError in Envoy's words for rewrites of a ``Route`` that do not go together."""
    action = config.route
    policy, regex = action.HasField("path_rewrite_policy"), action.HasField("regex_rewrite")
    rewrites = (action.prefix_rewrite, action.path_rewrite, regex, policy)
    if sum(map(bool, rewrites)) > 1:
        raise ConfigError("Specify only one of prefix_rewrite, regex_rewrite or path_rewrite_policy")
    if pattern is not None and action.prefix_rewrite:
        raise ConfigError("Cannot use prefix_rewrite with matcher extension")
    if pattern is not None and config.redirect.prefix_rewrite:
        raise ConfigError("Cannot use redirect.prefix_rewrite with path_match_policy")


def _factory(kind: str, extension: Any) -> Any:
    return REGISTRY.factory(kind, extension.name, extension.typed_config.type_url.rpartition("/")[2])
