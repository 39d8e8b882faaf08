"""``envoy.filters.network.direct_response``: answers every connection with fixed bytes and closes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.formatter.format_string import data_source_bytes
from proxeny.network.filter import ConnectionCloseType, FilterStatus, NetworkFilter

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext

NAME = "envoy.filters.network.direct_response"
DETAILS = "direct_response"


class DirectResponse(NetworkFilter):
    """Answers one connection."""

    __slots__ = ("_response",)

    def __init__(self, response: bytes) -> None:
        self._response = response

    def on_new_connection(self) -> FilterStatus:
        """Send the response and close behind it."""
        connection = self.connection
        if self._response:
            connection.write(self._response)
        connection.stream_info.response_code_details = DETAILS
        connection.close(ConnectionCloseType.FLUSH_WRITE)
        return FilterStatus.STOP_ITERATION


class DirectResponseFactory:
    """The network filter factory."""

    __slots__ = ("_response",)

    name = NAME
    is_terminal = True

    def __init__(self, response: bytes) -> None:
        self._response = response

    def create(self) -> DirectResponse:
        """The filter of one connection."""
        return DirectResponse(self._response)


class DirectResponseExtension:
    """The registered factory."""

    is_terminal = True

    def create_filter_factory(self, config: Any, context: FactoryContext) -> DirectResponseFactory:
        """Read the response; ConfigError in Envoy's words."""
        response = config.response
        return DirectResponseFactory(data_source_bytes(response) if response.WhichOneof("specifier") else b"")


FACTORY = DirectResponseExtension()
