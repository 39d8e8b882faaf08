"""``envoy.filters.listener.original_src``: upstream connections come from the client's own address.

It only notes how the sockets of upstream connections are to be made: bound to the client's IP address (any port), able
to do so although it is not ours (IP_TRANSPARENT), and marked, so that routing rules bring the answers back here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.listener.filter import ListenerFilter
from proxeny.network.filter import FilterStatus
from proxeny.network.socket_options import original_src_options

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext

NAME: Final = "envoy.filters.listener.original_src"
CONTINUE: Final = FilterStatus.CONTINUE


class OriginalSrc(ListenerFilter):
    """Leaves the client's address with the accepted socket for its upstream connections."""

    __slots__ = ("_mark",)

    def __init__(self, mark: int) -> None:
        self._mark = mark

    def on_accept(self) -> FilterStatus:
        """Clients that have no IP address have nothing to pass on."""
        accepted = self.socket
        remote = accepted.connection_info.remote_address
        if remote.ip_version:
            accepted.upstream_options.extend(original_src_options(remote, self._mark))
        return CONTINUE


class OriginalSrcFactory:
    """The compiled filter."""

    __slots__ = ("_mark",)

    name = NAME

    def __init__(self, mark: int) -> None:
        self._mark = mark

    def create(self) -> OriginalSrc:
        """The filter of one socket."""
        return OriginalSrc(self._mark)


class OriginalSrcExtension:
    """The registered factory."""

    def create_filter_factory(self, config: Any, context: FactoryContext) -> OriginalSrcFactory:
        """``mark`` 0: none. ``bind_port`` has no effect in Envoy either: the port is the kernel's choice."""
        return OriginalSrcFactory(config.mark)


FACTORY = OriginalSrcExtension()
