"""Providers: who hears of another table, and for how long."""

from typing import Any

from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from proxeny.router.rds.provider import RouteConfigProvider, key_of


class User:
    def __init__(self) -> None:
        self.tables: list[Any] = []

    def use_routes(self, table: Any) -> None:
        self.tables.append(table)


def test_users_get_what_holds_and_what_comes() -> None:
    provider = RouteConfigProvider("k", "r")
    first, second = User(), User()
    provider.attach(first)
    one: Any = object()
    provider.exchange(one)
    provider.attach(second)
    two: Any = object()
    provider.exchange(two)
    assert first.tables == [None, one, two]
    assert second.tables == [one, two]
    assert provider.current is two


def test_the_last_user_that_goes_is_told_of() -> None:
    unused: list[RouteConfigProvider] = []
    provider = RouteConfigProvider("k", "r", unused.append)
    assert not provider.is_used
    first, second = User(), User()
    provider.attach(first)
    provider.attach(second)
    del first
    assert unused == []
    assert provider.is_used
    del second
    assert unused == [provider]
    assert not provider.is_used


def test_the_key_is_that_of_the_whole_message() -> None:
    def rds(name: str, path: str) -> Any:
        made = http_connection_manager_pb2.Rds(route_config_name=name)
        made.config_source.path_config_source.path = path
        return made

    assert key_of(rds("a", "/x")) == key_of(rds("a", "/x"))
    assert key_of(http_connection_manager_pb2.ScopedRds()) != key_of(http_connection_manager_pb2.Rds())
    assert len({key_of(rds("a", "/x")), key_of(rds("b", "/x")), key_of(rds("a", "/y"))}) == 3
