"""``envoy.filters.network.set_filter_state``: leaves filter state with a new connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.extensions.set_filter_state import StateValue, compile_values
from proxeny.network.filter import FilterStatus, NetworkFilter

if TYPE_CHECKING:
    from proxeny.kernel.buffer import Buffer
    from proxeny.network.factory_context import FactoryContext

NAME: Final = "envoy.filters.network.set_filter_state"
CONTINUE: Final = FilterStatus.CONTINUE


class SetFilterState(NetworkFilter):
    """Sets the objects of one connection."""

    __slots__ = ("_values",)

    def __init__(self, values: tuple[StateValue, ...]) -> None:
        self._values = values

    def on_new_connection(self) -> FilterStatus:
        """Now, before the filters behind hear of it."""
        info = self.connection.stream_info
        for value in self._values:
            value.apply(None, info)
        return CONTINUE

    def on_data(self, data: Buffer, end_stream: bool) -> FilterStatus:
        """Bytes pass."""
        return CONTINUE


class SetFilterStateFactory:
    """The network filter factory."""

    __slots__ = ("_values",)

    name = NAME
    is_terminal = False
    rehearses = True

    def __init__(self, values: tuple[StateValue, ...]) -> None:
        self._values = values

    def create(self) -> SetFilterState:
        """The filter of one connection."""
        return SetFilterState(self._values)


class SetFilterStateExtension:
    """The registered factory."""

    is_terminal = False

    def create_filter_factory(self, config: Any, context: FactoryContext) -> SetFilterStateFactory:
        """Compile ``config``; ConfigError in Envoy's words."""
        return SetFilterStateFactory(compile_values(config.on_new_connection))


FACTORY = SetFilterStateExtension()
