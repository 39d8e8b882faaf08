"""What HTTP and TCP pools share (Envoy: ``ConnPoolImplBase``): clients by state, the queue, limits, timeouts, drain.

A client is one upstream connection. Its states: CONNECTING -> READY <-> BUSY -> DRAINING -> CLOSED, changed only in
``_move``; ready is who can take one stream more. Requests that find no ready client wait in a queue, and connections
are opened until what connects has room for them all. A connect failure fails all who wait, so that their owners can
decide (retry, other host).
"""

from __future__ import annotations

from collections import OrderedDict
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from proxeny.network.filter import ConnectionCallbacks, ConnectionEvent
from proxeny.pool.cluster_stats import (
    BIND_ERRORS,
    HOST_CX_ACTIVE,
    HOST_CX_CONNECT_FAIL,
    HOST_CX_TOTAL,
    HOST_RQ_ACTIVE,
    HOST_RQ_PENDING_ACTIVE,
    HOST_RQ_TOTAL,
    UPSTREAM_CX_ACTIVE,
    UPSTREAM_CX_CONNECT_FAIL,
    UPSTREAM_CX_CONNECT_MS,
    UPSTREAM_CX_CONNECT_TIMEOUT,
    UPSTREAM_CX_DESTROY,
    UPSTREAM_CX_DESTROY_LOCAL,
    UPSTREAM_CX_DESTROY_LOCAL_WITH_ACTIVE_RQ,
    UPSTREAM_CX_DESTROY_REMOTE,
    UPSTREAM_CX_DESTROY_REMOTE_WITH_ACTIVE_RQ,
    UPSTREAM_CX_DESTROY_WITH_ACTIVE_RQ,
    UPSTREAM_CX_LENGTH_MS,
    UPSTREAM_CX_MAX_DURATION_REACHED,
    UPSTREAM_CX_MAX_REQUESTS,
    UPSTREAM_CX_OVERFLOW,
    UPSTREAM_CX_TOTAL,
    UPSTREAM_RQ_ACTIVE,
    UPSTREAM_RQ_ACTIVE_OVERFLOW,
    UPSTREAM_RQ_CANCELLED,
    UPSTREAM_RQ_PENDING_ACTIVE,
    UPSTREAM_RQ_PENDING_FAILURE_EJECT,
    UPSTREAM_RQ_PENDING_OVERFLOW,
    UPSTREAM_RQ_PENDING_TOTAL,
    UPSTREAM_RQ_TOTAL,
)
from proxeny.pool.failure import CancelPolicy, PoolFailureReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.event.dispatcher import Dispatcher
    from proxeny.kernel.timer import Timer
    from proxeny.network.connection import ClientConnection
    from proxeny.pool.options import PoolOptions
    from proxeny.upstream.host import Host

CONNECTED = ConnectionEvent.CONNECTED
HEALTHY = 2
"""Host.health."""
REMOTE_CLOSE = ConnectionEvent.REMOTE_CLOSE
MAX_NEW_CONNECTIONS = 3
"""Connections opened at one occasion (Envoy: ``tryCreateNewConnections``)."""


class ClientState(IntEnum):
    """The life of a pooled connection."""

    CONNECTING = 0
    READY = 1
    BUSY = 2
    DRAINING = 3
    """Serves what it has, takes nothing new, closes then."""
    CLOSED = 4


CONNECTING = ClientState.CONNECTING
READY = ClientState.READY
BUSY = ClientState.BUSY
DRAINING = ClientState.DRAINING
CLOSED = ClientState.CLOSED


class PendingStream:
    """A request that waits for a connection."""

    __slots__ = ("callbacks", "context", "pool", "queue")

    def __init__(self, pool: ConnPoolBase, queue: PendingQueue, callbacks: Any, context: Any) -> None:
        self.pool = pool
        self.queue = queue
        self.callbacks = callbacks
        self.context = context
        """What the pool needs besides to attach it (the response decoder)."""

    def cancel(self, policy: CancelPolicy = CancelPolicy.DEFAULT) -> None:
        """Wait no longer."""
        self.pool.cancel_pending(self, policy)


PendingQueue = OrderedDict[PendingStream, None]


