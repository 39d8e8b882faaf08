"""One health check of one host (Envoy: ``ActiveHealthCheckSession``): thresholds, timers, what becomes of its flags.

The states of a host as one check sees it: healthy or failed, with a count of what speaks against it. A first check
decides at once; later ones move a failed host after ``healthy_threshold`` successes and a healthy one after
``unhealthy_threshold`` failures of the network (or retriable ones), but at once when it answers that it is not well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.network.address import Address, InternalAddress, ip_address, pipe_address
from proxeny.network.connection import ClientConnection
from proxeny.upstream.endpoints import (
    ACTIVE_HC_TIMEOUT,
    DEGRADED_ACTIVE_HC,
    EXCLUDED_VIA_IMMEDIATE_HC_FAIL,
    FAILED_ACTIVE_HC,
    INTERNAL,
    PENDING_ACTIVE_HC,
    PIPE,
)
from proxeny.upstream.health_check.contract import FailureType, Probe
from proxeny.upstream.stats import (
    HC_ATTEMPT,
    HC_DEGRADED,
    HC_FAILURE,
    HC_HEALTHY,
    HC_NETWORK_FAILURE,
    HC_PASSIVE_FAILURE,
    HC_SUCCESS,
)

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.kernel.stats import Block
    from proxeny.upstream.endpoints import HostEntry
    from proxeny.upstream.health_check.checker import HealthChecker

UNCHANGED, PENDING, CHANGED = range(3)
"""What a result did to a host: nothing, a count moved towards a change, a change (Envoy: ``HealthTransition``)."""


def check_address(entry: HostEntry) -> Address:
    """Where a host is checked: its own address unless its ``health_check_config`` names another, or another port."""
    target = entry.check
    address, port = entry.address, entry.port
    if target is not None:
        if target.address:
            address, port = target.address, target.port
        elif target.port:
            port = target.port
    if port == PIPE:
        return pipe_address(address)
    return InternalAddress(address, entry.endpoint_id) if port == INTERNAL else ip_address(address, port)


class Session:
    """Checks one host until it is closed; a ``ProbeOwner``."""

    __slots__ = (
        "_closed",
        "_healthy_count",
        "_interval",
        "_probe",
        "_timeout",
        "_unhealthy_count",
        "checker",
        "dispatcher",
        "entry",
        "first_check",
        "flags",
        "stats",
    )

    def __init__(self, checker: HealthChecker, entry: HostEntry, flags: int, dispatcher: Dispatcher) -> None:
        self.checker = checker
        self.entry = entry
        self.flags = flags & (FAILED_ACTIVE_HC | DEGRADED_ACTIVE_HC | PENDING_ACTIVE_HC)
        """What this check alone says of the host."""
        self.first_check = True
        self._closed = False
        self.dispatcher = dispatcher
        self.stats: Block = checker.config.stats
        self._healthy_count = 0
        self._unhealthy_count = 0
        self._interval = dispatcher.create_timer(self._check)
        self._timeout = dispatcher.create_timer(self._on_timeout)
        self._probe: Probe = checker.config.prober.create(self)
        if not self.flags & FAILED_ACTIVE_HC:
            self.stats.inc(HC_HEALTHY)
        if self.flags & DEGRADED_ACTIVE_HC:
            self.stats.inc(HC_DEGRADED)

    def start(self) -> None:
        """The first check: now, or after the initial jitter."""
        jitter = self.checker.config.intervals.initial_jitter
        if jitter:
            self._interval.enable(self.checker.jittered(0, jitter))
        else:
            self._check()

    def close(self) -> None:
        """The host goes."""
        self._closed = True
        self._interval.close()
        self._timeout.close()
        if not self.flags & FAILED_ACTIVE_HC:
            self.stats.dec(HC_HEALTHY)
        if self.flags & DEGRADED_ACTIVE_HC:
            self.stats.dec(HC_DEGRADED)
        self._probe.close()

    def _check(self) -> None:
        self._timeout.enable(self.checker.config.timeout_ms)
        self.stats.inc(HC_ATTEMPT)
        self._probe.check()

    def _on_timeout(self) -> None:
        self._probe.on_timeout()
        self.failed(FailureType.NETWORK_TIMEOUT)

    # -- what the probe asks -------------------------------------------------------------------------------------
    @property
    def hostname(self) -> str:
        """The endpoint's own name for checks."""
        return "" if self.entry.check is None else self.entry.check.hostname

    @property
    def address(self) -> Address:
        """Where the host is checked."""
        return check_address(self.entry)

    @property
    def scheme(self) -> bytes:
        """What requests to the host are sent as."""
        secure = self.checker.config.transport.is_secure(self.entry, self.checker.info)
        return b"https" if secure else b"http"

    def connect(self) -> ClientConnection:
        """A connection with the cluster's settings; checks are no traffic, so its bytes are not counted."""
        info = self.checker.info
        local = info.local_address_to(self.address)
        connection = ClientConnection(self.dispatcher, self.address, local.address, local.options)
        connection.set_buffer_limits(info.per_connection_buffer_limit)
        self.checker.config.transport.apply(connection, self.entry, info)
        return connection

    def exclude(self) -> None:
        """The host asked to be taken out of rotation; load balancing follows when it is found to have failed."""
        self.checker.group.change(self, EXCLUDED_VIA_IMMEDIATE_HC_FAIL, 0)

    # -- outcomes ------------------------------------------------------------------------------------------------
    def succeeded(self, degraded: bool = False) -> None:
        """A check went well."""
        checker = self.checker
        self._unhealthy_count = 0
        transition, removed = UNCHANGED, 0
        if self.flags & FAILED_ACTIVE_HC:
            self._healthy_count += 1
            if self.first_check or self._healthy_count == checker.config.healthy_threshold:
                self._healthy_count = 0
                removed = ACTIVE_HC_TIMEOUT | EXCLUDED_VIA_IMMEDIATE_HC_FAIL
                self.flags &= ~FAILED_ACTIVE_HC
                self.stats.inc(HC_HEALTHY)
                transition = CHANGED
                checker.log.added(self.entry, self.first_check)
            else:
                transition = PENDING
        if transition != CHANGED and checker.config.log_successes:
            checker.log.succeeded(self.entry)
        transition = self._no_longer_pending(transition)
        if degraded != bool(self.flags & DEGRADED_ACTIVE_HC):
            self.flags ^= DEGRADED_ACTIVE_HC
            (self.stats.inc if degraded else self.stats.dec)(HC_DEGRADED)
            checker.log.degraded(self.entry, degraded)
            if transition == UNCHANGED:
                transition = CHANGED
        self.stats.inc(HC_SUCCESS)
        self._conclude(0, removed, True)
        self._next(True, transition)

    def failed(self, failure: FailureType, retriable: bool = False, http_status: int = 0) -> None:
        """A check did not."""
        transition = self.set_unhealthy(failure, retriable, http_status)
        self._next(False, transition)

    def set_unhealthy(self, failure: FailureType, retriable: bool = False, http_status: int = 0) -> int:
        """Something speaks against the host: a check, or a response to ordinary traffic."""
        checker = self.checker
        network = failure >= FailureType.NETWORK
        self._healthy_count = 0
        transition = UNCHANGED
        if not self.flags & FAILED_ACTIVE_HC:
            counted = network or retriable
            self._unhealthy_count += counted
            if not counted or self._unhealthy_count == checker.config.unhealthy_threshold:
                self.flags |= FAILED_ACTIVE_HC
                self.stats.dec(HC_HEALTHY)
                transition = CHANGED
                checker.log.ejected(self.entry, failure, http_status)
            else:
                transition = PENDING
        timed_out = failure is FailureType.NETWORK_TIMEOUT and self.flags & FAILED_ACTIVE_HC
        transition = self._no_longer_pending(transition)
        if self.first_check or checker.config.log_failures:
            checker.log.failed(self.entry, failure, self.first_check, http_status)
        self.stats.inc(HC_FAILURE)
        if network:
            self.stats.inc(HC_NETWORK_FAILURE)
        elif failure is FailureType.PASSIVE:
            self.stats.inc(HC_PASSIVE_FAILURE)
        self._conclude(*((ACTIVE_HC_TIMEOUT, 0) if timed_out else (0, ACTIVE_HC_TIMEOUT)))
        return transition

    def _no_longer_pending(self, transition: int) -> int:
        if not self.flags & PENDING_ACTIVE_HC:
            return transition
        self.flags &= ~PENDING_ACTIVE_HC
        return CHANGED

    def _conclude(self, added: int, removed: int, passed: bool = False) -> None:
        self.first_check = False
        self.checker.group.change(self, added, removed)
        self.checker.group.checked(self, passed)

    def _next(self, healthy: bool, transition: int) -> None:
        if self._closed:
            # What was found made the host go.
            return
        self._timeout.disable()
        self._interval.enable(self.checker.interval(healthy, transition == PENDING))

    def statistics(self) -> dict[str, Any]:
        """For admin pages and tests."""
        return {
            "first_check": self.first_check,
            "healthy_count": self._healthy_count,
            "unhealthy_count": self._unhealthy_count,
            "failed": bool(self.flags & FAILED_ACTIVE_HC),
        }

    def __repr__(self) -> str:
        return f"<Session {self.checker.info.name} {self.address.as_string()} flags={self.flags:#x}>"
