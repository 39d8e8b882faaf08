"""Main's scopes: what workers are told, which routes are subscribed to, what is refused."""

from collections.abc import Iterator
from typing import Any

import pytest
from envoy.config.route.v3 import scoped_route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from google.protobuf.json_format import ParseDict
from tests.unit.router.rds.rds_setup import Setup, User, resource, routes

from proxeny.config.errors import ConfigError
from proxeny.router.rds.scoped_subscription import ROUTE_TYPE, ScopedRdsSubscription
from proxeny.router.rds.stats import SCOPED_RDS
from proxeny.xds.subscription import FailureReason

PREFIX = "http.web.scoped_rds.s."
CLUSTER = {"name": "counted", "headers": [{"name": ":path", "present_match": True}]}


class ScopedUser:
    def __init__(self, provider: Any) -> None:
        self.provider = provider
        provider.attach(self)

    def use_routes(self, table: Any) -> None:
        """It looks its tables up."""


class Scoped(Setup):
    def __init__(self) -> None:
        super().__init__()
        message = http_connection_manager_pb2.ScopedRoutes(name="s")
        message.scoped_rds.scoped_rds_config_source.path_config_source.path = "/scopes"
        message.rds_config_source.path_config_source.path = "/routes"
        self.message = message
        self.users: list[Any] = [self.scoped_user()]
        self.done: list[int] = []
        self.init.initialize(lambda: self.done.append(1))

    def scoped_user(self) -> ScopedUser:
        return ScopedUser(self.manager.scoped_provider(self.message, "http.web.", self.init))

    @property
    def subscription(self) -> ScopedRdsSubscription:
        [found] = self.manager.scoped_subscriptions()
        return found

    def put(self, *scopes: Any, version: str = "1") -> None:
        callbacks = self.xds.subscriptions[0].callbacks
        callbacks.on_config_update([resource(one, version) for one in scopes], version)

    def answer(self, number: int, name: str, **more: Any) -> None:
        """To the subscription to a route configuration, by its number among these."""
        self.xds.subscriptions[1 + number].callbacks.on_config_update([resource(routes(name, **more))], "r")

    def gauges(self) -> dict[str, int]:
        names = ("all_scopes", "active_scopes", "on_demand_scopes", "config_reload")
        return {name: self.stat(SCOPED_RDS, PREFIX, name) for name in names}


@pytest.fixture
def scoped() -> Iterator[Scoped]:
    made = Scoped()
    yield made
    made.close()


def scope(name: str, *keys: str, to: str = "", **more: Any) -> Any:
    key = {"fragments": [{"string_key": one} for one in keys]}
    fields = {"name": name, "key": key, **({"route_configuration_name": to} if to else {}), **more}
    return ParseDict(fields, scoped_route_pb2.ScopedRouteConfiguration())


def test_a_listener_waits_for_scopes_and_their_routes(scoped: Scoped) -> None:
    assert scoped.init.unready() == ["target ConfigSubscriptionCommonBase init target 'SRDS'"]
    scoped.put(scope("a", "x", to="ra"), scope("b", "y", to="rb"), scope("c", "z", to="ra"))
    assert [one.started for one in scoped.xds.subscriptions] == [[[]], [["ra"]], [["rb"]]]
    assert scoped.events == ["scopes - +x y z"]
    scoped.answer(0, "ra")
    assert not scoped.done
    scoped.answer(1, "rb")
    assert scoped.done
    assert scoped.gauges() == {"all_scopes": 3, "active_scopes": 3, "on_demand_scopes": 0, "config_reload": 1}
    tables = {key: one.current and one.current.name for key, one in scoped.users[0].provider.scopes.items()}
    assert tables == {(b"x",): "ra", (b"y",): "rb", (b"z",): "ra"}


def test_routes_are_requested_together(scoped: Scoped) -> None:
    paused: list[list[str]] = []
    subscribe = scoped.xds.subscribe

    def watch(*arguments: Any, **more: Any) -> Any:
        paused.append(list(scoped.xds.paused))
        return subscribe(*arguments, **more)

    scoped.xds.subscribe = watch
    scoped.put(scope("a", "x", to="ra"), scope("b", "y", to="rb"))
    assert paused == [[ROUTE_TYPE], [ROUTE_TYPE]]


