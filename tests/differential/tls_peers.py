"""TLS peers of a proxy under test: a client that shows a certificate, and servers that show theirs.

Both say how a handshake went in words that do not depend on timing: what was exchanged, or the alert that came.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterable
from pathlib import Path

from tests.differential.wire import STALL_SECONDS

from proxeny.testing.certificates import Certificate


def client_context(folder: Path, certificate: Certificate | None, maximum: ssl.TLSVersion) -> ssl.SSLContext:
    """A client that trusts everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = maximum
    if certificate is not None:
        files = certificate.write(folder)
        context.load_cert_chain(files.certificate_chain, files.private_key)
    return context


def exchange(address: tuple[str, int], context: ssl.SSLContext, server_name: str | None = None) -> str:
    """What a client sees that is greeted with five bytes, and says nothing: the greeting, or the alert.

    In TLS 1.3 a server judges a client when that has done its part; what it sent meanwhile would make the end a reset.
    """
    with socket.create_connection(address, timeout=STALL_SECONDS) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=server_name, suppress_ragged_eofs=False) as wrapped:
                return wrapped.recv(5).decode()
        except ssl.SSLError as error:
            return error.reason or str(error)
        except ConnectionError as error:
            return type(error).__name__


class TlsServer:
    """Serves one certificate: answers one request per connection, and takes down what became of each."""

    def __init__(self, folder: Path, certificate: Certificate, name: str = "") -> None:
        self.name = name or certificate.name
        files = certificate.write(folder)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(files.certificate_chain, files.private_key)
        self._context.sni_callback = self._on_server_name
        self._context.set_alpn_protocols(["http/1.1", "custom"])
        self._asked: dict[int, str] = {}
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.seen: list[str] = []
        """By connection: the name that was asked for, the protocol, and how it ended."""
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _on_server_name(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        self._asked[0] = name or "-"

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._socket.accept()
            except OSError:
                return
            plain.settimeout(STALL_SECONDS)
            self._asked[0] = "?"
            try:
                with self._context.wrap_socket(plain, server_side=True) as wrapped:
                    line = wrapped.recv(65536).partition(b"\r\n")[0]
                    if line:
                        wrapped.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
                    end = line.decode() or "end"
                    protocol = wrapped.selected_alpn_protocol() or "-"
            except ssl.SSLError as error:
                end, protocol = error.reason or str(error), "?"
            except OSError as error:
                end, protocol = type(error).__name__, "?"
            self.seen.append(f"{self.name}: {self._asked[0]} {protocol} {end}")

    def close(self) -> None:
        """Stop."""
        self._socket.close()
        try:
            socket.create_connection(("127.0.0.1", self.port), 0.1).close()
        except OSError:
            pass
        self._thread.join(STALL_SECONDS)


def close_all(servers: Iterable[TlsServer]) -> None:
    """Stop them."""
    for server in servers:
        server.close()