class ActiveClient(ConnectionCallbacks):
    """One connection of a pool, from connect to close; subclasses add what speaks on it."""

    __slots__ = (
        "active_streams",
        "concurrent_streams",
        "connect_timer",
        "connected_at_ms",
        "connection",
        "created_at_ms",
        "duration_timer",
        "pool",
        "remaining_streams",
        "state",
        "streams",
        "timed_out",
    )

    def __init__(
        self,
        pool: ConnPoolBase,
        connection: ClientConnection,
        max_streams: int,
        concurrent_streams: int = 1,
        before: ActiveClient | None = None,
    ) -> None:
        """``before``: the client whose connection it takes over as it is; nothing is counted then."""
        self.pool = pool
        self.connection = connection
        self.state = CONNECTING
        self.remaining_streams = max_streams
        """Requests this connection may still take; 0 at creation means no limit (it is then never reached)."""
        self.concurrent_streams = concurrent_streams
        """How many it may carry at a time."""
        self.active_streams = 0
        self.streams = 0
        self.timed_out = False
        self.duration_timer: Timer | None = None
        self.connect_timer: Timer | None = None
        self.created_at_ms: int = pool.dispatcher.now_ms
        if before is not None:
            self.created_at_ms = before.created_at_ms
            return
        self.connect_timer = pool.dispatcher.create_timer(self._on_connect_timeout)
        self.connect_timer.enable(pool.cluster.connect_timeout_ms)
        pool.host.stats.inc2(HOST_CX_TOTAL, HOST_CX_ACTIVE)
        pool.stats.inc2(UPSTREAM_CX_TOTAL, UPSTREAM_CX_ACTIVE)

    def on_event(self, event: ConnectionEvent) -> None:
        """The connection connected or closed."""
        self.pool.on_connection_event(self, event)

    def _on_connect_timeout(self) -> None:
        self.pool.stats.inc(UPSTREAM_CX_CONNECT_TIMEOUT)
        self.timed_out = True
        self.close()

    def on_max_duration(self) -> None:
        """``max_connection_duration``: no new request on this connection."""
        if self.state is CLOSED or self.state is DRAINING:
            return
        self.pool.stats.inc(UPSTREAM_CX_MAX_DURATION_REACHED)
        self.pool.drain_client(self)

    def stop_timers(self) -> None:
        """The timers refer back to us."""
        for timer in (self.connect_timer, self.duration_timer):
            if timer is not None:
                timer.close()
        self.connect_timer = self.duration_timer = None

    def close(self) -> None:
        """Close the connection now."""
        raise NotImplementedError

    def closing_with_incomplete_stream(self) -> bool:
        """Whether a request is under way on it."""
        return self.active_streams > 0

    @property
    def unused_capacity(self) -> int:
        """How many streams it could take now (Envoy: ``currentUnusedCapacity``); below 0 when the peer allows fewer
        than run."""
        free = self.concurrent_streams - self.active_streams
        return self.remaining_streams if 0 < self.remaining_streams < free else free

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.state.name} {self.connection!r}>"


