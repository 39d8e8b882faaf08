"""Sequences of LDS files for one proxy, and what it makes of them: connections, stats, states of listeners.

A case is a function that drives a `Side`; everything worth comparing goes into its transcript, with ports as names.
Both sides wait for the same facts, so that a transcript does not depend on how fast a proxy is.
"""

import json
import re
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.differential.proxies import CONFIGS, Proxy

TIMEOUT = 20.0
POLL = 0.01
GENERATED_NAME = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
PORTS = ("A", "B", "C", "D")
"""Names of the ports that a case may bind."""
TYPES = "type.googleapis.com/envoy.extensions.filters.network"
COMPARED = (
    r"^listener_manager\.(listener_|total_|workers_started|lds\.(update_(attempt|failure|rejected|success)|version))"
    r"|^server\.dynamic_unknown_fields"
)

Json = dict[str, Any]


def echo(name: str = "", **match: Any) -> Json:
    """A chain that echoes."""
    one = {"name": "envoy.filters.network.echo", "typed_config": {"@type": f"{TYPES}.echo.v3.Echo"}}
    return {"name": name, "filter_chain_match": match, "filters": [one]}


def greeting(text: str, name: str = "", **match: Any) -> Json:
    """A chain that says a text and closes."""
    config = {"@type": f"{TYPES}.direct_response.v3.Config", "response": {"inline_string": text}}
    one = {"name": "envoy.filters.network.direct_response", "typed_config": config}
    return {"name": name, "filter_chain_match": match, "filters": [one]}


def http(name: str = "") -> Json:
    """A chain that answers every request itself."""
    manager = {
        "@type": f"{TYPES}.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "web",
        "route_config": {
            "name": "r",
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}],
                }
            ],
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    one = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    return {"name": name, "filters": [one]}


def source(address: str) -> Json:
    """A match on the client's address."""
    return {"source_prefix_ranges": [{"address_prefix": address, "prefix_len": 32}]}


def at(port: str, ip: str = "127.0.0.1") -> Json:
    """An address; `port` is a name of PORTS."""
    return {"socket_address": {"address": ip, "port_value": f"@{port}"}}


def listener(name: str, port: str, *chains: Json, **more: Any) -> Json:
    """A Listener resource."""
    return {
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": name,
        "address": at(port),
        "filter_chains": list(chains) or [echo()],
        **more,
    }


