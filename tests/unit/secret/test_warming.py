"""Whoever is compiled with a discovered secret waits for it, or until it is known that it will not come."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from tests.unit.secret.builders import Main, User, by_sds, certificate, closing, deliver, run, secret

from proxeny.config.errors import ConfigError
from proxeny.event.dispatcher import Dispatcher
from proxeny.event.slices import finish
from proxeny.xds.init_manager import InitManager
from proxeny.xds.resource import DecodedResource
from proxeny.xds.subscription import FailureReason

CONTEXT = tls_pb2.DownstreamTlsContext()


class Silent:
    """A subscription that never says anything by itself."""

    def start(self, names: list[str]) -> None:
        assert names == ["a"]

    def close(self) -> None:
        """Nothing to be closed."""


@contextmanager
def warming(dispatcher: Dispatcher, folder: Path, listener: InitManager) -> Iterator[tuple[User, Any, Main]]:
    """A user of a secret that comes when a test says so; ``listener`` has begun."""
    with closing(Main(dispatcher)) as main:
        main.manager._xds.subscribe = lambda *arguments: Silent()  # type: ignore[assignment, return-value]
        main.manager.init_manager = lambda: listener
        deliver(folder / "a.yaml")
        user = User(main.manager, CONTEXT, sds=by_sds("a", folder / "a.yaml")).begin()
        listener.initialize(lambda: None)
        [api] = main.manager.dynamic()
        yield user, api, main


def delivered(chain: str, version: str = "v7") -> DecodedResource:
    return DecodedResource("a", secret(**certificate("a", chain)), version)


def test_the_secret_is_fetched_when_its_owner_begins(tmp_path: Path) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        listener = InitManager("Listener a")
        deliver(tmp_path / "a.yaml", certificate("a", "from file"))
        with closing(Main(dispatcher)) as main:
            main.manager.init_manager = lambda: listener
            user = User(main.manager, CONTEXT, sds=by_sds("a", tmp_path / "a.yaml")).begin()
            assert (listener.unready(), user.context) == (["shared target SdsApi a"], "-")
            done: list[bool] = []
            listener.initialize(lambda: done.append(True))
            assert (done, user.context) == ([True], "from file")

    run(scenario)


def test_all_who_share_a_secret_wait_for_it(tmp_path: Path) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        listener, cluster = InitManager("Listener a"), InitManager("Cluster a")
        with warming(dispatcher, tmp_path, listener) as (_, api, main):
            main.manager.init_manager = lambda: cluster
            other = User(main.manager, CONTEXT, sds=by_sds("a", tmp_path / "a.yaml")).begin()
            cluster.initialize(lambda: None)
            assert cluster.unready() == ["shared target SdsApi a"]
            api.on_config_delta([delivered("x")], [], "")
            assert (listener.unready(), cluster.unready(), other.context) == ([], [], "x")
            assert api.version == "v7"

    run(scenario)


@pytest.mark.parametrize(
    ("reason", "waits"),
    [
        (FailureReason.CONNECTION_FAILURE, True),
        (FailureReason.FETCH_TIMED_OUT, False),
        (FailureReason.UPDATE_REJECTED, False),
    ],
)
def test_failures(reason: FailureReason, waits: bool, tmp_path: Path) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        listener = InitManager("Listener a")
        with warming(dispatcher, tmp_path, listener) as (_, api, _main):
            api.on_config_update_failed(reason, None)
            assert bool(listener.unready()) is waits

    run(scenario)


def test_a_secret_that_was_removed_is_kept_and_waited_for_no_more(tmp_path: Path) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        listener = InitManager("Listener a")
        with warming(dispatcher, tmp_path, listener) as (user, api, _):
            api.on_config_delta([], ["a"], "")
            assert not listener.unready()
            api.on_config_delta([delivered("x")], [], "")
            api.on_config_delta([], ["a"], "")
            assert user.context == "x"
            with pytest.raises(ConfigError, match=r"added resources 1, number of removed resources 1. Expected sum is"):
                api.on_config_delta([delivered("x")], ["a"], "")

    run(scenario)


def test_nobody_waits_for_a_secret_that_nobody_uses(tmp_path: Path) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        listener = InitManager("Listener a")
        with warming(dispatcher, tmp_path, listener) as (_, _, main):
            assert listener.unready()
            main.manager.close()
            assert not listener.unready()

    run(scenario)


def test_many_users_are_built_in_slices(tmp_path: Path) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        listener = InitManager("Listener a")
        with warming(dispatcher, tmp_path, listener) as (first, api, main):
            users = [User(main.manager, CONTEXT, sds=by_sds("a", tmp_path / "a.yaml")).begin() for _ in range(30)]
            steps = api.on_config_update([delivered("x")], "v1")
            next(steps)
            assert sum([user.context == "x" for user in (first, *users)]) == 1
            assert main.told == main.manager.snapshot() == []
            late = User(main.manager, CONTEXT, sds=by_sds("a", tmp_path / "a.yaml")).begin()
            del users[0]
            finish(steps)
            assert {user.context for user in (first, late, *users)} == {"x"}
            assert len(main.told) == 1
            assert main.manager.snapshot() == main.told
            assert not listener.unready()

    run(scenario)


def test_slices_that_fail_leave_what_there_was(tmp_path: Path) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        listener = InitManager("Listener a")
        with warming(dispatcher, tmp_path, listener) as (_, api, main):
            users = [User(main.manager, CONTEXT, sds=by_sds("a", tmp_path / "a.yaml")).begin() for _ in range(30)]
            finish(api.on_config_update([delivered("x")], "v1"))
            told = list(main.told)
            with pytest.raises(ConfigError, match="cannot use bad"):
                finish(api.on_config_update([delivered("bad")], "v2"))
            assert {user.context for user in users} == {"x"}
            assert main.told == told

    run(scenario)
