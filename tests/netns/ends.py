"""Raw ends of captured traffic: servers that tell where a connection or datagram was going."""

from __future__ import annotations

import select
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from tests.netns.namespaces import TIMEOUT_S, Namespace

SO_ORIGINAL_DST = 80


def original_destination(accepted: socket.socket) -> tuple[str, int]:
    """Where the client was going, as conntrack knows."""
    if accepted.family == socket.AF_INET6:
        raw = accepted.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28)
        return socket.inet_ntop(socket.AF_INET6, raw[8:24]), struct.unpack_from("!H", raw, 2)[0]
    raw = accepted.getsockopt(socket.IPPROTO_IP, SO_ORIGINAL_DST, 16)
    return socket.inet_ntop(socket.AF_INET, raw[4:8]), struct.unpack_from("!H", raw, 2)[0]


class TellingServer:
    """Answers each connection with ``<name> <destination> <port> from <peer>`` and closes it, until closed itself.

    The destination is conntrack's, or with ``transparent`` the socket's own.
    """

    def __init__(self, namespace: Namespace, name: str, address: str, port: int, transparent: bool = False) -> None:
        self.name = name
        self._transparent = transparent
        self._listener = namespace.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if ":" in address:
            self._listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if transparent:
            level, option = (socket.IPPROTO_IPV6, 75) if ":" in address else (socket.IPPROTO_IP, 19)
            self._listener.setsockopt(level, option, 1)
        self._listener.bind((address, port))
        self._listener.listen(64)
        self._listener.settimeout(None)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                accepted, peer = self._listener.accept()
            except OSError:
                return
            with accepted:
                accepted.settimeout(TIMEOUT_S)
                try:
                    host, port = accepted.getsockname()[:2] if self._transparent else original_destination(accepted)
                except FileNotFoundError:  # a namespace without rules does not track connections
                    host, port = accepted.getsockname()[:2]
                accepted.sendall(f"{self.name} {host} {port} from {peer[0]}".encode())

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def __enter__(self) -> TellingServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class EchoDatagrams:
    """A UDP server that answers ``<name> <query>``; ``uid`` is whom rules take for its owner."""

    def __init__(self, namespace: Namespace, name: str, address: str, port: int, uid: int = 0) -> None:
        self.name = name
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = namespace.socket(family, socket.SOCK_DGRAM, uid=uid)
        if family == socket.AF_INET6:
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self._socket.bind((address, port))
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        events = select.poll()
        events.register(self._socket, select.POLLIN)
        events.register(self._stopped, select.POLLIN)
        while self._stopped.fileno() not in dict(events.poll()):
            query, peer = self._socket.recvfrom(2048)
            self._socket.sendto(self.name.encode() + b" " + query, peer)

    def close(self) -> None:
        self._stop.close()
        self._thread.join()
        self._stopped.close()
        self._socket.close()

    def __enter__(self) -> EchoDatagrams:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class HttpServer:
    """An HTTP/1.1 server inside a namespace that answers with its name, the request line and whom it came from."""

    def __init__(self, namespace: Namespace, name: str, address: str, port: int) -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []
        """Where each request came from, and its headers."""
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                peer = str(self.client_address[0])
                server.requests.append((peer, {key.lower(): value for key, value in self.headers.items()}))
                body = f"{name} {self.path} from {peer}\n".encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        class Server(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
            daemon_threads = True
            block_on_close = False

            def server_bind(self) -> None:
                if self.address_family == socket.AF_INET6:
                    self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                self.socket.bind(self.server_address)

        self._server = namespace.inside(lambda: Server((address, port), Handler))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> HttpServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_all(connection: socket.socket) -> str:
    """What the peer sends until it closes."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts).decode()


def ask(namespace: Namespace, address: str, port: int, **options: object) -> str:
    """What the server of a connection from the namespace says."""
    with namespace.connect(address, port, **options) as connection:  # type: ignore[arg-type]
        return read_all(connection)


def ask_datagram(namespace: Namespace, address: str, port: int, query: bytes, uid: int = 0, source_port: int = 0,
                 source: str = "") -> tuple[str, tuple[str, int]]:  # fmt: skip
    """The answer to a datagram, and who it came from."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with namespace.socket(family, socket.SOCK_DGRAM, uid=uid) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind((source, source_port))
        client.sendto(query, (address, port))
        answer, peer = client.recvfrom(2048)
        return answer.decode(), (peer[0], peer[1])
