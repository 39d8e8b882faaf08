"""What a kind of health check is: the contract of the extensions of the kind "health_checker".

A ``HealthCheckerFactory`` compiles what its kind says to a ``Prober``, which makes a ``Probe`` per checked host. A
probe runs one check at a time, over a connection of its own, in main's event loop. It tells its ``ProbeOwner`` of every
outcome, once per check, never from inside ``check``.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.kernel.stats import Block
    from proxeny.network.address import Address
    from proxeny.network.connection import ClientConnection
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.cluster_info import ClusterInfo
    from proxeny.upstream.endpoints import HostEntry


class FailureType(IntEnum):
    """Why a check failed (``envoy.data.core.v3.HealthCheckFailureType``)."""

    ACTIVE = 0
    """The host answered, and not well."""
    PASSIVE = 1
    """A response to ordinary traffic said so."""
    NETWORK = 2
    NETWORK_TIMEOUT = 3


class ProbeOwner(Protocol):
    """Whose host is checked: a session of the checker."""

    @property
    def dispatcher(self) -> Dispatcher:
        """Main's."""

    @property
    def entry(self) -> HostEntry:
        """The host."""

    @property
    def hostname(self) -> str:
        """The endpoint's own name for checks; empty: it has none."""

    @property
    def address(self) -> Address:
        """Where the host is checked."""

    @property
    def stats(self) -> Block:
        """The block of ``HEALTH_CHECK``."""

    @property
    def scheme(self) -> bytes:
        """``https`` where its transport socket encrypts."""

    def connect(self) -> ClientConnection:
        """A connection to ``address`` with the cluster's settings, not yet connecting."""

    def succeeded(self, degraded: bool = False) -> None:
        """The host is well."""

    def failed(self, failure: FailureType, retriable: bool = False, http_status: int = 0) -> None:
        """It is not; a ``retriable`` failure counts towards the threshold like a failure of the network."""

    def exclude(self) -> None:
        """The host asks to be taken out of rotation (x-envoy-immediate-health-check-fail)."""


class Probe(Protocol):
    """The checks of one host."""

    def check(self) -> None:
        """Begin one. The one before has ended."""

    def on_timeout(self) -> None:
        """The check takes too long and counts as failed already: give it up."""

    def close(self) -> None:
        """The host goes: close the connection, report nothing more."""


class Prober(Protocol):
    """A compiled check."""

    kind: str
    """``envoy.data.core.v3.HealthCheckerType``, in letters."""

    def create(self, owner: ProbeOwner) -> Probe:
        """The checks of one host."""


class HealthCheckerFactory(Protocol):
    """A kind of health check."""

    def compile(self, message: Any, cluster: Any, info: ClusterInfo, context: FactoryContext) -> Prober:
        """From the ``HealthCheck`` message of a Cluster message; ConfigError in Envoy's words."""
