"""``allow_listed_routes``, ``previous_routes`` and ``safe_cross_scheme`` (Envoy: ``extensions/internal_redirect``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from proxeny.network.filter_state import FilterState

_STATE_PREFIX: Final = "envoy.internal_redirect.previous_routes_predicate_state."


class AllowListedRoutes:
    """Only to routes of these names."""

    __slots__ = ("_names",)

    def __init__(self, config: Any) -> None:
        self._names = frozenset(config.allowed_route_names)

    def accepts(self, state: FilterState, here: str, there: str, from_https: bool, to_https: bool) -> bool:
        """See router.internal_redirect.Predicate."""
        return there in self._names


class PreviousRoutes:
    """From one route to another only once in the life of a request."""

    __slots__ = ()

    def __init__(self, config: Any) -> None:
        pass

    def accepts(self, state: FilterState, here: str, there: str, from_https: bool, to_https: bool) -> bool:
        """See router.internal_redirect.Predicate."""
        name = _STATE_PREFIX + here
        seen: set[str] = state.get(name) or set()
        state.keep(name, seen | {there})
        return there not in seen


class SafeCrossScheme:
    """Not from plain HTTP to HTTPS."""

    __slots__ = ()

    def __init__(self, config: Any) -> None:
        pass

    def accepts(self, state: FilterState, here: str, there: str, from_https: bool, to_https: bool) -> bool:
        """See router.internal_redirect.Predicate."""
        return from_https or not to_https


class Factory:
    """Makes one kind of predicate."""

    __slots__ = ("create",)

    def __init__(self, kind: type[AllowListedRoutes] | type[PreviousRoutes] | type[SafeCrossScheme]) -> None:
        self.create = kind
        """From the predicate's message."""


ALLOW_LISTED_ROUTES: Final = Factory(AllowListedRoutes)
PREVIOUS_ROUTES: Final = Factory(PreviousRoutes)
SAFE_CROSS_SCHEME: Final = Factory(SafeCrossScheme)
