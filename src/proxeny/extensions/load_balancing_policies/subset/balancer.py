"""Chooses a subset by what is asked of endpoint metadata, and lets that choose (Envoy: ``SubsetLoadBalancer``).

Subsets are found by all names and values that are asked for at once: one look-up, however many there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.extensions.load_balancing_policies.subset.config import Fallback, Selector, SelectorFallback
from proxeny.extensions.load_balancing_policies.subset.host_keys import HostKeyTable
from proxeny.extensions.load_balancing_policies.subset.subsets import BalancedSubset, SingleHostSubset, Subset
from proxeny.upstream.load_balancer import priority_load
from proxeny.upstream.load_balancer.base import choose_none
from proxeny.upstream.stats import LB_SUBSETS_FALLBACK, LB_SUBSETS_FALLBACK_PANIC, LB_SUBSETS_SELECTED

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.extensions.load_balancing_policies.subset.config import SubsetConfig
    from proxeny.extensions.load_balancing_policies.subset.host_keys import SubsetKey
    from proxeny.upstream.host import Host
    from proxeny.upstream.load_balancer.contract import DetermineLoad, LbSetting
    from proxeny.upstream.metadata_criteria import MetadataCriteria

FALLBACK_LIST: Final = "fallback_list"
"""The name among criteria whose value lists others, to be tried one after the other."""


class NarrowedContext:
    """An ``LbContext`` that asks for other metadata."""

    __slots__ = ("_context", "metadata_match")

    def __init__(self, context: Any, metadata_match: MetadataCriteria) -> None:
        self._context = context
        self.metadata_match = metadata_match

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


class Members:
    """The hosts of every subset, and of the two that fallbacks need."""

    __slots__ = ("any", "collisions", "default", "of")

    def __init__(self) -> None:
        self.of: dict[SubsetKey, tuple[Selector, list[Host]]] = {}
        self.any: list[Host] = []
        self.default: list[Host] = []
        self.collisions = 0
        """How many hosts of the last priority have no place in a subset of one host that another one takes."""


def divide(config: SubsetConfig, table: HostKeyTable, host_sets: list[list[Host]]) -> Members:
    """Put hosts into subsets; ``host_sets``: by priority."""
    members = Members()
    known = table.begin()
    for hosts in host_sets:
        members.collisions = 0
        members.any += hosts
        taken: set[SubsetKey] = set()
        for host in hosts:
            own = table.of(host, known)
            if own.in_default:
                members.default.append(host)
            for selector, keys in zip(config.selectors, own.keys, strict=True):
                for key in keys:
                    first, found = members.of.setdefault(key, (selector, []))
                    if not first.single_host:
                        if not found or found[-1] is not host:
                            found.append(host)
                    elif key in taken:
                        members.collisions += 1
                    else:
                        taken.add(key)
                        found.append(host)
    return members


class SubsetLoadBalancer:
    """The load balancer of one cluster in one worker."""

    __slots__ = (
        "_any", "_config", "_default", "_fallback", "_keys", "_selector_fallbacks", "_setting", "_stats", "_subsets",
        "choose_host", "kind",
    )  # fmt: skip

    def __init__(self, setting: LbSetting, kind: str, config: SubsetConfig) -> None:
        self.kind = kind
        self._config = config
        self._setting = setting
        self._stats = setting.info.stats
        self._keys = HostKeyTable(config)
        self._subsets: dict[SubsetKey, Subset] = {}
        self._selector_fallbacks = config.selector_fallbacks()
        fallbacks = {selector.fallback for selector in self._selector_fallbacks.values()}
        needs_any = config.panic_mode_any or config.fallback is Fallback.ANY_ENDPOINT
        needs_default = config.fallback is Fallback.DEFAULT_SUBSET
        self._any: Subset | None = None
        self._default: Subset | None = None
        if needs_any or SelectorFallback.ANY_ENDPOINT in fallbacks:
            self._any = BalancedSubset(config, setting)
        if needs_default or SelectorFallback.DEFAULT_SUBSET in fallbacks:
            self._default = BalancedSubset(config, setting)
        by_policy = {Fallback.ANY_ENDPOINT: self._any, Fallback.DEFAULT_SUBSET: self._default}
        self._fallback = by_policy.get(config.fallback)
        self.choose_host: Callable[[Any], Host | None] = self._choose

    def refresh(self) -> None:
        """The hosts, their health, their weights or their metadata changed."""
        host_sets = [host_set.hosts for host_set in self._setting.priority_set.host_sets]
        members = divide(self._config, self._keys, host_sets)
        if self._any is not None:
            self._any.update(members.any)
        if self._default is not None:
            self._default.update(members.default)
        old, self._subsets = self._subsets, {}
        for key, (selector, hosts) in members.of.items():
            subset = old.pop(key, None) or self._new_subset(selector)
            subset.update(hosts)
            self._subsets[key] = subset
        for gone in old.values():
            gone.close()

    def _new_subset(self, selector: Selector) -> Subset:
        return SingleHostSubset() if selector.single_host else BalancedSubset(self._config, self._setting)

    def _choose(self, context: Any) -> Host | None:
        return self._choose_from_list(context, None)

    def choose_host_by(self, determine: DetermineLoad, context: Any) -> Host | None:
        """The subset is the same; within it the loads are others."""
        return self._choose_from_list(context, determine)

    def _choose_from_list(self, context: Any, determine: DetermineLoad | None) -> Host | None:
        criteria: MetadataCriteria | None = None if context is None else context.metadata_match
        if criteria is None or not self._config.metadata_fallback or FALLBACK_LIST not in criteria.values:
            return self._choose_once(context, criteria, determine)
        others = criteria.values[FALLBACK_LIST]
        criteria = criteria.only(criteria.values.keys() - {FALLBACK_LIST})
        if not isinstance(others, list) or not others:
            return self._choose_once(context, criteria, determine)
        for other in others:
            merged = criteria.merged(other if isinstance(other, dict) else {})
            host = self._choose_once(context, merged, determine)
            if host is not None:
                return host
        return None

    def _choose_once(
        self, context: Any, criteria: MetadataCriteria | None, determine: DetermineLoad | None
    ) -> Host | None:
        if criteria is not None:
            used = self._without_redundant(criteria) if self._config.allow_redundant_keys else criteria
            subset = self._subsets.get(used.pairs)
            if subset is not None:
                self._count(LB_SUBSETS_SELECTED, context)
                return subset.choose(_asking(context, used), determine)
            selector = self._selector_fallbacks.get(tuple([name for name, _ in used.pairs]))
            if selector is not None and selector.fallback is not SelectorFallback.NOT_DEFINED:
                return self._fall_back(selector, context, used, determine)
            context = _asking(context, criteria)
        host = None if self._fallback is None else self._fallback.choose(context, determine)
        if host is not None:
            self._count(LB_SUBSETS_FALLBACK, context)
        elif self._fallback is not None and self._config.panic_mode_any and self._any is not None:
            host = self._any.choose(context, determine)
            if host is not None:
                self._count(LB_SUBSETS_FALLBACK_PANIC, context)
        return host

    def _count(self, slot: int, context: Any) -> None:
        """Once for every choice, however many of its hosts are declined (``retry_host_predicate``)."""
        if context is None or not context.host_selection_attempt:
            self._stats.inc(slot)

    def _without_redundant(self, criteria: MetadataCriteria) -> MetadataCriteria:
        """What is asked for by the keys of the first selector that has all of its keys in it."""
        for selector in self._config.selectors:
            if criteria.values.keys() >= set(selector.keys):
                return criteria.only(selector.keys)
        return criteria

    def _fall_back(
        self, selector: Selector, context: Any, criteria: MetadataCriteria, determine: DetermineLoad | None
    ) -> Host | None:
        """Where the selector has no subset of the values that are asked for."""
        if selector.fallback is SelectorFallback.KEYS_SUBSET:
            return self._choose_once(context, criteria.only(selector.fallback_keys), determine)
        subset = {
            SelectorFallback.ANY_ENDPOINT: self._any,
            SelectorFallback.DEFAULT_SUBSET: self._default,
        }.get(selector.fallback)
        return None if subset is None else subset.choose(_asking(context, criteria), determine)

    def statistics(self) -> dict[str, Any]:
        """For admin pages: loads as they would be for all hosts together."""
        setting = self._setting
        load = priority_load.calculate(setting.priority_set.host_sets, setting.panic_threshold())
        return {
            "policy": self.kind,
            "subsets": len(self._subsets),
            "healthy_load": load.healthy,
            "degraded_load": load.degraded,
            "panic": load.panic,
        }

    def close(self) -> None:
        """Nothing refers back to hosts any more."""
        for subset in (self._any, self._default, *self._subsets.values()):
            if subset is not None:
                subset.close()
        self._subsets = {}
        self._keys.begin()
        self._fallback = None
        self.choose_host = choose_none


def _asking(context: Any, criteria: MetadataCriteria) -> Any:
    """The context, asking for these criteria."""
    return context if context.metadata_match is criteria else NarrowedContext(context, criteria)
