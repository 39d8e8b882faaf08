"""A request served without a network.

The codec, connection manager, route table, router and load balancer that serve traffic get the bytes of one request,
between a connection that collects what is answered and upstreams that collect what is sent. What comes out is what
would have come out; nothing is decided here.

The connection manager is compiled anew, with statistics of its own, so that no counter of the server moves. Of the
filters before the last one only those run that say of themselves that they may (``rehearses``: they look at a request
and change it); others may ask somebody, sleep, or be anybody's program.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from proxeny.event.time_source import RealTimeSource
from proxeny.explain.rehearsal_upstream import RehearsalClusters, Sent
from proxeny.explain.router_facts import RouterFacts, router_facts
from proxeny.http.connection_manager import ConnectionManager
from proxeny.http.filter_chain import FilterChain
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.randomness import RandomGenerator
from proxeny.kernel.timer import TimerWheel
from proxeny.network.connection import Connection
from proxeny.network.filter import ConnectionCloseType, ConnectionEvent, ConnectionState
from proxeny.network.stream_info import StreamInfo
from proxeny.registry import REGISTRY
from proxeny.router.rds.provider import RouteConfigProvider, ScopedRoutesProvider, ScopeKey, key_of
from proxeny.router.route_table import RouteTable
from proxeny.stats.store import MainStore

if TYPE_CHECKING:
    from proxeny.explain.world import World
    from proxeny.http.active_stream import ActiveStream
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.stream_info import ConnectionInfo
    from proxeny.router.rds.provider import RouteConfigProviders
    from proxeny.xds.init_manager import InitManager

HCM: Final = "envoy.filters.network.http_connection_manager"
BUFFER_LIMIT: Final = 1 << 20
"""``per_connection_buffer_limit_bytes`` when unset."""


class RehearsalDispatcher:
    """What requests ask of a dispatcher; its timers never fire."""

    def __init__(self) -> None:
        self.wheel = TimerWheel()
        self.time_source = RealTimeSource()
        self.monotonic_ns = self.time_source.monotonic_ns
        self.system_time = self.time_source.system_time
        self.create_timer = self.wheel.create
        self.deferred: list[Callable[[], object]] = []
        self.defer = self.deferred.append
        self.next_connection_id = itertools.count().__next__

    @property
    def now_ms(self) -> int:
        """Milliseconds that never go back."""
        return self.monotonic_ns() // 1_000_000


class RehearsalConnection(Connection):
    """The client's connection: collects what is written to it. It has no socket and no events."""

    def __init__(self, info: ConnectionInfo, dispatcher: RehearsalDispatcher, buffer_limit: int) -> None:
        local: Any = dispatcher
        super().__init__(local, info.local_address, info.remote_address)
        self.connection_info = info
        self.written = bytearray()
        self.set_buffer_limits(buffer_limit)

    def write(self, data: Any, end_stream: bool = False) -> None:
        """Bytes for the client."""
        self.written += data.take()

    def close(self, close_type: ConnectionCloseType = ConnectionCloseType.FLUSH_WRITE, details: str = "") -> None:
        """The proxy closes."""
        self.state = ConnectionState.CLOSED

    def read_disable(self, disable: bool) -> bool:
        """Nothing more comes anyway."""
        return False

    def redeliver_read_buffer(self) -> None:
        """There is nothing in it."""


class _RehearsedManager(ConnectionManager):
    """The connection manager of one request (the first, if there are more), which it keeps."""

    stream: ActiveStream | None = None
    random_value = 0

    def new_stream(self, response_encoder: Any) -> ActiveStream:
        """A request begins; its random number is the one that was asked for."""
        stream = super().new_stream(response_encoder)
        stream.stream_id = self.random_value
        if self.stream is None:
            self.stream = stream
        return stream


class _TracedRoutes:
    """A route table that remembers what it was asked."""

    def __init__(self, table: Any) -> None:
        self.table = table
        self.headers: HeaderMap | None = None
        """The headers as they were when the route was first asked for."""
        self.route_of_first: Any = None

    def route(self, headers: HeaderMap, stream_info: StreamInfo | None, random_value: int) -> Any:
        """The table's own answer."""
        found = self.table.route(headers, stream_info, random_value)
        if self.headers is None:
            self.headers = headers.copy()
            self.route_of_first = found
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.table, name)


