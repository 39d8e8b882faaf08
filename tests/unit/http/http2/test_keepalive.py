"""PINGs by the clock, in simulated time."""

from typing import Any

import pytest

from proxeny.http.http2.keepalive import KeepaliveTimers
from proxeny.http.http2.settings import Keepalive
from proxeny.kernel.timer import TimerWheel
from proxeny.network.filter import ConnectionCloseType


class Dispatcher:
    def __init__(self) -> None:
        self.wheel = TimerWheel(simulated=True)

    def create_timer(self, callback: Any) -> Any:
        return self.wheel.create(callback)

    def system_time(self) -> float:
        return 1.5


class Connection:
    def __init__(self) -> None:
        self.dispatcher = Dispatcher()
        self.closed: Any = None

    def close(self, close_type: ConnectionCloseType, reason: str) -> None:
        self.closed = (close_type, reason)


class Session:
    def __init__(self) -> None:
        self.connection = Connection()
        self.pings: list[bytes] = []

    def ping(self, payload: bytes) -> None:
        self.pings.append(payload)


class Fixed:
    def random(self) -> int:
        return 7


@pytest.fixture
def session() -> Session:
    return Session()


def timers(session: Session, interval: int = 100, jitter: float = 0) -> KeepaliveTimers:
    return KeepaliveTimers(session, Keepalive(interval, 50, jitter, 0), None, Fixed())  # type: ignore[arg-type]


def advance(session: Session, ms: int) -> None:
    wheel = session.connection.dispatcher.wheel
    wheel.advance(wheel.now_ms + ms)


def test_a_ping_per_interval_once_the_last_was_answered(session: Session):
    keepalive = timers(session)
    advance(session, 99)
    assert session.pings == []
    advance(session, 1)
    assert session.pings == [(1500).to_bytes(8, "big")]
    keepalive.on_answer()
    advance(session, 100)
    assert len(session.pings) == 2


def test_no_answer_closes(session: Session):
    timers(session)
    advance(session, 100)
    advance(session, 50)
    assert session.connection.closed == (ConnectionCloseType.NO_FLUSH, "http2_ping_timeout")


def test_any_frame_gives_more_time(session: Session):
    keepalive = timers(session)
    advance(session, 100)
    advance(session, 40)
    keepalive.on_frame()
    advance(session, 40)
    assert session.connection.closed is None
    advance(session, 10)
    assert session.connection.closed is not None


def test_jitter(session: Session):
    timers(session, jitter=10)
    advance(session, 106)
    assert session.pings == []
    advance(session, 1)
    assert len(session.pings) == 1


def test_closed_timers_do_nothing(session: Session):
    timers(session).close()
    advance(session, 1000)
    assert session.pings == [] and session.connection.closed is None
