"""A go-control-plane server (tests/go_control_plane/main.go) and what its clients asked."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from google.protobuf import any_pb2
from tests.peers import peer

WAIT_S: Final = 20.0
PROGRAM: Final = "proxeny-test-go-control-plane"


class GoControlPlane:
    """The process, until ``close``; ``ads``: snapshots must be consistent, as ADS wants it."""

    def __init__(self, ads: bool = True) -> None:
        command = [peer(PROGRAM, "go"), *(["--ads"] if ads else [])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.events: list[dict[str, Any]] = []
        """All that it printed."""
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self.port: int = self.wait(lambda one: one["event"] == "listening")["port"]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self.events.append(json.loads(line))
                self._changed.notify_all()

    def set(self, version: str, messages: Sequence[Any]) -> None:
        """Serve these messages and no others."""
        resources = []
        for message in messages:
            packed = any_pb2.Any()
            packed.Pack(message)
            resources.append(base64.b64encode(packed.SerializeToString()).decode())
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"version": version, "resources": resources}) + "\n")
        self._process.stdin.flush()
        done = self.wait(lambda one: one["event"] == "set" and one["version"] == version)
        assert "error" not in done, done

    def wait(self, matches: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The first event that matches."""
        end = time.monotonic() + WAIT_S
        with self._changed:
            while True:
                found = next((one for one in self.events if matches(one)), None)
                if found is not None:
                    return found
                left = end - time.monotonic()
                assert left > 0, self.events
                self._changed.wait(left)

    def asked(self, event: str, type_name: str) -> list[dict[str, Any]]:
        """Requests for a type so far: ``request`` or ``delta``."""
        with self._changed:
            return [one for one in self.events if one["event"] == event and one.get("type", "").endswith(type_name)]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._thread.join()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
