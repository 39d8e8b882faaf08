"""The worker: the composition root of the data plane, and its answers to main's messages."""

from __future__ import annotations

import logging
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.listener.v3 import listener_pb2

from proxeny.access_log.manager import AccessLogManager
from proxeny.config.errors import ConfigError
from proxeny.event.dispatcher import Dispatcher
from proxeny.event.slices import SlicedWork, Steps, finish
from proxeny.filter_config.worker_filter_configs import WorkerFilterConfigs
from proxeny.http.recent_failures import FailedRequest, RecentFailures
from proxeny.kernel.all_workers import AllWorkers
from proxeny.kernel.balance import BalanceTable
from proxeny.kernel.limits import LimitTable
from proxeny.kernel.outlier import OutlierTable
from proxeny.kernel.randomness import RandomGenerator
from proxeny.kernel.stats import Segment
from proxeny.kernel.token_bucket import BucketTable
from proxeny.listener.connection_handler import ConnectionHandler
from proxeny.listener.hand_over import HandOver
from proxeny.listener.kinds import compile_listener_steps
from proxeny.network.bootstrap_extensions import install_bootstrap_extensions
from proxeny.network.factory_context import FactoryContext, ServerState
from proxeny.router.rds.worker_routes import WorkerRoutes
from proxeny.runtime.snapshot import RuntimeReader, Snapshot
from proxeny.secret.worker_secrets import WorkerSecrets
from proxeny.server import log as log_set_up
from proxeny.server import messages
from proxeny.server.channel import Channel
from proxeny.server.configuration import local_info
from proxeny.server.options import Options
from proxeny.server.server_stats import DISPATCHER, LOOP_DURATION, POLL_DELAY, PYTHON_CALLS
from proxeny.stats.store import StatTable, WorkerStore
from proxeny.upstream.cluster_manager import ClusterManager
from proxeny.upstream.endpoints import HostChange
from proxeny.upstream.load_report import Metrics
from proxeny.worker.call_counter import CallCounter
from proxeny.worker.collector import Collector
from proxeny.worker.dns_cache_link import DnsCacheLink
from proxeny.worker.heap_shrinker import HeapShrinker
from proxeny.worker.heartbeat import Heartbeat, register_traceback
from proxeny.worker.leaving_clusters import LeavingClusters

log = logging.getLogger("proxeny.main")

Fds = list[int]

_MANY_HOSTS: Final = 16_384
"""Bytes of an update of hosts (some 25 each) from which on it is carried out in slices."""


def main(options: Options, index: int, epoch: int, sock: socket.socket, shared: Fds) -> int:
    """Run worker ``index`` until main stops it or is gone; the exit status."""
    worker = Worker(options, index, epoch, sock, shared)
    worker.run()
    return 0