class _HeldRoutes:
    """Discovered route configurations as they are now, for the rehearsal alone."""

    context: FactoryContext
    """What to compile with; set before anything is asked for."""

    def __init__(self, routes: RouteConfigProviders | None) -> None:
        self._routes = routes

    def provider(self, rds: Any, stat_prefix: str, init_manager: InitManager | None) -> RouteConfigProvider:
        """One of its own, which hears of no updates."""
        return self.compiled(key_of(rds), rds.route_config_name)

    def static_provider(self, config: Any, init_manager: InitManager | None) -> RouteConfigProvider:
        """Likewise."""
        return self.compiled(key_of(config), config.name)

    def scoped_provider(
        self, scoped_routes: Any, stat_prefix: str, init_manager: InitManager | None
    ) -> ScopedRoutesProvider:
        """Likewise, with scopes that are compiled when they are looked up."""
        provider = ScopedRoutesProvider(key_of(scoped_routes.scoped_rds), scoped_routes.name)
        held = {} if self._routes is None else self._routes.held_scopes_of(provider.key)
        provider.scopes = _RehearsedScopes(self, held)
        return provider

    def compiled(self, key: str, name: str) -> RouteConfigProvider:
        """What main has for a key, compiled for the rehearsal."""
        made = RouteConfigProvider(key, name)
        message = self.held(key)
        if message is not None:
            made.exchange(RouteTable.compile(message, self.context, False))
        return made

    def held(self, key: str) -> Any | None:
        """What main has."""
        return None if self._routes is None else self._routes.held(key)

    def held_scopes_of(self, key: str) -> Mapping[ScopeKey, RouteConfigProvider]:
        """Nobody asks."""
        return {}


class _RehearsedScopes(dict[ScopeKey, RouteConfigProvider]):
    """Main's scopes, each compiled when it is asked for."""

    def __init__(self, routes: _HeldRoutes, held: Mapping[ScopeKey, RouteConfigProvider]) -> None:
        super().__init__()
        self._routes = routes
        self._held = held

    def get(self, key: ScopeKey, default: Any = None) -> Any:
        """The scope of a key."""
        held = self._held.get(key)
        return default if held is None else self._routes.compiled(held.key, held.name)


class _TracedTerminal:
    """Makes the last filter of the chain, and keeps it."""

    def __init__(self, factory: Any) -> None:
        self._factory = factory
        self.name = factory.name
        self.filter_class = factory.filter_class
        self.is_terminal = True
        self.made: list[Any] = []

    def create(self) -> Any:
        """The filter of a request."""
        made = self._factory.create()
        self.made.append(made)
        return made


@dataclass(slots=True)
class Answer:
    """What the client would be answered by the proxy itself."""

    code: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        """The first value of a header, "" without one."""
        return next((value for key, value in self.headers if key == name), "")


@dataclass(slots=True)
class Outcome:
    """What became of the request."""

    info: StreamInfo | None
    """Its facts; None when the bytes were not even the beginning of a request."""
    routed: HeaderMap | None
    """Its headers when the route was chosen; None when it did not come so far."""
    request_headers: HeaderMap | None
    """Its headers as they are in the end."""
    route: Any
    """The route that was chosen; None: none matched, or it did not come so far."""
    answer: Answer | None
    """None: it was forwarded (or waits for something)."""
    sent: list[Sent]
    """What would go upstream."""
    closes: bool
    """Whether the connection is closed with the answer."""
    times: dict[str, int] = field(default_factory=dict)
    """Milliseconds of the times that limit the stream, 0 = none."""
    router: RouterFacts | None = None
    """What the router filter went by; None: the request did not come so far."""


