"""``cluster_manager.outlier_detection.event_log_path``: a line of JSON per ejection and return (Envoy:
``Outlier::EventLoggerImpl``; the message is ``data.cluster.v3.OutlierDetectionEvent``)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from proxeny.upstream.outlier.config import EjectionType

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.event.dispatcher import Dispatcher
    from proxeny.upstream.outlier.detector import OutlierDetector
    from proxeny.upstream.outlier.host_record import HostRecord


class LogFile(Protocol):
    """An access log file of main's."""

    def write(self, data: bytes) -> object:
        """Append."""


_encode = msgspec.json.Encoder().encode
_BY_RATE = {EjectionType.SUCCESS_RATE: False, EjectionType.SUCCESS_RATE_LOCAL_ORIGIN: True}
_BY_PERCENTAGE = {EjectionType.FAILURE_PERCENTAGE: False, EjectionType.FAILURE_PERCENTAGE_LOCAL_ORIGIN: True}


class OutlierEventLog:
    """The log of all clusters."""

    __slots__ = ("_dispatcher", "_file", "_system_ms")

    def __init__(
        self,
        file: LogFile,
        dispatcher: Dispatcher,
        system_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._file = file
        self._dispatcher = dispatcher
        self._system_ms = system_ms

    def ejected(self, detector: OutlierDetector, record: HostRecord, kind: EjectionType, enforced: bool) -> None:
        """An outlier was found, and ejected if that was ``enforced``."""
        event = self._event(detector, record, kind, "EJECT", record.ejection.ended_ms, enforced)
        if kind in _BY_RATE:
            local = _BY_RATE[kind]
            average, threshold = detector.averages[local]
            event["eject_success_rate_event"] = {
                "host_success_rate": _unsigned(record.rate(local)),
                "cluster_average_success_rate": _unsigned(average),
                "cluster_success_rate_ejection_threshold": _unsigned(threshold),
            }
        elif kind in _BY_PERCENTAGE:
            rate = record.rate(_BY_PERCENTAGE[kind])
            event["eject_failure_percentage_event"] = {"host_success_rate": _unsigned(rate)}
        else:
            event["eject_consecutive_event"] = {}
        self._write(event)

    def unejected(self, detector: OutlierDetector, record: HostRecord) -> None:
        """A host came back. The event has no type of its own: it shows the first one."""
        began_ms = record.ejection.began_ms
        self._write(self._event(detector, record, EjectionType.CONSECUTIVE_5XX, "UNEJECT", began_ms, False))

    def _event(
        self,
        detector: OutlierDetector,
        record: HostRecord,
        kind: EjectionType,
        action: str,
        last_ms: int | None,
        enforced: bool,
    ) -> dict[str, Any]:
        event: dict[str, Any] = {"type": kind.name, "timestamp": timestamp(self._system_ms())}
        if last_ms is not None:
            event["secs_since_last_action"] = str((self._dispatcher.wheel.now_ms - last_ms) // 1000)
        event["cluster_name"] = detector.cluster
        event["upstream_url"] = record.address
        event["action"] = action
        event["num_ejections"] = record.num_ejections
        event["enforced"] = enforced
        return event

    def _write(self, event: dict[str, Any]) -> None:
        # As protobuf writes JSON: markup does not come through.
        self._file.write(_encode(event).replace(b"<", b"\\u003c").replace(b">", b"\\u003e") + b"\n")


def timestamp(milliseconds: int) -> str:
    """A google.protobuf.Timestamp as JSON: fractions only where there are some."""
    seconds, rest = divmod(milliseconds, 1000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{rest:03}Z" if rest else f"{text}Z"


def _unsigned(rate: float) -> int:
    """A rate as the event's uint32 has it."""
    return int(rate) & 0xFFFFFFFF
