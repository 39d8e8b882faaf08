"""Hosts that requests ask for by address, whatever the load balancer would say (Envoy: ``HostUtility``)."""

from __future__ import annotations

from typing import Final, NamedTuple

UNKNOWN: Final = 0
HEALTHY: Final = 1
UNHEALTHY: Final = 2
DRAINING: Final = 3
TIMEOUT: Final = 4
DEGRADED: Final = 5
"""core.v3.HealthStatus."""

DEFAULT_STATUSES: Final = frozenset((UNKNOWN, HEALTHY, DEGRADED))
"""CommonLbConfig.override_host_status."""


class OverrideHost(NamedTuple):
    """What a filter leaves in ``StreamInfo.override_host``."""

    address: str
    strict: bool
    """Whether the request fails without this host."""
