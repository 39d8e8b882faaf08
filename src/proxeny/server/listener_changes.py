"""What differs between two generations of a listener (Envoy: ``ListenerMessageUtil``)."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.message import Message

CHAIN_FIELDS: Final = frozenset(("filter_chains", "default_filter_chain", "filter_chain_matcher"))


def filter_chain_only_change(old: Any, new: Any) -> bool:
    """Whether two Listener messages differ in nothing but their filter chains.

    Unset fields equal their defaults, and the order in lists does not count, as in Envoy.
    """
    return _equivalent(old, new, CHAIN_FIELDS)


def removed_chains(old: Any, new: Any) -> int:
    """How many chains of ``old`` are not in ``new``: their connections have to go."""
    gone = len(_contents(old.filter_chains) - _contents(new.filter_chains))
    if old.HasField("default_filter_chain"):
        kept = new.HasField("default_filter_chain") and (
            _contents([old.default_filter_chain]) == _contents([new.default_filter_chain])
        )
        gone += not kept
    return gone


def _contents(chains: Any) -> set[bytes]:
    return {chain.SerializeToString(deterministic=True) for chain in chains}


def _equivalent(one: Any, other: Any, ignored: frozenset[str] = frozenset()) -> bool:
    fields = {field.name: field for message in (one, other) for field, _ in message.ListFields()}
    return all(_field_equivalent(one, other, field) for name, field in fields.items() if name not in ignored)


def _field_equivalent(one: Any, other: Any, field: Any) -> bool:
    left, right = getattr(one, field.name), getattr(other, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return left.keys() == right.keys() and all(_value_equivalent(left[key], right[key]) for key in left)
    if field.is_repeated:
        return _same_items(list(left), list(right))
    return _value_equivalent(left, right)


def _value_equivalent(left: Any, right: Any) -> bool:
    return _equivalent(left, right) if isinstance(left, Message) else bool(left == right)


def _same_items(left: list[Any], right: list[Any]) -> bool:
    if len(left) != len(right):
        return False
    for item in left:
        found = next((index for index, candidate in enumerate(right) if _value_equivalent(item, candidate)), None)
        if found is None:
            return False
        del right[found]
    return True
