"""Path normalisation before routing (Envoy: ``PathUtil``): RFC 3986 dots, slashes, escaped slashes."""

from __future__ import annotations

from enum import IntEnum
from random import getrandbits
from typing import TYPE_CHECKING, Any

from proxeny.kernel.path import canonicalize, merge_slashes, unescape_slashes

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext


class EscapedSlashes(IntEnum):
    """``path_with_escaped_slashes_action``."""

    DEFAULT = 0
    KEEP_UNCHANGED = 1
    REJECT_REQUEST = 2
    UNESCAPE_AND_REDIRECT = 3
    UNESCAPE_AND_FORWARD = 4


class NormalizePathAction(IntEnum):
    """What becomes of a request whose path was looked at (Envoy: the same name)."""

    CONTINUE = 0
    REJECT = 1
    REDIRECT = 2


CONTINUE, REJECT, REDIRECT = NormalizePathAction


class PathNormalizer:
    """The connection manager's path settings, compiled; absent when nothing is configured."""

    __slots__ = ("escaped_slashes", "merge", "normalize", "reject_fragment")

    def __init__(
        self, normalize: bool, merge: bool, escaped_slashes: EscapedSlashes, reject_fragment: bool = True
    ) -> None:
        self.normalize = normalize
        self.merge = merge
        self.escaped_slashes = escaped_slashes
        self.reject_fragment = reject_fragment

    def __bool__(self) -> bool:
        return self.normalize or self.merge or self.escaped_slashes > EscapedSlashes.KEEP_UNCHANGED

    def apply(self, path: bytes) -> tuple[bytes, NormalizePathAction]:
        """The path as far as it was normalised (this is what logs show), and whether to route on it, to reject the
        request (400) or to redirect the client to it (307). A fragment is refused, whatever is configured, unless
        runtime says that it is to be dropped.
        """
        if b"#" in path:
            if self.reject_fragment:
                return path, REJECT
            path = path.partition(b"#")[0]
        action = CONTINUE
        if self.escaped_slashes > EscapedSlashes.KEEP_UNCHANGED:
            unescaped = unescape_slashes(path)
            if unescaped != path:
                path = unescaped
                if self.escaped_slashes == EscapedSlashes.REJECT_REQUEST:
                    return path, REJECT
                if self.escaped_slashes == EscapedSlashes.UNESCAPE_AND_REDIRECT:
                    action = REDIRECT
        if self.normalize:
            canonical = canonicalize(path)
            if canonical is None:
                return path, REJECT
            path = canonical
        if self.merge:
            path = merge_slashes(path)
        return path, action


def compile_path_normalizer(config: Any, context: FactoryContext) -> PathNormalizer:
    """From a HttpConnectionManager. Runtime decides what that leaves open, and may turn off what becomes of slashes."""
    runtime = context.runtime
    reject_fragment = True
    normalize = config.normalize_path.value
    action = config.path_with_escaped_slashes_action
    if runtime is not None:
        if not config.HasField("normalize_path"):
            normalize = runtime.feature_enabled("http_connection_manager.normalize_path", 0, 100, getrandbits(32))
        if not action:
            action = runtime.get_integer("http_connection_manager.path_with_escaped_slashes_action", 0)
        reject_fragment = runtime.get_boolean("envoy.reloadable_features.http_reject_path_with_fragment", True)
        enabled = "http_connection_manager.path_with_escaped_slashes_action_enabled"
        if not runtime.feature_enabled(enabled, 100, 100, getrandbits(32)):
            action = EscapedSlashes.KEEP_UNCHANGED
    known = action if action in EscapedSlashes.__members__.values() else EscapedSlashes.KEEP_UNCHANGED
    return PathNormalizer(normalize, config.merge_slashes, EscapedSlashes(known), reject_fragment)
