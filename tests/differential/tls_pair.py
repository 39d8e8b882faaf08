"""Handshakes with Envoy and with Proxeny: what a client (openssl s_client) sees, and what is counted and logged.

Both proxies run on one configuration, whose listeners are `configs/tls_handshakes.yaml` with a TLS context each, and
are kept for all cases. A case is a command line of s_client; its outcome is what s_client says of the session, the
response, the counters under `ssl.` that moved, and the access log.
"""

from __future__ import annotations

import re
import socket
import struct
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.differential.proxies import CONFIGS, ENVOY, PROXENY, Proxy
from tests.differential.transcript import side_by_side

REQUEST = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
DEADLINE_S = 15.0
CLIENT_S = 20.0
_SHOWN = (
    r"^New, .*|^Reused, .*",
    r"^ *0 s:.*",
    r"^ALPN protocol: .*|^No ALPN negotiated",
    r"^Peer signature type: .*|^Peer signing digest: .*|^Server Temp Key: .*",
    r"^OCSP response: .*|^ *Cert Status: .*",
    r"^HTTP/1.1 .*",
    r"alert [a-z ]+\b|no protocols available|wrong version number",
)
"""What of s_client's words is compared."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one case on one side."""

    client: tuple[str, ...]
    counters: dict[str, int]
    log: tuple[str, ...]

    def lines(self, mask: str = "") -> list[str]:
        log = [re.sub(mask, "*", line) for line in self.log] if mask else self.log
        return [*self.client, *[f"{name} +{value}" for name, value in sorted(self.counters.items())], *log]


def _read_all(client: socket.socket) -> bytes:
    """Up to the end, however it comes."""
    received = b""
    try:
        while data := client.recv(65536):
            received += data
    except ConnectionResetError:
        pass
    return received


class Side:
    """One proxy."""

    def __init__(self, kind: str, template: str, folder: Path) -> None:
        self.proxy = Proxy(kind, template, folder)

    def counters(self, scope: str) -> dict[str, int]:
        """Those of TLS that have moved since the start, without their scope."""
        found = self.proxy.stats(f"^{re.escape(scope)}ssl%5C.".replace("\\", "%5C"))
        return {
            name.removeprefix(f"{scope}ssl."): value
            for name, value in found.items()
            if value and "expiration" not in name
        }

    def log(self, listener: str) -> list[str]:
        path = self.proxy.log_path(listener)
        return path.read_text().splitlines() if path.exists() else []

    def run(self, listener: str, arguments: Sequence[str], scope: str) -> Outcome:
        """One connection; waits until the proxy has counted and logged it."""
        before, logged = self.counters(scope), len(self.log(listener))
        client = self.connect(listener, arguments)
        deadline = time.monotonic() + DEADLINE_S
        while len(self.log(listener)) <= logged and time.monotonic() < deadline:
            time.sleep(0.005)
        moved: dict[str, int] = {}
        while not moved and time.monotonic() < deadline:
            after = self.counters(scope)
            moved = {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}
        return Outcome(client, moved, tuple(self.log(listener)[logged:]))

    def send(self, listener: str, data: bytes, end: str, scope: str) -> Outcome:
        """As run(), with bytes of a client's own, and what came back. `end`: `fin`, `rst`, or none."""
        before, logged = self.counters(scope), len(self.log(listener))
        address = self.proxy.address_of(listener)
        with socket.create_connection(address, timeout=DEADLINE_S) as client:  # type: ignore[arg-type]
            client.sendall(data)
            if end == "rst":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif end == "fin":
                # The proxy may have ended the connection already.
                with suppress(OSError):
                    client.shutdown(socket.SHUT_WR)
            received = b"" if end == "rst" else _read_all(client)
        deadline = time.monotonic() + DEADLINE_S
        while len(self.log(listener)) <= logged and time.monotonic() < deadline:
            time.sleep(0.005)
        after = self.counters(scope)
        moved = {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}
        return Outcome((received.hex(),), moved, tuple(self.log(listener)[logged:]))

    def connect(self, listener: str, arguments: Sequence[str]) -> tuple[str, ...]:
        address = self.proxy.address_of(listener)
        assert isinstance(address, tuple)
        command = ["openssl", "s_client", "-connect", f"{address[0]}:{address[1]}", "-ign_eof", *arguments]
        if not {"-servername", "-noservername"} & set(arguments):
            command.append("-noservername")
        done = subprocess.run(command, input=REQUEST, capture_output=True, timeout=CLIENT_S, check=False)
        text = (done.stdout + done.stderr).decode("utf-8", "replace")
        found = [match.group().strip() for pattern in _SHOWN for match in re.finditer(pattern, text, re.MULTILINE)]
        return tuple(dict.fromkeys(found))


class TlsPair:
    """Both proxies; `contexts` are fields of DownstreamTlsContext (YAML in one line) by listener."""

    def __init__(self, contexts: dict[str, str], clusters: str, folder: Path) -> None:
        one = (CONFIGS / "tls_handshakes.yaml").read_text()
        listeners = [one.replace("@NAME@", name).replace("@TLS@", text) for name, text in contexts.items()]
        body = "\n".join(["- " + listener.replace("\n", "\n  ").rstrip() for listener in listeners])
        template = (
            "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\n"
            f"static_resources:\n  clusters: {clusters}\n  listeners:\n"
            + "\n".join(f"  {line}" for line in body.split("\n"))
        )
        self._pool = ThreadPoolExecutor(2)
        starts = [self._pool.submit(Side, kind, template, folder / kind) for kind in (ENVOY, PROXENY)]
        self.envoy, self.proxeny = [start.result() for start in starts]

    def run(self, listener: str, *arguments: str, scope: str = "") -> tuple[Outcome, Outcome]:
        """The case on both sides; `@` in an argument is the side's own folder."""
        runs = [
            self._pool.submit(
                side.run,
                listener,
                [argument.replace("@", str(side.proxy.folder)) for argument in arguments],
                scope or f"listener.{listener}.",
            )
            for side in (self.envoy, self.proxeny)
        ]
        envoy, proxeny = [run.result() for run in runs]
        return envoy, proxeny

    def check(self, listener: str, *arguments: str, mask: str = "") -> Outcome:
        """The same, which has to be equal but for what the regex `mask` finds in the log."""
        return self.compare(*self.run(listener, *arguments), mask)

    def check_bytes(self, listener: str, data: bytes, end: str = "") -> Outcome:
        """Bytes in place of a handshake, which have to come to the same.

        Whoever closes before it has read everything resets the connection, and what it said last may be lost.
        """
        scope = f"listener.{listener}."
        runs = [self._pool.submit(side.send, listener, data, end, scope) for side in (self.envoy, self.proxeny)]
        envoy, proxeny = [run.result() for run in runs]
        if not (envoy.client[0] and proxeny.client[0]):
            envoy, proxeny = replace(envoy, client=()), replace(proxeny, client=())
        return self.compare(envoy, proxeny)

    @staticmethod
    def compare(envoy: Outcome, proxeny: Outcome, mask: str = "") -> Outcome:
        ours, theirs = proxeny.lines(mask), envoy.lines(mask)
        if ours != theirs:
            pytest.fail("\n".join(side_by_side(theirs, ours)), pytrace=False)
        return envoy

    def close(self) -> None:
        self.envoy.proxy.close()
        self.proxeny.proxy.close()
        self._pool.shutdown()
