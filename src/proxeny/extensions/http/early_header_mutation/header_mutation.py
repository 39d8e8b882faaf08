"""``envoy.http.early_header_mutation.header_mutation``: adds, replaces and removes request headers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.router.header_mutations import Mutation, compile_mutations

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.stream_info import StreamInfo


class HeaderMutation:
    """The compiled message."""

    __slots__ = ("_mutations",)

    def __init__(self, mutations: tuple[Mutation, ...]) -> None:
        self._mutations = mutations

    def mutate(self, headers: HeaderMap, info: StreamInfo) -> None:
        """In their order."""
        for mutation in self._mutations:
            mutation.apply(headers, headers, None, info)


class HeaderMutationFactory:
    """The registered factory."""

    def create_mutation(self, message: Any, context: FactoryContext) -> HeaderMutation:
        """From an ``early_header_mutation.header_mutation.v3.HeaderMutation``."""
        return HeaderMutation(compile_mutations(message.mutations))


FACTORY = HeaderMutationFactory()
