"""A connection to whichever of several addresses answers first (RFC 8305; Envoy: ``HappyEyeballsConnectionImpl``).

The addresses are tried one after the other: the next one when the last has failed, or has not answered for 300 ms. The
first socket that is connected becomes the connection's; until then it has none. Only when all have failed does the
connection, with the reason of the one that failed last.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from proxeny.kernel.stream import Stream
from proxeny.network.connection import FLUSH_WRITE, OPEN, REMOTE_CLOSE, ClientConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from proxeny.event.dispatcher import Dispatcher
    from proxeny.network.address import Address
    from proxeny.network.filter import ConnectionCloseType, ConnectionEvent
    from proxeny.network.socket_options import SocketOption

NEXT_ATTEMPT_MS: Final = 300
"""Envoy: ``MultiConnectionBaseImpl::maybeScheduleNextAttempt``; RFC 8305's Connection Attempt Delay would be 250."""

ANY_VERSION: Final = -1
"""``first_address_family_version`` DEFAULT: that of the first address; else 4 or 6."""


def sort_addresses(addresses: Sequence[Address], version: int = ANY_VERSION, count: int = 1) -> list[Address]:
    """The order in which to try: the families (v4, v6, none) take turns as they first appear, that of ``version``
    going before them; in each turn the first family has ``count`` addresses, the others one."""
    families: dict[int, list[Address]] = {}
    for address in addresses:
        families.setdefault(address.ip_version, []).append(address)
    order = list(families)
    if version in families:
        order.remove(version)
        order.insert(0, version)
    turns = [(families[family], count if family == order[0] else 1) for family in order]
    found: list[Address] = []
    while len(found) < len(addresses):
        for left, taken in turns:
            found += left[:taken]
            del left[:taken]
    return found


class Attempt(Stream):
    """A socket that is connecting to one of the addresses."""

    __slots__ = ("_owner", "address")

    def __init__(self, owner: HappyEyeballsConnection, address: Address) -> None:
        self._owner = owner
        self.address = address

    def on_connected(self) -> None:
        """This one is the connection."""
        self._owner.on_attempt_connected(self)

    def on_transport_error(self, error: int) -> None:
        """Not this one."""
        self._owner.on_attempt_failed(self, f"delayed connect error: {os.strerror(error)}", REMOTE_CLOSE)

    def on_handler_error(self, error: Exception) -> None:
        """An exception escaped from here; the dispatcher has logged it."""
        self._owner.on_attempt_failed(self, "internal error", REMOTE_CLOSE)


class HappyEyeballsConnection(ClientConnection):
    """A connection to one of ``addresses``, sorted by ``sort_addresses``; its remote address is the first until it is
    connected. ``on_another`` is called for each attempt after the first; ``local_to`` says from where to connect to an
    address, and with which socket options."""

    __slots__ = ("_addresses", "_attempts", "_local_to", "_next", "_on_another", "_running", "_timer")

    def __init__(
        self,
        dispatcher: Dispatcher,
        addresses: Sequence[Address],
        local_to: Callable[[Address], tuple[Address | None, Iterable[SocketOption]]] = lambda address: (None, ()),
        on_another: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(dispatcher, addresses[0])
        self._addresses = addresses
        self._local_to = local_to
        self._on_another = on_another
        self._attempts: dict[Attempt, None] = {}
        self._next = 0
        self._running = 0
        """Attempts whose end is not known yet, those included that failed at once."""
        self._timer = dispatcher.create_timer(self._try_next)

    def connect(self) -> None:
        """Start to connect, once. CONNECTED or a close event follows, never from inside this call."""
        self._try_next()

    def _try_next(self) -> None:
        address = self._addresses[self._next]
        self._next += 1
        self._running += 1
        if self._next > 1:
            self._on_another()
        self._source_address, self._options = self._local_to(address)
        fd, event, reason = self._start(address)
        if fd < 0:
            # Who is on the stack now does not expect to be told.
            self.dispatcher.defer(lambda: self.on_attempt_failed(None, reason, event))
        else:
            attempt = Attempt(self, address)
            self._attempts[attempt] = None
            attempt.open(self.dispatcher.poller, fd, connecting=True)
        if self._next < len(self._addresses):
            self._timer.enable(NEXT_ATTEMPT_MS)

    def on_attempt_failed(self, attempt: Attempt | None, reason: str, event: ConnectionEvent) -> None:
        """One address is none to connect to; the next one at once, if there is one."""
        if attempt is not None:
            self._attempts.pop(attempt, None)
            attempt.close_stream()
        if self.fd >= 0 or self.state is not OPEN:
            return
        self._running -= 1
        if self._next < len(self._addresses):
            self._timer.disable()
            self._try_next()
        if not self._running:
            self._set_failure_reason(reason)
            self._immediate_failure(event)

    def on_attempt_connected(self, attempt: Attempt) -> None:
        """One address answered: its socket is ours, the others are given up."""
        try:
            fd = os.dup(attempt.fd)
        except OSError as error:
            self.on_attempt_failed(attempt, f"immediate connect error: {error.strerror}", REMOTE_CLOSE)
            return
        address = attempt.address
        self._give_up_attempts()
        self.server_address = address
        self.connection_info.remote_address = address
        self.connection_info.direct_remote_address = address
        # As if it were connecting: it is told at its next event, like any other.
        self.open(self.dispatcher.poller, fd, connecting=True)

    def _give_up_attempts(self) -> None:
        self._timer.disable()
        attempts, self._attempts = self._attempts, {}
        for attempt in attempts:
            attempt.close_stream()

    def close(self, close_type: ConnectionCloseType = FLUSH_WRITE, details: str = "") -> None:
        """As Connection.close; also while addresses are tried."""
        if self.fd < 0:
            self._give_up_attempts()
        super().close(close_type, details)

    def _let_go(self) -> None:
        self._timer.close()
        self._on_another = _nobody
        super()._let_go()


def _nobody() -> None:
    """Nobody is told of attempts any more."""
