"""The server as explanations ask about it: the one that runs, or the one that a configuration would give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec
from envoy.config.cluster.v3 import cluster_pb2

from proxeny.explain.connection import ListenerView
from proxeny.explain.world import KnownCluster
from proxeny.upstream.cluster_types import DnsClusterOptions
from proxeny.upstream.endpoints import HostEntry, is_ip

if TYPE_CHECKING:
    from proxeny.server.bootstrap import Bootstrapped
    from proxeny.server.configuration import Configuration
    from proxeny.upstream.main_cluster_manager import MainClusterManager

NO_ADDRESS: Final = "0.0.0.0"
"""Stands for the address of a name that nobody resolved."""


def _known(clusters: MainClusterManager, name: str, resolved: bool) -> KnownCluster | None:
    cluster = clusters.find(name)
    if cluster is None:
        return None
    message = cluster_pb2.Cluster.FromString(cluster.serialized)
    if resolved or not isinstance(cluster.config.options, DnsClusterOptions):
        return KnownCluster(message, cluster.members())
    return KnownCluster(message, _assumed(cluster.config.options), True)


def _assumed(options: DnsClusterOptions) -> list[HostEntry]:
    """One host for each name."""
    hosts = []
    for target in options.targets:
        if isinstance(target, HostEntry):
            hosts.append(target)
        else:
            address = target.name if is_ip(target.name) else NO_ADDRESS
            hosts.append(msgspec.structs.replace(target.template, address=address, port=target.port))
    return hosts


class ConfiguredWorld:
    """A configuration that nobody serves."""

    def __init__(self, configuration: Configuration) -> None:
        """ConfigError for what serving would refuse."""
        self.context = configuration.context
        self._clusters = configuration.clusters()
        self._listeners = [
            ListenerView(one.config, one.proto.traffic_direction, one.config.addresses, one.proto)
            for one in configuration.listeners()
        ]

    def listeners(self) -> Sequence[ListenerView]:
        """The static ones."""
        return self._listeners

    def cluster(self, name: str) -> KnownCluster | None:
        """A static cluster; names are taken to resolve."""
        return _known(self._clusters, name, resolved=False)


class RunningWorld:
    """The server that runs."""

    def __init__(self, parts: Bootstrapped) -> None:
        self.context = parts.configuration.context
        self._parts = parts

    def listeners(self) -> Sequence[ListenerView]:
        """Those that are active, as main compiled them."""
        found = self._parts.listeners.listeners()
        return [
            ListenerView(one.compiled.config, one.compiled.proto.traffic_direction, one.addresses, one.compiled.proto)
            for one in found
        ]

    def cluster(self, name: str) -> KnownCluster | None:
        """A cluster with the hosts that it has now."""
        return _known(self._parts.clusters, name, resolved=True)
