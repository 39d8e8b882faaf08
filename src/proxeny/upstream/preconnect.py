"""Connections to the hosts that the next requests will likely go to (``predictive_preconnect_ratio``).

Before a request gets its stream, connections are opened until the cluster, in this worker, has room for ``ratio`` times
what it serves (Envoy weighs what all clusters have). To know which host comes next, choices are made ahead and kept:
they are what the following requests get. So only policies whose choice does not depend on the request can look ahead,
as in Envoy.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from proxeny.upstream.stats import UPSTREAM_CX_ACTIVE, UPSTREAM_RQ_ACTIVE, UPSTREAM_RQ_PENDING_ACTIVE

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.upstream.cluster_config import ClusterConfig
    from proxeny.upstream.host import Host

    Choose = Callable[[Any], Host | None]

MAX_AT_A_TIME: Final = 3
"""Envoy: ``ClusterManagerImpl::maybePreconnect``."""
_LOOK_AHEAD: Final = ("round_robin", "random")


class Ahead:
    """Chooses hosts for one cluster, some of them before they are asked for."""

    __slots__ = ("_choose", "_chosen", "_info", "_most", "_ratio")

    def __init__(self, config: ClusterConfig) -> None:
        self._info = config.info
        self._ratio = config.predictive_preconnect_ratio
        self._chosen: deque[Host] = deque()
        self._most = 0
        self._choose: Choose | None = None

    @staticmethod
    def of(config: ClusterConfig) -> Ahead | None:
        """None where nothing is to be opened ahead."""
        looks = config.predictive_preconnect_ratio > 1.0 and config.lb_policy.kind in _LOOK_AHEAD
        return Ahead(config) if looks else None

    def choosing(self, choose: Choose, healthy: int) -> Choose:
        """Choose by ``choose`` from now on, among so many healthy hosts; what was chosen ahead is void."""
        self._choose = choose
        self._most = healthy
        self._chosen.clear()
        return self._next

    def _next(self, context: Any) -> Host | None:
        if self._chosen:
            return self._chosen.popleft()
        return None if self._choose is None else self._choose(context)

    def _peek(self, context: Any) -> Host | None:
        if len(self._chosen) >= self._most or self._choose is None:
            return None
        host = self._choose(context)
        if host is not None:
            self._chosen.append(host)
        return host

    def before_stream(self, context: Any, pool_of: Callable[[Host], Any]) -> None:
        """A request is about to ask its pool for a stream."""
        stats = self._info.stats
        for _ in range(MAX_AT_A_TIME):
            wanted = stats.get(UPSTREAM_RQ_PENDING_ACTIVE) + stats.get(UPSTREAM_RQ_ACTIVE) + 1
            if wanted * self._ratio <= stats.get(UPSTREAM_CX_ACTIVE):
                return
            host = self._peek(context)
            if host is None or not pool_of(host).preconnect(self._ratio):
                return
