"""``bootstrap_extensions``: what else a server is to have, the same in main and in every worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from proxeny.config.loader import unpack_any
from proxeny.registry import REGISTRY

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext


class BootstrapExtension(Protocol):
    """The registered object of a bootstrap extension."""

    def install(self, config: Any, context: FactoryContext) -> None:
        """Have what ``config`` says in ``context``; ConfigError on what cannot be."""


def install_bootstrap_extensions(context: FactoryContext) -> None:
    """Install all that the bootstrap lists; ConfigError in Envoy's words."""
    for item in context.bootstrap.bootstrap_extensions:
        config_type = item.typed_config.type_url.rpartition("/")[2]
        extension: BootstrapExtension = REGISTRY.factory("bootstrap", item.name, config_type)
        extension.install(unpack_any(item.typed_config), context)
