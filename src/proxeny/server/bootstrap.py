"""The parts that main makes of a bootstrap, in Envoy's order, and what a new worker is fed with."""

from __future__ import annotations

import asyncio
import logging
import os
from functools import partial
from typing import TYPE_CHECKING, Any

from proxeny.access_log.manager import AccessLogManager
from proxeny.access_log.stats import FILESYSTEM, PREFIX
from proxeny.config.loader import LoadedBootstrap
from proxeny.network.overload_state import OverloadState
from proxeny.router.stats import ROUTER
from proxeny.runtime.snapshot import Snapshot
from proxeny.server import log as log_set_up
from proxeny.server import messages
from proxeny.server.admin import AdminInterface
from proxeny.server.cds_api import CdsApi, has_cds
from proxeny.server.cluster_feed import ClusterFeed
from proxeny.server.configuration import Configuration, warn_of_limits
from proxeny.server.control_plane_clients import make_hds_delegate, make_load_stats_reporter
from proxeny.server.delivered_patches import listener_patcher
from proxeny.server.dns_cache_link import DnsCacheLink, FromWorker
from proxeny.server.failure_log import FailureLog
from proxeny.server.filter_config_feed import FilterConfigFeed
from proxeny.server.lds_api import LdsApi
from proxeny.server.listener_manager import ListenerManager
from proxeny.server.route_feed import RouteFeed
from proxeny.server.server_stats import (
    DISPATCHER,
    DYNAMIC_UNKNOWN_FIELDS,
    LOOP_DURATION,
    POLL_DELAY,
    PYTHON_CALLS,
    SHRINK_COUNT,
    WIP_PROTOS,
    memory_used,
)
from proxeny.server.supervisor import Worker
from proxeny.server.update_lag import UpdateLag
from proxeny.server.validation import load_options
from proxeny.server.worker_answers import WorkerAnswers
from proxeny.upstream.outlier.event_log import OutlierEventLog
from proxeny.worker.heap_shrinker import HeapShrinker, trim
from proxeny.xds.config_source import is_passed_over
from proxeny.xds.validation import DynamicValidation

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.server.server import Server
    from proxeny.upstream.endpoints import HealthChange

log = logging.getLogger("proxeny.main")


