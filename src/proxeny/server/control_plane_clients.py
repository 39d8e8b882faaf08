"""What serves a control plane besides xDS: load reports (LRS) and health checks on its behalf (HDS)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from proxeny.config.errors import ConfigError
from proxeny.upstream.health_discovery import HdsDelegate
from proxeny.upstream.load_stats_reporter import LoadStatsReporter
from proxeny.xds import api_config_source

if TYPE_CHECKING:
    from proxeny.server.configuration import Configuration
    from proxeny.upstream.main_cluster_manager import MainClusterManager
    from proxeny.xds.grpc_client import GrpcClient

log = logging.getLogger("proxeny.main")


def make_load_stats_reporter(configuration: Configuration, clusters: MainClusterManager) -> LoadStatsReporter | None:
    """Not started; None where nobody wants reports, or they cannot be sent: that is a warning, as with Envoy."""
    manager = configuration.bootstrap.cluster_manager
    context = configuration.context
    if not manager.HasField("load_stats_config") or context.dispatcher is None:
        return None
    try:
        client = grpc_client(configuration, manager.load_stats_config, clusters)
    except ConfigError as error:
        log.warning("Skipping initialization of secondary cluster: %s", error)
        return None
    return LoadStatsReporter(context, clusters, client, context.dispatcher, configuration.store)


def make_hds_delegate(configuration: Configuration, clusters: MainClusterManager) -> HdsDelegate | None:
    """Likewise, for ``hds_config``."""
    bootstrap, context = configuration.bootstrap, configuration.context
    if not bootstrap.HasField("hds_config") or context.dispatcher is None:
        return None
    try:
        client = grpc_client(configuration, bootstrap.hds_config, clusters)
    except ConfigError as error:
        log.warning("Skipping initialization of HDS cluster: %s", error)
        return None
    return HdsDelegate(context, clusters, client, context.dispatcher, configuration.store)


def grpc_client(configuration: Configuration, source: Any, clusters: MainClusterManager) -> GrpcClient:
    """A client of the one service of a ``core.v3.ApiConfigSource``; ConfigError."""
    api_config_source.check_stream(source, clusters.active_names())
    return configuration.grpc_clients.of(source.grpc_services[0], "")
