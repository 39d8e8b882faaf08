"""Load of TLS handshakes: connections that make one request and close, full or resumed."""

import socket
import ssl
import time
from pathlib import Path

from benchmarks.processes import BenchmarkError

MESSAGE = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"


def client_context(folder: Path) -> ssl.SSLContext:
    """TLS 1.3, P-256, trusting the benchmark's authority in ``folder``; the name is not looked at."""
    context = ssl.create_default_context(cafile=str(folder / "bench.ca"))
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_ecdh_curve("prime256v1")
    return context


class HandshakeLoad:
    """One connection after the other, from one thread: the proxy is never saturated."""

    def __init__(self, port: int, context: ssl.SSLContext, *, resume: bool) -> None:
        self._port = port
        self._context = context
        self._resume = resume
        self._session: ssl.SSLSession | None = None

    def run(self, seconds: float) -> int:
        """Connections served; BenchmarkError when one was not resumed that should have been."""
        served = 0
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            resumed = self._once()
            if self._resume and served and not resumed:
                raise BenchmarkError("a session was not resumed")
            served += 1
        return served

    def _once(self) -> bool:
        plain = socket.create_connection(("127.0.0.1", self._port), timeout=20)
        # Else the request waits for the acknowledgement of the handshake's last message, 40 ms with some servers.
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._context.wrap_socket(plain, session=self._session) as sock:
            sock.sendall(MESSAGE)
            if b" 200 " not in sock.recv(4096):
                raise BenchmarkError("a request failed")
            if self._resume:
                # TLS 1.3: the ticket came before the first bytes.
                self._session = sock.session
            return bool(sock.session_reused)
