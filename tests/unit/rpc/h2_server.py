"""A server of HTTP/2 that answers every request with what a script says; nothing of gRPC's rules holds it back."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

import h2.config
import h2.connection
import h2.events

Answer = Callable[[Any, int], object]
"""Called with the h2 connection and the number of the stream; True: then close the connection."""

HEAD = [(":status", "200"), ("content-type", "application/grpc")]


def answer(*pieces: Any, end: bool = False) -> Answer:
    """Sends heads (lists of pairs) and data (bytes); with ``end`` the last one ends the stream."""

    def send(connection: Any, stream_id: int) -> None:
        for index, piece in enumerate(pieces):
            last = end and index == len(pieces) - 1
            if isinstance(piece, bytes):
                connection.send_data(stream_id, piece, end_stream=last)
            else:
                connection.send_headers(stream_id, piece, end_stream=last)

    return send


class H2Server:
    """Serves until it is closed; ``requests``: the heads that came."""

    def __init__(self, how: Answer) -> None:
        self._how = how
        self.requests: list[list[tuple[str, str]]] = []
        self.connections: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = self._listener.accept()
                self.connections.append(accepted)
                threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8", validate_outbound_headers=False)
        connection = h2.connection.H2Connection(config)
        connection.initiate_connection()
        with contextlib.suppress(OSError, h2.exceptions.ProtocolError), sock:
            sock.sendall(connection.data_to_send())
            while data := sock.recv(65536):
                for event in connection.receive_data(data):
                    if isinstance(event, h2.events.RequestReceived):
                        self.requests.append([(str(name), str(value)) for name, value in event.headers])
                        if self._how(connection, event.stream_id):
                            sock.sendall(connection.data_to_send())
                            return
                sock.sendall(connection.data_to_send())

    def close(self) -> None:
        self._listener.close()
        for sock in self.connections:
            sock.close()
