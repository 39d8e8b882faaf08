"""``request_mirror_policies``: copies of a request to other clusters, whose answers go nowhere (Envoy: ``ShadowWriter``
over an ``AsyncClient``).

Each mirror is a router filter of its own, with the options of the router that it mirrors, so that timeouts, limits and
counting are those of any request; what it would tell a client ends in ``MirrorStream``. It sees the request as the
route has made it, once, whatever retries there are. Unlike Envoy's it never makes the client wait: a mirror that takes
the body too slowly may hold as much more of it as may be buffered for a retry, and is given up then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.kernel.buffer import Buffer
from proxeny.network.stream_info import StreamInfo
from proxeny.router.header_mutations import compile_mutations
from proxeny.router.retry_policy import NO_RETRIES
from proxeny.router.route import Route, RouteConfigInfo, RouteEntry, RoutePolicy, VirtualHost
from proxeny.router.route_condition import RuntimeFraction
from proxeny.router.stats import ROUTER
from proxeny.upstream.stats import RETRY_OR_SHADOW_ABANDONED

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from proxeny.kernel.headers import HeaderMap
    from proxeny.kernel.stats import Block
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.socket_options import SocketOption
    from proxeny.router.filter import RouterFilter

AUTHORITY: Final = b":authority"
METHOD: Final = b":method"
INTERNAL: Final = b"x-envoy-internal"
FORWARDED_FOR: Final = b"x-forwarded-for"
TRUE: Final = b"true"
DEFAULT_LIMIT: Final = 1024 * 1024
"""Bytes that a slow mirror may hold where the connection has no buffer limit."""
_MAX_ROUTES: Final = 64
_HOST: Final = VirtualHost("", RouteConfigInfo(""))


class MirrorPolicy:
    """One of ``request_mirror_policies``, compiled."""

    __slots__ = (
        "_address", "_cluster", "_cluster_header", "_fraction", "_host", "_mutations", "_routes", "_suffix", "stats",
    )  # fmt: skip

    def __init__(self, config: Any, context: FactoryContext) -> None:
        if config.cluster and config.cluster_header:
            raise ConfigError("Only one of cluster or cluster_header in request mirror policy can be specified")
        if not (config.cluster or config.cluster_header):
            raise ConfigError("Exactly one of cluster or cluster_header in request mirror policy need to be specified")
        self._cluster: str = config.cluster
        self._cluster_header = config.cluster_header.lower().encode("utf-8")
        self._fraction: RuntimeFraction | None = None
        if config.HasField("runtime_fraction"):
            self._fraction = RuntimeFraction(config.runtime_fraction, context.runtime)
        self._suffix = not config.disable_shadow_host_suffix_append
        self._host = config.host_rewrite_literal.encode("utf-8")
        self._mutations = compile_mutations(config.request_headers_mutations)
        self._address = context.local_info.address.encode()
        self._routes: dict[tuple[str, int], Route] = {}
        self.stats: Block = context.stats.block(ROUTER, "http.async-client.")

    def check_cluster(self, clusters: Container[str] | None) -> None:
        """ConfigError where the cluster is not among ``clusters`` (None: that is not to be checked)."""
        if clusters is not None and self._cluster and self._cluster not in clusters:
            raise ConfigError(f"route: unknown shadow cluster '{self._cluster}'")

    def cluster_name(self, headers: HeaderMap) -> str:
        """Where this request is mirrored to; "" when the header that should say so is not there."""
        if self._cluster:
            return self._cluster
        return (headers.get(self._cluster_header) or b"").decode("latin-1")

    def applies(self, stream_id: int) -> bool:
        """Whether the request falls into the mirrored share."""
        return self._fraction is None or self._fraction.enabled(stream_id)

    def headers_of(self, router: RouterFilter) -> HeaderMap:
        """The mirror's copy of the request's headers."""
        original = router.request_headers
        headers = original.copy()
        for mutation in self._mutations:
            mutation.apply(headers, original, None, router.stream_info)
        if self._host:
            headers.set(AUTHORITY, self._host)
        elif self._suffix:
            headers.set(AUTHORITY, shadow_host(headers.get(AUTHORITY) or b""))
        headers.set(INTERNAL, TRUE)
        headers.append_value(FORWARDED_FOR, self._address)
        return headers

    def route(self, cluster: str, timeout_ms: int) -> Route:
        """A route to the mirror that waits as long for an answer as the mirrored request does."""
        key = (cluster, timeout_ms)
        route = self._routes.get(key)
        if route is None:
            policy = RoutePolicy(NO_RETRIES)
            policy.timeout_ms = timeout_ms
            policy.freeze()
            route = Route("", _HOST, RouteEntry(_HOST, policy, cluster))
            # Names and times may come from request headers: not kept without end.
            if len(self._routes) < _MAX_ROUTES:
                self._routes[key] = route
        return route


def shadow_host(host: bytes) -> bytes:
    """The authority by which a mirror's logs tell its requests from others."""
    name, colon, port = host.rpartition(b":")
    if colon and b"]" not in port:
        return name + b"-shadow:" + port
    return host + b"-shadow"


def compile_mirrors(configs: Iterable[Any], context: FactoryContext) -> tuple[MirrorPolicy, ...]:
    """The policies of one level; ConfigError in Envoy's words."""
    return tuple([MirrorPolicy(config, context) for config in configs])


