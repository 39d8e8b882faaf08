"""Load that consists of new connections: each sends a byte, reads it back and is reset.

One thread and one epoll, with a fixed number of connections under way. The client ends each with a RST, so that no
port stays in TIME_WAIT, whatever the rate.
"""

import select
import socket
import struct
import time

from benchmarks.processes import BenchmarkError

UNDER_WAY = 64
STALL_SECONDS = 20.0
RESET = struct.pack("ii", 1, 0)


class AcceptLoad:
    """Connects again and again to one port of 127.0.0.1 for some seconds."""

    def __init__(self, port: int) -> None:
        self._address = ("127.0.0.1", port)
        self._epoll = select.epoll()
        self._socks: dict[int, socket.socket] = {}
        self._asked: set[int] = set()
        self.served = 0

    def run(self, seconds: float) -> int:
        """How many connections were served."""
        ends = time.monotonic() + seconds
        try:
            for _ in range(UNDER_WAY):
                self._begin()
            while time.monotonic() < ends:
                events = self._epoll.poll(STALL_SECONDS)
                if not events:
                    raise BenchmarkError("no connection was served for a long time")
                for fd, _mask in events:
                    self._advance(fd)
        finally:
            for sock in self._socks.values():
                sock.close()
            self._epoll.close()
        return self.served

    def _begin(self) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        sock.connect_ex(self._address)
        self._socks[sock.fileno()] = sock
        self._epoll.register(sock.fileno(), select.EPOLLOUT)

    def _advance(self, fd: int) -> None:
        sock = self._socks[fd]
        if fd not in self._asked:
            sock.send(b"x")
            self._asked.add(fd)
            self._epoll.modify(fd, select.EPOLLIN)
            return
        if sock.recv(1) != b"x":
            raise BenchmarkError("a connection was closed without an answer")
        self.served += 1
        self._asked.discard(fd)
        del self._socks[fd]
        sock.close()
        self._begin()
