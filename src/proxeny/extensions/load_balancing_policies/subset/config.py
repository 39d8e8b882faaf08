"""Subset settings: of the extension ``Subset``, or of the older ``Cluster.lb_subset_config``; both have the same fields
(Envoy: ``LoadBalancerSubsetInfo``)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from proxeny.config.errors import ConfigError
from proxeny.upstream.metadata_criteria import struct_values

if TYPE_CHECKING:
    from proxeny.upstream.load_balancer.contract import LbPolicy

    Names = tuple[str, ...]


class Fallback(IntEnum):
    """``LbSubsetFallbackPolicy``: what serves requests that ask for no subset that there is."""

    NONE = 0
    ANY_ENDPOINT = 1
    DEFAULT_SUBSET = 2


class SelectorFallback(IntEnum):
    """``LbSubsetSelectorFallbackPolicy``: the same for requests that ask by the keys of one selector."""

    NOT_DEFINED = 0
    NONE = 1
    ANY_ENDPOINT = 2
    DEFAULT_SUBSET = 3
    KEYS_SUBSET = 4


@dataclass(slots=True, frozen=True)
class Selector:
    """Hosts with the same values of these keys are a subset."""

    keys: Names
    """Sorted."""
    fallback: SelectorFallback = SelectorFallback.NOT_DEFINED
    fallback_keys: frozenset[str] = frozenset()
    single_host: bool = False


@dataclass(slots=True, frozen=True)
class SubsetConfig:
    """Compiled."""

    child: LbPolicy
    """Chooses within a subset."""
    selectors: tuple[Selector, ...]
    fallback: Fallback
    default_subset: dict[str, Any]
    metadata_fallback: bool
    """Criteria may bring a list of others to try (FALLBACK_LIST)."""
    locality_weight_aware: bool
    scale_locality_weight: bool
    panic_mode_any: bool
    list_as_any: bool
    allow_redundant_keys: bool

    def selector_fallbacks(self) -> dict[Names, Selector]:
        """By the names that a request asks by.

        As Envoy has it in a tree: the first selector of its keys counts, and none whose keys begin those of an earlier
        one.
        """
        known: set[Names] = set()
        found: dict[Names, Selector] = {}
        for selector in self.selectors:
            if selector.keys not in known:
                found[selector.keys] = selector
            known.update([selector.keys[: end + 1] for end in range(len(selector.keys))])
        return found


def compile_config(message: Any, child: LbPolicy) -> SubsetConfig:
    """Of a ``Subset`` or ``LbSubsetConfig``; ConfigError in Envoy's words."""
    selectors = [_selector(one) for one in message.subset_selectors if one.keys]
    redundant = getattr(message, "allow_redundant_keys", False)
    if redundant:
        selectors.sort(key=lambda selector: -len(selector.keys))
    return SubsetConfig(
        child=child,
        selectors=tuple(selectors),
        fallback=Fallback(message.fallback_policy),
        default_subset=struct_values(message.default_subset),
        metadata_fallback=message.metadata_fallback_policy == 1,
        locality_weight_aware=message.locality_weight_aware,
        scale_locality_weight=message.scale_locality_weight,
        panic_mode_any=message.panic_mode_any,
        list_as_any=message.list_as_any,
        allow_redundant_keys=redundant,
    )


def _selector(message: Any) -> Selector:
    keys, fallback_keys = frozenset(message.keys), frozenset(message.fallback_keys_subset)
    fallback = SelectorFallback(message.fallback_policy)
    if fallback is not SelectorFallback.KEYS_SUBSET:
        if fallback_keys:
            raise ConfigError("fallback_keys_subset can be set only for KEYS_SUBSET fallback_policy")
    elif not fallback_keys:
        raise ConfigError("fallback_keys_subset cannot be empty")
    elif not fallback_keys <= keys:
        raise ConfigError("fallback_keys_subset must be a subset of selector keys")
    elif fallback_keys == keys:
        raise ConfigError("fallback_keys_subset cannot be equal to keys")
    return Selector(tuple(sorted(keys)), fallback, fallback_keys, message.single_host_per_subset)
