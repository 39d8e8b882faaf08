"""``envoy.load_balancing_policies.least_request``: the least busy of some hosts, by weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from proxeny.config.errors import UnsupportedFieldError
from proxeny.upstream.load_balancer.base import ZoneAwareLoadBalancer
from proxeny.upstream.load_balancer.contract import LbPolicy
from proxeny.upstream.load_balancer.pickers import (
    LeastRequestPicker,
    LeastRequestScanPicker,
    NoHost,
    OneHost,
    Picker,
    WeightedLeastRequestPicker,
    weights_differ,
)

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.host import Host
    from proxeny.upstream.load_balancer.contract import LbSetting

DEFAULT_CHOICE_COUNT: Final = 2
"""LeastRequest.choice_count."""
_FULL_SCAN: Final = 1
"""LeastRequest.SelectionMethod."""


@dataclass(slots=True, frozen=True)
class LeastRequest(LbPolicy):
    """The compiled policy."""

    choice_count: int = DEFAULT_CHOICE_COUNT
    active_request_bias: float = 1.0
    full_scan: bool = False
    kind: ClassVar[str] = "least_request"

    def create(self, setting: LbSetting) -> ZoneAwareLoadBalancer:
        """The load balancer of a worker."""
        return ZoneAwareLoadBalancer(setting, self.kind, self.make_picker)

    def make_picker(self, hosts: list[Host]) -> Picker:
        """The cheapest that is right for these hosts."""
        if len(hosts) < 2:
            return OneHost(hosts[0]) if hosts else NoHost()
        if weights_differ(hosts):
            return WeightedLeastRequestPicker(hosts, self.active_request_bias)
        return LeastRequestScanPicker(hosts) if self.full_scan else LeastRequestPicker(hosts, self.choice_count)


DEFAULT: Final = LeastRequest()


class LeastRequestFactory:
    """The registered factory."""

    def compile(self, config: Any, cluster: Any, context: FactoryContext) -> LeastRequest:
        """``config``: a ``LeastRequest``, or the older ``Cluster.LeastRequestLbConfig``."""
        if config.HasField("slow_start_config"):
            raise UnsupportedFieldError("slow_start_config is not supported yet")
        values: dict[str, Any] = {}
        if config.HasField("choice_count"):
            values["choice_count"] = config.choice_count.value
        if config.HasField("active_request_bias"):
            values["active_request_bias"] = config.active_request_bias.default_value
        if getattr(config, "selection_method", 0) == _FULL_SCAN:
            values["full_scan"] = True
        if "enable_full_scan" in config.DESCRIPTOR.fields_by_name and config.HasField("enable_full_scan"):
            values["full_scan"] = config.enable_full_scan.value
        return LeastRequest(**values) if values else DEFAULT

    def compile_legacy(self, cluster: Any, context: FactoryContext) -> LeastRequest:
        """``least_request_lb_config``."""
        if not cluster.HasField("least_request_lb_config"):
            return DEFAULT
        return self.compile(cluster.least_request_lb_config, cluster, context)


FACTORY: Final = LeastRequestFactory()
