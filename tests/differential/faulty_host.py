"""An upstream host that can be made to fail in the ways hosts do, while it runs."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from enum import Enum

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
CHECK = b"GET /check "
"""The path of health checks."""
_RESET = struct.pack("ii", 1, 0)


class Fault(Enum):
    """What is wrong with the host."""

    NONE = "answers"
    REFUSES = "nobody listens, and its connections are gone"
    RESETS = "resets every connection that brings a request"
    CUTS = "ends every connection in the middle of the answer's head"
    STALLS = "takes requests and says nothing"
    ERRS = "answers 503, though not to health checks"
    FLAPS = "answers 503 to every other three requests"
    SICK = "answers, but says to health checks that it is not in order"


class FaultyHost:
    """A host on a port of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.fault = Fault.NONE
        self.served = 0
        self._requests = 0
        self._connections: set[socket.socket] = set()
        self._closed = False
        self._accept_from(self._listener)

    def become(self, fault: Fault) -> None:
        """From now on this is wrong with it."""
        before, self.fault = self.fault, fault
        if fault is Fault.REFUSES:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._drop()
        elif before is Fault.REFUSES:
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=256)
            self._accept_from(self._listener)
        elif before is Fault.STALLS:
            self._drop()

    def close(self) -> None:
        """End all of it."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._drop()

    def _drop(self) -> None:
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept_from(self, listener: socket.socket) -> None:
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            while self._exchange(connection):
                pass
        except OSError:
            pass
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()

    def _exchange(self, connection: socket.socket) -> bool:
        head = b""
        while b"\r\n\r\n" not in head:
            data = connection.recv(4096)
            if not data:
                return False
            head += data
        fault = self.fault
        if head.startswith(CHECK) and fault in (Fault.NONE, Fault.ERRS, Fault.SICK):
            connection.sendall(UNAVAILABLE if fault is Fault.SICK else OK)
            return True
        with self._lock:
            self._requests += 1
            number = self._requests
        if fault is Fault.RESETS:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            return False
        if fault is Fault.CUTS:
            connection.sendall(OK[:20])
            return False
        if fault is Fault.STALLS:
            return bool(connection.recv(1))
        if fault is Fault.ERRS or (fault is Fault.FLAPS and number // 3 % 2):
            connection.sendall(UNAVAILABLE)
            return True
        connection.sendall(OK)
        self.served += 1
        return True
