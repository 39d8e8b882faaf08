"""Hot reload of the main configuration through the real command, under traffic."""

import http.client
import io
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxeny.server.reload import command
from proxeny.testing import RunningProxy
from proxeny.testing.certificates import Authority
from proxeny.testing.xds import RDS, ControlPlane

Start = Callable[..., RunningProxy]
TYPES = "type.googleapis.com/envoy"
TLS = f"{TYPES}.extensions.transport_sockets.tls.v3"


def listener(name: str, port: int, body: str, **more: Any) -> dict[str, Any]:
    """A listener that answers ``body``."""
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": body}}}
    manager = {
        "@type": f"{TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{TYPES}.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}], **more}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"name": name, "address": address, "filter_chains": [chain]}


def config(*listeners: dict[str, Any], clusters: Any = (), secrets: Any = (), **fields: Any) -> str:
    resources = {"listeners": list(listeners), "clusters": list(clusters), "secrets": list(secrets)}
    admin = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}}
    node = {"id": "test", "cluster": "test"}
    return yaml.safe_dump({"node": node, "admin": admin, "static_resources": resources, **fields})


def static_cluster(name: str, seconds: int = 5) -> dict[str, Any]:
    return {"name": name, "connect_timeout": f"{seconds}s"}


def save(proxy: RunningProxy, text: str) -> None:
    new = proxy.config_path.with_name("new.yaml")
    new.write_text(text)
    new.rename(proxy.config_path)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def reload(proxy: RunningProxy, *arguments: str) -> tuple[int, str, str]:
    """``proxeny reload``: status, output, errors."""
    host, port = proxy.admin_address
    with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()) as errors:
        status = command.main(["--admin", f"{host}:{port}", *arguments])
    return status, output.getvalue(), errors.getvalue()


