"""``envoy.load_balancing_policies.subset``: requests ask for hosts by endpoint metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from proxeny.extensions.load_balancing_policies.subset.balancer import SubsetLoadBalancer, divide
from proxeny.extensions.load_balancing_policies.subset.config import SubsetConfig, compile_config
from proxeny.extensions.load_balancing_policies.subset.host_keys import HostKeyTable
from proxeny.stats.schema import Schema
from proxeny.upstream.load_balancer.contract import LbPolicy
from proxeny.upstream.load_balancer.policy import compile_children, legacy_factory
from proxeny.upstream.stats import LB_SUBSETS_ACTIVE, LB_SUBSETS_CREATED, LB_SUBSETS_REMOVED

if TYPE_CHECKING:
    from proxeny.extensions.load_balancing_policies.subset.host_keys import SubsetKey
    from proxeny.network.factory_context import FactoryContext
    from proxeny.stats.store import Store
    from proxeny.upstream.load_balancer.contract import LbSetting

DUPLICATES: Final = Schema("lb_subsets", gauges=("lb_subsets_single_host_per_subset_duplicate",))
DUPLICATE_SLOT: Final = DUPLICATES.slot("lb_subsets_single_host_per_subset_duplicate")


class SubsetPolicy(LbPolicy):
    """The compiled policy."""

    __slots__ = ("_shown", "config")

    kind: ClassVar[str] = "subset"
    shows_members: ClassVar[bool] = True

    def __init__(self, config: SubsetConfig) -> None:
        self.config = config
        self._shown: frozenset[SubsetKey] = frozenset()
        """In main: the subsets that the statistics tell of."""

    def create(self, setting: LbSetting) -> SubsetLoadBalancer:
        """The load balancer of a worker."""
        return SubsetLoadBalancer(setting, self.kind, self.config)

    def allot(self, store: Store, prefix: str) -> None:
        """Besides those of every cluster: what single hosts need, and what the child has."""
        store.block(DUPLICATES, prefix)
        self.config.child.allot(store, prefix)

    def show_members(self, setting: LbSetting) -> None:
        """Subsets are counted once per worker and once for main, as Envoy's threads each have their own."""
        host_sets = [host_set.hosts for host_set in setting.priority_set.host_sets]
        members = divide(self.config, HostKeyTable(self.config), host_sets)
        found = frozenset(members.of)
        threads = setting.context.concurrency + 1
        stats = setting.info.stats
        stats.add(LB_SUBSETS_CREATED, threads * len(found - self._shown))
        stats.add(LB_SUBSETS_REMOVED, threads * len(self._shown - found))
        stats.set(LB_SUBSETS_ACTIVE, threads * len(found))
        setting.context.stats.block(DUPLICATES, setting.info.stat_prefix).set(DUPLICATE_SLOT, members.collisions)
        self._shown = found
        if self.config.child.shows_members:
            self.config.child.show_members(setting)


class SubsetFactory:
    """The registered factory."""

    def compile(self, config: Any, cluster: Any, context: FactoryContext) -> SubsetPolicy:
        """``config``: a ``Subset``."""
        child = compile_children(config.subset_lb_policy, cluster, context)
        return SubsetPolicy(compile_config(config, child))

    def compile_legacy(self, cluster: Any, context: FactoryContext) -> SubsetPolicy:
        """``lb_subset_config``, over the policy that ``lb_policy`` names."""
        child = legacy_factory(cluster).compile_legacy(cluster, context)
        return SubsetPolicy(compile_config(cluster.lb_subset_config, child))


FACTORY: Final = SubsetFactory()
