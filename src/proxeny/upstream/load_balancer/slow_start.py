"""Slow start: a host that just became healthy takes less than its share at first (Envoy: ``EdfLoadBalancerBase``)."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Any

from proxeny.config.loader import duration_ms
from proxeny.upstream.host import Health

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.host import Host


@dataclass(slots=True, frozen=True)
class SlowStartConfig:
    """``SlowStartConfig`` of the extensions and of a Cluster."""

    window_ms: int
    aggression: float = 1.0
    aggression_key: str = ""
    min_weight: float = 0.1
    """Share of its weight that a host has at least."""


def of(config: Any) -> SlowStartConfig | None:
    """Of a policy's message, which may have a ``slow_start_config``; None: no window."""
    slow = config.slow_start_config
    window_ms = duration_ms(slow.slow_start_window)
    if window_ms <= 0:
        return None
    values: dict[str, Any] = {}
    if slow.HasField("aggression"):
        values = {"aggression": slow.aggression.default_value, "aggression_key": slow.aggression.runtime_key}
    if slow.HasField("min_weight_percent"):
        values["min_weight"] = slow.min_weight_percent.value / 100.0
    return SlowStartConfig(window_ms, **values)


class SlowStart:
    """The hosts of one load balancer that are in their window."""

    __slots__ = ("_config", "_context", "_latest_ms")

    def __init__(self, config: SlowStartConfig, context: FactoryContext) -> None:
        self._config = config
        self._context = context
        self._latest_ms = self._now_ms()
        """When the latest host began; all do so when the load balancer does."""

    def _now_ms(self) -> int:
        assert self._context.dispatcher is not None
        return self._context.dispatcher.now_ms

    def begin(self, hosts: list[Host]) -> None:
        """These are used from now on: those that are new begin their window."""
        now = self._now_ms()
        for host in hosts:
            if host.health is not Health.HEALTHY:
                continue
            if host.healthy_since_ms < 0:
                host.healthy_since_ms = now
            since = host.healthy_since_ms
            if since > self._latest_ms and now - since <= self._config.window_ms:
                self._latest_ms = since

    def is_on(self) -> bool:
        """Whether any host may be in its window."""
        return self._now_ms() - self._latest_ms <= self._config.window_ms

    def slowed(self, weight_of: Callable[[Host], float]) -> Callable[[Host], float]:
        """Weights as they are during slow start."""
        return lambda host: weight_of(host) * self.factor(host)

    def factor(self, host: Host) -> float:
        """What the host's weight is to be multiplied by now."""
        window = self._config.window_ms
        since = host.healthy_since_ms
        if since < 0 or host.health is not Health.HEALTHY:
            return 1.0
        healthy_ms = self._now_ms() - since
        if healthy_ms >= window:
            return 1.0
        time_factor: float = max(1, healthy_ms) / window
        aggression = self._aggression()
        if aggression != 1.0:
            time_factor = time_factor ** (1.0 / aggression)
        return max(time_factor, self._config.min_weight)

    def _aggression(self) -> float:
        config = self._config
        value = config.aggression
        if config.aggression_key and self._context.runtime is not None:
            value = self._context.runtime.get_float(config.aggression_key, value)
        return 1.0 if value <= 0.0 or isnan(value) else value
