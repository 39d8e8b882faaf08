"""``envoy.load_balancing_policies.client_side_weighted_round_robin``: by weights that follow from ORCA reports.

Every worker weighs by the reports that its own requests bring: a report tells of the whole endpoint, whoever asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from proxeny.config.errors import UnsupportedFieldError
from proxeny.config.loader import duration_ms
from proxeny.extensions.load_balancing_policies.round_robin import RoundRobinMaker
from proxeny.upstream.load_balancer import locality_config, slow_start
from proxeny.upstream.load_balancer.base import ZoneAwareLoadBalancer
from proxeny.upstream.load_balancer.contract import LbPolicy
from proxeny.upstream.load_balancer.slow_start import SlowStart
from proxeny.upstream.orca import has_report, max_utilization, parse_report

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.host import Host
    from proxeny.upstream.load_balancer.contract import LbSetting
    from proxeny.upstream.load_balancer.locality_config import LocalityConfig
    from proxeny.upstream.load_balancer.slow_start import SlowStartConfig

DEFAULT_BLACKOUT_MS: Final = 10_000
DEFAULT_EXPIRATION_MS: Final = 180_000
DEFAULT_UPDATE_MS: Final = 1_000
_MAX_WEIGHT: Final = 2**32 - 1


@dataclass(slots=True, frozen=True)
class ClientSideWeightedRoundRobin(LbPolicy):
    """The compiled policy."""

    blackout_ms: int = DEFAULT_BLACKOUT_MS
    """A weight counts once reports came for so long."""
    expiration_ms: int = DEFAULT_EXPIRATION_MS
    """A weight counts no more once no report came for so long."""
    update_ms: int = DEFAULT_UPDATE_MS
    error_penalty: float = 0.0
    metric_names: tuple[str, ...] = ()
    slow_start: SlowStartConfig | None = None
    locality: LocalityConfig = locality_config.DEFAULT
    kind: ClassVar[str] = "client_side_weighted_round_robin"

    def create(self, setting: LbSetting) -> ReportedLoadBalancer:
        """The load balancer of a worker."""
        return ReportedLoadBalancer(setting, self)


class Reported:
    """What a host's reports amount to (``Host.lb_data``)."""

    __slots__ = ("since_ms", "updated_ms", "weight")

    def __init__(self, weight: int, now_ms: int) -> None:
        self.weight = weight
        self.since_ms = self.updated_ms = now_ms


class ReportedLoadBalancer(ZoneAwareLoadBalancer):
    """Round robin by the weights of the moment, which are worked out anew from time to time."""

    __slots__ = ("_policy", "_timer")

    def __init__(self, setting: LbSetting, policy: ClientSideWeightedRoundRobin) -> None:
        slow = None if policy.slow_start is None else SlowStart(policy.slow_start, setting.context)
        super().__init__(setting, policy.kind, RoundRobinMaker(slow), policy.locality)
        self._policy = policy
        dispatcher = setting.context.dispatcher
        assert dispatcher is not None
        self._timer = dispatcher.create_timer(self._on_timer)
        self._timer.enable(policy.update_ms)

    def refresh(self) -> None:
        """The hosts, their health or their weights changed."""
        # Of several (subsets) any will do: what is reported is kept by host.
        self._setting.info.hear_orca(self)
        self._weigh_all()
        super().refresh()

    def on_headers(self, headers: HeaderMap, host: Host) -> bool:
        """A response came."""
        report = parse_report(headers) if has_report(headers) else None
        if report is None:
            return False
        self.on_report(report, host)
        return True

    def on_report(self, report: Any, host: Host) -> None:
        """An endpoint told of its load."""
        weight = weight_of(report, self._policy)
        if weight is None:
            return
        now = self._now_ms()
        reported = host.lb_data
        if isinstance(reported, Reported):
            reported.weight = weight
            reported.updated_ms = now
            if reported.since_ms < 0:
                reported.since_ms = now
        else:
            host.lb_data = Reported(weight, now)

    def _on_timer(self) -> None:
        if self._weigh_all():
            self.on_weights_changed()
        self._timer.enable(self._policy.update_ms)

    def on_weights_changed(self) -> None:
        """Begin new schedules; the cluster must look at ``choose_host`` again."""
        self._setting.weights_changed()

    def _now_ms(self) -> int:
        dispatcher = self._setting.context.dispatcher
        assert dispatcher is not None
        return dispatcher.now_ms

    def _weigh_all(self) -> bool:
        return any([self._weigh(host_set.hosts) for host_set in self._setting.priority_set.host_sets])

    def _weigh(self, hosts: list[Host]) -> bool:
        """Set the weights of one priority (the median where a host has none that is valid); whether any changed."""
        now = self._now_ms()
        found = [(host, self._valid_weight(host.lb_data, now)) for host in hosts]
        valid = sorted([weight for _, weight in found if weight])
        median = valid[len(valid) // 2] if valid else 1
        changed = False
        for host, weight in found:
            if host.weight != (weight or median):
                host.weight = weight or median
                changed = True
        return changed

    def _valid_weight(self, reported: Any, now: int) -> int:
        """0: there is none, or it is too new or too old to count."""
        policy = self._policy
        if not isinstance(reported, Reported) or not 0 <= reported.since_ms <= now - policy.blackout_ms:
            return 0
        if reported.updated_ms < now - policy.expiration_ms:
            reported.since_ms = -1
            return 0
        return reported.weight

    def close(self) -> None:
        """The cluster goes."""
        self._timer.close()
        self._setting.info.hear_orca(None, self)
        super().close()


def weight_of(report: Any, policy: ClientSideWeightedRoundRobin) -> int | None:
    """Requests per second for the whole of what the endpoint can do; None: the report does not say."""
    rate: float = report.rps_fractional
    if rate <= 0:
        return None
    utilization = report.application_utilization
    if utilization <= 0:
        utilization = max_utilization(report, policy.metric_names)
    if utilization <= 0:
        utilization = report.cpu_utilization
    utilization += policy.error_penalty * report.eps / rate
    # The comparison is the other way round so that NaN says nothing.
    return int(min(rate / utilization, _MAX_WEIGHT)) if utilization > 0 else None


class ClientSideWeightedRoundRobinFactory:
    """The registered factory."""

    def compile(self, config: Any, cluster: Any, context: FactoryContext) -> ClientSideWeightedRoundRobin:
        """``config``: a ``ClientSideWeightedRoundRobin``."""
        if config.enable_oob_load_report.value:
            raise UnsupportedFieldError("enable_oob_load_report is not supported yet", "enable_oob_load_report")
        return ClientSideWeightedRoundRobin(
            _milliseconds(config, "blackout_period", DEFAULT_BLACKOUT_MS),
            _milliseconds(config, "weight_expiration_period", DEFAULT_EXPIRATION_MS),
            max(1, _milliseconds(config, "weight_update_period", DEFAULT_UPDATE_MS)),
            config.error_utilization_penalty.value,
            tuple(config.metric_names_for_computing_utilization),
            slow_start.of(config),
            locality_config.compile_legacy(cluster),
        )


def _milliseconds(config: Any, field: str, default: int) -> int:
    return duration_ms(getattr(config, field)) if config.HasField(field) else default


FACTORY: Final = ClientSideWeightedRoundRobinFactory()