def test_what_comes_later_is_not_waited_for(scoped: Scoped) -> None:
    scoped.put()
    assert scoped.done
    scoped.put(scope("a", "x", to="ra"))
    assert scoped.xds.subscriptions[1].started == [["ra"]]


def test_scopes_change_and_go(scoped: Scoped) -> None:
    scoped.put(scope("a", "x", to="ra"), scope("b", "y", to="rb"))
    scoped.events.clear()
    scoped.put(scope("a", "x", to="ra"), scope("b", "y", to="rc"))
    assert scoped.events == ["scopes - +y"]
    scoped.put(scope("a", "y", to="ra"), scope("b", "x", to="rc"))
    assert scoped.events[1:] == ["scopes - +y x"]  # keys may change places
    scoped.put(scope("b", "z", to="rc"))
    assert scoped.events[2:] == ["scopes -y +", "scopes -x +z"]
    scoped.turn()
    assert [one.closed for one in scoped.xds.subscriptions[1:]] == [True, True, False]
    assert scoped.events[4:] == ["unused rb", "unused ra"] or scoped.events[4:] == ["unused ra", "unused rb"]


def test_an_added_scope_may_have_the_routes_of_one_that_goes(scoped: Scoped) -> None:
    scoped.put(scope("a", "x", to="ra"))
    scoped.put(scope("b", "y", to="ra"))
    scoped.turn()
    assert [one.closed for one in scoped.xds.subscriptions] == [False, False]


def test_deltas(scoped: Scoped) -> None:
    callbacks = scoped.xds.subscriptions[0].callbacks
    callbacks.on_config_delta([resource(scope("a", "x", to="ra")), resource(scope("b", "y", to="rb"))], [], "1")
    callbacks.on_config_delta([resource(scope("c", "z", to="rc"))], ["a", "unknown"], "2")
    assert list(scoped.subscription.scopes) == ["b", "c"]
    assert scoped.subscription.version_info == "2"
    before = scoped.subscription.last_updated
    callbacks.on_config_delta([resource(scope("c", "z", to="rc"))], [], "3")
    assert scoped.subscription.version_info == "2"
    assert scoped.subscription.last_updated == before


REFUSED = {
    "Error adding/updating scoped route(s): duplicate scoped route configuration 'a' found": [
        scope("a", "x", to="ra"),
        scope("a", "y", to="ra"),
    ],
    "Error adding/updating scoped route(s): scope key conflict found, first scope is 'a', second scope is 'b'": [
        scope("a", "x", to="ra"),
        scope("b", "x", to="ra"),
    ],
    "route_configuration_name is empty.": [scope("a", "x"), scope("b", "y", to="ra")],
}


@pytest.mark.parametrize("words", REFUSED)
def test_refusals(scoped: Scoped, words: str) -> None:
    scoped.put(scope("a", "x", to="ra"), scope("b", "y", to="rb"), scope("c", "z", to="rc"))
    with pytest.raises(ConfigError) as error:
        scoped.put(*REFUSED[words])
    assert str(error.value) == words
    # Of what cannot be added the removals count all the same, as in Envoy.
    left = ["a", "b"] if "empty" in words else ["a", "b", "c"]
    assert list(scoped.subscription.scopes) == left
    assert scoped.gauges()["config_reload"] == 1
    scoped.turn()
    assert scoped.xds.subscriptions[3].closed is ("empty" in words)


def test_routes_within_a_scope(scoped: Scoped) -> None:
    inline = {"name": "own", "virtual_hosts": [{"name": "v", "domains": ["*"]}]}
    scoped.put(scope("a", "x", route_configuration=inline))
    assert scoped.events == ["change ", "scopes - +x"]
    [held] = scoped.users[0].provider.scopes.values()
    assert held.current.name == "own"
    assert scoped.manager.held(held.key).name == "own"
    scoped.put()
    assert scoped.events[2:] == ["scopes -x +", "unused own"]
    assert scoped.manager.held(held.key) is None


