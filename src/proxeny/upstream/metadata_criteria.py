"""What a route or connection asks of an endpoint's metadata (Envoy: ``Router::MetadataMatchCriteria``): names and
values of the namespace ``envoy.lb``, sorted by name."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Any, Final

LB_NAMESPACE: Final = "envoy.lb"


class MetadataCriteria:
    """``pairs``: (name, key of the value) in the order of names; ``values``: the values themselves."""

    __slots__ = ("pairs", "values")

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self.pairs: tuple[tuple[str, Hashable], ...] = tuple(
            [(name, value_key(values[name])) for name in sorted(values)]
        )

    def merged(self, more: Mapping[str, Any]) -> MetadataCriteria:
        """These, with ``more`` added to them or in their place."""
        return MetadataCriteria({**self.values, **more})

    def only(self, names: Collection[str]) -> MetadataCriteria:
        """Those of some names."""
        return MetadataCriteria({name: value for name, value in self.values.items() if name in names})

    def __repr__(self) -> str:
        return f"MetadataCriteria({self.values!r})"


def criteria_of(metadata: Any) -> MetadataCriteria | None:
    """From a core.v3.Metadata; None where it says nothing of load balancing."""
    struct = metadata.filter_metadata.get(LB_NAMESPACE)
    return None if struct is None else MetadataCriteria(struct_values(struct))


def with_dynamic(criteria: MetadataCriteria | None, metadata: Mapping[str, Any] | None) -> MetadataCriteria | None:
    """The criteria of a route or proxy, over which dynamic ``metadata`` of the request or connection goes."""
    found = None if metadata is None else metadata.get(LB_NAMESPACE)
    if found is None:
        return criteria
    return MetadataCriteria(found) if criteria is None else criteria.merged(found)


def value_key(value: Any) -> Hashable:
    """Equal for equal values of metadata, and different for what only Python takes for equal (``True`` and 1)."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None:
        return ("constant", str(value))
    if isinstance(value, (int, float)):
        return ("number", float(value))
    if isinstance(value, Mapping):
        return ("struct", frozenset([(name, value_key(one)) for name, one in value.items()]))
    return ("list", tuple([value_key(one) for one in value]))


def struct_values(struct: Any) -> dict[str, Any]:
    """A ``google.protobuf.Struct`` as a dictionary."""
    return {name: _plain(value) for name, value in struct.fields.items()}


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return value.string_value
    if kind == "number_value":
        return value.number_value
    if kind == "bool_value":
        return value.bool_value
    if kind == "struct_value":
        return struct_values(value.struct_value)
    if kind == "list_value":
        return [_plain(one) for one in value.list_value.values]
    return None
