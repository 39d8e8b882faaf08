"""Patching a cluster (Istio: ``cluster_patch.go``)."""

from __future__ import annotations

from typing import Any

from proxeny.config.errors import ConfigError
from proxeny.config.patch.envoy_filter import Patch
from proxeny.config.patch.match import cluster_matches
from proxeny.config.patch.merge import merge, merge_configured, merge_with_transport_socket, without
from proxeny.config.patch.patch_set import PatchSet, blamed
from proxeny.config.patch.schema import ApplyTo, Context, Operation


def patch_cluster(patches: PatchSet, cluster: Any, context: Context | None = None) -> bool:
    """Patch a cluster in place; False when it is removed. ConfigError names a patch that cannot be applied."""
    if context is None:
        context = patches.proxy.cluster_context(cluster.name)
    for patch in patches.select(ApplyTo.CLUSTER, context):
        if patch.operation is Operation.ADD or not cluster_matches(patch, cluster):
            continue
        place = f"cluster '{cluster.name}'"
        if patch.operation is Operation.REMOVE:
            patches.record(patch, True, f"removed {place}")
            return False
        try:
            patches.record(patch, _merge(patches, patch, cluster), place)
        except ConfigError as error:
            raise blamed(error, patch, f"the transport socket of {place}") from error.__cause__
    return True


def added_clusters(patches: PatchSet) -> list[Any]:
    """The clusters that patches add."""
    return patches.added(ApplyTo.CLUSTER)


def _merge(patches: PatchSet, patch: Patch, cluster: Any) -> bool:
    """A cluster that chooses its transport socket by matches takes a patch's into the one of the same name."""
    value = patch.value
    if not (value.HasField("transport_socket") and cluster.transport_socket_matches):
        return merge_with_transport_socket(cluster, value, patch.replaces_lists)
    changed = False
    for match in cluster.transport_socket_matches:
        if match.transport_socket.name == value.transport_socket.name:
            changed = merge_configured(match.transport_socket, value.transport_socket)
            break
    else:
        patches.note(
            patch,
            f"the transport socket is left out of cluster '{cluster.name}', none of whose transport_socket_matches is "
            f"named '{value.transport_socket.name}'",
        )
    return merge(cluster, without(value, "transport_socket"), patch.replaces_lists) or changed