def ask(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def admin(proxy: RunningProxy, method: str, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(*proxy.admin_address, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def addresses(proxy: RunningProxy) -> dict[str, int]:
    found = json.loads(proxy.admin("/listeners?format=json"))["listener_statuses"]
    return {one["name"]: one["local_address"]["socket_address"]["port_value"] for one in found}


def counters(proxy: RunningProxy) -> dict[str, int]:
    lines = proxy.admin("/stats?filter=^reload").splitlines()
    return {name.removeprefix("reload."): int(value) for name, _, value in (line.partition(": ") for line in lines)}


@pytest.fixture
def free_ports() -> Iterator[list[int]]:
    """Two ports that nobody else binds meanwhile (with SO_REUSEPORT the proxy may)."""
    sockets = [socket.socket() for _ in range(2)]
    for one in sockets:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(("127.0.0.1", 0))
    yield [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()


class Traffic:
    """New connections to a port until it is stopped; every failure is kept."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = threading.Event()
        self.bodies: list[str] = []
        self.failures: list[str] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Traffic":
        self._thread.start()
        wait_until(lambda: bool(self.bodies or self.failures))
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.bodies.append(ask(self._port))
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))


def test_a_plan_an_update_a_removal_and_a_takeover_of_an_address(proxy: Start, free_ports: list[int]) -> None:
    one, two = free_ports
    running = proxy(config(listener("a", one, "first"), listener("b", two, "b"), clusters=[static_cluster("x")]))
    fresh = config(
        listener("a", one, "second"), listener("c", two, "c"), clusters=[static_cluster("x", 7), static_cluster("z")]
    )
    save(running, fresh)
    status, plan, errors = reload(running, "--plan")
    assert (status, errors) == (0, "")
    assert re.findall(r"^[+~-] .*$", plan, re.MULTILINE) == [
        "~ cluster 'x'", "+ cluster 'z'", "~ listener 'a'", "+ listener 'c'", "- listener 'b'",
    ]  # fmt: skip
    assert [line.split() for line in plan.splitlines() if "inline_string" in line] == [
        ["-", "inline_string:", "first"],
        ["+", "inline_string:", "second"],
    ]
    assert (ask(one), ask(two)) == ("first", "b")
    with Traffic(one) as updated, Traffic(two) as taken_over:
        status, text, errors = reload(running)
        assert (status, errors) == (0, ""), text
        wait_until(lambda: updated.bodies[-1] == "second" and taken_over.bodies[-1] == "c")
    assert (updated.failures, taken_over.failures) == ([], [])
    assert addresses(running) == {"a": one, "c": two}
    by_hand = [sys.executable, "-m", "proxeny", "reload", "--admin-address-path", str(running.folder / "admin-address")]
    done = subprocess.run(by_hand, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "nothing changes\n", "")
    found = counters(running)
    assert (found["attempt"], found["applied"], found["unchanged"], found["rolled_back"]) == (2, 1, 1, 0)
    dump = json.loads(running.admin("/config_dump?resource=static_clusters"))
    assert [one["cluster"]["name"] for one in dump["configs"]] == ["x", "z"]


def test_what_is_refused_changes_nothing(proxy: Start) -> None:
    running = proxy(config(listener("a", 0, "first")))
    port = addresses(running)["a"]
    save(running, "static_resources: {listeners: [{nmae: x}]}")
    status, _, errors = reload(running)
    assert status == 1
    assert "nmae" in errors
    save(running, config({**listener("a", 0, "second"), "filter_chains": []}))
    status, _, errors = reload(running)
    assert status == 1
    assert "no filter chains specified" in errors
    save(running, config(listener("a", 0, "second"), stats_flush_interval="2s"))
    status, plan, errors = reload(running)
    assert (status, errors) == (1, "refused: only a restart applies what changed in: stats_flush_interval\n")
    assert "only a restart applies:\n+ field 'stats_flush_interval'" in plan
    assert ask(port) == "first"
    assert counters(running)["refused"] == 3
    status, _, errors = reload(running, "--partial")
    assert (status, errors) == (0, "")
    assert ask(addresses(running)["a"]) == "second"


def test_when_a_part_fails_all_of_it_is_taken_back(proxy: Start, free_ports: list[int]) -> None:
    one, _ = free_ports
    blocker = socket.socket()
    blocker.bind(("127.0.0.1", 0))
    blocker.listen()
    running = proxy(config(listener("a", one, "first"), clusters=[static_cluster("x")]), concurrency=2)
    fresh = config(
        listener("a", one, "second"), listener("b", blocker.getsockname()[1], "b"), clusters=[static_cluster("x", 7)]
    )
    save(running, fresh)
    with Traffic(one) as traffic:
        status, _, errors = reload(running)
        assert status == 2
        assert errors.startswith("rolled back, what was there before serves: listener 'b': cannot bind"), errors
        wait_until(lambda: traffic.bodies[-1] == "first")
    assert traffic.failures == []
    dump = json.loads(running.admin("/config_dump?resource=static_clusters"))
    assert [item["cluster"]["connect_timeout"] for item in dump["configs"]] == ["5s"]
    assert addresses(running) == {"a": one}
    blocker.close()
    assert reload(running)[0] == 0
    assert ask(addresses(running)["b"]) == "b"


def test_a_cluster_that_does_not_become_ready_takes_everything_back(proxy: Start, tmp_path: Path) -> None:
    running = proxy(config(clusters=[static_cluster("x")]))
    never = {
        "name": "x",
        "type": "STRICT_DNS",
        "health_checks": [
            {
                "timeout": "600s", "interval": "600s", "unhealthy_threshold": 1, "healthy_threshold": 1,
                "tcp_health_check": {"send": {"text": "00"}, "receive": [{"text": "00"}]},
            }
        ],
    }  # fmt: skip
    silent = socket.create_server(("127.0.0.1", 0))
    port = silent.getsockname()[1]
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    never["load_assignment"] = {"cluster_name": "x", "endpoints": endpoints}
    save(running, config(clusters=[never]))
    status, _, errors = reload(running, "--patience", "0.2")
    assert (status, errors.partition("serves: ")[2]) == (2, "cluster 'x' did not become ready within 0.2 s\n")
    assert "cluster_manager.warming_clusters: 0" in running.admin("/stats?filter=warming_clusters")
    silent.close()


ROOT = Authority("root")


def shown_certificate(port: int) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="x") as tls,
    ):
        certificate = tls.getpeercert(binary_form=True)
        assert certificate is not None
        return certificate


def test_static_secrets_change_in_place_and_reach_new_workers(proxy: Start) -> None:
    certificates = [ROOT.issue(name, f"DNS:{name}.test") for name in ("one", "two")]

    def text(number: int) -> str:
        own = certificates[number]
        secret = {
            "name": "s",
            "tls_certificate": {
                "certificate_chain": {"inline_string": own.chain_pem},
                "private_key": {"inline_string": own.key_pem},
            },
        }
        context = {
            "@type": f"{TLS}.DownstreamTlsContext",
            "common_tls_context": {"tls_certificate_sds_secret_configs": [{"name": "s"}]},
        }
        socket_ = {"name": "envoy.transport_sockets.tls", "typed_config": context}
        return config(listener("a", 0, "a", transport_socket=socket_), secrets=[secret])

    running = proxy(text(0))
    port = addresses(running)["a"]
    before = shown_certificate(port)
    save(running, text(1))
    status, plan, errors = reload(running)
    assert (status, errors) == (0, "")
    assert plan.startswith("~ secret 'tls_certificate/s'\n")
    assert certificates[1].key_pem not in plan
    wait_until(lambda: shown_certificate(port) != before)
    after = shown_certificate(port)
    assert addresses(running)["a"] == port
    [worker] = running.worker_pids()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: running.worker_pids() not in ([], [worker]))
    assert shown_certificate(port) == after


def test_runtime_values_of_static_layers_change(proxy: Start) -> None:
    def text(value: int) -> str:
        return config(layered_runtime={"layers": [{"name": "base", "static_layer": {"some.key": value}}]})

    running = proxy(text(1))
    save(running, text(2))
    assert reload(running)[0] == 0
    assert json.loads(running.admin("/runtime"))["entries"]["some.key"]["final_value"] == "2"


def test_watch_reloads_on_save_through_links_and_in_several_steps(
    proxy: Start, free_ports: list[int], tmp_path: Path
) -> None:
    port, _ = free_ports
    running = proxy(config(listener("a", port, "first")), ["--watch"])
    # In place, and half of it first.
    text = config(listener("a", port, "second"))
    with running.config_path.open("w") as file:
        file.write(text[: len(text) // 2])
        file.flush()
        file.write(text[len(text) // 2 :])
    wait_until(lambda: ask(port) == "second")
    # By a link to another folder.
    (tmp_path / "c.yaml").write_text(config(listener("a", port, "third")))
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "c.yaml")
    link.rename(running.config_path)
    wait_until(lambda: ask(port) == "third")
    (tmp_path / "d.yaml").write_text(config(listener("a", port, "fourth")))
    (tmp_path / "d.yaml").rename(tmp_path / "c.yaml")
    wait_until(lambda: ask(port) == "fourth")
    (tmp_path / "c.yaml").write_text("static_resources: [")
    wait_until(lambda: counters(running)["refused"] > 0)
    assert ask(port) == "fourth"


def test_one_reload_at_a_time_and_bad_parameters(proxy: Start) -> None:
    running = proxy(config())
    assert admin(running, "GET", "/reload/status") == (404, "there was no reload\n")
    assert admin(running, "POST", "/reload?patience=no")[0] == 400
    save(running, config(clusters=[static_cluster("x")]))
    assert admin(running, "POST", "/reload?plan")[0] == 200
    assert admin(running, "POST", "/reload") == (409, "a reload is under way\n")
    wait_until(lambda: json.loads(running.admin("/reload/status"))["state"] == "planned")


def test_a_control_plane_comes_with_the_listener_that_asks_it(proxy: Start) -> None:
    running = proxy(config())
    asked = listener("a", 0, "")
    manager = asked["filter_chains"][0]["filters"][0]["typed_config"]
    del manager["route_config"]
    service = {"envoy_grpc": {"cluster_name": "plane"}}
    api = {"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [service]}
    source = {"api_config_source": api, "resource_api_version": "V3"}
    manager["rds"] = {"route_config_name": "r", "config_source": source}
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "from afar"}}}
    with ControlPlane() as plane:
        plane.set(RDS, [{"name": "r", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]}])
        host = {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": plane.port}}}}
        options = {
            "@type": f"{TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
        cluster = {
            "name": "plane",
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
            "load_assignment": {"cluster_name": "plane", "endpoints": [{"lb_endpoints": [host]}]},
        }
        save(running, config(asked, clusters=[cluster]))
        status, _, errors = reload(running)
        assert (status, errors) == (0, "")
        assert ask(addresses(running)["a"]) == "from afar"
