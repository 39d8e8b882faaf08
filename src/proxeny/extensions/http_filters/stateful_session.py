"""``envoy.filters.http.stateful_session``: requests of a session go to its host, which its state names
(``extensions.http.stateful_session``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.config.loader import unpack_any
from proxeny.http.filter import FilterHeadersStatus, StreamFilter
from proxeny.network.stream_info import FLAG_BITS, ResponseFlag
from proxeny.registry import REGISTRY
from proxeny.stats.schema import Schema
from proxeny.upstream.override_host import OverrideHost

if TYPE_CHECKING:
    from proxeny.extensions.http.stateful_session import SessionState, SessionStates
    from proxeny.kernel.headers import HeaderMap
    from proxeny.kernel.stats import Block
    from proxeny.network.factory_context import FactoryContext

NAME: Final = "envoy.filters.http.stateful_session"
CONTINUE: Final = FilterHeadersStatus.CONTINUE
FLAG_UH: Final = FLAG_BITS[ResponseFlag.NO_HEALTHY_UPSTREAM]

STATEFUL_SESSION: Final = Schema("stateful_session", counters=("failed_closed", "failed_open", "no_session", "routed"))
FAILED_CLOSED: Final = STATEFUL_SESSION.slot("failed_closed")
FAILED_OPEN: Final = STATEFUL_SESSION.slot("failed_open")
NO_SESSION: Final = STATEFUL_SESSION.slot("no_session")
ROUTED: Final = STATEFUL_SESSION.slot("routed")


class SessionConfig:
    """Of the filter, or of a route."""

    __slots__ = ("_stats", "states", "strict")

    def __init__(self, config: Any, stats_prefix: str, context: FactoryContext) -> None:
        self.strict: bool = config.strict
        self._stats: Block | None = None
        if config.stat_prefix:
            prefix = f"{stats_prefix}stateful_session.{config.stat_prefix}."
            self._stats = context.stats.block(STATEFUL_SESSION, prefix)
        self.states: SessionStates | None = None
        """None: no request has a session."""
        if config.HasField("session_state"):
            self.states = _compile_states(config.session_state, context)

    def count(self, slot: int) -> None:
        """One more, where statistics are asked for."""
        if self._stats is not None:
            self._stats.inc(slot)


def _compile_states(extension: Any, context: FactoryContext) -> SessionStates:
    name = extension.name
    if not REGISTRY.knows("session_state", name):
        raise ConfigError(f"Didn't find a registered implementation for name: '{name}'")
    type_name = extension.typed_config.type_url.rpartition("/")[2]
    if REGISTRY.canonical_name("session_state", "", type_name) != REGISTRY.canonical_name("session_state", name):
        raise ConfigError(f"Unable to unpack the configuration of '{name}': [type: {type_name}]")
    states: SessionStates = REGISTRY.factory("session_state", name).create_session_states(
        unpack_any(extension.typed_config), context
    )
    return states


class StatefulSession(StreamFilter):
    """The filter of one request."""

    __slots__ = ("_config", "_state")

    def __init__(self, config: SessionConfig) -> None:
        self._config: SessionConfig | None = config
        """None: the route switches the filter off."""
        self._state: SessionState | None = None

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """Ask for the host of the request's session."""
        callbacks = self.decoder_callbacks
        of_route: RouteSession | None = callbacks.per_filter_config()
        if of_route is not None:
            self._config = of_route.config
        config = self._config
        if config is None or config.states is None:
            return CONTINUE
        self._state = state = config.states.create(headers)
        if state is not None and state.address:
            callbacks.stream_info.override_host = OverrideHost(state.address, config.strict)
        return CONTINUE

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """Tell the client of its host, and count what became of the session."""
        config = self._config
        if config is None:
            return CONTINUE
        info = self.encoder_callbacks.stream_info
        host, state = info.upstream_host, self._state
        if state is None:
            if host is not None:
                config.count(NO_SESSION)
        elif host is not None:
            if not state.on_update(host.address.as_string(), headers):
                config.count(ROUTED)
            elif not config.strict:
                config.count(FAILED_OPEN)
        elif config.strict and info.flags & FLAG_UH:
            config.count(FAILED_CLOSED)
        return CONTINUE


class RouteSession:
    """A ``StatefulSessionPerRoute``; ``config`` None: no sessions here."""

    __slots__ = ("config",)

    def __init__(self, config: SessionConfig | None) -> None:
        self.config = config


class StatefulSessionFactory:
    """The compiled filter."""

    __slots__ = ("_config", "name")

    filter_class = StatefulSession
    is_terminal = False
    rehearses = True

    def __init__(self, config: SessionConfig) -> None:
        self._config = config
        self.name = NAME

    def create(self) -> StatefulSession:
        """The filter of one request."""
        return StatefulSession(self._config)


class StatefulSessionExtension:
    """The registered factory."""

    is_terminal = False

    def create_filter_factory(self, config: Any, stats_prefix: str, context: FactoryContext) -> StatefulSessionFactory:
        """Compile ``config``; ConfigError in Envoy's words."""
        return StatefulSessionFactory(SessionConfig(config, stats_prefix, context))

    def create_route_config(self, config: Any, context: FactoryContext) -> RouteSession:
        """A ``StatefulSessionPerRoute``."""
        if config.WhichOneof("override") == "disabled":
            return RouteSession(None)
        return RouteSession(SessionConfig(config.stateful_session, "", context))


FACTORY: Final = StatefulSessionExtension()