class Worker:
    """One worker process. Everything that needs main's facts is made when ``Configure`` brings them."""

    context: FactoryContext
    clusters: ClusterManager
    routes: WorkerRoutes
    dns_caches: DnsCacheLink
    leaving: LeavingClusters
    handler: ConnectionHandler
    access_logs: AccessLogManager
    recent_failures: RecentFailures

    def __init__(self, options: Options, index: int, epoch: int, sock: socket.socket, shared: Fds) -> None:
        self.options = options
        self.index = index
        self.epoch = epoch
        self.dispatcher = Dispatcher(name=f"worker_{index}")
        segment_fd, limits_fd, balance_fd, buckets_fd, outliers_fd, inbox, *outboxes = shared
        outboxes, segments = outboxes[: options.concurrency], outboxes[options.concurrency :]
        self.all_workers = AllWorkers([Segment(fd) for fd in segments])
        for fd in segments:
            os.close(fd)
        self.segment = Segment(segment_fd)
        self.segment.epoch = epoch
        self.store = WorkerStore(self.segment)
        self.limits = LimitTable(limits_fd, options.concurrency + 1, index)
        # What was handed to a dead predecessor meanwhile is counted when it is taken out of the inbox.
        self.limits.clear_column(index)
        self.secrets = WorkerSecrets()
        self.filter_configs = WorkerFilterConfigs(self.store, self.dispatcher, self._report_released_filter_configs)
        self.token_buckets = BucketTable(buckets_fd)
        self.outliers = OutlierTable(outliers_fd)
        balance = BalanceTable(balance_fd, options.concurrency, index)
        self.hand_over = HandOver(self.dispatcher, balance, epoch, inbox, outboxes)
        self.runtime = RuntimeReader()
        self.server_state = ServerState()
        self.heartbeat = Heartbeat(self.dispatcher, self.segment, balance)
        self.collector = Collector(self.dispatcher)
        self._listener_stats: dict[int, StatTable] = {}
        self._replaced_stats: dict[tuple[int, int], StatTable] = {}
        """Tables of listeners before an update in place, by tag and the update's version."""
        self._call_counter: CallCounter | None = None
        self._serving = False
        """Whether all that the others have has been received."""
        self._work: Any = None
        """The message that is being carried out in slices."""
        self._waiting: deque[tuple[Any, Fds]] = deque()
        self._handlers: dict[type, Callable[[Any, Fds], Steps[None] | None]] = {
            messages.Configure: self._configure,
            messages.AddClusters: self._add_clusters,
            messages.ChangeClusters: self._change_clusters,
            messages.SetSecrets: self._set_secrets,
            messages.SetRoutes: self._set_routes,
            messages.DropRoutes: self._drop_routes,
            messages.SetFilterConfig: self._set_filter_config,
            messages.DropFilterConfig: self._drop_filter_config,
            messages.SetScopes: self._set_scopes,
            messages.RoutesAnswered: self._routes_answered,
            messages.UpdateHosts: self._update_hosts,
            messages.UpdateHealth: self._update_health,
            messages.DnsHostResolved: self._on_dns_cache,
            messages.DnsHostGone: self._on_dns_cache,
            messages.AskDnsHostUse: self._on_dns_cache,
            messages.SubCluster: self._on_sub_cluster,
            messages.AskSubClusterUse: self._on_sub_cluster,
            messages.AddListener: self._add_listener,
            messages.UpdateListener: self._update_listener,
            messages.RemoveFilterChains: self._remove_filter_chains,
            messages.Serve: self._serve,
            messages.DrainListener: self._drain_listener,
            messages.StopListener: self._stop_listener,
            messages.RemoveListener: self._remove_listener,
            messages.AdoptListener: self._adopt_listener,
            messages.ReleaseAdopted: self._release_adopted,
            messages.Mark: self._mark,
            messages.SetServerState: self._set_server_state,
            messages.SetRuntime: self._set_runtime,
            messages.SetOverload: self._set_overload,
            messages.SetLogLevel: self._set_log_level,
            messages.ReopenLogs: self._reopen_logs,
            messages.Stop: self._stop,
        }
        self.channel = Channel(sock)
        self.channel.attach(self.dispatcher, self._on_message, self._on_main_gone)
        self.channel.send(messages.WorkerStarted(os.getpid()))

    def run(self) -> None:
        """Serve until told to stop."""
        try:
            self.dispatcher.run()
        finally:
            self._close()

    def _close(self) -> None:
        if hasattr(self, "handler"):
            self.handler.close()
            self.clusters.close()
            self.routes.close()
            self.filter_configs.close()
            self.leaving.close()
            self.access_logs.close()
            self.recent_failures.close()
        self.channel.close()
        self.dispatcher.close()

    # -- messages ----------------------------------------------------------------------------------------------

    def _on_message(self, message: Any, fds: Fds) -> None:
        if self._work is not None:
            self._waiting.append((message, fds))  # messages are carried out in their order
        else:
            self._carry_out(message, fds)

    def _carry_out(self, message: Any, fds: Fds) -> None:
        handle = self._handlers.get(type(message))
        if handle is None:
            log.error("worker %d does not know the message %s", self.index, type(message).__name__)
            return
        try:
            steps = handle(message, fds)
            if steps is not None and self._serving:
                self._work = message
                SlicedWork(self.dispatcher, steps, self._on_worked)
                return
            if steps is not None:
                finish(steps)
        except Exception as error:
            self._answer(message, error)
        else:
            self._answer(message, None)

    def _on_worked(self, error: Exception | None) -> None:
        message, self._work = self._work, None
        self._answer(message, error)
        while self._waiting and self._work is None:
            self._carry_out(*self._waiting.popleft())

    def _answer(self, message: Any, error: Exception | None) -> None:
        text = ""
        if isinstance(error, ConfigError):
            text = str(error)
        elif error is not None:
            log.error("worker %d failed to carry out %s", self.index, type(message).__name__, exc_info=error)
            text = f"{type(error).__name__}: {error}"
        request_id = getattr(message, "id", 0)
        if request_id:
            self.channel.send(messages.Done(request_id, text))

    def _on_main_gone(self) -> None:
        log.critical("the main process is gone: worker %d ends", self.index)
        self.dispatcher.stop()

    def _configure(self, message: messages.Configure, fds: Fds) -> None:
        bootstrap = bootstrap_pb2.Bootstrap.FromString(message.bootstrap)
        self.store.install(messages.stat_table(message.stats))
        options = self.options
        self.recent_failures = RecentFailures(self.dispatcher.create_timer, self._report_failures, self.index)
        self.access_logs = AccessLogManager(
            self.dispatcher, self.store, options.file_flush_interval_msec, options.file_flush_min_size_kb * 1024
        )
        self.context = FactoryContext(
            role="worker",
            stats=self.store,
            dispatcher=self.dispatcher,
            access_log_manager=self.access_logs,
            runtime=self.runtime,
            local_info=local_info(bootstrap, self.options),
            server_state=self.server_state,
            options=self.options,
            bootstrap=bootstrap,
            secrets=self.secrets,
            filter_configs=self.filter_configs,
            random=RandomGenerator(),
            all_workers=self.all_workers,
            limits=self.limits,
            token_buckets=self.token_buckets,
            outliers=self.outliers,
            worker_index=self.index,
            concurrency=self.options.concurrency,
            recent_failures=self.recent_failures,
        )
        install_bootstrap_extensions(self.context)
        self.clusters = self.context.cluster_manager = ClusterManager(self.context, self.limits)
        self.clusters.on_host_changes = self._report_hosts
        self.clusters.on_outlier = self._report_outlier
        self.clusters.on_hosts_failed = self._report_failed_hosts
        self.clusters.on_load_metrics = self._report_load
        self.dns_caches = DnsCacheLink(self.context, self.channel)
        self.routes = self.context.routes = WorkerRoutes(
            self.context, self.store, self._report_released_routes, self._ask_for_routes
        )
        self.leaving = LeavingClusters(self.dispatcher, self.store, self._report_released)
        self.handler = ConnectionHandler(self.context, self.hand_over)
        self._shrinker = HeapShrinker(self.dispatcher, self.context.overload)
        self._set_runtime(messages.SetRuntime(message.runtime), fds)
        self._set_server_state(
            messages.SetServerState(message.live, message.draining, message.health_check_failed), fds
        )
        for component, level in message.log_levels.items():
            log_set_up.LOG_LEVELS.set(component, level)
        if (PYTHON_CALLS.name, "server.") in messages.stat_table(message.stats):
            self._call_counter = CallCounter(self.dispatcher, self.store.block(PYTHON_CALLS, "server."))
        if bootstrap.enable_dispatcher_stats:
            block = self.store.block(DISPATCHER, f"listener_manager.worker_{self.index}.dispatcher.")
            self.dispatcher.poller.record_times(block, LOOP_DURATION, POLL_DELAY)
        self.heartbeat.start(message.heartbeat_ms)

    # -- clusters ----------------------------------------------------------------------------------------------

    def _add_clusters(self, message: messages.AddClusters, fds: Fds) -> None:
        data = memoryview(_read_memfd(fds[0], sum(message.sizes)))
        self.store.install(messages.stat_table(message.stats))
        clusters = []
        at = 0
        for size in message.sizes:
            clusters.append(bytes(data[at : at + size]))
            at += size
        self.clusters.add_serialized(clusters, message.generations)

    def _change_clusters(self, message: messages.ChangeClusters, fds: Fds) -> None:
        for change in message.changes:
            self.store.install(messages.stat_table(change.stats))
            if change.data:
                left = self.clusters.change(change.name, change.data, change.generation, change.hosts)
                prefixes: tuple[str, ...] = ()
            else:
                left = self.clusters.remove(change.name)
                prefixes = (left.stat_prefix,) if left.stat_prefix else ()
            if change.serial:
                self.leaving.add(change.serial, left.hosts, messages.stat_table(change.replaced), prefixes)
        self.leaving.look()

    def _report_hosts(self, cluster: str, changes: list[HostChange]) -> None:
        self.channel.send(messages.HostsChanged(cluster, changes))

    def _report_outlier(self, cluster: str, base: int, kind: int) -> None:
        self.channel.send(messages.HostReported(cluster, base, kind))

    def _report_failed_hosts(self, cluster: str, hosts: dict[int, int]) -> None:
        self.channel.send(messages.HostsFailed(cluster, hosts))

    def _report_load(self, cluster: str, hosts: dict[int, Metrics]) -> None:
        self.channel.send(messages.LoadReported(cluster, hosts))

    def _report_released(self, serials: list[int]) -> None:
        self.channel.send(messages.ClustersReleased(serials))

    def _report_failures(self, requests: list[FailedRequest]) -> None:
        self.channel.send(messages.RequestsFailed(requests))

    def _set_secrets(self, message: messages.SetSecrets, fds: Fds) -> Steps[None]:
        return self.secrets.update(message.secrets)

    def _set_routes(self, message: messages.SetRoutes, fds: Fds) -> Steps[None]:
        data, digests = message.data, b""
        if fds:
            both = _read_memfd(fds[0], message.size + message.digests_size)
            data, digests = both[: message.size], both[message.size :]
        return self.routes.set(message.key, message.serial, messages.stat_table(message.stats), data, digests)

    def _drop_routes(self, message: messages.DropRoutes, fds: Fds) -> None:
        self.routes.drop(message.key)

    def _set_scopes(self, message: messages.SetScopes, fds: Fds) -> None:
        self.routes.set_scopes(message.key, message.removed, message.scopes)

    def _routes_answered(self, message: messages.RoutesAnswered, fds: Fds) -> None:
        self.routes.questions.answered(message.number, message.found)

    def _ask_for_routes(self, number: int, key: str, host: str, scope: list[bytes]) -> None:
        self.channel.send(messages.AskRoutes(number, key, host, scope))

    def _report_released_routes(self, serials: list[int]) -> None:
        self.channel.send(messages.RoutesReleased(serials))

    def _set_filter_config(self, message: messages.SetFilterConfig, fds: Fds) -> Steps[None]:
        return self.filter_configs.set(message.key, message.data, messages.stat_table(message.stats))

    def _drop_filter_config(self, message: messages.DropFilterConfig, fds: Fds) -> None:
        self.filter_configs.drop(message.key, message.serial)

    def _report_released_filter_configs(self, serials: list[int]) -> None:
        self.channel.send(messages.FilterConfigsReleased(serials))

    def _update_hosts(self, message: messages.UpdateHosts, fds: Fds) -> Steps[None] | None:
        if len(message.update) > _MANY_HOSTS:
            return self.clusters.update_hosts_steps(message.name, message.update)
        self.clusters.update_hosts(message.name, message.update)
        return None

    def _update_health(self, message: messages.UpdateHealth, fds: Fds) -> None:
        self.clusters.update_health(message.changes)

    def _on_dns_cache(self, message: Any, fds: Fds) -> None:
        self.dns_caches.on_message(message)

    def _on_sub_cluster(self, message: Any, fds: Fds) -> None:
        self.dns_caches.on_sub_cluster(message)

    # -- listeners ---------------------------------------------------------------------------------------------

    def _add_listener(self, message: messages.AddListener, fds: Fds) -> Steps[None]:
        proto, fds = _listener_of(message, fds)
        table = messages.stat_table(message.stats)
        self.store.install(table)
        self._listener_stats[message.tag] = table
        try:
            config = yield from compile_listener_steps(proto, self.context)
            self.handler.add_listener(message.tag, config, fds, message.balance_row)
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
        if self._serving:
            self.collector.freeze_soon()

    def _update_listener(self, message: messages.UpdateListener, fds: Fds) -> Steps[None]:
        tag = message.tag
        proto, fds = _listener_of(message, fds)
        origin = self.handler.config_of(tag)
        if origin is None:
            raise ConfigError(f"listener '{proto.name}' cannot be updated: there is none")
        table = messages.stat_table(message.stats)
        self.store.install(table)
        try:
            config = yield from compile_listener_steps(proto, self.context, origin)
        except BaseException:
            self.store.release(table)
            raise
        self._replaced_stats[tag, message.version] = self._listener_stats[tag]
        self._listener_stats[tag] = table
        self.handler.update_listener(tag, config, message.version)
        self.collector.freeze_soon()

    def _remove_filter_chains(self, message: messages.RemoveFilterChains, fds: Fds) -> None:
        self.handler.remove_filter_chains(message.tag, message.version)
        self.store.release(self._replaced_stats.pop((message.tag, message.version), {}))

    def _serve(self, message: messages.Serve, fds: Fds) -> None:
        self._serving = True
        self.collector.freeze()
        self.handler.serve()

    def _drain_listener(self, message: messages.DrainListener, fds: Fds) -> None:
        self.handler.drain_listener(message.tag)

    def _stop_listener(self, message: messages.StopListener, fds: Fds) -> None:
        self.handler.stop_listener(message.tag)

    def _remove_listener(self, message: messages.RemoveListener, fds: Fds) -> None:
        self.handler.remove_listener(message.tag)
        self.store.release(self._listener_stats.pop(message.tag, {}))

    def _adopt_listener(self, message: messages.AdoptListener, fds: Fds) -> None:
        self.handler.adopt(message.tag, message.dead_worker, fds)

    def _release_adopted(self, message: messages.ReleaseAdopted, fds: Fds) -> None:
        self.handler.release_adopted(message.dead_worker)

    # -- the process -------------------------------------------------------------------------------------------

    def _mark(self, message: messages.Mark, fds: Fds) -> None:
        """All before it was carried out."""

    def _set_server_state(self, message: messages.SetServerState, fds: Fds) -> None:
        state = self.server_state
        state.live, state.draining = message.live, message.draining
        state.health_check_failed = message.health_check_failed

    def _set_runtime(self, message: messages.SetRuntime, fds: Fds) -> None:
        self.runtime.snapshot = Snapshot.from_json(message.entries)

    def _set_overload(self, message: messages.SetOverload, fds: Fds) -> None:
        self.context.overload.update(message.states)

    def _set_log_level(self, message: messages.SetLogLevel, fds: Fds) -> None:
        if message.component:
            log_set_up.LOG_LEVELS.set(message.component, message.level)
        else:
            log_set_up.LOG_LEVELS.set_all(message.level)

    def _reopen_logs(self, message: messages.ReopenLogs, fds: Fds) -> None:
        log_set_up.reopen()
        register_traceback()
        self.access_logs.reopen()

    def _stop(self, message: messages.Stop, fds: Fds) -> None:
        self.dispatcher.stop()


def _listener_of(message: messages.AddListener | messages.UpdateListener, fds: Fds) -> tuple[Any, Fds]:
    """The Listener that a message brings, and the other descriptors."""
    if message.data:
        return listener_pb2.Listener.FromString(message.data), fds
    return listener_pb2.Listener.FromString(_read_memfd(fds[0], message.size)), fds[1:]


def _read_memfd(fd: int, size: int) -> bytes:
    """The contents of a memfd that main filled; closes it."""
    try:
        return os.pread(fd, size, 0)
    finally:
        os.close(fd)
