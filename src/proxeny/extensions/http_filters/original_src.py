"""``envoy.filters.http.original_src``: a request's upstream connection comes from the client's own address.

As the listener filter of that name, but by request: the client is the one that the connection manager found (by
``use_remote_address`` or x-forwarded-for), so that it may differ from request to request on one connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.http.filter import FilterHeadersStatus, StreamFilter
from proxeny.network.socket_options import original_src_options

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext

NAME: Final = "envoy.filters.http.original_src"
CONTINUE: Final = FilterHeadersStatus.CONTINUE


class OriginalSrc(StreamFilter):
    """Leaves the client's address with one request for its upstream connection."""

    __slots__ = ("_mark",)

    def __init__(self, mark: int) -> None:
        self._mark = mark

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """Clients that have no IP address have nothing to pass on."""
        callbacks = self.decoder_callbacks
        remote = callbacks.stream_info.downstream_remote_address
        if remote.ip_version:
            callbacks.add_upstream_options(original_src_options(remote, self._mark))
        return CONTINUE


class OriginalSrcFactory:
    """The compiled filter."""

    __slots__ = ("_mark", "name")

    filter_class = OriginalSrc
    is_terminal = False

    def __init__(self, mark: int) -> None:
        self._mark = mark
        self.name = NAME

    def create(self) -> OriginalSrc:
        """The filter of one request."""
        return OriginalSrc(self._mark)


class OriginalSrcExtension:
    """The registered factory; there is no per-route configuration."""

    is_terminal = False

    def create_filter_factory(self, config: Any, stats_prefix: str, context: FactoryContext) -> OriginalSrcFactory:
        """``mark`` 0: none."""
        return OriginalSrcFactory(config.mark)

    def create_route_config(self, config: Any, context: FactoryContext) -> None:
        """Nothing is read from ``typed_per_filter_config``."""
        return None


FACTORY = OriginalSrcExtension()
