"""Main's subscriptions to route configurations: shared, waited for, checked, kept, and closed."""

from collections.abc import Iterator

import pytest
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from tests.unit.router.rds.rds_setup import Setup, rds, resource, routes

from proxeny.config.errors import ConfigError
from proxeny.router.rds.provider import key_of
from proxeny.router.rds.stats import RDS
from proxeny.xds.subscription import FailureReason

PREFIX = "http.web.rds.r."


@pytest.fixture
def setup() -> Iterator[Setup]:
    made = Setup()
    yield made
    made.close()


def test_one_subscription_for_equal_messages(setup: Setup) -> None:
    first, second, other = setup.user(), setup.user(prefix="http.other."), setup.user(path="/y")
    assert first.provider is second.provider is not other.provider
    assert len(setup.xds.subscriptions) == 2
    assert (RDS.name, PREFIX) in setup.store.entries
    assert (RDS.name, "http.other.rds.r.") not in setup.store.entries  # the first one's prefix counts, as in Envoy


def test_a_listener_waits_for_the_first_answer(setup: Setup) -> None:
    user = setup.user()
    [subscription] = setup.xds.subscriptions
    assert subscription.started == []
    done: list[int] = []
    setup.init.initialize(lambda: done.append(1))
    assert setup.init.unready() == ["shared target RdsRouteConfigSubscription RDS init r"]
    assert subscription.started == [["r"]]
    subscription.callbacks.on_config_update_failed(FailureReason.CONNECTION_FAILURE, None)
    assert not done
    subscription.callbacks.on_config_update([resource(routes())], "1")
    assert done
    assert user.table.name == "r"
    assert setup.events == ["change 1"]
    assert setup.manager.held(key_of(rds())).name == "r"


@pytest.mark.parametrize("reason", [FailureReason.FETCH_TIMED_OUT, FailureReason.UPDATE_REJECTED])
def test_it_waits_no_longer_than_that(setup: Setup, reason: FailureReason) -> None:
    user = setup.user()
    done: list[int] = []
    setup.init.initialize(lambda: done.append(1))
    setup.xds.subscriptions[0].callbacks.on_config_update_failed(reason, None)
    assert done
    assert user.table is None
    assert setup.manager.held(key_of(rds())) is None


def test_what_is_refused_changes_nothing(setup: Setup) -> None:
    user = setup.user()
    callbacks = setup.xds.subscriptions[0].callbacks
    callbacks.on_config_update([resource(routes())], "1")
    table = user.table
    refusals = {
        "Unexpected RDS configuration (expecting r): s": [resource(routes("s"))],
        "Unexpected RDS resource length: 2": [resource(routes()), resource(routes())],
        "route: unknown cluster 'nowhere'": [resource(routes(cluster="nowhere", validate_clusters=True))],
        "as it says": [resource(routes(status=404), error=ConfigError("as it says"))],
    }
    for words, resources in refusals.items():
        with pytest.raises(ConfigError) as error:
            callbacks.on_config_update(resources, "2")
        assert str(error.value) == words
    assert user.table is table
    assert setup.events == ["change 1"]


def test_clusters_are_looked_for_where_that_is_asked(setup: Setup) -> None:
    setup.user()
    callbacks = setup.xds.subscriptions[0].callbacks
    callbacks.on_config_update([resource(routes(cluster="nowhere"))], "1")
    callbacks.on_config_update([resource(routes(cluster="static", validate_clusters=True))], "2")
    setup.context.cluster_names = frozenset(["dynamic"])
    callbacks.on_config_update([resource(routes(cluster="dynamic", validate_clusters=True))], "3")
    assert setup.events == ["change 1", "change 2", "change 3"]


def test_the_same_again_is_no_change(setup: Setup) -> None:
    setup.user()
    callbacks = setup.xds.subscriptions[0].callbacks
    callbacks.on_config_update([resource(routes())], "1")
    callbacks.on_config_update([resource(routes())], "2")
    callbacks.on_config_update([], "3")
    assert setup.events == ["change 1"]
    assert setup.stat(RDS, PREFIX, "config_reload") == 1
    assert setup.stat(RDS, PREFIX, "update_empty") == 1


def test_what_is_removed_is_kept(setup: Setup) -> None:
    user = setup.user()
    callbacks = setup.xds.subscriptions[0].callbacks
    callbacks.on_config_delta([resource(routes(), "7")], [], "s1")
    table = user.table
    callbacks.on_config_delta([], ["r"], "s2")
    assert user.table is table
    assert setup.events == ["change 7"]


def test_the_last_user_ends_the_subscription(setup: Setup) -> None:
    first, second = setup.user(), setup.user()
    [subscription] = setup.xds.subscriptions
    subscription.callbacks.on_config_update([resource(routes())], "1")
    del first
    setup.turn()
    assert not subscription.closed
    del second
    setup.turn()
    assert subscription.closed
    assert setup.events == ["change 1", "unused r"]
    assert (RDS.name, PREFIX) not in setup.store.entries


def test_a_user_that_comes_in_time_keeps_it(setup: Setup) -> None:
    user = setup.user()
    del user
    user = setup.user()
    setup.turn()
    assert [one.closed for one in setup.xds.subscriptions] == [False]
    assert user.provider is not None and user.provider.is_used


def test_one_that_is_closed_before_it_answered_is_waited_for_no_longer(setup: Setup) -> None:
    user = setup.user()
    done: list[int] = []
    setup.init.initialize(lambda: done.append(1))
    del user
    setup.turn()
    assert done


def test_what_nobody_takes_is_given_up(setup: Setup) -> None:
    """Its listener is refused for something else."""
    scoped = http_connection_manager_pb2.ScopedRoutes(name="s")
    scoped.scoped_rds.scoped_rds_config_source.path_config_source.path = "/scopes"
    setup.manager.provider(rds(), "http.web.", setup.init)
    setup.manager.scoped_provider(scoped, "http.web.", setup.init)
    setup.turn()
    assert [one.closed for one in setup.xds.subscriptions] == [True, True]
    assert setup.manager.subscriptions() == [] == setup.manager.scoped_subscriptions()
