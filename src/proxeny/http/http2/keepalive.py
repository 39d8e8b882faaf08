"""``connection_keepalive``: PINGs on a connection, and its end when they are not answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxeny.http.http2.stats import KEEPALIVE_TIMEOUT
from proxeny.network.filter import ConnectionCloseType

if TYPE_CHECKING:
    from proxeny.http.http2.settings import Keepalive
    from proxeny.kernel.http2_session import Http2Session
    from proxeny.kernel.randomness import RandomGenerator
    from proxeny.kernel.stats import Block
    from proxeny.kernel.timer import Timer


class KeepaliveTimers:
    """The two timers of one session: until the next PING, and until its answer is overdue.

    While a PING is unanswered any frame gives its answer another ``timeout``: it may be stuck behind others.
    """

    __slots__ = ("_keepalive", "_ping_timer", "_random", "_session", "_stats", "_timeout_timer", "_waiting")

    def __init__(
        self, session: Http2Session, keepalive: Keepalive, stats: Block | None, random: RandomGenerator
    ) -> None:
        dispatcher = session.connection.dispatcher
        self._session = session
        self._keepalive = keepalive
        self._stats = stats
        self._random = random
        self._waiting = False
        self._timeout_timer: Timer = dispatcher.create_timer(self._on_timeout)
        self._ping_timer: Timer | None = None
        if keepalive.interval_ms:
            self._ping_timer = dispatcher.create_timer(self.send)
            self._schedule()

    def send(self) -> None:
        """Send a PING, unless one is unanswered."""
        if self._waiting:
            return
        dispatcher = self._session.connection.dispatcher
        self._session.ping(int(dispatcher.system_time() * 1000).to_bytes(8, "big"))
        self._waiting = True
        self._timeout_timer.enable(self._keepalive.timeout_ms)

    def on_answer(self) -> None:
        """A PING was answered."""
        self._waiting = False
        self._timeout_timer.disable()
        if self._ping_timer is not None:
            self._schedule()

    def on_frame(self) -> None:
        """Some other frame came in."""
        if self._waiting:
            self._timeout_timer.enable(self._keepalive.timeout_ms)

    def close(self) -> None:
        """The connection is closed."""
        self._timeout_timer.close()
        if self._ping_timer is not None:
            self._ping_timer.close()
            self._ping_timer = None

    def _schedule(self) -> None:
        assert self._ping_timer is not None
        interval = self._keepalive.interval_ms
        jitter = int(self._keepalive.jitter_percent * interval / 100)
        if jitter > 0:
            interval += self._random.random() % jitter
        self._ping_timer.enable(interval)

    def _on_timeout(self) -> None:
        if self._stats is not None:
            self._stats.inc(KEEPALIVE_TIMEOUT)
        self._session.connection.close(ConnectionCloseType.NO_FLUSH, "http2_ping_timeout")
