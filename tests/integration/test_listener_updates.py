"""Listeners that change while they serve: filesystem LDS through the real command, with real traffic."""

import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.integration.test_workers import connect, echoes, wait_until

from proxeny.testing import RunningProxy

Start = Callable[..., RunningProxy]

BOOTSTRAP = """
node: {{id: test, cluster: test}}
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
dynamic_resources:
  lds_config: {{resource_api_version: V3, path_config_source: {{path: "{path}"}}}}
"""
TYPES = "type.googleapis.com/envoy.extensions.filters.network"
ECHO = {"name": "envoy.filters.network.echo", "typed_config": {"@type": f"{TYPES}.echo.v3.Echo"}}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def greeting(text: str) -> dict[str, Any]:
    config = {"@type": f"{TYPES}.direct_response.v3.Config", "response": {"inline_string": text}}
    return {"name": "envoy.filters.network.direct_response", "typed_config": config}


def web(*filters: dict[str, Any]) -> dict[str, Any]:
    """A connection manager that answers everything itself."""
    router = {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
    routes = [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]
    manager = {
        "@type": f"{TYPES}.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "web",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [*filters, {"name": "envoy.filters.http.router", "typed_config": router}],
    }
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}


def chain(*filters: dict[str, Any], name: str = "", **match: Any) -> dict[str, Any]:
    return {"name": name, "filters": list(filters), "filter_chain_match": match}


def from_source(address: str) -> dict[str, Any]:
    return {"source_prefix_ranges": [{"address_prefix": address, "prefix_len": 32}]}


def listener(name: str, port: int, *chains: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": list(chains or [chain(ECHO)]),
        **more,
    }


class Lds:
    """A running proxy and the file that its listeners come from."""

    def __init__(self, proxy: Start, folder: Path, *listeners: dict[str, Any], drain_s: int, strategy: str) -> None:
        self.path = folder / "lds.json"
        self.version = 0
        self.clients: list[socket.socket] = []
        self.write(*listeners)
        config = BOOTSTRAP.format(path=self.path)
        self.running = proxy(config, args=("--drain-time-s", str(drain_s), "--drain-strategy", strategy), concurrency=2)

    def write(self, *listeners: dict[str, Any], text: str = "") -> None:
        """Replace the file by a rename, without waiting."""
        self.version += 1
        fresh = self.path.with_suffix(".new")
        fresh.write_text(text or json.dumps({"version_info": str(self.version), "resources": listeners}))
        fresh.rename(self.path)

    def put(self, *listeners: dict[str, Any], text: str = "") -> None:
        """Replace the file; wait until the workers have carried out what it says."""
        attempts = self.stat("lds.update_attempt")
        self.write(*listeners, text=text)
        self.wait_for("lds.update_attempt", attempts + 1)
        wait_until(lambda: self.stat("total_listeners_warming") == 0, "listeners still warm")

    def connect(self, port: int, source: str = "127.0.0.1") -> socket.socket:
        """A client; it is closed at the end of the test."""
        client = socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(source, 0))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.clients.append(client)
        return client

    def stat(self, name: str) -> int:
        return self.running.stat(f"listener_manager.{name}")

    def wait_for(self, name: str, at_least: int) -> None:
        self.running.wait_for_stat(f"listener_manager.{name}", at_least)

    def dump(self) -> dict[str, Any]:
        configs = json.loads(self.running.admin("/config_dump"))["configs"]
        [found] = [one for one in configs if one["@type"].endswith("ListenersConfigDump")]
        return found  # type: ignore[no-any-return]


Serve = Callable[..., Lds]


@pytest.fixture
def start(proxy: Start, tmp_path: Path) -> Iterator[Serve]:
    """``start(*listeners)``: a proxy that serves them; its clients are closed at the end."""
    made: list[Lds] = []

    def run(*listeners: dict[str, Any], drain_s: int = 600, strategy: str = "gradual") -> Lds:
        made.append(Lds(proxy, tmp_path, *listeners, drain_s=drain_s, strategy=strategy))
        return made[-1]

    yield run
    for lds in made:
        for client in lds.clients:
            client.close()


def answer(port: int) -> bytes:
    with connect(port) as connection:
        return connection.recv(100)


def ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def refuses(port: int) -> bool:
    try:
        connect(port).close()
    except ConnectionRefusedError:
        return True
    return False


