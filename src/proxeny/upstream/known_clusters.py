"""What ``validate_clusters`` goes by (Envoy: ``ClusterManager::hasCluster``)."""

from __future__ import annotations

from collections.abc import Container


class KnownClusters:
    """The clusters there are now, whenever it is asked: active ones and those that are warming."""

    __slots__ = ("_containers",)

    def __init__(self, *containers: Container[str]) -> None:
        self._containers = containers

    def __contains__(self, name: object) -> bool:
        return any(name in container for container in self._containers)
