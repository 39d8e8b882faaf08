"""Control planes that die, freeze, or say what nobody should: the last good state serves, what happened is counted."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from proxeny.testing import RunningProxy
from proxeny.testing.xds import CDS, LDS, ControlPlane

TYPES = "type.googleapis.com/envoy"
WAIT = 20.0
CONNECTED = "control_plane.connected_state"

PROCESS = """
import sys, time
from proxeny.testing.xds import CDS, LDS, ControlPlane
import json
listener = json.loads(sys.argv[2])
plane = ControlPlane(port=int(sys.argv[1]))
plane.set(CDS, [], version=sys.argv[3])
plane.set(LDS, [listener], version=sys.argv[3])
print("ready", flush=True)
time.sleep(1000)
"""


def listener(text: str) -> dict[str, Any]:
    """A listener ``web`` that says ``text``."""
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": text}}}
    hosts = [{"name": "all", "domains": ["*"], "routes": [route]}]
    manager = {
        "@type": f"{TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "web",
        "route_config": {"virtual_hosts": hosts},
        "http_filters": [{"name": "r", "typed_config": {"@type": f"{TYPES}.extensions.filters.http.router.v3.Router"}}],
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    return {"name": "web", "address": address, "filter_chains": [{"filters": [{"name": "h", "typed_config": manager}]}]}


def bootstrap(*ports: int, keepalive: bool = False) -> str:
    """Everything over ADS from control planes at these ports."""
    http2: dict[str, Any] = {}
    if keepalive:
        http2["connection_keepalive"] = {"interval": "0.1s", "timeout": "0.2s"}
    options = {
        "@type": f"{TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": http2},
    }
    hosts = [{"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": p}}}} for p in ports]
    cluster = {
        "name": "plane",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
        "load_assignment": {"cluster_name": "plane", "endpoints": [{"lb_endpoints": hosts}]},
    }
    back_off = {"base_interval": "0.01s", "max_interval": "0.05s"}
    service = {"envoy_grpc": {"cluster_name": "plane", "retry_policy": {"retry_back_off": back_off}}}
    ads = {"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [service]}
    source = {"ads": {}, "resource_api_version": "V3"}
    return json.dumps(
        {
            "node": {"id": "me", "cluster": "us"},
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
            "dynamic_resources": {"ads_config": ads, "lds_config": source, "cds_config": source},
            "static_resources": {"clusters": [cluster]},
        }
    )


class PlaneProcess:
    """A control plane in a process of its own, at a port that stays."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[str] | None = None

    def start(self, text: str) -> None:
        command = [sys.executable, "-c", PROCESS, str(self.port), json.dumps(listener(text)), text]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None


@pytest.fixture
def plane_process() -> Iterator[PlaneProcess]:
    made = PlaneProcess()
    yield made
    made.kill()


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as made:
        yield made


class Client:
    """Asks again and again; ``failed`` counts what is no 200."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.asked = self.failed = 0
        self.heard: set[bytes] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=WAIT)
        while not self._stopped.is_set():
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                self.heard.add(answer.read())
                self.failed += answer.status != 200
            except (OSError, http.client.HTTPException):
                self.failed += 1
                connection.close()
            self.asked += 1
        connection.close()

    def wait(self, more: int = 20) -> None:
        """Until it asked a few times more."""
        goal = self.asked + more
        wait_until(lambda: self.asked >= goal)

    def close(self) -> None:
        self._stopped.set()
        self._thread.join(WAIT)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_control_plane_is_killed_and_frozen(proxy: Callable[..., RunningProxy], plane_process: PlaneProcess) -> None:
    plane_process.start("one")
    running = proxy(bootstrap(plane_process.port, keepalive=True))
    client = Client(running.port("web"))
    plane_process.kill()
    wait_until(lambda: running.stat(CONNECTED) == 0)
    running.wait_for_stat("cluster_manager.cds.update_failure", 2)
    client.wait()
    plane_process.start("two")
    wait_until(lambda: b"two" in client.heard)
    wait_until(lambda: running.stat(CONNECTED) == 1)
    # Nothing comes from a stopped process, and its connection stays open: HTTP/2 pings find out.
    plane_process.signal(signal.SIGSTOP)
    running.wait_for_stat("cluster.plane.http2.keepalive_timeout", 1)
    wait_until(lambda: running.stat(CONNECTED) == 0 or running.stat("cluster.plane.upstream_cx_connect_timeout") > 0)
    client.wait()
    plane_process.signal(signal.SIGCONT)
    wait_until(lambda: running.stat(CONNECTED) == 1)
    client.wait()
    client.close()
    assert client.failed == 0
    assert client.heard == {b"one", b"two"}


def test_what_nobody_should_say(proxy: Callable[..., RunningProxy], plane: ControlPlane) -> None:
    plane.set(CDS, [])
    plane.set(LDS, [listener("one")])
    # One of the two is nobody: whoever is asked next may be the other.
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = closed.getsockname()[1]
    running = proxy(bootstrap(plane.port, nobody))
    client = Client(running.port("web"))
    for data in (b"\xff\xff\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x12\x04\x0a\x02\xff\xff"):
        streams = len(plane.streams)
        plane.send_raw(LDS, data)
        plane.wait_for(LDS, lambda request, last=streams: request.stream > last)  # type: ignore[misc]
    wait_until(lambda: running.stat(CONNECTED) == 1)
    large = {"name": "large", "metadata": {"filter_metadata": {"m": {"big": "x" * (50 << 20)}}}}
    plane.set(CDS, [large], version="large")
    plane.wait_for_ack(CDS, "large")
    plane.set(CDS, [{"name": "x" * 1000}, {"name": "\n\x01{{}}</script>", "type": "EDS"}], version="names")
    plane.wait_for_nack(CDS, "names")
    plane.set(LDS, [listener("two")], version="two")
    plane.wait_for_ack(LDS, "two")
    wait_until(lambda: b"two" in client.heard)
    client.close()
    assert client.failed == 0
    assert running.stat("cluster.plane.upstream_rq_total") >= 4