class ConnPoolBase:
    """The connections to one host at one priority.

    A pool with ``options`` of its own (a client's source address) is forgotten by its host when it is empty, and so is
    one that counts against ``max_connection_pools``.
    """

    __slots__ = (
        "_attach_scheduled",
        "_busy",
        "_connecting",
        "_drained_callbacks",
        "_draining_pool",
        "_host_connections",
        "_on_idle",
        "_pending",
        "_preconnect_ratio",
        "_ready",
        "cluster",
        "dispatcher",
        "host",
        "options",
        "pending_requests",
        "preconnects",
        "priority",
        "requests",
        "resources",
        "stats",
        "wheel",
    )

    def __init__(self, dispatcher: Dispatcher, host: Host, priority: int, options: PoolOptions | None = None) -> None:
        self.dispatcher = dispatcher
        self.wheel = dispatcher.wheel
        self.host = host
        self.priority = priority
        self.options = options
        self.cluster = host.cluster
        self.stats = host.cluster.stats
        self.resources = host.cluster.resource_manager(priority)
        self.requests = self.resources.requests
        self.pending_requests = self.resources.pending_requests
        self._host_connections = host.connection_limit(priority)
        self._preconnect_ratio = host.cluster.preconnect_ratio
        self.preconnects = self._preconnect_ratio > 1.0
        """Whether more connections are kept than requests need (``per_upstream_preconnect_ratio``)."""
        self._on_idle: Callable[[], object] | None = None
        # The most recently used idle client is taken first, as in Envoy, so that surplus ones grow old.
        self._ready: dict[Any, None] = {}
        self._busy: dict[Any, None] = {}
        self._connecting: dict[Any, None] = {}
        self._pending: PendingQueue = OrderedDict()
        self._attach_scheduled = False
        self._draining_pool = False
        self._drained_callbacks: list[Callable[[], object]] = []

    # -- what subclasses provide ---------------------------------------------------------------------------------
    def _instantiate_client(self) -> Any:
        raise NotImplementedError

    def _on_pool_ready(self, client: Any, callbacks: Any, context: Any) -> None:
        raise NotImplementedError

    # -- asking for a stream -------------------------------------------------------------------------------------
    def _new_stream(self, callbacks: Any, context: Any) -> PendingStream | None:
        if self._ready:
            self._attach(next(reversed(self._ready)), callbacks, context)
            if self.preconnects:
                self._try_create_connections()
            return None
        if not self.pending_requests.try_acquire():
            self.stats.inc(UPSTREAM_RQ_PENDING_OVERFLOW)
            callbacks.on_pool_failure(PoolFailureReason.OVERFLOW, "", None)
            return None
        pending = PendingStream(self, self._pending, callbacks, context)
        self._pending[pending] = None
        self.stats.inc2(UPSTREAM_RQ_PENDING_TOTAL, UPSTREAM_RQ_PENDING_ACTIVE)
        self.host.stats.inc(HOST_RQ_PENDING_ACTIVE)
        self._try_create_connections()
        # A connection never fails inside connect(), so nobody was called back: the caller gets its handle first.
        return pending

    def _attach(self, client: Any, callbacks: Any, context: Any) -> None:
        if not self._take_request():
            self.stats.inc(UPSTREAM_RQ_ACTIVE_OVERFLOW)
            callbacks.on_pool_failure(PoolFailureReason.OVERFLOW, "", self.host)
            return
        client.remaining_streams -= 1
        client.active_streams += 1
        if client.remaining_streams == 0:
            self._last_stream(client)
        elif client.active_streams >= client.concurrent_streams:
            self._move(client, BUSY)
        client.streams += 1
        self.host.stats.inc2(HOST_RQ_TOTAL, HOST_RQ_ACTIVE)
        self.stats.inc2(UPSTREAM_RQ_TOTAL, UPSTREAM_RQ_ACTIVE)
        self._on_pool_ready(client, callbacks, context)

    def _take_request(self) -> bool:
        """Count one more request, if there may be one."""
        return self.requests.try_acquire()

    def _last_stream(self, client: Any) -> None:
        """``max_requests_per_connection``: nothing after this request."""
        self.stats.inc(UPSTREAM_CX_MAX_REQUESTS)
        self._move(client, DRAINING)

    def end_stream(self, client: Any) -> None:
        """Count the end of one of a client's requests, whatever its end."""
        if client.active_streams:
            client.active_streams -= 1
            self.host.stats.dec(HOST_RQ_ACTIVE)
            self.stats.dec(UPSTREAM_RQ_ACTIVE)
            self.requests.dec()

    def on_stream_closed(self, client: Any) -> None:
        """A request is over: the client is ready again, or closes when it was draining."""
        self.end_stream(client)
        state = client.state
        if state is BUSY:
            if client.active_streams < client.concurrent_streams:
                self._move(client, READY)
            if self._pending:
                self._schedule_attach()
            if self._draining_pool:
                self._check_drained()
        elif state is DRAINING:
            if not client.active_streams:
                client.close()
        elif self._draining_pool:
            self._check_drained()

    def _schedule_attach(self) -> None:
        # At the end of the turn: the peer may close right behind its response (Envoy issue 2715).
        if not self._attach_scheduled:
            self._attach_scheduled = True
            self.dispatcher.defer(self._attach_scheduled_now)

    def _attach_scheduled_now(self) -> None:
        self._attach_scheduled = False
        self._on_upstream_ready()

    def _on_upstream_ready(self) -> None:
        while self._pending and self._ready:
            pending, _ = self._pending.popitem(last=False)
            self._forget_pending()
            self._attach(next(reversed(self._ready)), pending.callbacks, pending.context)
        if self._pending:
            self._try_create_connections()

    def _forget_pending(self) -> None:
        self.stats.dec(UPSTREAM_RQ_PENDING_ACTIVE)
        self.host.stats.dec(HOST_RQ_PENDING_ACTIVE)
        self.pending_requests.dec()

    def cancel_pending(self, pending: PendingStream, policy: CancelPolicy) -> None:
        """A waiting request gives up; also from within the callbacks of a purge."""
        if pending not in pending.queue:
            return
        del pending.queue[pending]
        self._forget_pending()
        self.stats.inc(UPSTREAM_RQ_CANCELLED)
        if policy is CancelPolicy.CLOSE_EXCESS and self._connecting and self._is_excess():
            # Draining: that it never connects is no reason to fail those who wait for another one.
            client = next(reversed(self._connecting))
            self._move(client, DRAINING)
            client.close()
        self._check_drained()

    # -- connections ---------------------------------------------------------------------------------------------
    # As in Envoy, what is ready or connects provides for further requests, and ``ratio`` times as many as wait or run
    # should be provided for. With a ratio of 1: somebody waits for whom no connection is under way.
    def _provided(self) -> int:
        """How many further streams there is room for on connections that are open or will be."""
        return len(self._connecting) + len(self._ready)

    def _connecting_capacity(self) -> int:
        return len(self._connecting)

    def _active(self) -> int:
        return len(self._busy)

    def _try_create_connections(self) -> None:
        for _ in range(MAX_NEW_CONNECTIONS):
            if not self._wants_connection() or not self._try_create_connection():
                return

    def _wants_connection(self) -> bool:
        waiting, provided = len(self._pending), self._provided()
        if not self.preconnects or self.host.health != HEALTHY:
            return waiting > provided
        active = self._active()
        return (waiting + active) * self._preconnect_ratio > provided + active

    def _is_excess(self) -> bool:
        """Whether one connection less, of those that connect, would still do."""
        waiting, active = len(self._pending), self._active()
        left: int = self._connecting_capacity() - next(reversed(self._connecting)).unused_capacity
        return (waiting + active) * self._preconnect_ratio <= left + active

    def preconnect(self, ratio: float) -> bool:
        """Open one connection for a request that is expected (``predictive_preconnect_ratio``), if that makes sense."""
        waiting, provided, active = len(self._pending), self._provided(), self._active()
        if self.host.health != HEALTHY:
            wants = waiting > provided
        else:
            wants = (waiting + active + 1) * ratio > provided + active
        return wants and self._try_create_connection()

    def _try_create_connection(self) -> bool:
        """Open one more, if the limit allows or this host would otherwise have none at all."""
        may = self._acquire_connection()
        if not may:
            self.stats.inc(UPSTREAM_CX_OVERFLOW)
            if self._ready or self._busy or self._connecting:
                return False
            self.resources.connections.inc()
            if self._host_connections is not None:
                self._host_connections.inc()
        client = self._instantiate_client()
        self._connecting[client] = None
        return may

    def _acquire_connection(self) -> bool:
        """Count one more connection of the host's and of the cluster's, where both may have one more."""
        of_host = self._host_connections
        if of_host is not None and not of_host.try_acquire():
            return False
        if self._acquire_of_cluster():
            return True
        if of_host is not None:
            of_host.dec()
        return False

    def _acquire_of_cluster(self) -> bool:
        return self.resources.connections.try_acquire()

    def _move(self, client: Any, state: ClientState) -> None:
        old = self._owner(client.state)
        new = self._owner(state)
        client.state = state
        if old is not new:
            if old is not None:
                old.pop(client, None)
            if new is not None:
                new[client] = None

    def _owner(self, state: ClientState) -> dict[Any, None] | None:
        if state is READY:
            return self._ready
        if state is CONNECTING:
            return self._connecting
        return None if state is CLOSED else self._busy

    def on_connection_event(self, client: Any, event: ConnectionEvent) -> None:
        """A client's connection connected or closed."""
        if event is CONNECTED:
            self._on_connected(client)
        elif client.state is not CLOSED:
            self._on_closed(client, event)

    def _on_connected(self, client: Any) -> None:
        if client.connect_timer is not None:
            client.connect_timer.close()
            client.connect_timer = None
        now = self.dispatcher.now_ms
        self.stats.record(UPSTREAM_CX_CONNECT_MS, now - client.created_at_ms)
        if client.state is not CONNECTING:
            return
        duration = self.cluster.http.max_connection_duration_ms
        if duration is not None:
            client.duration_timer = self.dispatcher.create_timer(client.on_max_duration)
            client.duration_timer.enable(duration)
        self._move(client, READY)
        self._on_upstream_ready()
        self._check_drained()

    def _on_closed(self, client: Any, event: ConnectionEvent) -> None:
        was = client.state
        connected = client.connect_timer is None
        self._count_destroy(client, event)
        self._move(client, CLOSED)
        client.stop_timers()
        stats = self.stats
        stats.record(UPSTREAM_CX_LENGTH_MS, self.dispatcher.now_ms - client.created_at_ms)
        stats.dec(UPSTREAM_CX_ACTIVE)
        self.host.stats.dec(HOST_CX_ACTIVE)
        self.resources.connections.dec()
        if self._host_connections is not None:
            self._host_connections.dec()
        self.end_stream(client)
        if not connected:
            stats.inc(UPSTREAM_CX_CONNECT_FAIL)
            self.host.stats.inc(HOST_CX_CONNECT_FAIL)
            if client.connection.bind_failed:
                stats.inc(BIND_ERRORS)
        if was is CONNECTING:
            self._purge_pending(client.connection.transport_failure_reason, _failure_reason(client, event))
            if self.preconnects and not self._draining_pool:
                self._try_create_connections()
        if self._pending:
            self._try_create_connections()
        self._check_drained()
        if self._on_idle is not None and self.is_idle:
            self.tell_idle()

    def on_idle(self, callback: Callable[[], object]) -> None:
        """Call back, once, when there is neither a connection nor anybody who waits for one."""
        self._on_idle = callback

    def tell_idle(self) -> None:
        """The pool is idle: tell who wanted to know."""
        callback, self._on_idle = self._on_idle, None
        if callback is not None:
            callback()

    def _count_destroy(self, client: Any, event: ConnectionEvent) -> None:
        remote = event is REMOTE_CLOSE
        self.stats.inc2(UPSTREAM_CX_DESTROY, UPSTREAM_CX_DESTROY_REMOTE if remote else UPSTREAM_CX_DESTROY_LOCAL)
        if client.closing_with_incomplete_stream():
            self.stats.inc2(
                UPSTREAM_CX_DESTROY_WITH_ACTIVE_RQ,
                UPSTREAM_CX_DESTROY_REMOTE_WITH_ACTIVE_RQ if remote else UPSTREAM_CX_DESTROY_LOCAL_WITH_ACTIVE_RQ,
            )

    def _purge_pending(self, details: str, reason: PoolFailureReason) -> None:
        # A callback may ask this pool again (a retry): that one waits in the fresh queue.
        purging = self._pending
        self._pending = OrderedDict()
        while purging:
            pending, _ = purging.popitem(last=False)
            self._forget_pending()
            self.stats.inc(UPSTREAM_RQ_PENDING_FAILURE_EJECT)
            pending.callbacks.on_pool_failure(reason, details, self.host)

    # -- draining ------------------------------------------------------------------------------------------------
    def drain_client(self, client: Any) -> None:
        """No new request on this connection: close it now if it is idle, else after its requests."""
        if client.active_streams:
            self._move(client, DRAINING)
        else:
            client.close()

    def drain(self) -> None:
        """No new request on any existing connection; what waits still gets one (a fresh one)."""
        self._draining_pool = True
        self._close_idle()
        for client in [*self._ready, *self._busy]:
            self._move(client, DRAINING)

    def close_connections(self) -> None:
        """Close all connections now, whatever they do."""
        for client in [*self._ready, *self._busy, *self._connecting]:
            client.close()

    def add_drained_callback(self, callback: Callable[[], object]) -> None:
        """Call back once nothing is left in the pool."""
        self._draining_pool = True
        self._drained_callbacks.append(callback)
        self._check_drained()

    def _close_idle(self) -> None:
        idle = [client for client in self._ready if not client.active_streams]
        if not self._pending:
            idle.extend(self._connecting)
        for client in idle:
            client.close()

    def _check_drained(self) -> None:
        if not self._draining_pool:
            return
        self._close_idle()
        if self.is_idle:
            callbacks, self._drained_callbacks = self._drained_callbacks, []
            for callback in callbacks:
                callback()

    @property
    def is_idle(self) -> bool:
        """Whether there is neither a connection nor anybody who waits for one."""
        return not (self._pending or self._ready or self._busy or self._connecting)

    def has_active_connections(self) -> bool:
        """Whether requests run or wait."""
        return bool(self._pending or self._busy) or any([client.active_streams for client in self._ready])

    def statistics(self) -> dict[str, int]:
        """Clients by state, and who waits."""
        return {
            "ready": len(self._ready),
            "busy": len(self._busy),
            "connecting": len(self._connecting),
            "pending": len(self._pending),
        }

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.host!r} {self.statistics()}>"


def _failure_reason(client: ActiveClient, event: ConnectionEvent) -> PoolFailureReason:
    if client.timed_out:
        return PoolFailureReason.TIMEOUT
    if event is REMOTE_CLOSE:
        return PoolFailureReason.REMOTE_CONNECTION_FAILURE
    return PoolFailureReason.LOCAL_CONNECTION_FAILURE
