"""Virtual hosts that are discovered: merged with those of RDS, waited for, asked for on demand; asked of Envoy 1.40."""

from collections.abc import Iterator
from typing import Any

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.route.v3 import route_components_pb2
from google.protobuf.json_format import ParseDict
from tests.unit.router.rds.rds_setup import FakeSubscription, Setup, User, resource, routes

from proxeny.config.errors import ConfigError
from proxeny.router.rds.stats import RDS, VHDS
from proxeny.xds.resource import DecodedResource
from proxeny.xds.subscription import FailureReason

API = {"api_config_source": {"api_type": "DELTA_GRPC"}}
RDS_PREFIX, VHDS_PREFIX = "http.web.rds.r.", "http.web.rds.vhds.r."


class Hosts(Setup):
    def __init__(self) -> None:
        super().__init__()
        self.users = [self.user()]
        self.done: list[int] = []
        self.init.initialize(lambda: self.done.append(1))

    def put(self, version: str = "1", source: Any = API, **more: Any) -> None:
        vhds = {"vhds": {"config_source": source}} if source else {}
        message = routes(**more, **vhds)
        message.virtual_hosts[0].domains[0] = "own"
        self.xds.subscriptions[0].callbacks.on_config_update([resource(message, version)], version)

    @property
    def vhds(self) -> FakeSubscription:
        return self.xds.subscriptions[-1]  # type: ignore[no-any-return]

    def bring(self, *hosts: DecodedResource, removed: tuple[str, ...] = (), version: str = "h") -> None:
        self.vhds.callbacks.on_config_delta(list(hosts), list(removed), version)

    def names(self) -> list[str]:
        return [host.name for host in self.users[0].table.virtual_hosts]

    def ask(self, host: str) -> list[bool]:
        """Hears what comes of it."""
        heard: list[bool] = []
        assert self.users[0].provider is not None
        self.manager.load(self.users[0].provider.key, host, [], heard.append)
        return heard

    def reloads(self) -> tuple[int, int]:
        return self.stat(RDS, RDS_PREFIX, "config_reload"), self.stat(VHDS, VHDS_PREFIX, "config_reload")


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    made = Hosts()
    yield made
    made.close()


def host(name: str, domain: str = "", alias: str = "", error: ConfigError | None = None) -> DecodedResource:
    fields = {"name": name, "domains": [domain or name.rpartition("/")[2]]}
    made = DecodedResource(name, ParseDict(fields, route_components_pb2.VirtualHost()), "v", error)
    made.aliases = (alias,) if alias else ()
    return made


def test_a_listener_waits_for_the_first_hosts(hosts: Hosts) -> None:
    hosts.put()
    assert not hosts.done
    assert hosts.vhds.started == [["r"]]
    assert hosts.reloads() == (0, 0)
    hosts.bring(host("r/b"), host("r/a"))
    assert hosts.done
    assert hosts.names() == ["all", "r/a", "r/b"]
    assert hosts.reloads() == (1, 1)
    version = hosts.manager.subscriptions()[0].version
    assert version is not None and version.version_info == "h"


@pytest.mark.parametrize("reason", list(FailureReason))
def test_it_does_not_wait_for_ever(hosts: Hosts, reason: FailureReason) -> None:
    hosts.put()
    hosts.vhds.callbacks.on_config_update_failed(reason, None)
    waits = reason is FailureReason.CONNECTION_FAILURE
    assert bool(hosts.done) is not waits
    assert hosts.reloads() == (0 if waits else 1, 0)


def test_hosts_outlive_updates_of_the_rest(hosts: Hosts) -> None:
    hosts.put()
    hosts.bring(host("r/a"), host("r/b"))
    first = hosts.vhds
    hosts.put("2", status=404)
    assert hosts.vhds is first and not first.closed
    assert hosts.names() == ["all", "r/a", "r/b"]
    assert hosts.reloads() == (2, 1)
    hosts.bring(host("r/b", "other"), removed=("r/a", "r/unknown"))
    assert hosts.names() == ["all", "r/b"]
    hosts.put("3", source=None)
    assert first.closed
    assert hosts.names() == ["all"]
    hosts.put("4")
    assert hosts.vhds is not first
    assert hosts.names() == ["all", "r/b"]  # until it is told otherwise


def test_another_source_is_another_subscription(hosts: Hosts) -> None:
    hosts.put()
    hosts.bring(host("r/a"))
    first = hosts.vhds
    hosts.put("2", source={"api_config_source": {"api_type": "DELTA_GRPC", "transport_api_version": "V3"}})
    assert first.closed and not hosts.vhds.closed
    assert hosts.vhds.started == [["r"]]
    assert hosts.names() == ["all", "r/a"]


