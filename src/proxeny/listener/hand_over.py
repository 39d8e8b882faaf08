"""Handing accepted sockets to other workers (Envoy: ``BalancedConnectionHandler::post``).

Each worker has an inbox, a SEQPACKET socket pair that main made and keeps: what a dead worker had not taken out yet is
still there for its successor. A message is the facts of one socket, its descriptor travels beside it (SCM_RIGHTS).
"""

from __future__ import annotations

import errno
import logging
import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from proxeny.kernel.epoll import EPOLLIN, EPOLLOUT, Watcher
from proxeny.kernel.sockets import close_descriptor, receive_descriptor, send_descriptor
from proxeny.network.address import from_sockaddr
from proxeny.network.stream_info import ConnectionInfo

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.kernel.balance import BalanceTable
    from proxeny.kernel.timer import Timer

log = logging.getLogger("proxeny.conn_handler")

_PER_TURN: Final = 64
_RETRY_MS: Final = 10
MOST_WAITING: Final = 4096
"""Sockets that wait for room in one inbox; the kernel holds some 200 more. Beyond that a worker serves them itself."""


class HandedOver(msgspec.Struct, array_like=True):
    """One socket: the listener's tag, the epoch of the worker it was meant for, and what is known of the connection."""

    tag: int
    epoch: int
    hands_off: bool
    local: bytes
    remote: bytes
    direct_local: bytes = b""
    """Empty where it is the same as ``local``; likewise ``direct_remote``."""
    direct_remote: bytes = b""
    own_row: int = -1
    """Where it counts against its listener's connection limit, ``all_row`` against that of all listeners."""
    all_row: int = -1
    restored: bool = False
    transport_protocol: str = "raw_buffer"
    server_name: str = ""
    application_protocols: tuple[str, ...] = ()
    ja3_hash: str = ""
    ja4_hash: str = ""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(HandedOver).decode

Deliver = Callable[[HandedOver, int], None]
"""Takes a socket; -1 for one that was lost on the way."""


def hand_over_of(
    tag: int, epoch: int, hands_off: bool, info: ConnectionInfo, rows: tuple[int, int] = (-1, -1)
) -> HandedOver:
    """The message of one socket, which counts in ``rows`` of the table of limits (its listener's, that of all)."""
    local, remote = info.local_address, info.remote_address
    direct_local, direct_remote = info.direct_local_address, info.direct_remote_address
    return HandedOver(
        tag,
        epoch,
        hands_off,
        local.sockaddr,
        remote.sockaddr,
        b"" if direct_local is local else direct_local.sockaddr,
        b"" if direct_remote is remote else direct_remote.sockaddr,
        *rows,
        info.local_address_restored,
        info.transport_protocol,
        info.requested_server_name,
        info.requested_application_protocols,
        info.ja3_hash,
        info.ja4_hash,
    )


def connection_info_of(message: HandedOver) -> ConnectionInfo:
    """What ``hand_over_of`` was given."""
    info = ConnectionInfo(from_sockaddr(message.local), from_sockaddr(message.remote), 0)
    if message.direct_local:
        info.direct_local_address = from_sockaddr(message.direct_local)
    if message.direct_remote:
        info.direct_remote_address = from_sockaddr(message.direct_remote)
    info.local_address_restored = message.restored
    info.transport_protocol = message.transport_protocol
    info.requested_server_name = message.server_name
    info.requested_application_protocols = message.application_protocols
    info.ja3_hash, info.ja4_hash = message.ja3_hash, message.ja4_hash
    return info


class Inbox(Watcher):
    """Takes out what others handed over."""

    def __init__(self, dispatcher: Dispatcher, sock: socket.socket, deliver: Deliver) -> None:
        self._deliver = deliver
        dispatcher.poller.add(self, sock.fileno(), EPOLLIN)

    def on_event(self, mask: int) -> None:
        """Sockets wait: level-triggered, so what is left comes in the next turn."""
        for _ in range(_PER_TURN):
            received = receive_descriptor(self.fd)
            if received is None:
                return
            # Without room for one more descriptor (EMFILE) the kernel has closed it; it was counted all the same.
            self._take(*received)

    def _take(self, data: bytes, fd: int) -> None:
        try:
            self._deliver(_decode(data), fd)
        except Exception:
            log.exception("a socket that was handed over could not be served")

    def on_handler_error(self, error: Exception) -> None:
        """Whatever went wrong, the next one is taken."""


class Outbox(Watcher):
    """The way to one worker's inbox. While that is full, what is to be sent waits here."""

    def __init__(self, dispatcher: Dispatcher, sock: socket.socket) -> None:
        self._dispatcher = dispatcher
        self._sock = sock
        self._fd = sock.fileno()
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._retry: Timer | None = None

    def send(self, data: bytes, fd: int) -> bool:
        """Hand a socket over, now or as soon as there is room, and close it here; False: it stays with the caller."""
        waiting = self._waiting
        if not waiting:
            error = self._sent(data, fd)
            if error != errno.EAGAIN:
                return not error
            self._watch()
        if len(waiting) >= MOST_WAITING:
            return False
        waiting.append((data, fd))
        return True

    def _watch(self) -> None:
        if self.poller is None:
            self._dispatcher.poller.add(self, self._sock.fileno(), EPOLLOUT)

    def _sent(self, data: bytes, fd: int) -> int:
        """0, or why not: there is no room (EAGAIN), or too many descriptors are on their way (ETOOMANYREFS)."""
        error = send_descriptor(self._fd, fd, data)
        if not error:
            close_descriptor(fd)
        return error

    def on_event(self, mask: int) -> None:
        """There is room in the inbox."""
        waiting = self._waiting
        error = 0
        while waiting and not (error := self._sent(*waiting[0])):
            waiting.popleft()
        if error == errno.EAGAIN:
            return
        self._dispatcher.poller.remove(self)
        if waiting:
            # There is room, but not for descriptors: trying again at once would spin.
            if self._retry is None:
                self._retry = self._dispatcher.create_timer(self._watch)
            self._retry.enable(_RETRY_MS)

    def close(self) -> None:
        """The worker ends: what waits is closed with it, like its own connections."""
        if self._retry is not None:
            self._retry.close()
        if self.poller is not None:
            self._dispatcher.poller.remove(self)
        while self._waiting:
            close_descriptor(self._waiting.popleft()[1])
        self._sock.close()


class HandOver:
    """One worker's part in exact balance: the table, its inbox, the ways to the others' inboxes."""

    def __init__(
        self, dispatcher: Dispatcher, table: BalanceTable, epoch: int, inbox: int, outboxes: list[int]
    ) -> None:
        self.table = table
        self.me: int = table.me
        self.epoch = epoch
        self._dispatcher = dispatcher
        self._inbox = socket.socket(fileno=inbox)
        self._outboxes = [Outbox(dispatcher, socket.socket(fileno=fd)) for fd in outboxes]
        self._watcher: Inbox | None = None
        table.begin(epoch)

    def open(self, deliver: Deliver) -> None:
        """Take sockets from now on: the listeners are there."""
        if self._watcher is None:
            self._watcher = Inbox(self._dispatcher, self._inbox, deliver)

    def send(self, target: int, message: HandedOver, fd: int) -> bool:
        """Hand a socket over, which is closed here; False when the target's inbox cannot take it: it stays here."""
        return self._outboxes[target].send(_encode(message), fd)

    def close(self) -> None:
        """Take no more; what is in the inbox stays for a successor."""
        if self._watcher is not None:
            self._dispatcher.poller.remove(self._watcher)
            self._watcher = None
        self._inbox.close()
        for outbox in self._outboxes:
            outbox.close()
