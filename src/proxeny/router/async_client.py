"""HTTP requests of the proxy's own to a cluster (Envoy: ``Http::AsyncClientImpl``, ``Http::AsyncStreamImpl``).

Each is a router filter of its own, as a mirror's is (``shadow``): hosts, pools, limits, timeouts, retries and counting
are those of any request. What it would tell a client goes to the callbacks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from proxeny.http.local_reply import prepare
from proxeny.kernel.buffer import Buffer
from proxeny.network.address import ip_address
from proxeny.network.stream_info import ConnectionInfo, StreamInfo
from proxeny.router.config import RouterConfig
from proxeny.router.filter import RouterFilter
from proxeny.router.retry_policy import NO_RETRIES, RetryPolicy
from proxeny.router.route import Route, RouteConfigInfo, RouteEntry, RoutePolicy, VirtualHost

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.event.dispatcher import Dispatcher
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.socket_options import SocketOption

PREFIX: Final = "http.async-client."
SCHEME: Final = b":scheme"
INTERNAL: Final = b"x-envoy-internal"
FORWARDED_FOR: Final = b"x-forwarded-for"
_HOST: Final = VirtualHost("", RouteConfigInfo(""))
_NOBODY: Final = ConnectionInfo(ip_address("127.0.0.1", 0), ip_address("127.0.0.1", 0), 0)


class StreamCallbacks(Protocol):
    """Who made the request; may be called from inside ``send_headers`` and ``send_data``."""

    def on_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The response's head."""

    def on_data(self, data: Buffer, end_stream: bool) -> None:
        """A piece of its body, to be taken out of ``data``."""

    def on_trailers(self, trailers: HeaderMap) -> None:
        """Its trailers, which end it."""

    def on_reset(self) -> None:
        """It ends before it is complete."""


class AsyncClient:
    """Makes requests to one cluster, which need not be there. Main makes one too for what workers will use: its
    statistics are allotted then."""

    __slots__ = ("_address", "_config", "_dispatcher", "cluster")

    def __init__(self, cluster: str, context: FactoryContext) -> None:
        self.cluster = cluster
        self._dispatcher: Dispatcher | None = context.dispatcher
        self._config = RouterConfig(None, PREFIX, context)
        self._address = context.local_info.address.encode()

    @property
    def available(self) -> bool:
        """Whether the cluster is there."""
        return self._config.get_cluster(self.cluster) is not None

    def start(
        self,
        callbacks: StreamCallbacks,
        timeout_ms: int = 0,
        retry_policy: RetryPolicy = NO_RETRIES,
        envoy_headers: bool = True,
    ) -> AsyncStream:
        """A request whose headers are still to be sent; ``timeout_ms`` 0 = none. ``envoy_headers``: whether the
        upstream is told that it comes from the proxy itself."""
        assert self._dispatcher is not None
        policy = RoutePolicy(retry_policy)
        policy.timeout_ms = timeout_ms
        policy.freeze()
        route = Route("", _HOST, RouteEntry(_HOST, policy, self.cluster))
        return AsyncStream(self._dispatcher, self._config, route, callbacks, self._address if envoy_headers else b"")


class AsyncStream:
    """One request under way: the callbacks of its router filter."""

    __slots__ = ("_address", "_callbacks", "_filter", "_started", "connection", "dispatcher", "route",
                 "stream_id", "stream_info")  # fmt: skip

    upstream_options: tuple[SocketOption, ...] = ()

    def __init__(
        self, dispatcher: Dispatcher, config: RouterConfig, route: Route, callbacks: StreamCallbacks, address: bytes
    ) -> None:
        self.connection = None
        self.dispatcher = dispatcher
        self.route = route
        self.stream_id = 0
        clock = config.clock
        self.stream_info = StreamInfo(_NOBODY, clock.system_time(), clock.monotonic_ns())
        self.stream_info.protocol = "HTTP/1.1"
        self._address = address
        self._callbacks: StreamCallbacks | None = callbacks
        self._started = False
        self._filter: RouterFilter | None = RouterFilter(config)
        self._filter.decoder_callbacks = self  # type: ignore[assignment]

    def send_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """Begin; ``headers`` are the stream's from here on."""
        # As Envoy, whatever the cluster's transport is.
        headers.set(SCHEME, b"http")
        if self._address:
            headers.set(INTERNAL, b"true")
            headers.append_value(FORWARDED_FOR, self._address)
        if self._filter is not None:
            self._filter.decode_headers(headers, end_stream)

    def send_data(self, data: Buffer, end_stream: bool) -> None:
        """A piece of body, which is moved."""
        if self._filter is not None:
            self._filter.decode_data(data, end_stream)

    def reset(self) -> None:
        """Give it up; nothing is called back."""
        self._callbacks = None
        router, self._filter = self._filter, None
        if router is not None:
            router.on_destroy()

    def _end(self) -> StreamCallbacks | None:
        """Nothing more is to come."""
        callbacks = self._callbacks
        self.reset()
        return callbacks

    # What the router filter tells a client.

    def send_local_reply(
        self,
        code: int,
        body: bytes,
        modify_headers: Callable[[HeaderMap], None] | None,
        grpc_status: int | None,
        details: str,
    ) -> None:
        """There is no answer of the upstream's: this is it."""
        self.stream_info.response_code_details = details
        if self._started:
            self.reset_stream()
            return
        router = self._filter
        is_grpc = router is not None and router.grpc_request
        reply = prepare(code, body, is_grpc=is_grpc, is_head=False, modify_headers=modify_headers)
        callbacks = self._end()
        if callbacks is None:
            return
        callbacks.on_headers(reply.headers, reply.body is None)
        if reply.body is not None:
            callbacks.on_data(reply.body, True)

    def encode_1xx_headers(self, headers: HeaderMap) -> None:
        """Nobody waits for them."""

    def encode_headers(self, headers: HeaderMap, end_stream: bool, details: str) -> None:
        """The response's head."""
        self._started = True
        self.stream_info.response_code_details = details
        callbacks = self._end() if end_stream else self._callbacks
        if callbacks is not None:
            callbacks.on_headers(headers, end_stream)

    def encode_data(self, data: Buffer, end_stream: bool) -> None:
        """A piece of its body."""
        callbacks = self._end() if end_stream else self._callbacks
        if callbacks is not None:
            callbacks.on_data(data, end_stream)
        data.clear()

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """Its trailers."""
        callbacks = self._end()
        if callbacks is not None:
            callbacks.on_trailers(trailers)

    def reset_stream(self) -> None:
        """It ends before it is complete."""
        callbacks = self._end()
        if callbacks is not None:
            callbacks.on_reset()

    # Nobody is made to wait: who sends more than the upstream takes holds it here, and what comes is taken at once.

    def on_decoder_filter_above_write_buffer_high_watermark(self) -> None:
        """See above."""

    def on_decoder_filter_below_write_buffer_low_watermark(self) -> None:
        """See above."""

    def add_downstream_watermark_callbacks(self, callbacks: Any) -> None:
        """See above."""

    def remove_downstream_watermark_callbacks(self, callbacks: Any) -> None:
        """See above."""

    def decoder_buffer_limit(self) -> int:
        """Not limited."""
        return 0
