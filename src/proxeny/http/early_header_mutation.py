"""Changes to request headers before anything is read out of them (Envoy: ``Http::EarlyHeaderMutation``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from proxeny.config.errors import ConfigError
from proxeny.config.loader import unpack_any
from proxeny.registry import REGISTRY

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.stream_info import StreamInfo

KIND: Final = "early_header_mutation"


class EarlyHeaderMutation(Protocol):
    """One mutation of all requests."""

    def mutate(self, headers: HeaderMap, info: StreamInfo) -> None:
        """Change ``headers`` in place."""


class EarlyHeaderMutationFactory(Protocol):
    """Registered under ``early_header_mutation``."""

    def create_mutation(self, message: Any, context: FactoryContext) -> EarlyHeaderMutation:
        """The mutation of a configuration; ConfigError in Envoy's words."""


def compile_early_mutations(config: Any, context: FactoryContext) -> tuple[EarlyHeaderMutation, ...] | None:
    """``early_header_mutation_extensions``; None without any."""
    mutations = []
    for item in config.early_header_mutation_extensions:
        config_type = item.typed_config.type_url.rpartition("/")[2]
        if not REGISTRY.knows(KIND, item.name, config_type):
            raise ConfigError(f"Early header mutation extension not found: '{item.name}'")
        factory: EarlyHeaderMutationFactory = REGISTRY.factory(KIND, item.name, config_type)
        mutations.append(factory.create_mutation(unpack_any(item.typed_config), context))
    return tuple(mutations) or None
