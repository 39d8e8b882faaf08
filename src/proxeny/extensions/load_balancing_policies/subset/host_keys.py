"""Which subsets a host is in, by its metadata; metadata that hosts have in common is looked at once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

from proxeny.upstream.metadata_criteria import LB_NAMESPACE, struct_values, value_key

if TYPE_CHECKING:
    from proxeny.extensions.load_balancing_policies.subset.config import SubsetConfig
    from proxeny.upstream.host import Host

    SubsetKey = tuple[tuple[str, Hashable], ...]
    """Names and values, sorted by name: ``MetadataCriteria.pairs``."""


class HostKeys:
    """``keys``: by selector, the subsets of hosts with this metadata; ``in_default``: whether they are default ones."""

    __slots__ = ("in_default", "keys")

    def __init__(self, config: SubsetConfig, values: Mapping[str, Any]) -> None:
        lists = config.list_as_any
        self.keys = tuple([_subset_keys(selector.keys, values, lists) for selector in config.selectors])
        self.in_default = all([_matches(values, *wanted, lists) for wanted in config.default_subset.items()])


class HostKeyTable:
    """Of all hosts of a cluster."""

    __slots__ = ("_config", "_known")

    def __init__(self, config: SubsetConfig) -> None:
        self._config = config
        self._known: dict[bytes, HostKeys] = {}

    def begin(self) -> dict[bytes, HostKeys]:
        """Hosts changed: forget what is not asked for again; what was known."""
        known, self._known = self._known, {}
        return known

    def of(self, host: Host, known: Mapping[bytes, HostKeys]) -> HostKeys:
        """Those of a host; ``known`` is what ``begin`` gave."""
        metadata = host.entry.metadata
        found = self._known.get(metadata)
        if found is None:
            found = known.get(metadata)
            if found is None:
                struct = host.metadata.filter_metadata.get(LB_NAMESPACE) if metadata else None
                found = HostKeys(self._config, {} if struct is None else struct_values(struct))
            self._known[metadata] = found
        return found


def _subset_keys(names: tuple[str, ...], values: Mapping[str, Any], lists: bool) -> tuple[SubsetKey, ...]:
    """None where a name is missing; one for each combination where values are lists and ``lists`` says so.

    As in Envoy an empty list begins the combinations anew.
    """
    keys: list[SubsetKey] = []
    for name in names:
        if name not in values:
            return ()
        value = values[name]
        several = value if lists and isinstance(value, list) else (value,)
        pairs = [(name, value_key(one)) for one in several]
        keys = [(*key, pair) for key in keys for pair in pairs] if keys else [(pair,) for pair in pairs]
    return tuple(keys)


def _matches(values: Mapping[str, Any], name: str, wanted: Any, lists: bool) -> bool:
    if name not in values:
        return False
    value = values[name]
    several = value if lists and isinstance(value, list) else (value,)
    return value_key(wanted) in [value_key(one) for one in several]