def test_nothing_of_what_is_refused_holds(hosts: Hosts) -> None:
    hosts.put()
    hosts.bring(host("r/a"))
    words = "Only unique values for domains are permitted. Duplicate entry of domain a in route r"
    with pytest.raises(ConfigError, match=words):
        hosts.bring(host("r/b"), host("r/c", "a"))
    with pytest.raises(ConfigError, match="as it says"):
        hosts.bring(host("r/b"), host("r/c", error=ConfigError("as it says")))
    assert hosts.names() == ["all", "r/a"]
    assert hosts.reloads() == (1, 1)


def test_a_request_waits_for_its_host(hosts: Hosts) -> None:
    hosts.put()
    hosts.bring()
    first, second, other = hosts.ask("a"), hosts.ask("a"), hosts.ask("b")
    assert hosts.vhds.on_demand == ["r/a", "r/a", "r/b"]
    hosts.bring(removed=("r/a",))
    assert first == []  # a host that does not exist is no answer, as in Envoy
    hosts.bring(host("r/a"))
    assert (first, second, other) == ([True], [True], [])
    assert hosts.events[-1] == "change h"
    assert hosts.ask("a") == [True]
    assert hosts.vhds.on_demand == ["r/a", "r/a", "r/b"]


def test_answers_by_alias_and_without_the_host(hosts: Hosts) -> None:
    hosts.put()
    hosts.bring()
    alias, elsewhere = hosts.ask("alias"), hosts.ask("c")
    hosts.bring(host("r/a", "alias", alias="r/alias"), host("r/c", "d"))
    assert (alias, elsewhere) == ([True], [False])
    assert hosts.ask("c") == [False]
    assert hosts.ask("d") == []  # nobody asked for r/d
    hosts.bring(removed=("r/c",))
    assert hosts.ask("c") == []


def test_who_waits_goes_on_when_there_is_no_vhds_any_more(hosts: Hosts) -> None:
    hosts.put()
    hosts.bring()
    heard = hosts.ask("a")
    hosts.put("2", source=None)
    assert heard == [False]
    assert hosts.ask("a") == [False]
    assert (VHDS.name, VHDS_PREFIX) not in hosts.store.entries


SOURCES = {
    "vhds: only 'DELTA_GRPC' or 'ADS' (which uses Delta xDS) is supported as a config source.": (
        {"api_config_source": {"api_type": "GRPC"}},
        {},
    ),
    "vhds: ADS config source specified but no ADS configured in bootstrap.": ({"ads": {}}, {}),
    "vhds: ADS must use DELTA_GRPC api_type when used as VHDS config source.": (
        {"ads": {}},
        {"ads_config": {"api_type": "GRPC"}},
    ),
}


@pytest.mark.parametrize("words", SOURCES)
def test_sources_that_are_refused(hosts: Hosts, words: str) -> None:
    hosts.put(source=None)
    table = hosts.users[0].table
    source, dynamic = SOURCES[words]
    hosts.context.bootstrap = ParseDict({"dynamic_resources": dynamic}, bootstrap_pb2.Bootstrap())
    with pytest.raises(ConfigError) as error:
        hosts.put("2", source=source)
    assert str(error.value) == words
    assert hosts.users[0].table is table
    hosts.context.bootstrap = ParseDict(
        {"dynamic_resources": {"ads_config": {"api_type": "DELTA_GRPC"}}}, bootstrap_pb2.Bootstrap()
    )
    hosts.put("3", source={"ads": {}})
    assert hosts.vhds.started == [["r"]]


def test_a_listener_s_own_route_configuration(hosts: Hosts) -> None:
    message = routes("own", vhds={"config_source": API})
    user = User(hosts.manager.static_provider(message, hosts.init))
    assert hosts.manager.static_provider(message, None) is user.provider
    assert hosts.vhds.started == [["own"]]
    hosts.bring(host("own/a"))
    assert [one.name for one in user.table.virtual_hosts] == ["all", "own/a"]
    assert hosts.stat(VHDS, "vhds.own.", "config_reload") == 1
    assert user.provider is not None
    held: Any = hosts.manager.held(user.provider.key)
    assert [one.name for one in held.virtual_hosts] == ["all", "own/a"]
    subscription = hosts.vhds
    del user
    hosts.turn()
    assert subscription.closed


def test_a_listener_s_own_may_not_name_clusters_that_are_not_there(hosts: Hosts) -> None:
    with pytest.raises(ConfigError, match="route: unknown cluster 'nowhere'"):
        hosts.manager.static_provider(routes("own", cluster="nowhere", vhds={"config_source": API}), None)
