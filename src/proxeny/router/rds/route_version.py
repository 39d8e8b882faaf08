"""One version of a route configuration as main keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from proxeny.router.rds.provider import RouteConfigProvider
    from proxeny.stats.store import StatTable


@dataclass(slots=True, eq=False)
class RouteVersion:
    """A route configuration that was accepted."""

    message: Any
    data: bytes
    """It, serialized."""
    version_info: str
    last_updated: float
    """Seconds since the epoch."""
    stats: StatTable
    """What it counts in; its owner is who is told of the change."""
    digests: bytes = b""
    """``router.reuse.Digests`` of it, serialized."""


class HeldRoutes(Protocol):
    """Whatever has a version that workers are told of."""

    provider: RouteConfigProvider

    @property
    def version(self) -> RouteVersion | None:
        """What holds."""
