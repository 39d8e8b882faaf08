"""``envoy.filters.network.echo``: sends back what it receives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.network.filter import FilterStatus, NetworkFilter

if TYPE_CHECKING:
    from proxeny.kernel.buffer import Buffer
    from proxeny.network.factory_context import FactoryContext

NAME = "envoy.filters.network.echo"


class Echo(NetworkFilter):
    """Echoes one connection."""

    __slots__ = ()

    def on_data(self, data: Buffer, end_stream: bool) -> FilterStatus:
        """Write it back; half-close is not enabled, so the peer's end is the connection's."""
        self.connection.write(data, end_stream)
        return FilterStatus.STOP_ITERATION


class EchoFactory:
    """The network filter factory."""

    __slots__ = ()

    name = NAME
    is_terminal = True

    def create(self) -> Echo:
        """The filter of one connection."""
        return Echo()


class EchoExtension:
    """The registered factory."""

    is_terminal = True

    def create_filter_factory(self, config: Any, context: FactoryContext) -> EchoFactory:
        """There is nothing to configure."""
        return EchoFactory()


FACTORY = EchoExtension()