class Bootstrapped:
    """Configuration, clusters, listeners and admin of a running server; feeds the workers."""

    def __init__(self, server: Server, loaded: LoadedBootstrap) -> None:
        self._server = server
        self._supervisor = server.supervisor
        options = server.options
        self.loaded = loaded
        self.configuration = Configuration(loaded, options, server.store, server.dispatcher)
        self.configuration.context.token_buckets = self._supervisor.token_buckets
        self.configuration.context.outliers = self._supervisor.outliers
        self.configuration.context.dynamic_validation = self._dynamic_validation()
        self.access_logs = AccessLogManager(
            server.dispatcher, server.store, options.file_flush_interval_msec, options.file_flush_min_size_kb * 1024
        )
        self.configuration.context.access_log_manager = self.access_logs
        server.store.block(FILESYSTEM, PREFIX)
        self.overload = self.configuration.overload(lambda: memory_used(server.pids())[0])
        self.overload.on_change = self._push_overload
        self._overload_state = OverloadState()
        self._shrinker = HeapShrinker(server.dispatcher, self._overload_state, self._shrink)
        server.store.block(ROUTER, "http.async-client.")
        self.configuration.runtime.on_change = self._push_runtime
        warn_of_limits(self.configuration)
        self.admin = AdminInterface(server, self)
        self.admin.bind()
        self.configuration.context.limits = self._supervisor.limits
        self.dns_caches = DnsCacheLink(self.configuration.context, self._supervisor, server.dispatcher)
        self.secrets = self.configuration.secrets
        self.secrets.on_change = self._push_secret
        self.answers = WorkerAnswers(server.dispatcher, self._supervisor)
        filter_configs = self.configuration.filter_configs
        self.filter_config_feed = FilterConfigFeed(filter_configs, self._supervisor, self.answers, server.store)
        self.update_lag = UpdateLag(server.dispatcher, server.store, self._supervisor)
        self.configuration.add_secrets()
        self.clusters = self.configuration.clusters(self._supervisor.limits)
        self.xds = self.configuration.xds
        self.dns_caches.watch(self.clusters)
        self.cluster_feed = ClusterFeed(server.dispatcher, self.clusters, self._supervisor)
        self.routes = self.configuration.routes
        self.route_feed = RouteFeed(self.routes, self._supervisor, server.store)
        self.load_stats = make_load_stats_reporter(self.configuration, self.clusters)
        self.hds = make_hds_delegate(self.configuration, self.clusters)
        self.cds = self._cds()
        self.clusters.health.on_change = self._push_health
        self.clusters.outliers.log_to(self._outlier_log())
        self.listeners = ListenerManager(server.dispatcher, server.store, self.configuration, self._supervisor)
        self.listeners.add_static(self.configuration.listeners())
        self.failures = FailureLog()
        """The last requests of every worker that failed."""
        self.lds = self._lds()
        self._process_stats = dict(self.clusters.process_table)
        with server.store.recording() as table:
            if os.environ.get("PROXENY_COUNT_CALLS") == "1":
                server.store.block(PYTHON_CALLS, "server.")
            if self.loaded.bootstrap.enable_dispatcher_stats:
                self._record_turns()
        self._process_stats.update(table)
        self._bootstrap = self._without_resources()
        self._initialized = asyncio.Event()

    def _record_turns(self) -> None:
        """``enable_dispatcher_stats``: of main's loop here, of the workers' when they are told where."""
        block = self._server.store.block(DISPATCHER, "server.dispatcher.")
        self._server.dispatcher.poller.record_times(block, LOOP_DURATION, POLL_DELAY)
        for index in range(self._server.options.concurrency):
            self._server.store.block(DISPATCHER, f"listener_manager.worker_{index}.dispatcher.")

    def _outlier_log(self) -> OutlierEventLog | None:
        """Where ejections are written down, if anywhere; ConfigError when it cannot be opened."""
        path = self.loaded.bootstrap.cluster_manager.outlier_detection.event_log_path
        return OutlierEventLog(self.access_logs.create_access_log(path), self._server.dispatcher) if path else None

    def _dynamic_validation(self) -> DynamicValidation:
        block = self._server.stats.block
        return DynamicValidation(
            load_options(self._server.options),
            lambda count: block.add(DYNAMIC_UNKNOWN_FIELDS, count),
            self.configuration.runtime.count_deprecated,
            lambda count: block.add(WIP_PROTOS, count),
            self.configuration.runtime.get_boolean,
        )

    def _cds(self) -> CdsApi | None:
        """The subscription to clusters, likewise."""
        server, configuration = self._server, self.configuration
        dynamic = self.loaded.bootstrap.dynamic_resources
        if not has_cds(dynamic, server.options):
            return None
        validation = configuration.context.dynamic_validation
        return CdsApi(configuration.xds, dynamic, self.clusters, server.store, validation)

    def _lds(self) -> LdsApi | None:
        """The subscription to listeners, where there is one; ConfigError."""
        server, configuration = self._server, self.configuration
        dynamic = self.loaded.bootstrap.dynamic_resources
        locator = dynamic.lds_resources_locator
        if not locator and (not dynamic.HasField("lds_config") or is_passed_over(dynamic.lds_config, server.options)):
            return None
        validation = configuration.context.dynamic_validation
        node = configuration.local_info.node
        patch = listener_patcher(self.loaded.patches)
        return LdsApi(
            configuration.xds, dynamic.lds_config, node, self.listeners, server.store, validation, patch, locator
        )

    def _without_resources(self) -> bytes:
        """The bootstrap as every worker gets it: listeners and clusters travel by themselves."""
        slim = type(self.loaded.bootstrap)()
        slim.CopyFrom(self.loaded.bootstrap)
        slim.ClearField("static_resources")
        slim.ClearField("dynamic_resources")
        data: bytes = slim.SerializeToString()
        return data

    # -- start -------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Serve admin, initialise the clusters, then start the workers' listeners; ConfigError, WorkerDied."""
        self.admin.start()
        start_cds = None if self.cds is None else self.cds.start
        through = self.xds.ads_cluster
        if through:
            self.clusters.when_initialized(through, self.xds.start)
        else:
            self.xds.start()
        self.clusters.initialize(self._initialize_targets, start_cds, self._on_primary_clusters)
        await self._initialized.wait()
        logging.getLogger("proxeny.config").info("all dependencies initialized. starting workers")
        self.overload.start(self._server.dispatcher)
        self.listeners.listen()
        await self._supervisor.feed_all()
        self.listeners.workers_started()

    def _on_primary_clusters(self, go_on: Callable[[], None]) -> None:
        """The clusters are there that control planes are reached through: fetch the runtime's layers first."""
        self.configuration.runtime.start_rtds(partial(self._on_runtime_ready, go_on))

    def _on_runtime_ready(self, go_on: Callable[[], None]) -> None:
        if self.load_stats is not None:
            self.load_stats.start()
        if self.hds is not None:
            self.hds.start()
        go_on()

    def _initialize_targets(self) -> None:
        """The clusters are there: begin with listeners from LDS, and what listeners wait for."""
        # Envoy loads the runtime again once what it could depend on is there.
        self.configuration.runtime.load()
        log.info("all clusters initialized. initializing init manager")
        if self.lds is not None:
            self.configuration.init_manager.add(self.lds.target)
        self.configuration.init_manager.initialize(self._initialized.set)

    # -- Feeder ------------------------------------------------------------------------------------------------

    def feed(self, worker: Worker) -> list[asyncio.Future[messages.Done]]:
        """Send a worker all that it needs; the answers of the clusters, the route configurations and the listeners."""
        self.clusters.worker_started(worker.index)
        self.cluster_feed.worker_started(worker.index)
        state = self.configuration.server_state
        watchdog = self._supervisor.watchdog
        worker.send(
            messages.Configure(
                messages.stat_rows(self._process_stats),
                self.configuration.runtime.snapshot.to_json(),
                state.live,
                state.draining,
                state.health_check_failed,
                log_set_up.LOG_LEVELS.levels(),
                watchdog.worker_config.beat_ms if watchdog is not None else 1000,
                self._bootstrap,
            )
        )
        worker.send(messages.SetOverload(self.overload.states()))
        worker.send(messages.SetSecrets(list(self.secrets.snapshot())))
        answers = [*self.filter_config_feed.feed(worker), self._feed_clusters(worker)]
        for name, update in self.clusters.host_updates():
            worker.send(messages.UpdateHosts(name, update))
        health = self.clusters.health_snapshot()
        if health:
            worker.send(messages.UpdateHealth(health))
        self.dns_caches.feed(worker)
        answers += self.route_feed.feed(worker)
        return answers + self.listeners.feed(worker)

    def _feed_clusters(self, worker: Worker) -> asyncio.Future[messages.Done]:
        serialized, table = self.clusters.snapshot()
        generations = self.clusters.generations()
        memfd = os.memfd_create("proxeny-clusters", os.MFD_CLOEXEC)
        with os.fdopen(memfd, "wb", closefd=False) as file:
            file.writelines(serialized)
        sizes = [len(data) for data in serialized]
        rows = messages.stat_rows(table)
        return worker.request(
            lambda request_id: messages.AddClusters(request_id, sizes, rows, generations), [memfd], close_fds=True
        )

    def listening_fds(self, worker_index: int) -> list[tuple[int, list[int]]]:
        """What a helper accepts from while worker ``worker_index`` is replaced."""
        return self.listeners.listening_fds(worker_index)

    def on_worker_message(self, worker: Worker, message: Any) -> None:
        """What workers tell unasked."""
        if isinstance(message, messages.HostsChanged):
            self.clusters.on_host_changes(worker.index, message.cluster, message.changes)
            return
        if isinstance(message, messages.HostReported):
            self.clusters.outliers.on_reported(message.cluster, message.base, message.kind)
            return
        if isinstance(message, messages.HostsFailed):
            self.clusters.hosts_failed(message.cluster, message.hosts)
            return
        if isinstance(message, messages.LoadReported):
            if self.load_stats is not None:
                self.load_stats.add_metrics(message.cluster, message.hosts)
            return
        if isinstance(message, FromWorker):
            self.dns_caches.on_message(message)
            return
        if isinstance(message, messages.ClustersReleased):
            self.cluster_feed.on_released(worker.index, message.serials)
            return
        if isinstance(message, messages.AskRoutes):
            self.route_feed.on_asked(worker, message)
            return
        if isinstance(message, messages.RoutesReleased):
            self.route_feed.on_released(worker.index, message.serials)
            return
        if isinstance(message, messages.FilterConfigsReleased):
            self.filter_config_feed.on_released(worker.index, message.serials)
            return
        if isinstance(message, messages.RequestsFailed):
            self.failures.add(worker.index, message.requests)
            return
        log.error("worker %d sent an unexpected message %s", worker.index, type(message).__name__)

    # -- pushes ------------------------------------------------------------------------------------------------

    def _push_runtime(self, snapshot: Snapshot) -> None:
        self._supervisor.broadcast(messages.SetRuntime(snapshot.to_json()))

    def _shrink(self) -> None:
        trim()
        if self.overload.shrink_stats is not None:
            self.overload.shrink_stats.inc(SHRINK_COUNT)

    def _push_overload(self, states: dict[str, float]) -> None:
        self._overload_state.update(states)
        self._supervisor.broadcast(messages.SetOverload(states))

    def _push_secret(self, key: str, data: bytes | None) -> None:
        self._supervisor.broadcast(messages.SetSecrets([(key, data)]))

    def _push_health(self, changes: dict[str, HealthChange]) -> None:
        self.clusters.own.update_health(changes)
        self._supervisor.broadcast(messages.UpdateHealth(changes))

    def reopen_logs(self) -> None:
        """SIGUSR1, for main's own access logs."""
        self.access_logs.reopen()

    def close(self) -> None:
        """Stop accepting and resolving."""
        self.overload.stop()
        self.configuration.runtime.close()
        self.admin.close()
        self.xds.close()  # what ends from here on asks for less again and again
        if self.lds is not None:
            self.lds.close()
        if self.cds is not None:
            self.cds.close()
        if self.load_stats is not None:
            self.load_stats.close()
        if self.hds is not None:
            self.hds.close()
        self.listeners.close()
        self.routes.close()
        self.clusters.close()
        self.secrets.close()
        self.configuration.filter_configs.close()
        self.answers.close()
        self.dns_caches.close()
        self.configuration.grpc_clients.close()
        self.access_logs.close()
