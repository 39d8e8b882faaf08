"""``envoy.load_balancing_policies.ring_hash`` and ``.maglev``: consistent hashing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from proxeny.http.hash_policy import compile_hash_policy
from proxeny.upstream.load_balancer.contract import LbPolicy
from proxeny.upstream.load_balancer.hash_table import MAGLEV, RING_HASH, HashingConfig
from proxeny.upstream.load_balancer.hashing import HashingLoadBalancer, stats_block

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.stats.store import Store
    from proxeny.upstream.load_balancer.contract import LbSetting

_SIZES: Final = {
    "minimum_ring_size": "min_ring_size",
    "maximum_ring_size": "max_ring_size",
    "table_size": "table_size",
}


@dataclass(slots=True, frozen=True)
class Hashing(LbPolicy):
    """What both have in common."""

    config: HashingConfig
    shows_members: ClassVar[bool] = True

    def create(self, setting: LbSetting) -> HashingLoadBalancer:
        """The load balancer of a worker."""
        return HashingLoadBalancer(setting, self.kind, self.config)

    def allot(self, store: Store, prefix: str) -> None:
        """The gauges of the table."""
        stats_block(self.kind, store, prefix)

    def show_members(self, setting: LbSetting) -> None:
        """Build what the workers will, for the sizes of it."""
        balancer = self.create(setting)
        balancer.refresh()
        balancer.show_sizes(stats_block(self.kind, setting.context.stats, setting.info.stat_prefix))
        balancer.close()


class RingHash(Hashing):
    """A ring."""

    __slots__ = ()

    kind: ClassVar[str] = RING_HASH


class Maglev(Hashing):
    """A table."""

    __slots__ = ()

    kind: ClassVar[str] = MAGLEV


class HashingFactory:
    """The registered factory of one of both."""

    def __init__(self, policy: type[Hashing]) -> None:
        self._policy = policy
        self._kind = policy.kind

    def compile(self, config: Any, cluster: Any, context: FactoryContext) -> LbPolicy:
        """``config``: a ``RingHash`` or ``Maglev``."""
        common = config.consistent_hashing_lb_config
        if self._kind == RING_HASH and not config.HasField("consistent_hashing_lb_config"):
            # Where these fields were before.
            common = config
        return self._compile(config, common, config)

    def compile_legacy(self, cluster: Any, context: FactoryContext) -> LbPolicy:
        """``ring_hash_lb_config`` or ``maglev_lb_config``, and ``common_lb_config``."""
        config = getattr(cluster, f"{self._kind}_lb_config")
        common = cluster.common_lb_config
        return self._compile(config, common.consistent_hashing_lb_config, common)

    def _compile(self, config: Any, common: Any, locality: Any) -> LbPolicy:
        """``common``: what has the settings of both; ``locality``: what may ask for weights of localities."""
        settings: dict[str, Any] = {}
        for field, name in _SIZES.items():
            if field in config.DESCRIPTOR.fields_by_name and config.HasField(field):
                settings[name] = getattr(config, field).value
        if self._kind == RING_HASH:
            functions = config.DESCRIPTOR.fields_by_name["hash_function"].enum_type.values_by_number
            settings["murmur"] = functions[config.hash_function].name == "MURMUR_HASH_2"
        settings["locality_weighted"] = locality.HasField("locality_weighted_lb_config")
        settings["use_hostname"] = common.use_hostname_for_hashing
        if common.HasField("hash_balance_factor"):
            settings["balance_factor"] = common.hash_balance_factor.value
        if "hash_policy" in common.DESCRIPTOR.fields_by_name:
            settings["hash_policy"] = compile_hash_policy(common.hash_policy)
        hashing = HashingConfig(**settings)
        hashing.check(self._kind)
        return self._policy(hashing)


RING_HASH_FACTORY: Final = HashingFactory(RingHash)
MAGLEV_FACTORY: Final = HashingFactory(Maglev)
