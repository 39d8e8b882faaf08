"""The worker's heartbeat, which main's watchdog watches, and its traceback on demand."""

from __future__ import annotations

import faulthandler
from typing import TYPE_CHECKING

from proxeny.server import log as log_set_up
from proxeny.server.watchdog import TRACEBACK_SIGNAL, now_ms

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.kernel.balance import BalanceTable
    from proxeny.kernel.stats import Segment


class Heartbeat:
    """Sets the heartbeats of the stat segment and the balance table from a timer: they stop when the loop is stuck."""

    def __init__(self, dispatcher: Dispatcher, segment: Segment, balance: BalanceTable) -> None:
        self._segment = segment
        self._balance = balance
        self._interval_ms = 0
        self._timer = dispatcher.create_timer(self._beat)
        segment.heartbeat = now_ms()
        register_traceback()

    def start(self, interval_ms: int) -> None:
        """Beat every ``interval_ms`` from now on."""
        self._interval_ms = interval_ms
        self._beat()

    def _beat(self) -> None:
        self._segment.heartbeat = now_ms()
        self._balance.beat()
        self._timer.enable(self._interval_ms)


def register_traceback() -> None:
    """Main's signal writes all stacks to the log; again after the log was opened again."""
    faulthandler.register(TRACEBACK_SIGNAL, file=log_set_up.descriptor(), all_threads=True, chain=False)
