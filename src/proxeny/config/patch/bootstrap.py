"""Patching a whole bootstrap: itself first, then its static listeners and clusters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxeny.config.patch.clusters import added_clusters, patch_cluster
from proxeny.config.patch.listeners import added_listeners, patch_listener
from proxeny.config.patch.merge import merge
from proxeny.config.patch.patch_set import PatchSet
from proxeny.config.patch.schema import ApplyTo


def patch_bootstrap(patches: PatchSet, bootstrap: Any) -> None:
    """Apply all patches, in place. Raises ConfigError naming the patch that cannot be applied."""
    for patch in patches.of(ApplyTo.BOOTSTRAP):
        if patches.proxy.adds(patch):
            patches.record(patch, merge(bootstrap, patch.value, patch.replaces_lists), "the bootstrap")
    resources = bootstrap.static_resources
    if any(patches.of(kind) for kind in ApplyTo if kind not in (ApplyTo.BOOTSTRAP, ApplyTo.CLUSTER)):
        _patch_each(patches, resources.listeners, patch_listener)
        resources.listeners.extend(added_listeners(patches))
    if patches.of(ApplyTo.CLUSTER):
        _patch_each(patches, resources.clusters, patch_cluster)
        resources.clusters.extend(added_clusters(patches))


def _patch_each(patches: PatchSet, messages: Any, patch_one: Callable[[PatchSet, Any], bool]) -> None:
    removed = [index for index, message in enumerate(messages) if not patch_one(patches, message)]
    for index in reversed(removed):
        del messages[index]