class Side:
    """One proxy under a case."""

    def __init__(self, kind: str, folder: Path, args: Sequence[str], config: str = "lds") -> None:
        self.proxy = Proxy(kind, (CONFIGS / f"{config}.yaml").read_text(), folder, args=args)
        self.ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        self.lines: list[str] = []
        self._version = 0
        self._connections: list[socket.socket] = []

    def note(self, text: str) -> None:
        """Put a line into the transcript; ports become names, generated names and times go."""
        for name, port in self.ports.items():
            text = re.sub(rf"\b{port}\b", f"<{name}>", text)
        text = self.proxy.normalise(text)
        self.lines.append(GENERATED_NAME.sub("<uuid>", text))

    # -- configuration -----------------------------------------------------------------------------------------

    def put(self, *listeners: Json, text: str = "") -> None:
        """Replace the file by a rename; wait until what it says is carried out."""
        fresh = self.proxy.folder / "new"
        fresh.write_text(self._content(listeners, text))
        self._move(fresh, "lds.yaml")

    def swap(self, *listeners: Json) -> None:
        """Have the symbolic link `data` point to another folder with another file; wait likewise."""
        content = self._content(listeners, "")
        folder = self.proxy.folder / f"v{self._version}"
        folder.mkdir()
        (folder / "lds.yaml").write_text(content)
        link = self.proxy.folder / "new"
        link.symlink_to(folder.name)
        self._move(link, "data")

    def _content(self, listeners: Sequence[Json], text: str) -> str:
        self._version += 1
        content = text or json.dumps({"version_info": f"v{self._version}", "resources": listeners})
        return re.sub(r'"@([A-D])"', lambda mark: str(self.ports[mark[1]]), content)

    def _move(self, fresh: Path, name: str) -> None:
        attempts = self.stat("lds.update_attempt")
        fresh.rename(self.proxy.folder / name)
        self.wait_until(lambda: self.stat("lds.update_attempt") > attempts)
        self.wait_until(lambda: self.stat("total_listeners_warming") == 0)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for a fact."""
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.proxy.kind} waits in vain; so far:\n" + "\n".join(self.lines))
            time.sleep(POLL)

    def drained(self) -> None:
        """Wait until nothing drains any more."""
        self.wait_until(lambda: not self.stat("total_listeners_draining") | self.stat("total_filter_chains_draining"))

    # -- what there is -----------------------------------------------------------------------------------------

    def stat(self, name: str) -> int:
        """A stat of the listener manager."""
        full = f"listener_manager.{name}"
        return self.proxy.stats(f"^{full.replace('.', '[.]')}$").get(full, 0)

    def _is_created(self) -> bool:
        """Whether workers said of every listener that they have it; that takes a post of theirs to main."""
        told = self.stat("listener_create_success") + self.stat("listener_create_failure")
        return told >= self.stat("listener_added") + self.stat("listener_modified")

    def snapshot(self) -> None:
        """Stats, listeners and their states, once nothing is on its way between the threads of the proxy."""
        self.wait_until(self._is_created)
        for line in self.proxy.admin("/stats").splitlines():
            if re.search(COMPARED, line):
                self.note(line)
        self.note("/listeners: " + ", ".join(self.proxy.admin("/listeners").split()))
        configs = json.loads(self.proxy.admin("/config_dump"))["configs"]
        [dump] = [one for one in configs if one["@type"].endswith("ListenersConfigDump")]
        self.note(f"version {dump.get('version_info')!r}, {len(dump.get('static_listeners', ()))} static")
        # Envoy groups generations by a hash of the name, seeded per process.
        for one in sorted(dump.get("dynamic_listeners", ()), key=_shown_name):
            self.note(f"listener {one.get('name')}")
            for kind in sorted(one.keys() - {"name"}):
                self.note(f"  {kind}: {_state(one[kind])}")

    # -- connections -------------------------------------------------------------------------------------------

    def connect(self, port: str, source_ip: str = "127.0.0.1") -> socket.socket:
        """A client."""
        connection = socket.create_connection(
            ("127.0.0.1", self.ports[port]), timeout=TIMEOUT, source_address=(source_ip, 0)
        )
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections.append(connection)
        return connection

    def ask(self, connection: socket.socket, text: bytes = b"ping") -> None:
        """What comes back for a text."""
        try:
            connection.sendall(text)
            self.note(f"asked, got {connection.recv(1000)!r}")
        except OSError as error:
            self.note(f"asked, got {type(error).__name__}")

    def get(self, connection: socket.socket) -> None:
        """A request's status, and whether the connection is to be closed."""
        self.note(_get(connection))

    def told_to_go(self, connection: socket.socket) -> None:
        """Ask until the connection is to be closed."""
        heard = ""

        def is_told() -> bool:
            nonlocal heard
            heard = _get(connection)
            return heard.endswith("close")

        self.wait_until(is_told)
        self.note(heard)

    def hear(self, port: str, source_ip: str = "127.0.0.1") -> None:
        """What a new client is told at once."""
        self.note(f"{port} says {self.connect(port, source_ip).recv(1000)!r}")

    def end_of(self, connection: socket.socket) -> None:
        """Wait for the end of a connection."""
        try:
            self.note(f"then {connection.recv(1)!r}")
        except ConnectionResetError:
            self.note("then b''")

    def refuses(self, port: str) -> None:
        """Wait until a port refuses connections."""

        def refused() -> bool:
            try:
                socket.create_connection(("127.0.0.1", self.ports[port]), timeout=TIMEOUT).close()
            except ConnectionRefusedError:
                return True
            except OSError:
                pass
            return False

        self.wait_until(refused)
        self.note(f"{port} refuses")

    def post(self, path: str) -> None:
        """An admin command."""
        self.note(f"{path}: {self.proxy.admin(path, 'POST')!r}")

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        self.proxy.close()


def _get(connection: socket.socket) -> str:
    connection.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    head = connection.recv(4096).decode()
    return f"{head.split(' ')[1]}, {'close' if 'connection: close' in head else 'keep'}"


def _shown_name(one: Json) -> str:
    return GENERATED_NAME.sub("<uuid>", str(one.get("name")))


def _state(state: Json) -> str:
    """A generation or a refusal, without its times."""
    if "details" in state:
        failed = state["failed_configuration"]
        return f"{state['details']!r} for {failed.get('name')!r}, attempted: {'last_update_attempt' in state}"
    message = json.dumps(state["listener"], sort_keys=True)
    return f"{state['version_info']} updated: {'last_updated' in state} {message}"


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
