"""LRS: tells a control plane how much the clusters do (Envoy: ``LoadStatsReporterImpl``)."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

from envoy.service.load_stats.v3 import lrs_pb2

from proxeny.config.errors import ConfigError
from proxeny.config.validate import inspect
from proxeny.stats.schema import Schema
from proxeny.upstream.load_report import ClusterLoad, Metrics

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.network.factory_context import FactoryContext
    from proxeny.stats.store import MainStore
    from proxeny.upstream.main_cluster_manager import MainClusterManager
    from proxeny.xds.grpc_client import GrpcClient, GrpcStream

log = logging.getLogger("proxeny.upstream")

METHOD: Final = "/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats"
RETRY_DELAY_MS: Final = 5000
_FEATURE: Final = "envoy.lrs.supports_send_all_clusters"

LOAD_REPORTER: Final = Schema("load_reporter", counters=("errors", "requests", "responses", "retries"))
"""``load_reporter.*``, named from the control plane's side: it requests reports, and these are the responses."""
ERRORS: Final = LOAD_REPORTER.slot("errors")
REQUESTS: Final = LOAD_REPORTER.slot("requests")
RESPONSES: Final = LOAD_REPORTER.slot("responses")
RETRIES: Final = LOAD_REPORTER.slot("retries")


class LoadStatsReporter:
    """Keeps a stream open and sends a report when the interval that the control plane wants is over."""

    def __init__(
        self,
        context: FactoryContext,
        clusters: MainClusterManager,
        client: GrpcClient,
        dispatcher: Dispatcher,
        store: MainStore,
    ) -> None:
        self._context = context
        self._manager = clusters
        self._client = client
        self._store = store
        self._stats = store.block(LOAD_REPORTER, "load_reporter.")
        self._retry_timer = dispatcher.create_timer(self._retry)
        self._report_timer = dispatcher.create_timer(self._report)
        self._stream: GrpcStream | None = None
        self._wish: Any = None
        """The last ``LoadStatsResponse``; None: none came yet."""
        self._clusters: dict[str, ClusterLoad] = {}

    def start(self) -> None:
        """Open the stream."""
        log.debug("Establishing new gRPC bidi stream for %s", METHOD)
        self._stream = self._client.open(METHOD, self)
        if self._stream is None:
            log.warning("Unable to establish new stream")
            self._fail()
        else:
            self._report()

    def _retry(self) -> None:
        self._stats.inc(RETRIES)
        self.start()

    def _fail(self) -> None:
        self._stats.inc(ERRORS)
        self._retry_later()

    def _retry_later(self) -> None:
        log.info("Load reporter stats stream/connection will retry in %d ms.", RETRY_DELAY_MS)
        self._retry_timer.enable(RETRY_DELAY_MS)

    # -- reports -----------------------------------------------------------------------------------------------

    def _report(self) -> None:
        if self._stream is None:
            return
        request: Any = lrs_pb2.LoadStatsRequest()
        request.node.CopyFrom(self._context.local_info.node)
        request.node.client_features.append(_FEATURE)
        now_us = _now_us()
        endpoints = self._wish is not None and self._wish.report_endpoint_granularity
        for name, load in self._clusters.items():
            cluster = self._manager.find(name)
            if cluster is None:
                log.debug("Cluster %s does not exist", name)
                continue
            load.report(cluster, request.cluster_stats.add(), endpoints, now_us)
        self._stream.send(request.SerializeToString())
        self._stats.inc(RESPONSES)
        if self._wish is not None:
            self._begin_period()

    def _begin_period(self) -> None:
        """Watch the clusters that are wanted; those that were watched go on."""
        wish = self._wish
        names = self._manager.active_names() if wish.send_all_clusters else list(dict.fromkeys(wish.clusters))
        before, self._clusters = self._clusters, {}
        for name in names:
            load = before.get(name)
            if load is None:
                load = ClusterLoad(name, self._context, self._store, _now_us())
                cluster = self._manager.find(name)
                if cluster is not None:
                    load.begin(cluster)
            self._clusters[name] = load
        self._report_timer.enable(wish.load_reporting_interval.ToMilliseconds())

    def add_metrics(self, name: str, hosts: dict[int, Metrics]) -> None:
        """A worker tells of metrics (``lrs_report_endpoint_metrics``), by stat index of the host."""
        load = self._clusters.get(name)
        if load is not None:
            for stat_index, metrics in hosts.items():
                load.add_metrics(stat_index, metrics)

    # -- the stream --------------------------------------------------------------------------------------------

    def on_message(self, data: bytes) -> None:
        """The control plane wants reports."""
        wish = lrs_pb2.LoadStatsResponse.FromString(data)
        try:
            inspect(wish)
        except ConfigError as error:
            self._stats.inc(ERRORS)
            log.warning("Unable to validate load stats response: %s", error)
            return
        self._wish = wish
        log.debug("New load report epoch: %s", self._wish)
        self._begin_period()
        self._stats.inc(REQUESTS)

    def on_close(self, status: int, message: str) -> None:
        """It does not listen any more."""
        self._report_timer.disable()
        self._stream = None
        if status:
            log.warning("%s gRPC config stream closed: %d, %s", METHOD.rpartition("/")[2], status, message)
            self._fail()
        else:
            log.debug("%s gRPC config stream closed gracefully, %s", METHOD.rpartition("/")[2], message)
            self._retry_later()

    def close(self) -> None:
        """The server ends."""
        self._retry_timer.disable()
        self._report_timer.disable()
        if self._stream is not None:
            self._stream.reset()
            self._stream = None
        self._client.close()


def _now_us() -> int:
    return time.monotonic_ns() // 1000
