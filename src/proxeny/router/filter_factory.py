"""Makes the router filter of each request."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from proxeny.router.filter import RouterFilter

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.router.config import RouterConfig


class RouterFilterFactory:
    """Makes one request's router filter."""

    __slots__ = ("config", "create", "name")

    filter_class = RouterFilter
    is_terminal = True

    def __init__(self, config: RouterConfig) -> None:
        self.name = "envoy.filters.http.router"
        self.config = config
        self.create: Callable[[], RouterFilter] = partial(RouterFilter, config)
        """Makes a fresh filter."""
