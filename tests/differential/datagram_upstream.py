"""A UDP server of the test's own behind a proxy."""

import socket
import threading
from collections.abc import Callable, Sequence

Respond = Callable[[bytes], Sequence[bytes]]


def echo(data: bytes) -> Sequence[bytes]:
    """What an upstream answers by default."""
    return (b"re:" + data,)


class DatagramUpstream:
    """A UDP server in a thread: keeps what it saw, answers by a function that each case sets."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.respond: Respond = echo
        self.seen: list[tuple[bytes, tuple[str, int]]] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def begin(self, respond: Respond) -> None:
        self.seen = []
        self.respond = respond

    def _serve(self) -> None:
        while True:
            data, session = self._socket.recvfrom(65536)
            if data == b"stop":
                return
            self.seen.append((data, session))
            for answer in self.respond(data):
                self._socket.sendto(answer, session)

    def send_to_last(self, data: bytes) -> None:
        """Unasked, to the session that spoke last."""
        self._socket.sendto(data, self.seen[-1][1])

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stopper:
            stopper.sendto(b"stop", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()
