"""Main's side of sockets that workers hand over to each other: it makes every worker's inbox, and keeps it.

An inbox is a SEQPACKET socket pair. Main holds both ends for as long as it lives, so what was on its way to a worker
that died is still there for its successor.
"""

from __future__ import annotations

import socket


class Inboxes:
    """One inbox per worker."""

    def __init__(self, concurrency: int) -> None:
        self._pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(concurrency)]
        for pair in self._pairs:
            for end in pair:
                end.setblocking(False)

    def fds(self, index: int) -> list[int]:
        """What worker ``index`` gets: its own receiving end, then the sending ends of all, in order."""
        return [self._pairs[index][0].fileno(), *(sender.fileno() for _, sender in self._pairs)]

    def close(self) -> None:
        """The workers are gone: what was on its way to them is closed."""
        for pair in self._pairs:
            for end in pair:
                end.close()