def test_an_update_in_place_keeps_the_connections_of_other_chains(start: Serve) -> None:
    port = free_port()
    stays, goes = chain(ECHO, **from_source("127.0.0.1")), chain(ECHO, name="goes", **from_source("127.0.0.2"))
    lds = start(listener("one", port, stays, goes), drain_s=1)
    kept = [lds.connect(port, "127.0.0.1") for _ in range(20)]
    lost = [lds.connect(port, "127.0.0.2") for _ in range(20)]
    assert all(echoes(one, b"x") for one in kept + lost)
    lds.put(listener("one", port, stays, chain(greeting("new"), name="new", **from_source("127.0.0.2"))))
    assert lds.stat("listener_in_place_updated") == 1
    assert lds.stat("total_filter_chains_draining") == 1
    assert lds.connect(port, "127.0.0.2").recv(10) == b"new"
    # Until the drain time is over the old connections serve as before.
    assert all(ended(one) for one in lost)
    wait_until(lambda: lds.stat("total_filter_chains_draining") == 0, "chains still drain")
    assert all(echoes(one, b"y") for one in kept)
    assert lds.stat("total_listeners_draining") == 0
    assert lds.running.stat(f"listener.127.0.0.1_{port}.downstream_cx_active") == 20


def test_a_replaced_listener_drains(start: Serve) -> None:
    port = free_port()
    lds = start(listener("one", port), drain_s=1)
    old = lds.connect(port)
    assert echoes(old, b"x")
    lds.put(listener("one", port, chain(greeting("new")), stat_prefix="other"))
    assert answer(port) == b"new"
    assert lds.stat("total_listeners_draining") == 1
    [one] = lds.dump()["dynamic_listeners"]
    assert (one["active_state"]["version_info"], one["draining_state"]["version_info"]) == ("2", "1")
    assert ended(old)
    wait_until(lambda: lds.stat("total_listeners_draining") == 0, "the old generation is still there")
    assert answer(port) == b"new"


def test_a_removed_listener_drains(start: Serve) -> None:
    port, other = free_port(), free_port()
    lds = start(listener("one", port), listener("two", other), drain_s=1)
    old, apart = lds.connect(port), lds.connect(other)
    assert echoes(old, b"x")
    lds.put(listener("two", other))
    wait_until(lambda: refuses(port), "it still accepts")
    assert ended(old)
    assert echoes(apart, b"y")
    wait_until(lambda: lds.stat("total_listeners_draining") == 0, "it still drains")
    assert lds.running.stat(f"listener.127.0.0.1_{port}.downstream_cx_total") == 0  # its stats went with it
    assert lds.running.admin("/listeners") == f"two::127.0.0.1:{other}\n"


def test_http_is_told_to_go(start: Serve) -> None:
    port = free_port()
    lds = start(listener("one", port, chain(web())), strategy="immediate")
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"

    def get(connection: socket.socket) -> bytes:
        connection.sendall(request)
        return connection.recv(4096)

    kept = lds.connect(port)
    assert b"connection: close" not in get(kept)
    lds.put(listener("one", port, chain(web(), name="renamed")))
    # The chain that is gone tells; the listener lives on.
    assert b"connection: close" in get(kept)
    with connect(port) as fresh:
        assert b"connection: close" not in get(fresh)


def test_another_address(start: Serve) -> None:
    port, other = free_port(), free_port()
    lds = start(listener("one", port))
    old = lds.connect(port)
    assert echoes(old, b"x")
    lds.put(listener("one", other))
    assert lds.stat("listener_modified") == 1
    with connect(other) as fresh:
        assert echoes(fresh, b"y")
    wait_until(lambda: refuses(port), "the old address still accepts")
    assert echoes(old, b"z")
    assert lds.running.admin("/listeners") == f"one::127.0.0.1:{other}\n"


def test_a_partly_bad_update(start: Serve) -> None:
    port, other = free_port(), free_port()
    lds = start(listener("one", port))
    twice = [chain(ECHO, name="a"), chain(ECHO, name="b")]
    lds.put(listener("bad", free_port(), *twice), listener("one", port, chain(greeting("new"))), listener("two", other))
    assert answer(port) == b"new"
    with connect(other) as connection:
        assert echoes(connection, b"x")
    assert (lds.stat("lds.update_rejected"), lds.stat("lds.update_success")) == (1, 1)
    errors = [one for one in lds.dump()["dynamic_listeners"] if "error_state" in one]
    assert [one.get("name", "") for one in errors] == ["bad", ""]
    assert "same matching rules" in errors[0]["error_state"]["details"]


def test_a_file_that_cannot_be_read_changes_nothing(start: Serve) -> None:
    port = free_port()
    lds = start(listener("one", port))
    lds.put(text="{")
    assert lds.stat("lds.update_failure") == 1
    with connect(port) as connection:
        assert echoes(connection, b"x")


def test_an_address_that_is_taken(start: Serve) -> None:
    port = free_port()
    lds = start(listener("one", port))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        lds.put(listener("one", taken.getsockname()[1], stat_prefix="other"))
    assert lds.stat("listener_create_failure") == 1
    assert lds.stat("lds.update_rejected") == 1
    assert lds.stat("total_listeners_draining") == 0
    with connect(port) as connection:
        assert echoes(connection, b"x")
    # The next update finds the address free.
    lds.put(listener("one", port, stat_prefix="other"))
    assert lds.stat("lds.update_success") == 2


