"""What connection managers have of a discovered route configuration (Envoy: ``RdsRouteConfigProviderImpl``).

A request asks the table of its connection manager's configuration, whether that is discovered or not: an update
exchanges it there, so that nobody asks a provider while requests are served.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.router.route_table import RouteTable


class RoutesUser(Protocol):
    """A connection manager's configuration, which has the provider for as long as it lives."""

    def use_routes(self, table: RouteTable | None) -> None:
        """Route by this table from now on; None: no request has a route."""


class RouteConfigProvider:
    """The route table of all users of one ``Rds`` message."""

    __slots__ = ("_on_unused", "_users", "current", "key", "name")

    def __init__(self, key: str, name: str, on_unused: Callable[[RouteConfigProvider], object] | None = None) -> None:
        """``on_unused`` is called when the last user is gone."""
        self.key = key
        self.name = name
        """``route_config_name``."""
        self.current: RouteTable | None = None
        """What holds; None: nothing has come yet."""
        self._on_unused = on_unused
        self._users: set[weakref.ref[RoutesUser]] = set()

    def attach(self, user: RoutesUser) -> None:
        """Have a user route by what holds, and by what comes."""
        self._users.add(weakref.ref(user, self._gone))
        user.use_routes(self.current)

    def exchange(self, table: RouteTable | None) -> None:
        """Another table holds."""
        self.current = table
        for reference in list(self._users):
            user = reference()
            if user is not None:
                user.use_routes(table)

    @property
    def is_used(self) -> bool:
        """Whether anybody has it."""
        return bool(self._users)

    def _gone(self, reference: weakref.ref[RoutesUser]) -> None:
        self._users.discard(reference)
        if not self._users and self._on_unused is not None:
            self._on_unused(self)

    def __repr__(self) -> str:
        return f"<RouteConfigProvider {self.name} users={len(self._users)}>"


class RouteConfigProviders(Protocol):
    """What a factory context offers (Envoy: ``RouteConfigProviderManager``)."""

    def provider(self, rds: Any, stat_prefix: str, context: FactoryContext) -> RouteConfigProvider:
        """The provider of an ``Rds`` message, one for all who have the same; ConfigError.

        ``context``: that of the listener being compiled, which waits for the routes; ``stat_prefix``: ``http.<name>.``.
        """

    def held(self, rds: Any) -> Any | None:
        """The ``RouteConfiguration`` that holds; None: nothing has come. Workers keep none."""


def rds_key(rds: Any) -> str:
    """The key of an ``Rds`` message, the same in main and in the workers."""
    return hashlib.blake2b(rds.SerializeToString(deterministic=True), digest_size=16).hexdigest()
