"""The filter of one request (Envoy: ``DynamicForwardProxy::ProxyFilter``).

It acts where the route leads to a dynamic forward proxy cluster. A host that this worker's copy of the cache knows
costs a look-up; else the request waits for main's answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.extensions.clusters.dynamic_forward_proxy.load_balancer import DynamicLoadBalancer
from proxeny.extensions.clusters.dynamic_forward_proxy.sub_clusters import SubClusterLoadBalancer
from proxeny.extensions.clusters.dynamic_forward_proxy.wanted import HOST_KEY, state_of, state_port
from proxeny.http.filter import FilterHeadersStatus, StreamFilter
from proxeny.network.address import ip_address
from proxeny.network.filter_state import UpstreamAddress
from proxeny.network.stream_info import ResponseFlag
from proxeny.upstream.dns_cache.names import split_port
from proxeny.upstream.dns_options import milliseconds

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.kernel.timer import Timer
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.dns_cache.worker_cache import KnownHost, PendingLoad, WorkerDnsCache
    from proxeny.upstream.sub_cluster_link import PendingSubCluster

NAME: Final = "envoy.filters.http.dynamic_forward_proxy"
CONTINUE: Final = FilterHeadersStatus.CONTINUE
STOP: Final = FilterHeadersStatus.STOP_ITERATION
WAIT: Final = FilterHeadersStatus.STOP_ALL_ITERATION_AND_WATERMARK

DEFAULT_INIT_TIMEOUT_MS: Final = 5000
"""SubClusterConfig.cluster_init_timeout."""
DNS_START: Final = "envoy.dynamic_forward_proxy.dns_start_ms"
DNS_END: Final = "envoy.dynamic_forward_proxy.dns_end_ms"
"""Points in time for ``%COMMON_DURATION%``."""


class RouteConfig:
    """A ``PerRouteConfig``: which host is meant instead of the one that the request names."""

    __slots__ = ("header", "literal")

    def __init__(self, config: Any) -> None:
        self.literal: bytes = config.host_rewrite_literal.encode()
        self.header: bytes = config.host_rewrite_header.lower().encode()

    def rewrite(self, headers: HeaderMap) -> None:
        """Change the request's authority."""
        host = headers.get(self.header) if self.header else self.literal
        if host:
            headers.set(b":authority", host)


class FilterConfig:
    """What all requests share."""

    __slots__ = ("_cache", "_context", "clock", "cluster_init_timeout_ms", "from_filter_state", "save_address")

    def __init__(self, config: Any, cache: WorkerDnsCache | None, context: FactoryContext) -> None:
        """``cache``: None in main, where nothing is resolved for requests."""
        self._cache = cache
        self._context = context
        self.clock: Any = context.dispatcher
        timeout = config.sub_cluster_config.cluster_init_timeout
        has_timeout = config.sub_cluster_config.HasField("cluster_init_timeout")
        self.cluster_init_timeout_ms = milliseconds(timeout) if has_timeout else DEFAULT_INIT_TIMEOUT_MS
        self.save_address: bool = config.save_upstream_address
        self.from_filter_state: bool = config.allow_dynamic_host_from_filter_state

    @property
    def cache(self) -> WorkerDnsCache:
        """The copy of this worker."""
        assert self._cache is not None
        return self._cache

    def load_balancer(self, name: str) -> DynamicLoadBalancer | SubClusterLoadBalancer | None:
        """That of a dynamic forward proxy cluster; None where the cluster is none, or is not there."""
        cluster = self._context.cluster_manager.get(name)
        own = None if cluster is None else cluster.own_load_balancer
        return own if isinstance(own, DynamicLoadBalancer | SubClusterLoadBalancer) else None


