"""Discovered secrets: what is refused and how it is told, files that rotate."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from tests.unit.secret.builders import Main, User, by_sds, certificate, closing, deliver, move, run, text_of, until

from proxeny.event.dispatcher import Dispatcher

CONTEXT = tls_pb2.DownstreamTlsContext()


@contextmanager
def waiting(dispatcher: Dispatcher, folder: Path, *secrets: dict[str, Any]) -> Iterator[tuple[Main, User]]:
    deliver(folder / "a.yaml", *secrets)
    with closing(Main(dispatcher)) as main:
        yield main, User(main.manager, CONTEXT, sds=by_sds("a", folder / "a.yaml")).begin()


REFUSED: list[tuple[list[dict[str, Any]], str]] = [
    ([], "Missing SDS resources for a in onConfigUpdate()"),
    (
        [certificate("a", "x"), certificate("b", "x")],
        "Unexpected SDS secrets length for a, number of added resources 2, number of removed resources 0. "
        "Expected sum is 1",
    ),
    ([certificate("b", "x")], "Unexpected SDS secret (expecting a): b"),
]


@pytest.mark.parametrize(("secrets", "words"), REFUSED)
def test_refused_updates(
    secrets: list[dict[str, Any]], words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        with caplog.at_level(logging.WARNING, "proxeny"), waiting(dispatcher, tmp_path, *secrets) as (main, user):
            assert user.context == "-"
            assert main.counters() == {"sds.a.update_attempt": 1, "sds.a.update_rejected": 1}
            [shown] = main.manager.dynamic()
            assert (shown.version, shown.shown) == ("uninitialized", None)
        assert f"sds: secret 'a' config rejected: {words}" in caplog.text
        assert f"Filesystem config update rejected: {words}" in caplog.text

    run(scenario)


def test_a_text_that_is_none_counts_as_failure(tmp_path: Path) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        with waiting(dispatcher, tmp_path, certificate("a", "one")) as (main, user):
            move(tmp_path / "a.yaml", "{")
            await until(lambda: main.counters().get("sds.a.update_failure") == 1)
            assert user.context == "one"

    run(scenario)


def test_missing_files_are_refused(tmp_path: Path) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        with waiting(dispatcher, tmp_path, certificate("a", tmp_path / "none")) as (main, user):
            assert main.counters() == {"sds.a.update_attempt": 1, "sds.a.update_rejected": 1}
            move(tmp_path / "none", "there")
            await until(lambda: user.context == "there")
            assert user.updates == 1

    run(scenario)


def test_files_beside_which_something_is_moved_are_read_again(tmp_path: Path) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        chain, key = tmp_path / "chain", tmp_path / "key"
        move(chain, "one")
        move(key, "key1")
        with waiting(dispatcher, tmp_path, certificate("a", chain, key)) as (main, user):
            move(chain, "two")
            await until(lambda: user.context == "two")
            move(key, "key2")
            await until(lambda: user.updates == 3)
            [shown] = main.manager.dynamic()
            assert text_of(shown.shown.private_key) == "key2"
            assert main.counters() == {"sds.a.update_attempt": 1, "sds.a.update_success": 1}

    run(scenario)


def test_a_rotation_that_fails_keeps_the_old_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        chain = tmp_path / "chain"
        move(chain, "one")
        with waiting(dispatcher, tmp_path, certificate("a", chain)) as (main, user):
            told = list(main.told)
            with caplog.at_level(logging.ERROR, "proxeny.secret"):
                move(chain, "bad")
                await until(lambda: main.counters().get("sds.a.key_rotation_failed") == 1)
            assert "Failed to reload certificates: cannot use bad; 'a' stays as it was" in caplog.text
            chain.rename(tmp_path / "gone")
            await until(lambda: main.counters().get("sds.a.key_rotation_failed") == 2)
            assert (user.context, user.updates, main.told) == ("one", 1, told)
            (tmp_path / "gone").rename(tmp_path / "chain")
            move(chain, "three")
            await until(lambda: user.context == "three")

    run(scenario)


def test_a_watched_directory_is_watched_instead(tmp_path: Path) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        for number in ("1", "2"):
            (tmp_path / number).mkdir()
            (tmp_path / number / "chain").write_text(f"chain{number}")
        (tmp_path / "current").symlink_to("1")
        one = certificate("a", tmp_path / "current" / "chain", watched_directory={"path": str(tmp_path)})
        with waiting(dispatcher, tmp_path, one) as (main, user):
            assert user.context == "chain1"
            (tmp_path / "new").symlink_to("2")
            (tmp_path / "new").rename(tmp_path / "current")
            await until(lambda: user.context == "chain2")
            assert main.counters() == {"sds.a.update_attempt": 1, "sds.a.update_success": 1}

    run(scenario)


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        one = certificate("a", "one", watched_directory={"path": str(tmp_path / "none")})
        with waiting(dispatcher, tmp_path, one) as (main, user):
            assert user.context == "-"
            assert main.counters()["sds.a.update_rejected"] == 1
        assert f"unable to add filesystem watch for file {tmp_path}/none/" in caplog.text

    run(scenario)


def test_the_same_secret_again_builds_nothing(tmp_path: Path) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        with waiting(dispatcher, tmp_path, certificate("a", "one")) as (main, user):
            deliver(tmp_path / "a.yaml", certificate("a", "one"), version="2")
            await until(lambda: main.counters()["sds.a.update_success"] == 2)
            assert (user.builds, user.updates) == (2, 1)
            assert main.manager.dynamic()[0].version == "1"  # as Envoy: that of the content

    run(scenario)
