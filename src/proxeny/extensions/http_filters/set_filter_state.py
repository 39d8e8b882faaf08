"""``envoy.filters.http.set_filter_state``: leaves filter state with a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import UnsupportedFieldError
from proxeny.extensions.set_filter_state import StateValue, compile_values
from proxeny.http.filter import FilterHeadersStatus, StreamFilter

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext

NAME: Final = "envoy.filters.http.set_filter_state"
CONTINUE: Final = FilterHeadersStatus.CONTINUE


class SetFilterState(StreamFilter):
    """Sets the objects of one request."""

    __slots__ = ("_clear_route_cache", "_values")

    def __init__(self, values: tuple[StateValue, ...], clear_route_cache: bool) -> None:
        self._values = values
        self._clear_route_cache = clear_route_cache

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """Now, from the request's headers and facts."""
        info = self.decoder_callbacks.stream_info
        for value in self._values:
            value.apply(headers, info)
        if self._clear_route_cache:
            self.decoder_callbacks.clear_route_cache()
        return CONTINUE


class SetFilterStateFactory:
    """The compiled filter."""

    __slots__ = ("_clear_route_cache", "_values", "name")

    filter_class = SetFilterState
    is_terminal = False
    rehearses = True

    def __init__(self, values: tuple[StateValue, ...], clear_route_cache: bool) -> None:
        self._values = values
        self._clear_route_cache = clear_route_cache
        self.name = NAME

    def create(self) -> SetFilterState:
        """The filter of one request."""
        return SetFilterState(self._values, self._clear_route_cache)


class SetFilterStateExtension:
    """The registered factory."""

    is_terminal = False

    def create_filter_factory(self, config: Any, stats_prefix: str, context: FactoryContext) -> SetFilterStateFactory:
        """Compile ``config``; ConfigError in Envoy's words."""
        clear_route_cache = getattr(config, "clear_route_cache", False)
        return SetFilterStateFactory(compile_values(config.on_request_headers), clear_route_cache)

    def create_route_config(self, config: Any, context: FactoryContext) -> None:
        """Refused by name."""
        raise UnsupportedFieldError(f"{NAME}: a configuration per route is not supported yet")


FACTORY = SetFilterStateExtension()
