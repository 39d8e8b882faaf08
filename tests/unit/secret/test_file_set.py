"""Files of configuration that is not discovered: watched, taken over together, or kept."""

import logging
import os
from pathlib import Path

import pytest
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from tests.unit.secret.builders import Main, User, closing, move, run, until

from proxeny.event.dispatcher import Dispatcher
from proxeny.secret.file_set import places_of, read_stable

CONTEXT = tls_pb2.UpstreamTlsContext()


def test_a_replaced_file_is_taken_over(tmp_path: Path) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        file = tmp_path / "file"
        move(file, "one")
        with closing(Main(dispatcher)) as main:
            user = User(main.manager, CONTEXT, file).begin()
            move(file, "two")
            await until(lambda: user.context == "two")
            assert main.counters() == {"secret_files.update_success": 1}
            assert len(main.told) == 2

    run(scenario)


def test_a_file_that_is_written_in_place_is_taken_over(tmp_path: Path) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        file = tmp_path / "file"
        file.write_text("one")
        with closing(Main(dispatcher)) as main:
            user = User(main.manager, CONTEXT, file).begin()
            file.write_text("two")
            await until(lambda: user.context == "two")

    run(scenario)


def test_a_bad_file_keeps_the_old_one_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        file = tmp_path / "file"
        move(file, "one")
        with closing(Main(dispatcher)) as main:
            user = User(main.manager, CONTEXT, file).begin()
            with caplog.at_level(logging.ERROR, "proxeny.secret"):
                move(file, "bad")
                await until(lambda: main.counters() == {"secret_files.update_rejected": 1})
            assert user.context == "one"
            assert len(main.told) == 1
            assert (
                f"new content of {file} is refused, what was there before stays in use: cannot use bad" in caplog.text
            )
            file.unlink()
            file.symlink_to("nowhere")
            await until(lambda: main.counters() == {"secret_files.update_rejected": 2})
            move(file, "three")
            await until(lambda: user.context == "three")

    run(scenario)


def test_files_are_taken_over_together(tmp_path: Path) -> None:
    async def scenario(dispatcher: Dispatcher) -> None:
        folder = tmp_path / "1"
        folder.mkdir()
        (folder / "chain").write_text("chain1")
        (folder / "key").write_text("key1")
        (tmp_path / "data").symlink_to("1")
        for name in ("chain", "key"):
            (tmp_path / name).symlink_to(f"data/{name}")
        with closing(Main(dispatcher)) as main:
            user = User(main.manager, CONTEXT, tmp_path / "chain", tmp_path / "key").begin()
            (tmp_path / "2").mkdir()
            (tmp_path / "2" / "chain").write_text("chain2")
            (tmp_path / "2" / "key").write_text("key2")
            (tmp_path / "data.new").symlink_to("2")
            (tmp_path / "data.new").rename(tmp_path / "data")
            await until(lambda: user.context == "chain2 key2")
            assert user.builds == 2
            # The old folder may go; what is in the new one is watched.
            for name in ("chain", "key"):
                (folder / name).unlink()
            folder.rmdir()
            (tmp_path / "2" / "key").write_text("key3")
            await until(lambda: user.context == "chain2 key3")
            (tmp_path / "data.new").symlink_to("nowhere")
            (tmp_path / "data.new").rename(tmp_path / "data")
            await until(lambda: main.counters().get("secret_files.update_rejected") == 1)
            assert user.context == "chain2 key3"

    run(scenario)


def test_links_to_a_folder_are_watched_where_they_are(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "a" / "link"
    real.mkdir()
    link.parent.mkdir()
    link.symlink_to(os.path.relpath(real, link.parent))
    (real / "file").write_text("x")
    assert set(places_of(str(link / "file"))) == {str(link), str(real / "file")}
    assert places_of(str(real / "file")) == [str(real / "file")]


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert places_of(str(tmp_path / "a" / "file"))


def test_reading_goes_on_until_it_is_stable() -> None:
    readings = iter([b"1", b"2", b"2", b"3"])
    assert read_stable(["x"], lambda path: next(readings)) == {"x": b"2"}


def test_reading_what_never_is_stable_ends(caplog: pytest.LogCaptureFixture) -> None:
    numbers = iter(range(100))
    with caplog.at_level(logging.WARNING, "proxeny.secret"):
        assert read_stable(["x"], lambda path: str(next(numbers)).encode()) == {"x": b"5"}
    assert "due to > 5 non-atomic rotations observed" in caplog.text
