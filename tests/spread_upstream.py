"""An HTTP upstream at one port of several loopback addresses; it answers with the address that it was reached at."""

import selectors
import socket
import threading
from collections.abc import Sequence

ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "::1")
"""Where the upstream listens; 127.0.0.9 refuses."""


class SpreadUpstream:
    """One port at several addresses; a connection answers each head of a request with its own local address."""

    def __init__(self, addresses: Sequence[str] = ADDRESSES) -> None:
        self._addresses = addresses
        self._selector = selectors.DefaultSelector()
        self._stop, self._stopper = socket.socketpair()
        self._listen()
        self._selector.register(self._stop, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            made: list[socket.socket] = []
            self.port = 0
            try:
                for address in self._addresses:
                    family = socket.AF_INET6 if ":" in address else socket.AF_INET
                    made.append(socket.socket(family))
                    made[-1].bind((address, self.port))
                    made[-1].listen(64)
                    self.port = made[-1].getsockname()[1]
            except OSError:
                for one in made:
                    one.close()
                continue
            for one in made:
                self._selector.register(one, selectors.EVENT_READ, None)
            return

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._stop:
                    return
                assert isinstance(key.fileobj, socket.socket)
                if key.data is None:
                    self._selector.register(key.fileobj.accept()[0], selectors.EVENT_READ, bytearray())
                else:
                    self._read(key.fileobj, key.data)

    def _read(self, connection: socket.socket, buffer: bytearray) -> None:
        try:
            data = connection.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(connection)
            connection.close()
            return
        buffer += data
        while b"\r\n\r\n" in buffer:
            head = bytes(buffer[: buffer.index(b"\r\n\r\n") + 4])
            del buffer[: len(head)]
            self.answer(connection, head)

    def answer(self, connection: socket.socket, head: bytes) -> None:
        """Say where the request came to."""
        address = connection.getsockname()[0]
        body = address.encode()
        answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n%s\r\n%s"
        connection.sendall(answer % (len(body), self.headers_for(head, address), body))

    def headers_for(self, head: bytes, address: str) -> bytes:
        """More header lines of an answer."""
        return b""

    def close(self) -> None:
        self._stopper.send(b"x")
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()
        self._stopper.close()
