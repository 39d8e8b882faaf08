"""Large route configurations are taken in slices."""

from collections.abc import Iterator

import pytest
from tests.unit.router.rds.rds_setup import Setup, resource, routes

from proxeny.config.errors import ConfigError
from proxeny.event.slices import finish
from proxeny.router.rds.stats import RDS
from proxeny.xds.resource import DecodedResource


@pytest.fixture
def setup() -> Iterator[Setup]:
    made = Setup()
    yield made
    made.close()


def large(status: int = 200, version: str = "1", broken: bool = False) -> DecodedResource:
    message = routes(status=status)
    for number in range(2000):
        route = message.virtual_hosts[0].routes.add()
        route.match.prefix, route.route.cluster = f"/{number}/", "c"
    if broken:
        message.virtual_hosts[0].routes[1500].match.safe_regex.regex = "("
    made = resource(message, version)
    made.serialized = message.SerializeToString()
    return made


def test_a_large_one_holds_when_its_steps_are_through(setup: Setup) -> None:
    user = setup.user()
    callbacks = setup.xds.subscriptions[0].callbacks
    steps = callbacks.on_config_update([large()], "1")
    next(steps)
    assert user.table is None
    finish(steps)
    assert user.table is not None
    assert setup.stat(RDS, "http.web.rds.r.", "config_reload") == 1


def test_one_that_is_refused_leaves_what_there_was(setup: Setup) -> None:
    user = setup.user()
    callbacks = setup.xds.subscriptions[0].callbacks
    finish(callbacks.on_config_update([large()], "1"))
    table = user.table
    with pytest.raises(ConfigError):
        finish(callbacks.on_config_update([large(404, "2", broken=True)], "2"))
    assert user.table is table


def test_one_that_nobody_wants_any_more_is_left(setup: Setup) -> None:
    user = setup.user()
    callbacks = setup.xds.subscriptions[0].callbacks
    steps = callbacks.on_config_update([large()], "1")
    next(steps)
    del user
    setup.turn()
    assert setup.events == ["unused r"]
    finish(steps)
    assert setup.events == ["unused r"]
    assert not [prefix for _, prefix in setup.store.entries if prefix.startswith("vhost.")]
