"""Which hosts of a cluster are outliers, decided in main (Envoy: ``Outlier::DetectorImpl``).

Workers count in shared memory and say when a count reaches its threshold (``on_reported``); rates are looked at once
per interval. An outlier is ejected (``FAILED_OUTLIER_CHECK``) if ``max_ejection_percent`` and the ``enforcing_*``
percentage allow it, and comes back at the first interval after its time is up.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from proxeny.upstream.endpoints import DEGRADED_OUTLIER_DETECTION, FAILED_OUTLIER_CHECK, HostEntry
from proxeny.upstream.outlier.config import EjectionType, OutlierSettings
from proxeny.upstream.outlier.host_record import BackOff, HostRecord
from proxeny.upstream.outlier.stats import (
    DETECTED,
    EJECTIONS_ACTIVE,
    EJECTIONS_CONSECUTIVE_5XX,
    EJECTIONS_ENFORCED_TOTAL,
    EJECTIONS_OVERFLOW,
    EJECTIONS_SUCCESS_RATE,
    EJECTIONS_TOTAL,
    ENFORCED,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from proxeny.event.dispatcher import Dispatcher
    from proxeny.kernel.outlier import OutlierTable
    from proxeny.kernel.stats import Block
    from proxeny.upstream.host_health import ClusterHealth
    from proxeny.upstream.outlier.event_log import OutlierEventLog

CONSECUTIVE: Final = frozenset(
    (
        EjectionType.CONSECUTIVE_5XX,
        EjectionType.CONSECUTIVE_GATEWAY_FAILURE,
        EjectionType.CONSECUTIVE_LOCAL_ORIGIN_FAILURE,
    )
)
UNKNOWN: Final = (-1.0, -1.0)


class OutlierDetector:
    """The detector of one cluster. ``averages`` are (mean success rate, threshold of ejection) by whether what is of
    local origin is meant."""

    __slots__ = (
        "_dispatcher",
        "_health",
        "_log",
        "_random",
        "_settings",
        "_stats",
        "_table",
        "_timer",
        "averages",
        "cluster",
        "ejected",
        "records",
    )

    def __init__(
        self,
        cluster: str,
        settings: OutlierSettings,
        stats: Block,
        table: OutlierTable,
        health: ClusterHealth,
        dispatcher: Dispatcher,
        random: Callable[[], int],
        log: OutlierEventLog | None,
    ) -> None:
        self.cluster = cluster
        self._settings = settings
        self._stats = stats
        self._table = table
        self._health = health
        self._dispatcher = dispatcher
        self._random = random
        self._log = log
        self.records: dict[int, HostRecord] = {}
        """By the base of the host's stat block, which is what workers know it by."""
        self.ejected = 0
        self.averages = [UNKNOWN, UNKNOWN]
        self._timer = dispatcher.create_timer(self._on_timer)

    def start(self) -> None:
        """Look at the rates once per interval from now on."""
        self._timer.enable(max(1, self._settings.integer("interval_ms")))

    def _on_timer(self) -> None:
        self.on_interval()
        self.start()

    def close(self) -> None:
        """The cluster goes."""
        self._timer.close()
        self._set_active(-self.ejected)

    def set_hosts(self, hosts: Iterable[tuple[HostEntry, int]]) -> None:
        """These are the hosts now, with the bases of their stat blocks; nothing is known of those that are new."""
        known, self.records = self.records, {}
        for entry, base in hosts:
            record = known.pop(base, None)
            if record is None:
                record = HostRecord(entry, self._table, base)
            record.address = entry.address_text
            self.records[base] = record
        self._set_active(-sum([record.ejected for record in known.values()]))

    def find(self, index: int) -> HostRecord | None:
        """The record of the host whose ``stat_index`` that is."""
        return next((record for record in self.records.values() if record.index == index), None)

    # -- what is reported ----------------------------------------------------------------------------------------
    def on_reported(self, base: int, kind: int) -> None:
        """A worker saw a host reach a threshold, or call itself degraded."""
        record = self.records.get(base)
        if record is None:
            return
        if kind == EjectionType.DEGRADED:
            self._degrade(record)
            return
        if record.ejected:
            return
        ejection = EjectionType(kind)
        self._stats.inc(DETECTED[ejection])
        self._eject(record, ejection)
        if ejection is EjectionType.CONSECUTIVE_5XX:
            self._stats.inc(EJECTIONS_CONSECUTIVE_5XX)
        record.counts.reset(kind)

    def on_check_passed(self, index: int) -> None:
        """Active health checking finds the host in order: it comes back, if the configuration says so."""
        record = self.find(index)
        if record is not None and record.ejected and self._settings.config.successful_active_health_check_uneject_host:
            self._uneject(record)

    # -- the interval --------------------------------------------------------------------------------------------
    def on_interval(self) -> None:
        """Bring back whose time is up, look for outliers among the success rates, let back-offs relax."""
        now_ms = self._dispatcher.wheel.now_ms
        base_ms = self._settings.integer("base_ejection_time_ms")
        longest_ms = self._settings.integer("max_ejection_time_ms")
        for record in self.records.values():
            if record.ejected and record.ejection.is_over(now_ms, base_ms, longest_ms):
                self._uneject(record)
            if record.degraded and record.degradation.is_over(now_ms, base_ms, longest_ms):
                self._undegrade(record)
            record.counts.turn()
            record.success_rate = record.local_origin_success_rate = -1.0
        for local in (False, True):
            self._judge_rates(local)
        interval_ms = self._settings.integer("interval_ms")
        for record in self.records.values():
            if not record.ejected:
                record.ejection.relax(now_ms, interval_ms)
            if not record.degraded:
                record.degradation.relax(now_ms, interval_ms)

    def _judge_rates(self, local: bool) -> None:
        """Envoy: ``processSuccessRateEjections``."""
        integer = self._settings.integer
        least_hosts = integer("success_rate_minimum_hosts")
        volume = integer("success_rate_request_volume")
        least_failing = integer("failure_percentage_minimum_hosts")
        failing_volume = integer("failure_percentage_request_volume")
        self.averages[local] = UNKNOWN
        if len(self.records) < least_hosts and len(self.records) < least_failing:
            return
        by_rate: list[HostRecord] = []
        by_percentage: list[HostRecord] = []
        for record in self.records.values():
            total, good = record.counts.window(local)
            if record.ejected or not total:
                continue
            rate = good * 100.0 / total
            if total >= min(volume, failing_volume):
                record.set_rate(local, rate)
            if total >= volume:
                by_rate.append(record)
            if total >= failing_volume:
                by_percentage.append(record)
        if by_rate and len(by_rate) >= least_hosts:
            self._judge_by_deviation(by_rate, local)
        if by_percentage and len(by_percentage) >= least_failing:
            self._judge_by_percentage(by_percentage, local)

    def _judge_by_deviation(self, records: list[HostRecord], local: bool) -> None:
        factor = self._settings.integer("success_rate_stdev_factor") / 1000.0
        rates = [record.rate(local) for record in records]
        self.averages[local] = ejection_threshold(rates, factor)
        threshold = self.averages[local][1]
        kind = EjectionType.SUCCESS_RATE_LOCAL_ORIGIN if local else EjectionType.SUCCESS_RATE
        for record in records:
            if record.rate(local) < threshold:
                self._stats.inc(EJECTIONS_SUCCESS_RATE)
                self._stats.inc(DETECTED[kind])
                self._eject(record, kind)

    def _judge_by_percentage(self, records: list[HostRecord], local: bool) -> None:
        threshold = self._settings.integer("failure_percentage_threshold")
        kind = EjectionType.FAILURE_PERCENTAGE_LOCAL_ORIGIN if local else EjectionType.FAILURE_PERCENTAGE
        for record in records:
            if 100.0 - record.rate(local) >= threshold:
                self._stats.inc(DETECTED[kind])
                self._eject(record, kind)

    # -- ejection ------------------------------------------------------------------------------------------------
    def _eject(self, record: HostRecord, kind: EjectionType) -> None:
        settings, stats = self._settings, self._stats
        most = min(100, settings.integer("max_ejection_percent"))
        within = 100.0 * (self.ejected + 1) / len(self.records) <= most
        if not within and not (settings.config.always_eject_one_host and not self.ejected):
            stats.inc(EJECTIONS_OVERFLOW)
            return
        if kind in (EjectionType.CONSECUTIVE_5XX, EjectionType.SUCCESS_RATE):
            stats.inc(EJECTIONS_TOTAL)
        enforced = settings.enforced(kind, self._random())
        if enforced:
            if record.ejected:
                return  # by its success rate, a moment ago
            self._set_active(1)
            stats.inc(EJECTIONS_ENFORCED_TOTAL)
            stats.inc(ENFORCED[kind])
            record.ejected = True
            record.num_ejections += 1
            self._begin(record.ejection)
            self._health.change(record.index, added=FAILED_OUTLIER_CHECK)
        if self._log is not None:
            self._log.ejected(self, record, kind, enforced)

    def _begin(self, back_off: BackOff) -> None:
        integer = self._settings.integer
        jitter_ms = self._random() % (integer("max_ejection_time_jitter_ms") + 1)
        back_off.begin(
            self._dispatcher.wheel.now_ms,
            integer("base_ejection_time_ms"),
            integer("max_ejection_time_ms"),
            jitter_ms,
        )

    def _uneject(self, record: HostRecord) -> None:
        self._set_active(-1)
        record.ejected = False
        # A count that is near its threshold would otherwise eject the host again after very few errors.
        for kind in CONSECUTIVE:
            record.counts.reset(kind)
        record.ejection.end(self._dispatcher.wheel.now_ms)
        self._health.change(record.index, removed=FAILED_OUTLIER_CHECK)
        if self._log is not None:
            self._log.unejected(self, record)

    def _set_active(self, change: int) -> None:
        self.ejected += change
        # Clusters that share an alt_stat_name share the gauge.
        self._stats.add(EJECTIONS_ACTIVE, change)

    # -- degradation ---------------------------------------------------------------------------------------------
    def _degrade(self, record: HostRecord) -> None:
        if record.degraded:
            return
        record.degraded = True
        self._stats.inc(DETECTED[EjectionType.DEGRADED])
        self._begin(record.degradation)
        self._health.change(record.index, added=DEGRADED_OUTLIER_DETECTION)
        if self._log is not None:
            self._log.ejected(self, record, EjectionType.DEGRADED, True)

    def _undegrade(self, record: HostRecord) -> None:
        record.degraded = False
        record.counts.reset_degraded()
        record.degradation.end(self._dispatcher.wheel.now_ms)
        self._health.change(record.index, removed=DEGRADED_OUTLIER_DETECTION)
        if self._log is not None:
            self._log.unejected(self, record)


def ejection_threshold(rates: list[float], factor: float) -> tuple[float, float]:
    """(mean, what a success rate must not fall below: the mean less ``factor`` standard deviations)."""
    mean = sum(rates) / len(rates)
    variance = sum([(rate - mean) ** 2 for rate in rates]) / len(rates)
    return mean, mean - factor * math.sqrt(variance)
