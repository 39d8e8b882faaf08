"""A TLS upstream that says how each handshake went: version, protocol, server name, whether a session was resumed."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from pathlib import Path

from proxeny.testing.certificates import Certificate


class TlsUpstream:
    """Answers one request per connection, and takes down the facts of its handshake."""

    def __init__(
        self, folder: Path, certificate: Certificate, maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ) -> None:
        files = certificate.write(folder)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.maximum_version = maximum
        self._context.load_cert_chain(files.certificate_chain, files.private_key)
        self._context.set_alpn_protocols(["http/1.1", "custom"])
        self._context.sni_callback = self._note_name
        self._names: dict[int, str] = {}
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.seen: list[str] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _note_name(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        self._names[id(connection)] = name or "-"

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._socket.accept()
            except OSError:
                return
            with plain, contextlib.suppress(OSError):
                plain.settimeout(10)
                self._answer(plain)

    def _answer(self, plain: socket.socket) -> None:
        try:
            with self._context.wrap_socket(plain, server_side=True) as wrapped:
                name = self._names.pop(id(wrapped), "-")
                facts = f"{wrapped.version()} {wrapped.selected_alpn_protocol()} {name}"
                self.seen.append(f"{facts} {'resumed' if wrapped.session_reused else 'new'}")
                wrapped.recv(65536)
                wrapped.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
        except ssl.SSLError as error:
            self.seen.append(f"failed: {error.reason}")

    def close(self) -> None:
        self._socket.close()
