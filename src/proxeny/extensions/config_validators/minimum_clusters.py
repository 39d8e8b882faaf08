"""``envoy.config.validators.minimum_clusters_validator``: an update may not leave fewer clusters than so many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from proxeny.config.errors import ConfigError
from proxeny.xds.config_validators import AddedClusters, ConfigValidator
from proxeny.xds.resource import DecodedResource

_CLUSTER: Final = "type.googleapis.com/envoy.config.cluster.v3.Cluster"


class MinimumClusters:
    """Counts the clusters that did not come with the bootstrap."""

    __slots__ = ("_added_clusters", "_least")

    type_url = _CLUSTER

    def __init__(self, least: int, added_clusters: AddedClusters) -> None:
        self._least = least
        self._added_clusters = added_clusters

    def validate(self, resources: Sequence[DecodedResource]) -> None:
        """ConfigError for a state of the world that is too small."""
        self._check(len(resources))

    def validate_delta(self, added: Sequence[DecodedResource], removed_names: Sequence[str]) -> None:
        """ConfigError for changes that leave too few."""
        left = {*self._added_clusters(), *[resource.message.name for resource in added]}
        self._check(len(left.difference(removed_names)))

    def _check(self, count: int) -> None:
        if count < self._least:
            raise ConfigError("CDS update attempts to reduce clusters below configured minimum.")


class MinimumClustersFactory:
    """Compiles ``extensions.config.validators.minimum_clusters.v3.MinimumClustersValidator``."""

    __slots__ = ()

    def create(self, config: Any, added_clusters: AddedClusters) -> ConfigValidator:
        """A validator of updates of clusters."""
        return MinimumClusters(config.min_clusters_num, added_clusters)


FACTORY = MinimumClustersFactory()
