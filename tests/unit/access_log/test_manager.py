"""Access log files: buffering, the flush timer, pipes that nobody reads, rotation, write errors, statistics."""

import os

import pytest

from proxeny.access_log.manager import MAX_PENDING, MIN_FLUSH_SIZE, AccessLogManager
from proxeny.access_log.stats import (
    FILESYSTEM,
    FLUSHED_BY_TIMER,
    PREFIX,
    REOPEN_FAILED,
    WRITE_BUFFERED,
    WRITE_COMPLETED,
    WRITE_FAILED,
    WRITE_TOTAL_BUFFERED,
)
from proxeny.config.errors import ConfigError
from proxeny.kernel.timer import TimerWheel
from proxeny.stats.store import MainStore


class FakeDispatcher:
    """Timers on a simulated wheel."""

    def __init__(self):
        self.wheel = TimerWheel(0, simulated=True)

    def create_timer(self, callback):
        return self.wheel.create(callback)

    def advance(self, ms):
        self.wheel.advance(self.wheel.now_ms + ms)


@pytest.fixture
def world():
    dispatcher, store = FakeDispatcher(), MainStore()
    manager = AccessLogManager(dispatcher, store)
    yield dispatcher, manager, store.block(FILESYSTEM, PREFIX)
    manager.close()


def test_lines_wait_for_the_timer(world, tmp_path):
    dispatcher, manager, stats = world
    path = tmp_path / "log"
    file = manager.create_access_log(str(path))
    assert manager.create_access_log(str(path)) is file
    file.write(b"one\n")
    file.write(b"two\n")
    assert path.read_bytes() == b""
    assert (stats.get(WRITE_BUFFERED), stats.get(WRITE_TOTAL_BUFFERED)) == (2, 8)
    dispatcher.advance(10_000)
    assert path.read_bytes() == b"one\ntwo\n"
    counts = [stats.get(slot) for slot in (FLUSHED_BY_TIMER, WRITE_COMPLETED, WRITE_TOTAL_BUFFERED)]
    assert counts == [1, 1, 0]
    dispatcher.advance(10_000)
    assert (stats.get(FLUSHED_BY_TIMER), stats.get(WRITE_COMPLETED)) == (2, 1)


def test_much_data_is_written_at_once(world, tmp_path):
    _, manager, stats = world
    path = tmp_path / "log"
    file = manager.create_access_log(str(path))
    for _ in range(MIN_FLUSH_SIZE // 64):
        file.write(b"x" * 63 + b"\n")
    assert path.stat().st_size == 0
    file.write(b"last\n")
    assert path.stat().st_size == MIN_FLUSH_SIZE + 5
    assert stats.get(WRITE_COMPLETED) == 1


def test_a_rotated_file_is_opened_again(world, tmp_path):
    _, manager, stats = world
    path = tmp_path / "log"
    file = manager.create_access_log(str(path))
    file.write(b"old\n")
    path.rename(tmp_path / "log.1")
    manager.reopen()
    file.write(b"new\n")
    manager.flush()
    assert ((tmp_path / "log.1").read_bytes(), path.read_bytes()) == (b"old\n", b"new\n")
    assert stats.get(REOPEN_FAILED) == 0


def test_a_failed_reopen_is_counted_and_the_old_file_kept(world, tmp_path):
    _, manager, stats = world
    folder = tmp_path / "logs"
    folder.mkdir()
    file = manager.create_access_log(str(folder / "log"))
    folder.rename(tmp_path / "moved")
    manager.reopen()
    assert stats.get(REOPEN_FAILED) == 1
    file.write(b"line\n")
    manager.flush()
    assert (tmp_path / "moved" / "log").read_bytes() == b"line\n"


def test_a_full_disk_is_counted(world):
    _, manager, stats = world
    manager.create_access_log("/dev/full").write(b"line\n")
    manager.flush()
    assert (stats.get(WRITE_FAILED), stats.get(WRITE_TOTAL_BUFFERED)) == (1, 0)


def test_a_pipe_that_nobody_reads_never_blocks(world, tmp_path):
    dispatcher, manager, stats = world
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    file = manager.create_access_log(str(path))
    line = b"x" * 1023 + b"\n"
    for _ in range(MAX_PENDING // 1024 + 200):
        file.write(line)
    assert stats.get(WRITE_FAILED) > 0
    got = 0
    while stats.get(WRITE_TOTAL_BUFFERED):
        got += len(os.read(reader, 1 << 20))
        dispatcher.advance(50)
    got += len(os.read(reader, 1 << 20))
    assert got == stats.get(WRITE_BUFFERED) * 1024
    os.close(reader)


@pytest.mark.parametrize(("path", "words"), [("/nope/x", "No such file or directory"), ("/tmp", "Is a directory")])
def test_a_bad_path_is_refused_in_envoys_words(world, path, words):
    with pytest.raises(ConfigError, match=f"unable to open file '{path}': {words}"):
        world[1].create_access_log(path)
