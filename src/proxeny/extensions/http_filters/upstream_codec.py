"""``envoy.filters.http.upstream_codec``: the end of every chain of upstream filters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import proxeny.router.filter  # noqa: F401 - it and the next one import each other, and this order works
from proxeny.router.upstream_filters import UpstreamCodecFilter

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext


class UpstreamCodecFactory:
    """The compiled filter."""

    __slots__ = ("name",)

    filter_class = UpstreamCodecFilter
    is_terminal = True

    def __init__(self) -> None:
        self.name = "envoy.filters.http.upstream_codec"

    def create(self) -> UpstreamCodecFilter:
        """The filter of one attempt."""
        return UpstreamCodecFilter()


class UpstreamCodecExtension:
    """The registered factory."""

    is_terminal = True

    def create_filter_factory(self, config: Any, stats_prefix: str, context: FactoryContext) -> UpstreamCodecFactory:
        """There is nothing to configure."""
        return UpstreamCodecFactory()

    def create_route_config(self, config: Any, context: FactoryContext) -> None:
        """Nothing per route either."""
        return None


FACTORY: Final = UpstreamCodecExtension()