class DynamicForwardProxy(StreamFilter):
    """Resolves the host of one request."""

    __slots__ = ("_config", "_pending", "_pending_cluster", "_timer")

    def __init__(self, config: FilterConfig) -> None:
        self._config = config
        self._pending: PendingLoad | None = None
        self._pending_cluster: PendingSubCluster | None = None
        self._timer: Timer | None = None

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """Go on when the host is known, wait when it is not, answer when it cannot be."""
        route = self.decoder_callbacks.route
        if route is None or route.entry.is_direct:
            return CONTINUE
        entry = route.entry
        config = self._config
        balancer = config.load_balancer(entry.cluster or entry.cluster_name(headers))
        if balancer is None:
            return CONTINUE
        rewrite: RouteConfig | None = self.decoder_callbacks.per_filter_config()
        if rewrite is not None:
            rewrite.rewrite(headers)
        if isinstance(balancer, SubClusterLoadBalancer):
            return self._find_sub_cluster(balancer, headers)
        cache = config.cache
        if not cache.can_wait():
            return self._refuse(
                503,
                b"Dynamic forward proxy pending request overflow",
                "dynamic_forward_proxy_pending_request_overflow",
            )
        info = self.decoder_callbacks.stream_info
        info.set_time_point(DNS_START, config.clock.monotonic_ns())
        host, port = self._wanted(headers, balancer.default_port)
        if not host:
            return self._refuse(400, b"Empty host header", "empty_host_header")
        known = cache.find(host, port)
        if known is not None:
            return self._use(known)
        self._pending = cache.load(host, port, self._on_loaded)
        if self._pending is None:
            return self._refuse(503, b"DNS cache overflow", "dns_cache_overflow")
        cache.pending.inc()
        return WAIT

    def _wanted(self, headers: HeaderMap, default_port: int) -> tuple[bytes, int]:
        """The host to resolve, and the port that it has if it names none."""
        host = headers.get(b":authority") or b""
        if not self._config.from_filter_state:
            return host, default_port
        callbacks = self.decoder_callbacks
        info, connection = callbacks.stream_info, callbacks.connection
        named = state_of(info, connection, HOST_KEY)
        port = state_port(info, connection)
        if named is None and not port:
            return host, default_port
        # What of the authority is not replaced by state still counts.
        name, own_port = split_port(host)
        if named is not None:
            name = str(named).encode("utf-8", "surrogateescape")
        return name, port or own_port or default_port

    def _use(self, known: KnownHost) -> FilterHeadersStatus:
        info = self.decoder_callbacks.stream_info
        info.set_time_point(DNS_END, self._config.clock.monotonic_ns())
        entry = known.entry
        if not entry.addresses:
            info.set_flag(ResponseFlag.DNS_RESOLUTION_FAILED)
            return self._refuse(503, b"DNS resolution failure", entry.details)
        if self._config.save_address:
            address = ip_address(entry.addresses[0], entry.port)
            info.filter_state[UpstreamAddress.KEY] = UpstreamAddress(address)
        return CONTINUE

    def _refuse(self, code: int, body: bytes, details: str) -> FilterHeadersStatus:
        self.decoder_callbacks.send_local_reply(code, body, None, None, details)
        return STOP

    def _on_loaded(self, known: KnownHost) -> None:
        """Main's answer."""
        self._end_wait()
        if self._use(known) is CONTINUE:
            self.decoder_callbacks.continue_decoding()

    def _end_wait(self) -> None:
        self._pending = None
        self._config.cache.pending.dec()

    # Sub-clusters

    def _find_sub_cluster(self, balancer: SubClusterLoadBalancer, headers: HeaderMap) -> FilterHeadersStatus:
        callbacks = self.decoder_callbacks
        callbacks.stream_info.set_time_point(DNS_START, self._config.clock.monotonic_ns())
        host = headers.get(b":authority") or b""
        if balancer.find(host, balancer.default_port) is not None:
            self._end_cluster_wait()
            return CONTINUE
        self._pending_cluster = balancer.ask(host, balancer.default_port, self._on_sub_cluster)
        if self._pending_cluster is None:
            return self._refuse(503, b"Sub cluster overflow", "sub_cluster_overflow")
        self._timer = callbacks.dispatcher.create_timer(self._on_init_timeout)
        self._timer.enable(self._config.cluster_init_timeout_ms)
        return WAIT

    def _on_sub_cluster(self) -> None:
        self._end_cluster_wait()
        self.decoder_callbacks.continue_decoding()

    def _on_init_timeout(self) -> None:
        if self._pending_cluster is not None:
            self._pending_cluster.cancel()
        self._end_cluster_wait()
        self._refuse(503, b"Sub cluster warming timeout", "sub_cluster_warming_timeout")

    def _end_cluster_wait(self) -> None:
        self._pending_cluster = None
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        self.decoder_callbacks.stream_info.set_time_point(DNS_END, self._config.clock.monotonic_ns())

    def on_destroy(self) -> None:
        """The request is over: wait no more."""
        if self._pending_cluster is not None:
            self._pending_cluster.cancel()
            self._end_cluster_wait()
        if self._pending is not None:
            self._pending.cancel()
            self._end_wait()
