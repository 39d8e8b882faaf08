"""The files of ``--patch``, applied to a bootstrap before it is checked; which patch is to blame when it then fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from proxeny.config.errors import ConfigError
from proxeny.config.inspector import Findings, Inspector
from proxeny.config.patch.bootstrap import patch_bootstrap
from proxeny.config.patch.envoy_filter import Patch
from proxeny.config.patch.patch_set import PatchSet
from proxeny.config.patch.proxy import Proxy
from proxeny.config.patch.reader import read_patches
from proxeny.config.validate import inspect


class AppliedPatches:
    """What the files say, and what came of it."""

    __slots__ = (
        "_awaits_listeners",
        "_node_id",
        "_original",
        "_patches",
        "_proxy",
        "_read_warnings",
        "_set",
        "unknown",
    )

    def __init__(self, paths: Sequence[str], allow_unknown: bool, node_id: str) -> None:
        """Read the files; ConfigError. ``node_id``: that of the command line, if it has one."""
        read = read_patches(paths, allow_unknown)
        self.unknown = read.unknown
        self._set: PatchSet | None = None
        self._patches: list[Patch] = read.patches
        self._read_warnings = read.warnings
        self._node_id = node_id
        self._original: Any = None
        self._proxy: Proxy
        self._awaits_listeners = False

    def apply(self, bootstrap: Any) -> None:
        """Patch ``bootstrap`` in place; ConfigError names the patch that cannot be applied."""
        self._original = type(bootstrap)()
        self._original.CopyFrom(bootstrap)
        self._proxy = Proxy(bootstrap.node, self._node_id)
        self._set = self._apply(bootstrap, self._patches)
        self._awaits_listeners = bootstrap.dynamic_resources.HasField("lds_config")

    def _apply(self, bootstrap: Any, patches: Sequence[Patch]) -> PatchSet:
        made = PatchSet(patches, self._proxy)
        patch_bootstrap(made, bootstrap)
        return made

    def settle(self) -> None:
        """The patched bootstrap was accepted: let go of the original one."""
        self._original = None

    def for_delivered(self) -> PatchSet:
        """The patches for what is delivered later."""
        return PatchSet(self._patches, self._proxy)

    def guilty(
        self, error: ConfigError, accept_unsupported: bool, place: Callable[[ConfigError], ConfigError]
    ) -> ConfigError:
        """Why the checks refuse the patched bootstrap (``error``), with the first patch that makes them; where they
        refuse it without any, their error is put in its ``place``.
        """
        for count in range(len(self._patches) + 1):
            bootstrap = type(self._original)()
            bootstrap.CopyFrom(self._original)
            try:
                self._apply(bootstrap, self._patches[:count])
                inspect(bootstrap, Inspector(Findings(accept_unsupported)))
            except ConfigError as found:
                if count == 0:
                    return place(found)
                found.file = f"{self._patches[count - 1]} leaves a configuration that is refused"
                return found
        return error

    @property
    def applied(self) -> int:
        """Patches that changed something."""
        return self._set.applied if self._set is not None else 0

    @property
    def unmatched(self) -> int:
        """Patches that matched nothing."""
        return self._set.unmatched if self._set is not None else 0

    @property
    def warnings(self) -> list[str]:
        """What of the patches has no effect."""
        return self._read_warnings + (self._set.warnings(self._awaits_listeners) if self._set is not None else [])

    @property
    def summary(self) -> list[str]:
        """What the patches changed, a line for each."""
        return self._set.summary() if self._set is not None else []
