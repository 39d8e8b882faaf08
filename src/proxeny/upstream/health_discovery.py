"""HDS: checks hosts on behalf of a control plane, and tells it how they are (Envoy: ``HdsDelegate``)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import health_check_pb2
from envoy.service.health.v3 import hds_pb2

from proxeny.config.errors import ConfigError
from proxeny.config.validate import inspect
from proxeny.stats.schema import Schema
from proxeny.upstream import cluster_config
from proxeny.upstream.discovery import DiscoveryOwner
from proxeny.upstream.endpoints import ACTIVE_HC_TIMEOUT, FAILED_ACTIVE_HC, HostEntry
from proxeny.upstream.host_health import HostHealth
from proxeny.upstream.main_cluster import MainCluster
from proxeny.xds.backoff import JitteredExponentialBackOff

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxeny.event.dispatcher import Dispatcher
    from proxeny.network.factory_context import FactoryContext
    from proxeny.stats.store import MainStore
    from proxeny.upstream.main_cluster_manager import MainClusterManager
    from proxeny.xds.grpc_client import GrpcClient, GrpcStream

log = logging.getLogger("proxeny.upstream")

METHOD: Final = "/envoy.service.health.v3.HealthDiscoveryService/StreamHealthCheck"
RETRY_INITIAL_DELAY_MS: Final = 1000
RETRY_MAX_DELAY_MS: Final = 30_000
DEFAULT_INTERVAL_MS: Final = 1000
_CONNECT_TIMEOUT_S: Final = 1
_BUFFER_LIMIT: Final = 32768

HDS: Final = Schema("hds_delegate", counters=("errors", "requests", "responses", "updates"))
"""``hds_delegate.*``, named from the control plane's side: it requests checks, and these are the responses."""
ERRORS: Final = HDS.slot("errors")
REQUESTS: Final = HDS.slot("requests")
RESPONSES: Final = HDS.slot("responses")
UPDATES: Final = HDS.slot("updates")

_Status: Final = health_check_pb2
_Protocol: Final = hds_pb2.Capability


