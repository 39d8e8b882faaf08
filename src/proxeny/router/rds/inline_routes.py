"""Route configurations that came within another resource: workers get them as those that are subscribed to."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

from proxeny.router.rds.provider import RouteConfigProvider
from proxeny.router.rds.route_version import RouteVersion
from proxeny.router.route_table import RouteTable

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.stats.store import MainStore


class InlineRoutes:
    """The route configuration of a scope; ConfigError where it cannot be compiled."""

    def __init__(self, key: str, message: Any, context: FactoryContext) -> None:
        """``message``: ``RouteConfiguration``."""
        self._store = store = cast("MainStore", context.stats)
        self.provider = RouteConfigProvider(key, message.name)
        data = message.SerializeToString(deterministic=True)
        with store.recording() as table:
            self.provider.exchange(RouteTable.compile(message, context))
        self.version: RouteVersion | None = RouteVersion(message, data, "", time.time(), table)

    def discard(self) -> None:
        """It never held: the update that brought it was refused."""
        if self.version is not None:
            self._store.release(self.version.stats)
