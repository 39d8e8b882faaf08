"""``envoy.upstream.local_address_selector.default_local_address_selector``: an address per IP version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.config.errors import ConfigError

if TYPE_CHECKING:
    from proxeny.network.address import Address
    from proxeny.upstream.bind_config import LocalAddress


class DefaultSelector:
    """At most one address per IP version."""

    __slots__ = ("_addresses",)

    def __init__(self, addresses: list[LocalAddress]) -> None:
        self._addresses = addresses

    def select(self, endpoint: Address) -> LocalAddress:
        """That of the endpoint's IP version, else the first."""
        for local in self._addresses:
            if local.address is not None and local.address.family == endpoint.family:
                return local
        return self._addresses[0]


class DefaultSelectorFactory:
    """Makes them."""

    def create(self, config: Any, addresses: list[LocalAddress], owner: str) -> DefaultSelector:
        """For the addresses of ``owner`` (``Cluster x`` or ``Bootstrap``)."""
        if len(addresses) > 2:
            raise ConfigError(
                f"{owner}'s upstream binding config has more than one extra/additional source addresses. Only one "
                "extra/additional source can be supported in BindConfig's "
                "extra_source_addresses/additional_source_addresses field"
            )
        families = [local.address.family for local in addresses if local.address is not None]
        if len(set(families)) < len(families):
            raise ConfigError(
                f"{owner}'s upstream binding config has two same IP version source addresses. Only two different IP "
                "version source addresses can be supported in BindConfig's source_address and "
                "extra_source_addresses/additional_source_addresses fields"
            )
        return DefaultSelector(addresses)


FACTORY = DefaultSelectorFactory()
