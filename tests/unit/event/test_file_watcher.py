"""Files that are moved into place."""

import asyncio
import os
from pathlib import Path

import pytest

from proxeny.event.file_watcher import FileWatcher


def run(scenario) -> None:  # type: ignore[no-untyped-def]
    asyncio.run(scenario())


def move_to(path: Path, text: str = "x") -> None:
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").rename(path)


async def wait_for(heard: list[str], count: int) -> None:
    async with asyncio.timeout(10):
        while len(heard) < count:  # noqa: ASYNC110 - what is watched cannot set an event
            await asyncio.sleep(0)


def test_only_a_rename_to_the_file_counts(tmp_path: Path) -> None:
    async def scenario() -> None:
        heard: list[str] = []
        watcher = FileWatcher(asyncio.get_running_loop())
        file = tmp_path / "file"
        watcher.add(str(file), lambda: heard.append("file"))
        file.write_text("written in place")
        (tmp_path / "other").write_text("x")
        (tmp_path / "other").rename(tmp_path / "another")
        file.unlink()
        move_to(file)
        await wait_for(heard, 1)
        move_to(file)
        await wait_for(heard, 2)
        assert heard == ["file", "file"]
        watcher.close()

    run(scenario)


def test_a_directory_hears_of_every_file(tmp_path: Path) -> None:
    async def scenario() -> None:
        heard: list[str] = []
        watcher = FileWatcher(asyncio.get_running_loop())
        watcher.add(f"{tmp_path}/", lambda: heard.append("directory"))
        watcher.add(str(tmp_path / "file"), lambda: heard.append("file"))
        move_to(tmp_path / "data")
        await wait_for(heard, 1)
        move_to(tmp_path / "file")
        await wait_for(heard, 3)
        assert heard == ["directory", "directory", "file"]
        watcher.close()

    run(scenario)


def test_the_swap_of_a_symbolic_link(tmp_path: Path) -> None:
    async def scenario() -> None:
        heard: list[str] = []
        watcher = FileWatcher(asyncio.get_running_loop())
        watcher.add(f"{tmp_path}/", lambda: heard.append("directory"))
        for number in range(2):
            (tmp_path / f"v{number}").mkdir()
            os.symlink(f"v{number}", tmp_path / "tmp")
            (tmp_path / "tmp").rename(tmp_path / "data")
            await wait_for(heard, number + 1)
        watcher.close()

    run(scenario)


def test_no_directory(tmp_path: Path) -> None:
    async def scenario() -> None:
        watcher = FileWatcher(asyncio.get_running_loop())
        with pytest.raises(FileNotFoundError):
            watcher.add(str(tmp_path / "nowhere" / "file"), lambda: None)
        watcher.close()
        watcher.close()

    run(scenario)


def test_a_directory_that_goes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        watcher = FileWatcher(asyncio.get_running_loop())
        folder = tmp_path / "folder"
        folder.mkdir()
        watcher.add(str(folder / "file"), lambda: None)
        folder.rmdir()
        async with asyncio.timeout(10):
            while "nothing in it is watched any more" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0)
        watcher.close()

    run(scenario)
