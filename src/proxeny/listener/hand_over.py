"""Handing accepted sockets to other workers (Envoy: ``BalancedConnectionHandler::post``).

Each worker has an inbox, a SEQPACKET socket pair that main made and keeps: what a dead worker had not taken out yet is
still there for its successor. A message is the facts of one socket, its descriptor travels beside it (SCM_RIGHTS).
"""

from __future__ import annotations

import array
import logging
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from proxeny.kernel.epoll import EPOLLIN, EPOLLOUT, Watcher
from proxeny.network.address import from_sockaddr
from proxeny.network.stream_info import ConnectionInfo

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.kernel.balance import BalanceTable

log = logging.getLogger("proxeny.conn_handler")

_ROOM: Final = 65536
_ANCILLARY: Final = socket.CMSG_SPACE(4)
_PER_TURN: Final = 64
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
    restored: bool = False
    transport_protocol: str = "raw_buffer"
    server_name: str = ""
    application_protocols: tuple[str, ...] = ()
    ja3_hash: str = ""
    ja4_hash: str = ""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(HandedOver).decode

Deliver = Callable[[HandedOver, int], None]


def hand_over_of(tag: int, epoch: int, hands_off: bool, info: ConnectionInfo) -> HandedOver:
    """The message of one socket."""
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
        self._sock = sock
        self._deliver = deliver
        dispatcher.poller.add(self, sock.fileno(), EPOLLIN)

    def on_event(self, mask: int) -> None:
        """Sockets wait: level-triggered, so what is left comes in the next turn."""
        for _ in range(_PER_TURN):
            try:
                data, ancillary, _, _ = self._sock.recvmsg(_ROOM, _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return
            fds = array.array("i")
            for _level, _kind, content in ancillary:
                fds.frombytes(content[:4])
            if len(fds) == 1:
                self._take(data, fds[0])

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
        self._waiting: deque[tuple[bytes, int]] = deque()

    def send(self, data: bytes, fd: int) -> bool:
        """Hand a socket over, now or as soon as there is room, and close it here; False when too many wait already."""
        if self._waiting or not self._sent(data, fd):
            if len(self._waiting) >= MOST_WAITING:
                return False
            self._waiting.append((data, fd))
            if self.poller is None:
                self._dispatcher.poller.add(self, self._sock.fileno(), EPOLLOUT)
        return True

    def _sent(self, data: bytes, fd: int) -> bool:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        try:
            self._sock.sendmsg([data], rights, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        os.close(fd)
        return True

    def on_event(self, mask: int) -> None:
        """There is room in the inbox."""
        waiting = self._waiting
        while waiting and self._sent(*waiting[0]):
            waiting.popleft()
        if not waiting:
            self._dispatcher.poller.remove(self)

    def close(self) -> None:
        """The worker ends: what waits is closed with it, like its own connections."""
        if self.poller is not None:
            self._dispatcher.poller.remove(self)
        while self._waiting:
            os.close(self._waiting.popleft()[1])
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
        """Hand a socket over, which is closed here; False when too many wait for room in the target's inbox."""
        return self._outboxes[target].send(_encode(message), fd)

    def close(self) -> None:
        """Take no more; what is in the inbox stays for a successor."""
        if self._watcher is not None:
            self._dispatcher.poller.remove(self._watcher)
            self._watcher = None
        self._inbox.close()
        for outbox in self._outboxes:
            outbox.close()