class Rehearsal:
    """The connection manager of one filter chain, compiled to be asked; ``close`` when done."""

    def __init__(self, message: Any, world: World, context: FactoryContext, buffer_limit: int = BUFFER_LIMIT) -> None:
        """``message``: ``HttpConnectionManager``; ``context``: main's, with the facts of the listener."""
        self._store = MainStore()
        self._dispatcher = RehearsalDispatcher()
        self.clusters = RehearsalClusters(world, replace(context, stats=self._store, outliers=None), self._dispatcher)
        held = _HeldRoutes(context.routes)
        self.context = inner = replace(
            context,
            stats=self._store,
            dispatcher=self._dispatcher,  # type: ignore[arg-type]
            cluster_manager=self.clusters,
            random=RandomGenerator(),
            limits=None,
            token_buckets=None,
            outliers=None,
            drain_decision=None,
            routes=held,
        )
        held.context = inner
        extension = REGISTRY.factory("network_filter", HCM, message.DESCRIPTOR.full_name)
        self.config = config = extension.create_filter_factory(message, inner).config
        self.table = config.route_table
        self.chain: FilterChain = config.chain
        self._buffer_limit = buffer_limit
        config.access_logs = ()
        self._routes = _TracedRoutes(self.table)
        if self.table is not None:
            config.route_table = self._routes
        self._terminal = _TracedTerminal(self.chain.factories[-1]) if self.chain.factories else None
        config.chain = self._reduced(self.chain)
        for upgrade in config.upgrades.values():
            if upgrade.chain is not None:
                upgrade.chain = self._reduced(upgrade.chain)

    def _reduced(self, chain: FilterChain) -> FilterChain:
        """The chain's last filter, and before it those that only look and change (``rehearses``)."""
        if self._terminal is None or not chain.factories:
            return chain
        kept = [at for at, factory in enumerate(chain.factories[:-1]) if rehearses(factory)]
        disabled = [bool(chain.disabled) and chain.disabled[at] for at in kept]
        return FilterChain([*[chain.factories[at] for at in kept], self._terminal], [*disabled, False])

    def run(
        self, data: bytes, info: ConnectionInfo, random_value: int = 0, network_filters: Sequence[Any] = ()
    ) -> Outcome:
        """Serve the bytes of one request on a connection of these facts.

        ``network_filters``: the factories of the connection's filters; those that ``rehearses`` run first.
        """
        self._routes.headers = self._routes.route_of_first = None
        self.clusters.sent.clear()
        connection = RehearsalConnection(info, self._dispatcher, self._buffer_limit)
        for factory in network_filters:
            if rehearses(factory):
                network_filter = factory.create()
                network_filter.initialize(connection)
                network_filter.on_new_connection()
        manager = _RehearsedManager(self.config)
        manager.random_value = random_value
        manager.initialize(connection)
        request = Buffer()
        request.append(data)
        manager.on_data(request, False)
        stream = manager.stream
        answer = parse_answer(bytes(connection.written))
        made = self._terminal.made if self._terminal is not None else []
        outcome = Outcome(
            None if stream is None else stream.stream_info,
            self._routes.headers,
            None if stream is None else stream.request_headers,
            None if stream is None or self._routes.headers is None else stream.resolved_route,
            answer,
            list(self.clusters.sent),
            connection.state is not ConnectionState.OPEN,
        )
        if stream is not None:
            outcome.times = {
                "stream_idle_timeout": stream.idle_timeout_ms,
                "request_timeout": self.config.request_timeout_ms,
                "max_stream_duration": self._max_duration_ms(stream),
            }
        if made:
            outcome.router = router_facts(made[-1])
            made.clear()
        if connection.state is ConnectionState.OPEN:
            connection.state = ConnectionState.CLOSED
        self._end(manager, stream)
        return outcome

    def _max_duration_ms(self, stream: ActiveStream) -> int:
        route = stream.resolved_route
        if route is not None and route.entry.limits_duration and stream.request_headers is not None:
            policy = route.entry.policy
            return int(policy.stream_duration_ms(stream.request_headers, self.config.max_stream_duration_ms))
        return int(self.config.max_stream_duration_ms)

    def _end(self, manager: _RehearsedManager, stream: ActiveStream | None) -> None:
        """The client goes; the facts of its request stay as they were."""
        if stream is not None and not stream.destroyed:
            info = stream.stream_info
            flags, details = info.flags, info.response_code_details
            manager.on_event(ConnectionEvent.LOCAL_CLOSE)
            info.flags, info.response_code_details = flags, details
        else:
            manager.on_event(ConnectionEvent.LOCAL_CLOSE)
        for callback in self._dispatcher.deferred:
            callback()
        self._dispatcher.deferred.clear()

    def close(self) -> None:
        """Give the statistics' memory back."""
        self.clusters.close()
        self._store.segment.close()
        self._store.retired.close()


def rehearses(factory: Any) -> bool:
    """Whether a filter only looks at requests and changes them."""
    return bool(getattr(factory, "rehearses", False))


def parse_answer(data: bytes) -> Answer | None:
    """The first final response in what was written to a client."""
    while data:
        head, _, body = data.partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        code = int(status.split(b" ")[1])
        if code >= 200 or code == 101:
            fields = [line.partition(b": ") for line in lines]
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, _, value in fields]
            size = next((int(value) for name, value in headers if name == "content-length"), len(body))
            return Answer(code, headers, body[:size])
        data = body
    return None


def request_bytes(method: str, target: str, headers: Sequence[tuple[str, str]], body_size: int = 0) -> bytes:
    """An HTTP/1.1 request as a client sends it."""
    lines = [f"{method} {target} HTTP/1.1", *[f"{name}: {value}" for name, value in headers]]
    names = {name.lower() for name, _ in headers}
    if body_size and not names & {"content-length", "transfer-encoding"}:
        lines.append(f"content-length: {body_size}")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
    return head + b"x" * body_size