FUSSY = """
import proxeny
class Fussy(proxeny.HttpFilter):
    @classmethod
    def setup(cls, worker):
        if worker.index == 1:
            raise RuntimeError("not in this worker")
"""


@pytest.mark.parametrize("in_place", [True, False])
def test_what_one_worker_refuses_is_undone_in_all(start: Serve, tmp_path: Path, in_place: bool) -> None:
    (tmp_path / "fussy.py").write_text(FUSSY)
    fussy = {
        "name": "proxeny.filters.http.python",
        "typed_config": {
            "@type": "type.googleapis.com/proxeny.filters.http.python.v3.Python",
            "filter": "fussy:Fussy",
            "python_path": [str(tmp_path)],
        },
    }
    port = free_port()
    lds = start(listener("one", port))
    kept = [lds.connect(port) for _ in range(10)]
    lds.put(listener("one", port, chain(web(fussy)), **({} if in_place else {"stat_prefix": "x"})))
    lds.wait_for("listener_create_failure", 1)
    assert lds.stat("listener_in_place_updated") == int(in_place)
    [one] = lds.dump()["dynamic_listeners"]
    assert one["active_state"]["version_info"] == "1"
    assert "not in this worker" in one["error_state"]["details"]
    # In place, worker 0 had begun to drain the chain of these: it was put back for the others.
    assert all(echoes(connection, b"x") for connection in kept)
    for _ in range(20):
        with connect(port) as connection:
            assert echoes(connection, b"y")
    lds.put(listener("one", port, chain(greeting("new"))))
    assert {answer(port) for _ in range(20)} == {b"new"}


@contextmanager
def flood(port: int) -> Iterator[list[str]]:
    """Connect, ask, close, over and over; yields what went wrong (at the end also that nothing happened)."""
    problems: list[str] = []
    stop = threading.Event()
    done = [0, 0]

    def run(number: int) -> None:
        while not stop.is_set():
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
                    connection.sendall(b"ping")
                    got = b""
                    while len(got) < 4 and (data := connection.recv(4)):
                        got += data
                    if got != b"ping":
                        problems.append(f"got {got!r}")
                    done[number] += 1
            except OSError as error:
                problems.append(repr(error))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield problems
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if min(done) < 10:
        problems.append(f"only {done} connections")


@pytest.mark.parametrize(
    "fields",
    [{}, {"enable_reuse_port": False}, {"connection_balance_config": {"exact_balance": {}}}],
    ids=["reuse_port", "shared", "exact_balance"],
)
def test_no_connection_is_lost_while_a_listener_is_replaced(start: Serve, fields: dict[str, Any]) -> None:
    port = free_port()
    lds = start(listener("one", port, **fields))
    with flood(port) as problems:
        for number in range(50):
            lds.put(listener("one", port, **fields, per_connection_buffer_limit_bytes=10_000 + number))
    assert problems == []
    assert lds.stat("listener_modified") == 50


@pytest.mark.parametrize("fields", [{}, {"connection_balance_config": {"exact_balance": {}}}], ids=["plain", "exact"])
def test_no_connection_is_lost_in_updates_in_place(start: Serve, fields: dict[str, Any]) -> None:
    port = free_port()
    lds = start(listener("one", port, **fields))
    kept = lds.connect(port)
    with flood(port) as problems:
        for number in range(50):
            other = chain(greeting("x"), name=f"n{number}", destination_port=1)
            lds.put(listener("one", port, chain(ECHO), other, **fields))
            assert echoes(kept, b"still here")
    assert problems == []
    assert lds.stat("listener_in_place_updated") == 50


def test_what_waits_in_the_queue_is_served_by_the_next_generation(start: Serve) -> None:
    port = free_port()
    lds = start(listener("one", port))
    workers = lds.running.worker_pids()
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    queued = [lds.connect(port) for _ in range(100)]
    lds.write(listener("one", port, chain(greeting("new")), stat_prefix="other"))
    lds.wait_for("lds.update_success", 2)
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    # Whoever takes a connection out serves it: none is reset.
    wait_until(lambda: lds.stat("listener_create_success") == 4, "the update was not carried out")
    for connection in queued:
        connection.sendall(b"old")
        assert connection.recv(3) in (b"new", b"old")


def test_updates_do_not_disturb_other_listeners(start: Serve) -> None:
    port, other = free_port(), free_port()
    lds = start(listener("one", port), listener("two", other))
    kept = lds.connect(other)
    with flood(other) as problems:
        for number in range(10):
            lds.put(listener("one", port, stat_prefix=f"p{number}"), listener("two", other))
            assert echoes(kept, b"x")
    assert problems == []
    assert lds.stat("listener_modified") == 10


