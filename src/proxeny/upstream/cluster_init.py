"""The order in which clusters initialize at the start (Envoy: ``ClusterManagerInitHelper``).

Primary clusters (all but those that are fetched from a server) come first: a server is reached through one of them.
Then, when the server says that it is ready for that, secondary ones; then CDS, whose clusters take the same two steps.
After that each cluster warms by itself, and this has no more to do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from proxeny.upstream.main_cluster import MainCluster

log = logging.getLogger("proxeny.upstream")


class InitState(Enum):
    """How far the start is."""

    LOADING = 0
    """The clusters of the bootstrap are being added."""
    WAITING_FOR_PRIMARY = 1
    WAITING_FOR_SERVER = 2
    """Until the server says that secondary clusters may start."""
    WAITING_FOR_SECONDARY = 3
    WAITING_FOR_CDS = 4
    CDS_INITIALIZED = 5
    """The first answer of CDS was applied, or will not come; its clusters may still initialize."""
    ALL_INITIALIZED = 6


_STANDING: Final = frozenset(
    (InitState.LOADING, InitState.WAITING_FOR_SERVER, InitState.WAITING_FOR_CDS, InitState.ALL_INITIALIZED)
)
"""States that end when somebody else says so, or never."""


class ClusterInit:
    """The state machine of the start."""

    __slots__ = (
        "_on_cluster",
        "_on_done",
        "_on_primary",
        "_pause",
        "_primary",
        "_secondary",
        "_secondary_started",
        "_start",
        "_start_cds",
        "state",
    )

    def __init__(
        self,
        start: Callable[[MainCluster, Callable[[MainCluster], None]], None],
        on_cluster: Callable[[MainCluster], None],
        pause: Callable[[], AbstractContextManager[object]],
    ) -> None:
        """``start`` begins discovery and calls back; ``on_cluster`` hears of each cluster that is initialized. Within
        ``pause`` secondary clusters start: what they ask for goes out in one request."""
        self._start = start
        self._on_cluster = on_cluster
        self._pause = pause
        self.state = InitState.LOADING
        self._primary: dict[str, MainCluster] = {}
        self._secondary: dict[str, MainCluster] = {}
        self._secondary_started = False
        self._on_primary: Callable[[Callable[[], None]], None] | None = None
        self._start_cds: Callable[[Callable[[], None]], None] | None = None
        self._on_done: Callable[[], None] | None = None

    @property
    def is_done(self) -> bool:
        """Whether clusters that come now warm by themselves."""
        return self.state is InitState.ALL_INITIALIZED

    def add(self, cluster: MainCluster) -> None:
        """Initialize a cluster too, in its turn."""
        if not cluster.config.is_secondary:
            self._primary[cluster.name] = cluster
            self._start(cluster, self._initialized)
            return
        self._secondary[cluster.name] = cluster
        if self._secondary_started:
            self._start(cluster, self._initialized)

    def remove(self, cluster: MainCluster) -> None:
        """Wait for a cluster no longer, if it is waited for."""
        if self.is_done:
            return
        waiting = self._secondary if cluster.config.is_secondary else self._primary
        if waiting.get(cluster.name) is cluster:
            del waiting[cluster.name]
        self._look()

    def loaded(
        self,
        on_done: Callable[[], None],
        on_primary: Callable[[Callable[[], None]], None] | None,
        start_cds: Callable[[Callable[[], None]], None] | None,
    ) -> None:
        """All clusters of the bootstrap were added. ``on_primary`` hears when the primary ones are initialized, and
        calls back for the rest; ``start_cds`` likewise when its first answer was applied."""
        self._on_done, self._on_primary, self._start_cds = on_done, on_primary, start_cds
        self.state = InitState.WAITING_FOR_PRIMARY
        self._look()

    def _initialized(self, cluster: MainCluster) -> None:
        self._on_cluster(cluster)
        self.remove(cluster)

    def _look(self) -> None:
        """Whether the next step can be taken."""
        if self.state in _STANDING or self._primary:
            return
        if self.state is InitState.WAITING_FOR_PRIMARY:
            self.state = InitState.WAITING_FOR_SERVER
            on_primary, self._on_primary = self._on_primary, None
            if on_primary is None:
                self._go_on()
            else:
                on_primary(self._go_on)
        elif self._secondary:
            if not self._secondary_started:
                self._start_secondary()
        else:
            self._finish()

    def _go_on(self) -> None:
        """The server lets secondary clusters start."""
        self.state = InitState.WAITING_FOR_SECONDARY
        self._look()

    def _finish(self) -> None:
        """Nothing is waited for: now for CDS, or it was that."""
        self._secondary_started = False
        start_cds, self._start_cds = self._start_cds, None
        if start_cds is not None:
            log.info("cm init: initializing cds")
            self.state = InitState.WAITING_FOR_CDS
            start_cds(self._cds_initialized)
            return
        log.info("cm init: all clusters initialized")
        self.state = InitState.ALL_INITIALIZED
        on_done, self._on_done = self._on_done, None
        if on_done is not None:
            on_done()

    def _start_secondary(self) -> None:
        log.info("cm init: initializing secondary clusters")
        self._secondary_started = True
        with self._pause():
            for cluster in list(self._secondary.values()):
                if self._secondary.get(cluster.name) is cluster:
                    self._start(cluster, self._initialized)

    def _cds_initialized(self) -> None:
        self.state = InitState.CDS_INITIALIZED
        self._look()
