"""Framed messages with descriptors over a unix stream socket.

A frame is a head (payload length, number of descriptors) and a msgpack payload. The descriptors travel as SCM_RIGHTS
with the first byte of their frame; the kernel keeps them in order, so the receiver takes as many from its queue as the
head says. More than one ``sendmsg`` can carry are sent ahead on empty frames.

Non-blocking: a caller's loop watches the socket (asyncio's ``add_reader``/``add_writer``). What the peer does not read
is kept here, so every sender's amount is bounded by configuration, not by traffic.
"""

from __future__ import annotations

import array
import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from proxeny.server import messages

_HEAD: Final = struct.Struct("<IH")
_MAX_FRAME: Final = 1 << 30
_FDS_PER_FRAME: Final = 200
"""Below SCM_MAX_FD (253)."""
_READ_SIZE: Final = 1 << 16
_MSG_CMSG_CLOEXEC: Final = 0x40000000
_ANCILLARY: Final = socket.CMSG_SPACE(_FDS_PER_FRAME * 4)

Handler = Callable[[messages.Any, list[int]], None]


class ChannelError(OSError):
    """The peer sent something that is not a frame."""


class FrameReader:
    """Bytes and descriptors in, messages out."""

    __slots__ = ("_ahead", "_buffer", "_fds")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._fds: deque[int] = deque()
        self._ahead: list[int] = []

    def feed(self, data: bytes, fds: Sequence[int]) -> list[tuple[messages.Any, list[int]]]:
        """The messages that became complete, with their descriptors (which are the caller's to close)."""
        self._buffer += data
        self._fds.extend(fds)
        found: list[tuple[messages.Any, list[int]]] = []
        at = 0
        while len(self._buffer) - at >= _HEAD.size:
            length, count = _HEAD.unpack_from(self._buffer, at)
            if length > _MAX_FRAME:
                raise ChannelError(f"frame of {length} bytes")
            if len(self._buffer) - at < _HEAD.size + length:
                break
            at += _HEAD.size
            own = [self._fds.popleft() for _ in range(count)]
            if length == 0:
                self._ahead += own
                continue
            with memoryview(self._buffer) as view, view[at : at + length] as payload:
                message = messages.DECODER.decode(payload)
            at += length
            found.append((message, self._ahead + own))
            self._ahead = []
        del self._buffer[:at]
        return found

    def close(self) -> None:
        """Close descriptors that nobody took."""
        _close_all([*self._ahead, *self._fds])
        self._fds.clear()
        self._ahead = []


def frames(message: messages.Any, fds: Sequence[int]) -> list[tuple[bytes, list[int]]]:
    """The frames of one message: those that carry descriptors ahead, then the one with the payload."""
    result: list[tuple[bytes, list[int]]] = []
    rest = list(fds)
    while len(rest) > _FDS_PER_FRAME:
        result.append((_HEAD.pack(0, _FDS_PER_FRAME), rest[:_FDS_PER_FRAME]))
        del rest[:_FDS_PER_FRAME]
    payload = messages.ENCODER.encode(message)
    result.append((_HEAD.pack(len(payload), len(rest)) + payload, rest))
    return result


class Channel:
    """One end of a channel. ``send`` never blocks under a loop; without a loop it does."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._reader = FrameReader()
        self._unsent: deque[tuple[memoryview, list[int], bool]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_message: Handler | None = None
        self._on_eof: Callable[[], None] | None = None
        self._writing = False
        self.closed = False

    @staticmethod
    def pair() -> tuple[Channel, socket.socket]:
        """Our end, and the socket of the other (to be sent to, or inherited by, the peer)."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return Channel(ours), theirs

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._sock.fileno()

    # -- under a loop ------------------------------------------------------------------------------------------

    def attach(self, loop: asyncio.AbstractEventLoop, on_message: Handler, on_eof: Callable[[], None]) -> None:
        """Deliver messages from ``loop``; ``on_eof`` runs once, when the peer is gone."""
        self._sock.setblocking(False)
        self._loop, self._on_message, self._on_eof = loop, on_message, on_eof
        loop.add_reader(self._sock.fileno(), self._on_readable)

    def _on_readable(self) -> None:
        try:
            received = self._receive()
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            received = None
        if received is None:
            on_eof = self._on_eof
            self.close()
            if on_eof is not None:
                on_eof()
            return
        handler = self._on_message
        assert handler is not None
        for message, fds in received:
            handler(message, fds)

    def _on_writable(self) -> None:
        try:
            self._flush()
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._unsent.clear()  # the end of the stream is read, and told, by the reader
        if not self._unsent:
            self._watch_writable(False)

    def _watch_writable(self, wanted: bool) -> None:
        if wanted == self._writing or self._loop is None or self.closed:
            return
        self._writing = wanted
        if wanted:
            self._loop.add_writer(self._sock.fileno(), self._on_writable)
        else:
            self._loop.remove_writer(self._sock.fileno())

    # -- sending -----------------------------------------------------------------------------------------------

    def send(self, message: messages.Any, fds: Sequence[int] = (), *, close_fds: bool = False) -> None:
        """Queue a message and send what the socket takes.

        The descriptors are duplicated by the kernel; with ``close_fds`` ours are closed once they are on their way.
        A peer that is gone is no error here: the reader tells.
        """
        if self.closed:
            _close_all(fds if close_fds else ())
            return
        for data, own in frames(message, fds):
            self._unsent.append((memoryview(data), own, close_fds))
        try:
            self._flush()
        except (BlockingIOError, InterruptedError):
            self._watch_writable(True)
        except OSError:
            self._drop_unsent()

    def _flush(self) -> None:
        while self._unsent:
            data, fds, close_fds = self._unsent[0]
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            sent = self._sock.sendmsg([data], ancillary, socket.MSG_NOSIGNAL)
            if close_fds:
                _close_all(fds)
            if sent == len(data):
                self._unsent.popleft()
            else:
                self._unsent[0] = (data[sent:], [], False)

    def _drop_unsent(self) -> None:
        for _, fds, close_fds in self._unsent:
            _close_all(fds if close_fds else ())
        self._unsent.clear()

    # -- receiving ---------------------------------------------------------------------------------------------

    def _receive(self) -> list[tuple[messages.Any, list[int]]] | None:
        data, ancillary, _, _ = self._sock.recvmsg(_READ_SIZE, _ANCILLARY, _MSG_CMSG_CLOEXEC)
        if not data:
            return None
        fds = array.array("i")
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
        return self._reader.feed(data, fds)

    def receive(self) -> list[tuple[messages.Any, list[int]]] | None:
        """Without a loop: wait for bytes; the messages they complete (maybe none), or None at the end."""
        return self._receive()

    def close(self) -> None:
        """Close the socket and the descriptors that nobody took."""
        if self.closed:
            return
        if self._loop is not None:
            self._loop.remove_reader(self._sock.fileno())
            self._watch_writable(False)
        self.closed = True
        self._on_message = self._on_eof = None
        self._drop_unsent()
        self._reader.close()
        self._sock.close()


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