def test_a_worker_is_killed_in_the_middle_of_updates(start: Serve) -> None:
    port = free_port()
    lds = start(listener("one", port, chain(greeting("v0"))), drain_s=1)
    for number in range(1, 7):
        victim = lds.running.worker_pids()[number % 2]
        # It dies with the update on its way: sent, half done or done.
        os.kill(victim, signal.SIGSTOP)
        lds.write(listener("one", port, chain(greeting(f"v{number}")), **({"stat_prefix": "x"} if number % 2 else {})))
        lds.wait_for("lds.update_success", number + 1)
        os.kill(victim, signal.SIGKILL)
        lds.running.wait_for_stat("server.worker_restarts", number)
        wait_until(lambda: len(lds.running.worker_pids()) == 2, "no new worker")
        wait_until(lambda: lds.stat("total_listeners_warming") == 0, "the update hangs")
        wait_until(
            lambda number=number: {answer(port) for _ in range(20)} == {f"v{number}".encode()},  # type: ignore[misc]
            "workers serve different generations",
        )
    assert lds.running.stat("server.worker_restarts") == 6
    wait_until(lambda: lds.stat("total_listeners_draining") == 0, "listeners still drain")
    wait_until(lambda: lds.stat("total_filter_chains_draining") == 0, "chains still drain")
    assert "Traceback" not in lds.running.log()


def descriptors(running: RunningProxy) -> list[int]:
    pids = [running.process.pid, *running.worker_pids()]
    return [len(os.listdir(f"/proc/{pid}/fd")) for pid in pids]


def memory(running: RunningProxy) -> list[int]:
    found = []
    for pid in [running.process.pid, *running.worker_pids()]:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        [anonymous] = [line for line in text.splitlines() if line.startswith("Private_Dirty:")]
        found.append(int(anonymous.split()[1]))
    return found


def test_a_hundred_updates_leak_nothing(start: Serve) -> None:
    port = free_port()
    chains = [chain(greeting(str(number)), name=str(number), destination_port=number) for number in range(1, 100)]
    lds = start(listener("one", port, chain(ECHO), *chains), drain_s=0)

    def updates(count: int, start: int) -> None:
        for number in range(start, start + count):
            changed = chain(greeting(f"c{number}"), name="changed", destination_port=200)
            prefix = {"stat_prefix": f"p{number // 5}"}
            lds.put(listener("one", port, chain(ECHO), *chains[number % 3 :], changed, **prefix))
        for name in ("total_listeners_draining", "total_filter_chains_draining"):
            wait_until(lambda name=name: lds.stat(name) == 0, "something still drains")  # type: ignore[misc]

    updates(30, 0)
    blocks, before, used = lds.running.admin("/stats").count("\n"), descriptors(lds.running), memory(lds.running)
    updates(100, 30)
    wait_until(lambda: descriptors(lds.running) == before, f"descriptors: {before}, then {descriptors(lds.running)}")
    assert lds.running.admin("/stats").count("\n") == blocks
    grown = [after - kb for after, kb in zip(memory(lds.running), used, strict=True)]
    assert max(grown) < 3000, f"kB more: {grown}"


def test_drain_listeners(start: Serve) -> None:
    port, other = free_port(), free_port()
    inbound = listener("in", port, traffic_direction="INBOUND")
    lds = start(inbound, listener("out", other), drain_s=1)
    kept = lds.connect(port)
    assert echoes(kept, b"x")
    assert lds.running.admin("/drain_listeners?inboundonly&graceful", "POST") == "OK\n"
    lds.wait_for("listener_stopped", 1)
    assert refuses(port)
    # Stopped is not removed: its connections live on, and it is listed.
    assert echoes(kept, b"y")
    assert "in::" in lds.running.admin("/listeners")
    with connect(other) as connection:
        assert echoes(connection, b"z")
    lds.put({**inbound, "stat_prefix": "ignored"}, listener("out", other))
    assert lds.stat("listener_modified") == 0
    assert lds.running.admin("/drain_listeners", "POST") == "OK\n"
    lds.wait_for("listener_stopped", 2)
    assert refuses(other)


def test_a_start_without_usable_listeners_goes_on(proxy: Start, tmp_path: Path) -> None:
    path = tmp_path / "lds.json"
    path.write_text("{")
    running = proxy(BOOTSTRAP.format(path=path))
    assert running.stat("listener_manager.lds.update_failure") == 1
    assert running.admin("/listeners") == ""
    port = free_port()
    path.with_suffix(".new").write_text(json.dumps({"resources": [listener("one", port)]}))
    path.with_suffix(".new").rename(path)
    running.wait_for_stat("listener_manager.listener_create_success", 1)
    with connect(port) as connection:
        assert echoes(connection, b"x")
