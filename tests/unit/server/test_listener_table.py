"""Listeners by name and address."""

from types import SimpleNamespace
from typing import Any

from proxeny.server.listener_table import ListenerTable


class Item:
    def __init__(self, name: str, *addresses: str) -> None:
        self.name = name
        self.config: Any = SimpleNamespace(addresses=addresses)


def names(found: Any) -> list[str]:
    return [item.name for item in found]


def test_found_by_address() -> None:
    table: ListenerTable[Item] = ListenerTable()
    for item in (Item("a", "x"), Item("b", "y", "z"), Item("c", "x")):
        table.put(item)
    assert names(table.sharing(SimpleNamespace(addresses=["x"]))) == ["a", "c"]
    assert names(table.sharing(SimpleNamespace(addresses=["z", "w"]))) == ["b"]
    table.drop("a")
    assert names(table.sharing(SimpleNamespace(addresses=["x"]))) == ["c"]
    assert table.drop("a") is None


def test_a_replacement_keeps_the_place_and_not_the_addresses() -> None:
    table: ListenerTable[Item] = ListenerTable()
    table.put(Item("a", "x"))
    table.put(Item("b", "y"))
    table.put(Item("a", "w", "w"))
    assert names(table.values()) == ["a", "b"]
    assert names(table.sharing(SimpleNamespace(addresses=["x"]))) == []
    assert names(table.sharing(SimpleNamespace(addresses=["w"]))) == ["a"]
    table.drop("a")
    assert names(table.sharing(SimpleNamespace(addresses=["w"]))) == []
    table.clear()
    assert not table
