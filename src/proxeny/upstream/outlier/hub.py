"""The outlier detectors of all clusters, in main."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from proxeny.upstream.outlier.config import OutlierSettings
from proxeny.upstream.outlier.detector import OutlierDetector

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.endpoints import HostEntry
    from proxeny.upstream.host_health import ClusterHealth
    from proxeny.upstream.outlier.event_log import OutlierEventLog
    from proxeny.upstream.outlier.monitor import OutlierRules


class Outliers:
    """Who is watched; what workers report finds its detector here."""

    def __init__(self, context: FactoryContext) -> None:
        self._context = context
        self._log: OutlierEventLog | None = None
        self._detectors: dict[str, OutlierDetector] = {}

    def log_to(self, log: OutlierEventLog | None) -> None:
        """Where ejections are written down, of detectors that start from now on."""
        self._log = log

    def watch(
        self, name: str, rules: OutlierRules, health: ClusterHealth, hosts: Iterable[tuple[HostEntry, int]]
    ) -> None:
        """Watch the hosts of a cluster; with each comes the base of its stat block."""
        dispatcher = self._context.dispatcher
        assert dispatcher is not None and rules.stats is not None
        settings = OutlierSettings(rules.config, self._context.runtime)
        detector = OutlierDetector(
            name, settings, rules.stats, rules.table, health, dispatcher, lambda: random.getrandbits(64), self._log
        )
        self._detectors[name] = detector
        detector.set_hosts(hosts)
        detector.start()

    def find(self, name: str) -> OutlierDetector | None:
        """The detector of a cluster, where there is one."""
        return self._detectors.get(name)

    def replace_hosts(self, name: str, hosts: Iterable[tuple[HostEntry, int]]) -> None:
        """A cluster has other hosts."""
        detector = self._detectors.get(name)
        if detector is not None:
            detector.set_hosts(hosts)

    def on_reported(self, name: str, base: int, kind: int) -> None:
        """What a worker tells of a host."""
        detector = self._detectors.get(name)
        if detector is not None:
            detector.on_reported(base, kind)

    def forget(self, name: str) -> None:
        """The cluster goes, or is replaced."""
        detector = self._detectors.pop(name, None)
        if detector is not None:
            detector.close()

    def close(self) -> None:
        """The server ends."""
        for name in list(self._detectors):
            self.forget(name)
