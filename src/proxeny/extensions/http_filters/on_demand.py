"""``envoy.filters.http.on_demand``: a request without a route waits until its virtual host, or scope, was looked for.

What is looked for is known to main alone: VHDS, and the routes of scopes that are loaded on demand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.http.filter import FilterHeadersStatus, StreamFilter

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext

NAME: Final = "envoy.filters.http.on_demand"
CONTINUE: Final = FilterHeadersStatus.CONTINUE
WAIT: Final = FilterHeadersStatus.STOP_ALL_ITERATION_AND_WATERMARK


class OnDemandRouteUpdate(StreamFilter):
    """The filter of one request."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending: Any = None

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """Go on where there is a route, or nobody knows of others."""
        callbacks = self.decoder_callbacks
        if callbacks.route is not None:
            return CONTINUE
        self._pending = callbacks.request_route_config_update(self._on_updated)
        return CONTINUE if self._pending is None else WAIT

    def _on_updated(self, found: bool) -> None:
        """Go on, with the routes of now; filters before this one do not run again."""
        self._pending = None
        if found:
            self.decoder_callbacks.clear_route_cache()
        self.decoder_callbacks.continue_decoding()

    def on_destroy(self) -> None:
        """The request waits no longer."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.cancel()


class OnDemandFactory:
    """The compiled filter."""

    __slots__ = ("name",)

    filter_class = OnDemandRouteUpdate
    is_terminal = False

    def __init__(self) -> None:
        self.name = NAME

    def create(self) -> OnDemandRouteUpdate:
        """The filter of one request."""
        return OnDemandRouteUpdate()


class OnDemandExtension:
    """The registered factory. Clusters on demand (``odcds``) are refused with the configuration."""

    is_terminal = False

    def create_filter_factory(self, config: Any, stats_prefix: str, context: FactoryContext) -> OnDemandFactory:
        """From an ``OnDemand`` message."""
        return OnDemandFactory()

    def create_route_config(self, config: Any, context: FactoryContext) -> None:
        """A ``PerRouteConfig`` says nothing of routes."""
        return None


FACTORY: Final = OnDemandExtension()
