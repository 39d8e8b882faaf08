"""``filter-chain-name``: the action that names a filter chain, a ``google.protobuf.StringValue``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import wrappers_pb2  # noqa: F401 - the type is found in this module

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.stream_info import ConnectionInfo


class FilterChainName:
    """One name."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def chain_name(self, info: ConnectionInfo) -> str:
        """The name of the chain to take, which need not exist."""
        return self.name

    def __str__(self) -> str:
        return f"filter chain '{self.name}'"


class FilterChainNameFactory:
    """The registered factory."""

    def create_action(self, message: Any, context: FactoryContext) -> FilterChainName:
        """By name."""
        return FilterChainName(message.value)


FACTORY = FilterChainNameFactory()
