"""Runs the real command as a process of its own and talks to its admin interface."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from proxeny.testing.namespace import command_inside, run_inside

START_S: Final = 30.0
STOP_S: Final = 15.0
_POLL_S: Final = 0.005
_READ_ANY_FILE: Final = "dac_read_search"
"""A capability for another uid: the interpreter may live in a folder that only root enters."""


class ProxyFailed(AssertionError):
    """The proxy ended, or did not get ready; its log is in the text."""


class RunningProxy:
    """A proxy that serves ``config`` (YAML). The config needs an admin address; ports may be 0.

    ``namespace`` (a name of ``ip netns``, or a path) is the network namespace that it runs in; ``admin`` asks it
    there. ``uid`` is the user (and group) that it runs as, so that rules can tell its traffic from others', with
    ``capabilities`` (``net_admin``, ``net_bind_service``). Both need root. ``binary`` is another proxy that takes
    Envoy's flags, to compare with.
    """

    def __init__(
        self, config: str, args: Sequence[str] = (), *, env: dict[str, str] | None = None, concurrency: int = 1,
        namespace: str | None = None, uid: int | None = None, capabilities: Sequence[str] = (),
        binary: Sequence[str] = (sys.executable, "-m", "proxeny"),
    ) -> None:  # fmt: skip
        self._folder = tempfile.TemporaryDirectory(prefix="proxeny-test-")
        self.folder = Path(self._folder.name)
        self.namespace = namespace
        self.config_path = self.folder / "bootstrap.yaml"
        self.config_path.write_text(config)
        self._admin_path = self.folder / "admin-address"
        self._log = (self.folder / "proxy.log").open("wb")
        if uid is not None:
            os.chown(self.folder, uid, uid)
        command = [
            *binary, "-c", str(self.config_path), "--disable-hot-restart",
            "--concurrency", str(concurrency), "--admin-address-path", str(self._admin_path), *args,
        ]  # fmt: skip
        self.process = subprocess.Popen(
            command_inside(command, namespace, uid, (_READ_ANY_FILE, *capabilities)),
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})},
        )  # fmt: skip
        try:
            self._wait_until_live()
        except BaseException:
            self.kill()
            self._folder.cleanup()
            raise

    def _wait_until_live(self) -> None:
        deadline = time.monotonic() + START_S
        while True:
            if self.process.poll() is not None:
                raise ProxyFailed(f"the proxy ended with {self.process.returncode}:\n{self.log()}")
            if time.monotonic() > deadline:
                raise ProxyFailed(f"the proxy was not live after {START_S:.0f} s:\n{self.log()}")
            if self._admin_path.exists() and self._admin_path.read_text().rpartition(":")[2].isdigit():
                try:
                    if self.admin("/ready").strip() == "LIVE":
                        return
                except OSError:
                    pass
            time.sleep(_POLL_S)

    # -- questions ---------------------------------------------------------------------------------------------

    @property
    def admin_address(self) -> tuple[str, int]:
        """Host and port of the admin interface."""
        host, _, port = self._admin_path.read_text().strip().rpartition(":")
        return host.strip("[]"), int(port)

    def admin(self, path: str, method: str = "GET") -> str:
        """The body of an admin answer."""
        connection = http.client.HTTPConnection(*self.admin_address, timeout=START_S)
        try:
            if self.namespace is None:
                connection.connect()
            else:
                run_inside(self.namespace, connection.connect)
            connection.request(method, path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def port(self, listener: str) -> int:
        """The port that a listener is bound to."""
        statuses: list[Any] = json.loads(self.admin("/listeners?format=json"))["listener_statuses"]
        for status in statuses:
            if status["name"] == listener:
                return int(status["local_address"]["socket_address"]["port_value"])
        raise KeyError(listener)

    def stat(self, name: str) -> int:
        """One counter or gauge; 0 when it is not there."""
        for line in self.admin(f"/stats?filter=^{name.replace('.', '[.]')}$").splitlines():
            found, _, value = line.rpartition(": ")
            if found == name:
                return int(value)
        return 0

    def wait_for_stat(self, name: str, at_least: int, timeout_s: float = 10.0) -> int:
        """Wait until a stat has reached a value."""
        deadline = time.monotonic() + timeout_s
        while (value := self.stat(name)) < at_least:
            if time.monotonic() > deadline:
                raise ProxyFailed(f"{name} is {value}, not {at_least}:\n{self.log()}")
            time.sleep(_POLL_S)
        return value

    def worker_pids(self) -> list[int]:
        """Process ids of the workers, by index."""
        found: dict[int, int] = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    fields = Path(f"/proc/{entry}/stat").read_text()
                except OSError:
                    continue
                name, _, rest = fields[fields.index("(") + 1 :].rpartition(")")
                state, parent = rest.split()[:2]
                if int(parent) == self.process.pid and name.startswith("proxeny:wrk:") and state != "Z":
                    found[int(name.rpartition(":")[2])] = int(entry)
        return [found[index] for index in sorted(found)]

    def log(self) -> str:
        """What it wrote to its log so far."""
        return (self.folder / "proxy.log").read_text(errors="replace")

    # -- the end -----------------------------------------------------------------------------------------------

    def signal(self, number: int) -> None:
        """Send a signal to the main process."""
        self.process.send_signal(number)

    def wait(self, timeout_s: float = STOP_S) -> int:
        """The exit status, once it has ended."""
        return self.process.wait(timeout_s)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
                raise ProxyFailed("the proxy does not stop") from None
        self._tidy()
        return int(self.process.returncode)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()
        self._tidy()

    def _tidy(self) -> None:
        if not self._log.closed:
            self._log.close()

    def close(self) -> None:
        """Stop it, if it runs, and remove its files."""
        try:
            self.stop()
        finally:
            self._folder.cleanup()

    def __enter__(self) -> RunningProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
