"""A host that has to be resolved before anybody can connect to it (Envoy: ``DFPHostSelectionHandle``).

It stands where a host does, and its pools where pools do: who asks them for a stream waits until the name is resolved,
and then gets one from the pool of the real host. So nobody who forwards requests has to know of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.pool.failure import CancelPolicy, PoolFailureReason
from proxeny.router.filter import RESPONSE_TIMEOUT
from proxeny.upstream.endpoints import HostEntry
from proxeny.upstream.host import Host

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.pool.failure import Cancellable
    from proxeny.router.filter import RouterFilter
    from proxeny.upstream.cluster_info import ClusterInfo
    from proxeny.upstream.dns_cache.worker_cache import KnownHost, PendingLoad

ABSENT_STAT_INDEX = 0
"""The per-host stat block of a cluster that no real host has."""


class AbsentHost(Host):
    """Chosen for one request, that of ``router``. With nothing ``pending``, ``details`` say why there is no host."""

    __slots__ = ("_host_of", "_waiter", "details", "pending", "router")

    def __init__(self, cluster: ClusterInfo, router: Any, host_of: Callable[[KnownHost], Host]) -> None:
        """``host_of``: the real host of what was resolved."""
        super().__init__(cluster, HostEntry("0.0.0.0", 0), cluster.host_stats(ABSENT_STAT_INDEX))
        self.router: RouterFilter = router
        self.details = ""
        self.pending: PendingLoad | None = None
        self._host_of = host_of
        self._waiter: Waiter | None = None

    @property
    def http_pools(self) -> AnyPool:  # type: ignore[override]
        """The pool of any priority and options."""
        return AnyPool(self)

    @property
    def tcp_pools(self) -> AnyPool:  # type: ignore[override]
        """The pool of any priority and options."""
        return AnyPool(self)

    def wait(self, waiter: Waiter) -> Cancellable | None:
        """``waiter`` is told once there is a host, or why there is none."""
        self.router.stream_info.upstream_host = None
        if self.pending is None:
            waiter.fail(self.details)
            return None
        self._waiter = waiter
        waiter.hold_timeout()
        return waiter

    def on_resolved(self, known: KnownHost) -> None:
        """The name was looked up."""
        self.pending = None
        waiter, self._waiter = self._waiter, None
        if waiter is None:
            return
        if known.entry.addresses:
            waiter.go_on(self._host_of(known))
        else:
            waiter.fail(known.entry.details)

    def give_up(self) -> None:
        """Nobody waits any more."""
        self._waiter = None
        if self.pending is not None:
            self.pending.cancel()
            self.pending = None


class AnyPool:
    """The pools of an absent host: all of them are this one."""

    __slots__ = ("_host",)

    def __init__(self, host: AbsentHost) -> None:
        self._host = host

    def get(self, key: Any) -> AnyPool:
        """As ``Host.http_pools`` are asked."""
        return self

    def new_stream(self, response_decoder: Any, callbacks: Any) -> Cancellable | None:
        """As ``HttpConnPool.new_stream``."""
        return self._host.wait(StreamWaiter(self._host, callbacks, response_decoder))

    def new_connection(self, callbacks: Any, taker: Any = None) -> Cancellable | None:
        """As ``TcpConnPool.new_connection``."""
        return self._host.wait(ConnectionWaiter(self._host, callbacks, taker))


class Waiter:
    """Who asked a pool of an absent host."""

    __slots__ = ("_callbacks", "_host", "_inner", "_timeout_ms", "_what")

    def __init__(self, host: AbsentHost, callbacks: Any, what: Any) -> None:
        self._host = host
        self._callbacks = callbacks
        self._what = what
        self._inner: Cancellable | None = None
        """The handle from the real pool."""
        self._timeout_ms = 0

    def hold_timeout(self) -> None:
        """The response's time begins when there is a host."""
        router = self._host.router
        if router.timer is None:
            self._timeout_ms, router.timeout_ms = router.timeout_ms, 0

    def _release_timeout(self, router: RouterFilter) -> None:
        router.timeout_ms = router.timeout_ms or self._timeout_ms
        if router.request_complete and router.timer is None and router.timeout_ms:
            router.timer = router.config.wheel.create_for(router, RESPONSE_TIMEOUT)
            router.timer.enable(router.timeout_ms)

    def go_on(self, host: Host) -> None:
        """This is the host: ask its pool."""
        router = self._host.router
        cluster = router.config.get_cluster(router.cluster_name)
        if cluster is None:
            self.fail("")
            return
        router.stream_info.upstream_host = host
        self._release_timeout(router)
        self._inner = self._ask(cluster, host, router)

    def _ask(self, cluster: Any, host: Host, router: RouterFilter) -> Cancellable | None:
        raise NotImplementedError

    def fail(self, details: str) -> None:
        """There is no host."""
        self._callbacks.on_pool_failure(PoolFailureReason.NO_POOL, details, None)

    def cancel(self, policy: CancelPolicy = CancelPolicy.DEFAULT) -> None:
        """As pools' handles."""
        if self._inner is not None:
            self._inner.cancel(policy)
        else:
            self._host.give_up()


class StreamWaiter(Waiter):
    """For an HTTP stream."""

    __slots__ = ()

    def _ask(self, cluster: Any, host: Host, router: RouterFilter) -> Cancellable | None:
        options, priority = router.decoder_callbacks.upstream_options, router.entry.policy.priority
        pool = cluster.http_pool(host, priority, router.stream_info.protocol, options, router)
        handle: Cancellable | None = pool.new_stream(self._what, self._callbacks)
        return handle


class ConnectionWaiter(Waiter):
    """For a connection."""

    __slots__ = ()

    def _ask(self, cluster: Any, host: Host, router: RouterFilter) -> Cancellable | None:
        options, priority = router.decoder_callbacks.upstream_options, router.entry.policy.priority
        handle: Cancellable | None = cluster.tcp_pool(host, priority, options, router).new_connection(
            self._callbacks, self._what
        )
        return handle
