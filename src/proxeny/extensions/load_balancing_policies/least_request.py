"""``envoy.load_balancing_policies.least_request``: the least busy of some hosts, by weight."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from math import isnan
from typing import TYPE_CHECKING, Any, ClassVar, Final

from proxeny.kernel.all_workers import AllWorkers
from proxeny.upstream.load_balancer import locality_config, slow_start
from proxeny.upstream.load_balancer.base import ZoneAwareLoadBalancer
from proxeny.upstream.load_balancer.contract import LbPolicy
from proxeny.upstream.load_balancer.pickers import (
    BusyWeight,
    LeastRequestPicker,
    LeastRequestScanPicker,
    OneHost,
    Picker,
    ScheduledPicker,
    weights_differ,
)
from proxeny.upstream.load_balancer.slow_start import SlowStart

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.host import Host
    from proxeny.upstream.load_balancer.base import Source
    from proxeny.upstream.load_balancer.contract import LbSetting
    from proxeny.upstream.load_balancer.locality_config import LocalityConfig
    from proxeny.upstream.load_balancer.slow_start import SlowStartConfig
    from proxeny.upstream.priority_set import HostSet

log = logging.getLogger("upstream")

DEFAULT_CHOICE_COUNT: Final = 2
"""LeastRequest.choice_count."""
_FULL_SCAN: Final = 1
"""LeastRequest.SelectionMethod."""
COUNT_PENDING_KEY: Final = "envoy.reloadable_features.least_request_lb_count_pending_requests"


@dataclass(slots=True, frozen=True)
class LeastRequest(LbPolicy):
    """The compiled policy."""

    choice_count: int = DEFAULT_CHOICE_COUNT
    active_request_bias: float = 1.0
    bias_key: str = ""
    full_scan: bool = False
    slow_start: SlowStartConfig | None = None
    locality: LocalityConfig = locality_config.DEFAULT
    kind: ClassVar[str] = "least_request"

    def create(self, setting: LbSetting) -> ZoneAwareLoadBalancer:
        """The load balancer of a worker."""
        return ZoneAwareLoadBalancer(setting, self.kind, LeastRequestMaker(self, setting.context), self.locality)


class LeastRequestMaker:
    """Asks runtime whenever hosts change, as Envoy."""

    __slots__ = ("_bias", "_context", "_pending", "_policy", "_slow_start", "_workers")

    def __init__(self, policy: LeastRequest, context: FactoryContext) -> None:
        self._policy = policy
        self._context = context
        self._workers = context.all_workers or AllWorkers()
        self._slow_start = None if policy.slow_start is None else SlowStart(policy.slow_start, context)
        self._bias = 1.0
        self._pending = False

    def begin(self, host_sets: list[HostSet]) -> None:
        """Hosts that are new begin their slow start."""
        bias = self._policy.active_request_bias
        runtime = self._context.runtime
        if runtime is not None:
            self._pending = runtime.get_boolean(COUNT_PENDING_KEY, False)
            if self._policy.bias_key:
                bias = runtime.get_float(self._policy.bias_key, bias)
        if bias < 0.0 or isnan(bias):
            log.error(
                "upstream: invalid active request bias supplied (runtime key %s), using 1.0", self._policy.bias_key
            )
            bias = 1.0
        self._bias = bias
        if self._slow_start is not None:
            for host_set in host_sets:
                self._slow_start.begin(host_set.hosts)

    def make(self, hosts: list[Host], source: Source) -> Picker:
        """A picker for these hosts."""
        if len(hosts) == 1:
            return OneHost(hosts[0])
        slow = self._slow_start if self._slow_start is not None and self._slow_start.is_on() else None
        if slow is not None or weights_differ(hosts):
            weight_of = BusyWeight(self._bias, self._workers, self._pending).of
            return ScheduledPicker(hosts, weight_of if slow is None else slow.slowed(weight_of))
        if self._policy.full_scan:
            return LeastRequestScanPicker(hosts, 2, self._workers, self._pending)
        return LeastRequestPicker(hosts, self._policy.choice_count, self._workers, self._pending)


DEFAULT: Final = LeastRequest()


class LeastRequestFactory:
    """The registered factory."""

    def compile(self, config: Any, cluster: Any, context: FactoryContext) -> LeastRequest:
        """``config``: a ``LeastRequest``."""
        full_scan = config.selection_method == _FULL_SCAN
        if config.HasField("enable_full_scan"):
            full_scan = config.enable_full_scan.value
        return replace(_shared_fields(config), full_scan=full_scan, locality=locality_config.of(config))

    def compile_legacy(self, cluster: Any, context: FactoryContext) -> LeastRequest:
        """``least_request_lb_config`` and ``common_lb_config``."""
        policy = DEFAULT
        if cluster.HasField("least_request_lb_config"):
            policy = _shared_fields(cluster.least_request_lb_config)
        if cluster.HasField("common_lb_config"):
            policy = replace(policy, locality=locality_config.compile_legacy(cluster))
        return policy


def _shared_fields(config: Any) -> LeastRequest:
    """What a ``LeastRequest`` and the older ``Cluster.LeastRequestLbConfig`` have in common."""
    values: dict[str, Any] = {"slow_start": slow_start.of(config)}
    if config.HasField("choice_count"):
        values["choice_count"] = config.choice_count.value
    if config.HasField("active_request_bias"):
        bias = config.active_request_bias
        values |= {"active_request_bias": bias.default_value, "bias_key": bias.runtime_key}
    return LeastRequest(**values)


FACTORY: Final = LeastRequestFactory()
