"""Discovered filters that change under load, workers that come later, statistics that neither grow nor stay behind."""

import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from proxeny.testing.proxy import RunningProxy

TYPES = "type.googleapis.com/envoy"
MUTATION = f"{TYPES}.extensions.filters.http.header_mutation.v3.HeaderMutation"
ROUTER = f"{TYPES}.extensions.filters.http.router.v3.Router"
ANYWHERE = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
DISCOVERY = "extension_config_discovery.http_filter.f"
CLIENTS = 3
CHANGES = 40
TIMEOUT_S = 20.0

Start = Callable[..., RunningProxy]


def move(path: Path, content: Any) -> None:
    """Replace a file at once."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(json.dumps(content))
    new.rename(path)


def deliver(path: Path, value: str) -> None:
    """The filter adds the response header ``x-a``."""
    header = {"append": {"header": {"key": "x-a", "value": value}}}
    typed = {"@type": MUTATION, "mutations": {"response_mutations": [header]}}
    resource = {"@type": f"{TYPES}.config.core.v3.TypedExtensionConfig", "name": "f", "typed_config": typed}
    move(path, {"version_info": value, "resources": [resource]})


def listener(name: str, path: Path) -> dict[str, Any]:
    source = {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}
    discovered = {"name": "f", "config_discovery": {"config_source": source, "type_urls": [MUTATION]}}
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
    manager = {
        "@type": f"{TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [discovered, {"name": "router", "typed_config": {"@type": ROUTER}}],
    }
    return {"name": name, "address": ANYWHERE, "filter_chains": [{"filters": [{"name": "h", "typed_config": manager}]}]}


def bootstrap(folder: Path) -> str:
    """Listeners from a file."""
    source = {"path_config_source": {"path": str(folder / "lds.json")}, "resource_api_version": "V3"}
    return json.dumps(
        {
            "node": {"id": "node", "cluster": "cluster"},
            "admin": {"address": ANYWHERE},
            "dynamic_resources": {"lds_config": source},
        }
    )


def listeners(folder: Path, *names: str) -> None:
    kind = f"{TYPES}.config.listener.v3.Listener"
    resources = [{"@type": kind, **listener(name, folder / "f.json")} for name in names]
    move(folder / "lds.json", {"resources": resources})


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def asked(port: int, connection: http.client.HTTPConnection | None = None) -> str:
    """The header of an answer."""
    asking = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    asking.request("GET", "/")
    answer = asking.getresponse()
    answer.read()
    if connection is None:
        asking.close()
    return f"{answer.status} {answer.getheader('x-a')}"


class Load:
    """Clients that ask again and again, on connections that stay."""

    def __init__(self, port: int) -> None:
        self.seen: set[str] = set()
        self.failures: list[BaseException] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(port,)) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _run(self, port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        try:
            while not self._stop.is_set():
                self.seen.add(asked(port, connection))
        except Exception as error:
            self.failures.append(error)
        finally:
            connection.close()

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(TIMEOUT_S)


def test_a_filter_changes_under_load_and_workers_that_come_later_have_it(proxy: Start, tmp_path: Path) -> None:
    deliver(tmp_path / "f.json", "0")
    listeners(tmp_path, "a")
    running = proxy(bootstrap(tmp_path), concurrency=2)
    port = running.port("a")
    names = running.admin("/stats").count("\n")
    load = Load(port)
    for number in range(1, CHANGES + 1):
        deliver(tmp_path / "f.json", str(number))
        running.wait_for_stat(f"{DISCOVERY}.config_reload", number + 1)
    load.end()
    assert not load.failures
    assert load.seen <= {f"200 {number}" for number in range(CHANGES + 1)}
    assert asked(port) == f"200 {CHANGES}"
    assert running.admin("/stats").count("\n") == names

    killed = running.worker_pids()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(set(running.worker_pids()) - set(killed)) == 2)
    wait_until(lambda: all(asked(port) == f"200 {CHANGES}" for _ in range(8)))

    deliver(tmp_path / "f.json", "last")
    wait_until(lambda: all(asked(port) == "200 last" for _ in range(8)))


def test_discovery_ends_with_its_last_listener(proxy: Start, tmp_path: Path) -> None:
    deliver(tmp_path / "f.json", "0")
    listeners(tmp_path, "a", "b")
    running = proxy(bootstrap(tmp_path), ("--drain-time-s", "0"))
    listeners(tmp_path, "a")
    wait_until(lambda: '"name": "b"' not in running.admin("/listeners?format=json"))
    running.wait_for_stat("listener_manager.listener_removed", 1)
    assert DISCOVERY in running.admin("/stats")
    listeners(tmp_path)
    wait_until(lambda: DISCOVERY not in running.admin("/stats"))
    listeners(tmp_path, "a")
    wait_until(lambda: DISCOVERY in running.admin("/stats"))
    wait_until(lambda: '"name": "a"' in running.admin("/listeners?format=json").replace('"name":"', '"name": "'))
    assert asked(running.port("a")) == "200 0"
