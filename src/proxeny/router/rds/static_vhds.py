"""A route configuration within a listener that has VHDS (Envoy: ``StaticRouteConfigProviderImpl::VhdsContext``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from proxeny.router.rds.receiver import RouteConfigReceiver
from proxeny.router.rds.vhds import OnLoaded, VhdsSubscription, check_vhds

if TYPE_CHECKING:
    from proxeny.router.rds.manager import RouteConfigProviderManager
    from proxeny.router.rds.provider import RouteConfigProvider
    from proxeny.router.rds.route_version import RouteVersion
    from proxeny.stats.store import MainStore
    from proxeny.xds.init_manager import InitManager


class StaticVhds:
    """Holds what the listener says, and what is discovered besides."""

    def __init__(self, provider: RouteConfigProvider, message: Any, manager: RouteConfigProviderManager) -> None:
        """``message``: a ``RouteConfiguration``; ConfigError."""
        context = manager.compile_context()
        check_vhds(message, context)
        self.provider = provider
        self._receiver = RouteConfigReceiver(provider, manager, validates_clusters=True)
        self._receiver.take(message, message.SerializeToString(deterministic=True), "")
        self._vhds: VhdsSubscription | None = None
        if context.dispatcher is not None:
            self._vhds = VhdsSubscription(message, self._receiver, "", cast("MainStore", context.stats), context)

    @property
    def version(self) -> RouteVersion | None:
        """What holds."""
        return self._receiver.version

    def wait_in(self, init_manager: InitManager | None) -> None:
        """Have a listener wait for the first virtual hosts."""
        if init_manager is not None and self._vhds is not None:
            init_manager.add(self._vhds.target)

    def load(self, host: str, on_loaded: OnLoaded) -> None:
        """A request in a worker has no virtual host."""
        if self._vhds is None:
            on_loaded(False)
        else:
            self._vhds.load(host, on_loaded)

    def close(self) -> None:
        """Nobody uses it any more."""
        if self._vhds is not None:
            self._vhds.close()