def test_routes_within_scopes_are_taken_together_or_not_at_all(scoped: Scoped) -> None:
    def inline(name: str, *domains: str) -> Any:
        hosts = [{"name": name, "domains": [one], "virtual_clusters": [CLUSTER]} for one in domains]
        return {"name": name, "virtual_hosts": hosts}

    scoped.put(scope("a", "x", route_configuration=inline("first", "*")))
    scoped.events.clear()
    entries = set(scoped.store.entries)
    bad = scope("b", "y", route_configuration=inline("bad", "*", "*"))
    with pytest.raises(ConfigError, match="Only a single wildcard domain"):
        scoped.put(scope("a", "x", route_configuration=inline("second", "*")), bad)
    assert scoped.events == []
    [held] = scoped.users[0].provider.scopes.values()
    assert held.current.name == scoped.manager.held(held.key).name == "first"
    assert set(scoped.store.entries) == entries
    scoped.put()
    assert scoped.events == ["scopes -x +", "unused first"]
    assert scoped.manager.held(held.key) is None


def test_routes_on_demand(scoped: Scoped) -> None:
    scoped.put(scope("a", "x", to="ra", on_demand=True))
    assert scoped.done
    assert scoped.events == ["scopes - +x?"]
    assert len(scoped.xds.subscriptions) == 1
    key = scoped.subscription.provider.key
    heard: list[bool] = []
    for answer in (heard.append, heard.append, lambda found: heard.append(found)):
        scoped.manager.load(key, "", [b"x"], answer)
    assert scoped.events[1:] == ["scopes - +x"]
    assert scoped.xds.subscriptions[1].started == [["ra"]]
    assert heard == []
    scoped.answer(0, "ra")
    assert heard == [True, True]  # of equal ones, one
    assert scoped.events[2:] == ["change r"]
    scoped.manager.load(key, "", [b"x"], heard.append)
    scoped.manager.load(key, "", [b"unknown"], heard.append)
    scoped.manager.load("unknown", "", [b"x"], heard.append)
    assert heard[2:] == [True, False, False]
    assert scoped.gauges() == {"all_scopes": 1, "active_scopes": 1, "on_demand_scopes": 1, "config_reload": 1}


def test_who_waits_for_a_scope_that_goes_hears_of_it(scoped: Scoped) -> None:
    scoped.put(scope("a", "x", to="ra", on_demand=True))
    heard: list[bool] = []
    scoped.manager.load(scoped.subscription.provider.key, "", [b"x"], heard.append)
    scoped.put()
    assert heard == [False]


def test_a_scope_is_found_by_the_key_that_it_has_now(scoped: Scoped) -> None:
    scoped.put(scope("a", "x", to="ra", on_demand=True), scope("b", "y", to="rb"))
    scoped.put(scope("a", "z", to="ra", on_demand=True), scope("b", "y", to="rb"))
    with pytest.raises(ConfigError):
        scoped.put(scope("a", "z", to="ra", on_demand=True), scope("c", "w"))
    key = scoped.subscription.provider.key
    heard: list[bool] = []
    for gone in (b"x", b"y", b"w"):
        scoped.manager.load(key, "", [gone], heard.append)
    assert heard == [False] * 3
    scoped.manager.load(key, "", [b"z"], heard.append)
    scoped.xds.subscriptions[-1].callbacks.on_config_update([resource(routes("ra"))], "r")
    assert heard == [False, False, False, True]


def test_the_last_user_ends_all(scoped: Scoped) -> None:
    scoped.put(scope("a", "x", to="ra"))
    scoped.events.clear()
    scoped.users.clear()
    scoped.turn()
    scoped.turn()
    assert [one.closed for one in scoped.xds.subscriptions] == [True, True]
    assert scoped.events == ["scopes -x +", "unused ra"]
    assert (SCOPED_RDS.name, PREFIX) not in scoped.store.entries


@pytest.mark.parametrize("reason", list(FailureReason))
def test_a_failure_ends_the_waiting_unless_it_is_tried_again(scoped: Scoped, reason: FailureReason) -> None:
    scoped.xds.subscriptions[0].callbacks.on_config_update_failed(reason, None)
    assert bool(scoped.done) is (reason is not FailureReason.CONNECTION_FAILURE)


def test_a_scope_keeps_routes_that_a_listener_has_too(scoped: Scoped) -> None:
    rds = http_connection_manager_pb2.Rds(route_config_name="ra", config_source=scoped.message.rds_config_source)
    user = User(scoped.manager.provider(rds, "http.web.", None))
    scoped.put(scope("a", "x", to="ra"))
    assert len(scoped.xds.subscriptions) == 2
    scoped.put()
    scoped.turn()
    assert not scoped.xds.subscriptions[1].closed
    assert user.provider is not None