class HdsDelegate:
    """Keeps a stream open, checks what the control plane names, and reports once per its interval."""

    def __init__(
        self,
        context: FactoryContext,
        clusters: MainClusterManager,
        client: GrpcClient,
        dispatcher: Dispatcher,
        store: MainStore,
    ) -> None:
        """``clusters``: whose resolvers the checked clusters use."""
        self._context = context
        self._manager = clusters
        self._client = client
        self._store = store
        self._stats = store.block(HDS, "hds_delegate.")
        self._health = HostHealth(dispatcher, clusters.health.stats)
        self._health.has_workers = lambda health: False
        self._backoff = JitteredExponentialBackOff(RETRY_INITIAL_DELAY_MS, RETRY_MAX_DELAY_MS)
        self._retry_timer = dispatcher.create_timer(self.start)
        self._report_timer = dispatcher.create_timer(self._report)
        self._stream: GrpcStream | None = None
        self._specifier: Any = None
        """What the control plane wants, as it said it last on this stream."""
        self._interval_ms = 0
        self._clusters: dict[str, MainCluster] = {}

    def start(self) -> None:
        """Open the stream, and say what we can check."""
        log.debug("Establishing new gRPC bidi stream for %s", METHOD)
        self._stream = self._client.open(METHOD, self)
        if self._stream is None:
            log.warning("Unable to establish new stream")
            self._fail()
            return
        message: Any = hds_pb2.HealthCheckRequestOrEndpointHealthResponse()
        request = message.health_check_request
        request.node.CopyFrom(self._context.local_info.node)
        request.capability.health_check_protocols.extend((_Protocol.HTTP, _Protocol.TCP))
        self._stream.send(message.SerializeToString())
        self._stats.inc(RESPONSES)
        self._backoff.reset()

    def _fail(self) -> None:
        self._stats.inc(ERRORS)
        delay = self._backoff.next_ms()
        log.warning("HdsDelegate stream/connection failure, will retry in %d ms.", delay)
        self._retry_timer.enable(delay)

    # -- what is checked ---------------------------------------------------------------------------------------

    def on_message(self, data: bytes) -> None:
        """The control plane wants something checked."""
        specifier = hds_pb2.HealthCheckSpecifier.FromString(data)
        self._stats.inc(REQUESTS)
        if specifier == self._specifier:
            log.debug("New health check specifier is unchanged, no action taken.")
            return
        try:
            inspect(specifier)
            self._take(specifier)
        except ConfigError as error:
            self._stats.inc(ERRORS)
            log.warning("Unable to validate health check specifier: %s", error)
            return
        self._stats.inc(UPDATES)
        self._specifier = specifier
        has_interval = specifier.HasField("interval")
        interval = specifier.interval.ToMilliseconds() if has_interval else DEFAULT_INTERVAL_MS
        if interval != self._interval_ms:
            self._interval_ms = interval
            self._report_timer.enable(interval)

    def _take(self, specifier: Any) -> None:
        """All clusters of the specifier, or, with ConfigError, none of them."""
        fresh: dict[str, MainCluster] = {}
        before = self._clusters
        try:
            for check in specifier.cluster_health_checks:
                proto = cluster_of(check)
                serialized = proto.SerializeToString(deterministic=True)
                old = before.get(proto.name)
                same = old is not None and old.serialized == serialized
                cluster = old if old is not None and same else self._compile(proto, serialized, old)
                replaced = fresh.get(proto.name)
                fresh[proto.name] = cluster
                if replaced is not None and replaced is not cluster and replaced is not old:
                    self._drop(replaced)
        except ConfigError:
            for cluster in fresh.values():
                if before.get(cluster.name) is not cluster:
                    self._drop(cluster)
            raise
        self._clusters = fresh
        for cluster in before.values():
            if fresh.get(cluster.name) is not cluster:
                self._drop(cluster)
        for cluster in fresh.values():
            if before.get(cluster.name) is not cluster:
                cluster.start(lambda: None)

    def _compile(self, proto: Any, serialized: bytes, old: MainCluster | None) -> MainCluster:
        log.debug("New HdsCluster config %s", proto)
        inspect(proto)
        with self._store.recording() as table:
            config = cluster_config.compile(proto, self._context)
        cluster = MainCluster(config, serialized, table, self._store, True)
        if old is not None:
            _keep_health(old.members(), cluster.hosts)
        owner = DiscoveryOwner(
            self._context,
            self._manager.resolvers.get,
            self._manager,
            cluster.publish,
            cluster.on_discovered,
            cluster.publish_change,
        )
        cluster.prepare(owner, self._health)
        return cluster

    def _drop(self, cluster: MainCluster) -> None:
        cluster.close()
        self._manager.release_stats(cluster.all_blocks)

    # -- reports -----------------------------------------------------------------------------------------------

    def _report(self) -> None:
        if self._stream is None:
            return
        message: Any = hds_pb2.HealthCheckRequestOrEndpointHealthResponse()
        response = message.endpoint_health_response
        response.SetInParent()
        for cluster in self._clusters.values():
            health = response.cluster_endpoints_health.add(cluster_name=cluster.name)
            for (region, zone, sub_zone), entries in _by_locality(cluster.members()):
                group = health.locality_endpoints_health.add()
                locality = group.locality
                locality.region, locality.zone, locality.sub_zone = region, zone, sub_zone
                for entry in entries:
                    endpoint = group.endpoints_health.add(health_status=_status(entry.health_flags))
                    entry.write_address(endpoint.endpoint.address)
                    response.endpoints_health.append(endpoint)
        self._stream.send(message.SerializeToString())
        self._stats.inc(RESPONSES)
        self._report_timer.enable(self._interval_ms)

    # -- the stream --------------------------------------------------------------------------------------------

    def on_close(self, status: int, message: str) -> None:
        """It does not listen any more; the checks go on."""
        log.warning("%s gRPC config stream closed: %d, %s", METHOD.rpartition("/")[2], status, message)
        self._report_timer.disable()
        self._stream = None
        self._specifier = None
        self._interval_ms = 0
        self._fail()

    def close(self) -> None:
        """The server ends."""
        self._retry_timer.disable()
        self._report_timer.disable()
        if self._stream is not None:
            self._stream.reset()
            self._stream = None
        for cluster in self._clusters.values():
            cluster.close()
        self._clusters = {}
        self._client.close()


def cluster_of(check: Any) -> Any:
    """The Cluster message that stands for a ``ClusterHealthCheck``."""
    cluster: Any = cluster_pb2.Cluster(name=check.cluster_name)
    cluster.connect_timeout.seconds = _CONNECT_TIMEOUT_S
    cluster.per_connection_buffer_limit_bytes.value = _BUFFER_LIMIT
    cluster.load_assignment.cluster_name = check.cluster_name
    for group in check.locality_endpoints:
        endpoints = cluster.load_assignment.endpoints.add()
        if group.HasField("locality"):
            endpoints.locality.CopyFrom(group.locality)
        for endpoint in group.endpoints:
            endpoints.lb_endpoints.add().endpoint.CopyFrom(endpoint)
    cluster.health_checks.extend(check.health_checks)
    cluster.transport_socket_matches.extend(check.transport_socket_matches)
    return cluster


def _by_locality(entries: list[HostEntry]) -> Iterator[tuple[tuple[str, str, str], list[HostEntry]]]:
    groups: dict[tuple[str, str, str], list[HostEntry]] = {}
    for entry in entries:
        groups.setdefault((entry.region, entry.zone, entry.sub_zone), []).append(entry)
    yield from groups.items()


def _status(flags: int) -> int:
    """``core.v3.HealthStatus``."""
    if not flags & FAILED_ACTIVE_HC:
        return int(_Status.HEALTHY)
    return int(_Status.TIMEOUT if flags & ACTIVE_HC_TIMEOUT else _Status.UNHEALTHY)


def _keep_health(before: list[HostEntry], fresh: list[HostEntry]) -> None:
    """Hosts that stay are as healthy as they were."""
    known = {(entry.address, entry.port): entry.health_flags for entry in before}
    for entry in fresh:
        entry.health_flags = known.get((entry.address, entry.port), entry.health_flags)