class MirrorStream:
    """One mirror under way: the callbacks of its router filter."""

    __slots__ = ("_above", "_excess", "_filter", "connection", "dispatcher", "route", "stream_info")

    upstream_options: tuple[SocketOption, ...] = ()

    def __init__(self, parent: RouterFilter, policy: MirrorPolicy, route: Route) -> None:
        callbacks = parent.decoder_callbacks
        info = parent.stream_info
        clock = parent.config.clock
        self.connection = None
        self.dispatcher = callbacks.dispatcher
        self.route = route
        self.stream_info = StreamInfo(info.connection, clock.system_time(), clock.monotonic_ns())
        self.stream_info.protocol = "HTTP/1.1"
        self._filter: RouterFilter | None = type(parent)(parent.config.with_stats(policy.stats))
        self._filter.decoder_callbacks = self  # type: ignore[assignment]
        self._above = False
        self._excess = 0

    @property
    def done(self) -> bool:
        """Whether it needs nothing more of the request."""
        return self._filter is None

    def send_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """Begin."""
        if self._filter is not None:
            self._filter.decode_headers(headers, end_stream)

    def send_data(self, data: Buffer, end_stream: bool, limit: int) -> bool:
        """A piece of body, which stays as it is; False when this was one too many for a mirror that is slow."""
        if self._filter is None:
            return True
        if self._above:
            self._excess += data.length
            if self._excess > limit:
                self.cancel()
                return False
        copy = Buffer()
        copy.copy_from(data)
        self._filter.decode_data(copy, end_stream)
        return True

    def send_trailers(self, trailers: HeaderMap) -> None:
        """The end of the request."""
        if self._filter is not None:
            self._filter.decode_trailers(trailers)

    def cancel(self) -> None:
        """Give it up, or let go of what is over."""
        router, self._filter = self._filter, None
        if router is not None:
            router.on_destroy()

    # What the router filter tells a client.

    def send_local_reply(
        self,
        code: int,
        body: bytes,
        modify_headers: Callable[[HeaderMap], None] | None,
        grpc_status: int | None,
        details: str,
    ) -> None:
        """The mirror failed; nobody is told."""
        self.cancel()

    def encode_1xx_headers(self, headers: HeaderMap) -> None:
        """Dropped."""

    def encode_headers(self, headers: HeaderMap, end_stream: bool, details: str) -> None:
        """Dropped."""
        if end_stream:
            self.cancel()

    def encode_data(self, data: Buffer, end_stream: bool) -> None:
        """Dropped."""
        data.clear()
        if end_stream:
            self.cancel()

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """Dropped."""
        self.cancel()

    def reset_stream(self) -> None:
        """The mirror ends without an answer."""
        self.cancel()

    # Back-pressure stays here.

    def on_decoder_filter_above_write_buffer_high_watermark(self) -> None:
        """The mirror takes bytes too slowly: from here on they are counted."""
        self._above = True

    def on_decoder_filter_below_write_buffer_low_watermark(self) -> None:
        """It caught up."""
        self._above = False
        self._excess = 0

    def add_downstream_watermark_callbacks(self, callbacks: Any) -> None:
        """Nobody reads the answer: there is nothing to wait for."""

    def remove_downstream_watermark_callbacks(self, callbacks: Any) -> None:
        """See above."""

    def decoder_buffer_limit(self) -> int:
        """No limit of its own."""
        return DEFAULT_LIMIT


class Mirrors:
    """The mirrors of one request, while they need something of it."""

    __slots__ = ("_chosen", "_parent", "_streams")

    def __init__(self, parent: RouterFilter, chosen: list[tuple[MirrorPolicy, str, HeaderMap]]) -> None:
        self._parent = parent
        self._chosen = chosen
        self._streams: list[MirrorStream] = []

    @classmethod
    def of(cls, router: RouterFilter) -> Mirrors | None:
        """Those that take part in this request, with their headers, before an attempt may change the request's."""
        overrides = router.cluster.overrides
        policies: tuple[MirrorPolicy, ...] = router.entry.policy.mirrors
        if overrides is not None and overrides.mirrors:
            policies = overrides.mirrors
        headers = router.request_headers
        if not policies or headers.get(METHOD) == b"CONNECT":
            return None
        stream_id = router.decoder_callbacks.stream_id
        chosen = []
        for policy in policies:
            if policy.applies(stream_id):
                name = policy.cluster_name(headers)
                if name and router.config.get_cluster(name) is not None:
                    chosen.append((policy, name, policy.headers_of(router)))
        return cls(router, chosen) if chosen else None

    def start(self, router: RouterFilter, end_stream: bool) -> Mirrors | None:
        """Send the headers; None when that is all there is to send."""
        if not end_stream and router.upstream is None and not router.retry_pending:
            return None
        for policy, name, headers in self._chosen:
            stream = MirrorStream(router, policy, policy.route(name, router.timeout_ms))
            stream.send_headers(headers, end_stream)
            if not (end_stream or stream.done):
                self._streams.append(stream)
        self._chosen = []
        return self if self._streams else None

    def send_data(self, data: Buffer, end_stream: bool) -> Mirrors | None:
        """Request body; None when no mirror needs more."""
        parent = self._parent
        limit = parent.decoder_callbacks.decoder_buffer_limit() or DEFAULT_LIMIT
        for stream in self._streams:
            if not stream.send_data(data, end_stream, limit):
                parent.cluster.stats.inc(RETRY_OR_SHADOW_ABANDONED)
        if end_stream:
            return None
        self._streams = [stream for stream in self._streams if not stream.done]
        return self if self._streams else None

    def send_trailers(self, trailers: HeaderMap) -> None:
        """Request trailers: the end."""
        for stream in self._streams:
            stream.send_trailers(trailers.copy())

    def cancel(self) -> None:
        """The request is over before it was complete: so are its mirrors."""
        for stream in self._streams:
            stream.cancel()
        self._streams = []
