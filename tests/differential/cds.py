"""Sequences of CDS and EDS files for one proxy, and what it makes of them: answers, stats, dumps.

A case is a function that drives a `Side`; everything worth comparing goes into its transcript, with ports as names.
Both sides wait for the same facts, so that a transcript does not depend on how fast a proxy is.
"""

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.differential.proxies import CONFIGS, Proxy

TIMEOUT = 20.0
POLL = 0.01
BACKENDS = ("one", "two", "three")
TYPES = "type.googleapis.com/envoy"
CLUSTER_STATS = (
    r"assignment_|default[.]total|max_host_weight|membership_|update_(attempt|empty|failure|no_rebuild|rejected|success)"
    r"|version_text|warming_state|upstream_rq_(total|2xx|5xx)$"
)
MANAGER_STATS = (
    r"^cluster_manager[.](cluster_(added|modified|removed)|active|warming|cds[.](update_[arfs]|config_reload:))"
)

Json = dict[str, Any]


class Backend:
    """Answers every request with its name; one for /hold only when it is let go."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.held = threading.Event()
        self.let_go = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            while request := lines.readline():
                while lines.readline() not in (b"\r\n", b""):
                    pass
                if b"/hold" in request:
                    self.held.set()
                    self.let_go.wait(TIMEOUT)
                status = b"503 Service Unavailable" if b"fail" in request and self._name == "one" else b"200 OK"
                body = self._name.encode()
                try:
                    connection.sendall(b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body))
                except OSError:
                    return

    def close(self) -> None:
        self.let_go.set()
        self._socket.close()


def endpoint(port: str, ip: str = "127.0.0.1", hostname: str = "", **more: Any) -> Json:
    """An LbEndpoint; `port` is a backend's name."""
    address = {"socket_address": {"address": ip, "port_value": f"@{port}"}}
    return {"endpoint": {"address": address, "hostname": hostname}, **more}


def group(*endpoints: Json, **more: Any) -> Json:
    """A LocalityLbEndpoints."""
    return {"lb_endpoints": list(endpoints), **more}


def static(name: str, *ports: str, **more: Any) -> Json:
    """A STATIC cluster."""
    groups = [group(*(endpoint(port) for port in ports))] if ports else []
    return {
        "@type": f"{TYPES}.config.cluster.v3.Cluster",
        "name": name,
        "load_assignment": {"cluster_name": name, "endpoints": groups},
        **more,
    }


def eds(name: str, **more: Any) -> Json:
    """An EDS cluster, whose file is named as it."""
    source = {"resource_api_version": "V3", "path_config_source": {"path": f"@folder/{name}.yaml"}}
    config = {"eds_config": source, **more.pop("eds", {})}
    return {
        "@type": f"{TYPES}.config.cluster.v3.Cluster",
        "name": name,
        "type": "EDS",
        "eds_cluster_config": config,
        **more,
    }


def aggregate(name: str, *clusters: str, **more: Any) -> Json:
    """An aggregate cluster."""
    config = {"@type": f"{TYPES}.extensions.clusters.aggregate.v3.ClusterConfig", "clusters": list(clusters)}
    return {
        "@type": f"{TYPES}.config.cluster.v3.Cluster",
        "name": name,
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {"name": "envoy.clusters.aggregate", "typed_config": config},
        **more,
    }


def assignment(name: str, *groups: Json, **policy: Any) -> Json:
    """A ClusterLoadAssignment."""
    return {
        "@type": f"{TYPES}.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": name,
        "endpoints": list(groups),
        "policy": policy,
    }


class Side:
    """One proxy under the cases."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.proxy = Proxy(kind, (CONFIGS / "cds.yaml").read_text(), folder)
        self.backends = {name: Backend(name) for name in BACKENDS}
        self.lines: list[str] = []
        self._version = 0
        address = self.proxy.address_of("http")
        self._address = address if isinstance(address, tuple) else ("127.0.0.1", address)

    def note(self, text: str) -> None:
        """Put a line into the transcript; ports become names."""
        for name, backend in self.backends.items():
            text = re.sub(rf"\b{backend.port}\b", f"<{name}>", text)
        self.lines.append(self.proxy.normalise(text).replace(str(self.proxy.folder), "<folder>"))

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for a fact."""
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.proxy.kind} waits in vain; so far:\n" + "\n".join(self.lines))
            time.sleep(POLL)

    def stat(self, name: str) -> int:
        """A counter or gauge."""
        return self.proxy.stats(f"^{re.escape(name)}$").get(name, 0)

    # -- configuration -----------------------------------------------------------------------------------------

    def put(self, *clusters: Json, text: str = "") -> None:
        """Replace the clusters; wait until what the file says is carried out."""
        self._replace("lds.yaml", clusters, text, "cluster_manager.cds")
        self.wait_until(lambda: self.stat("cluster_manager.warming_clusters") == 0)

    def prepare(self, name: str, *resources: Json) -> None:
        """The file of a cluster that is not there yet."""
        (self.proxy.folder / f"{name}.yaml").write_text(self._content(resources, ""))

    def assign(self, name: str, *resources: Json, text: str = "") -> None:
        """Replace what there is of a cluster's endpoints; wait likewise."""
        self._replace(f"{name}.yaml", resources, text, f"cluster.{name}")

    def _replace(self, file: str, resources: tuple[Json, ...], text: str, scope: str) -> None:
        fresh = self.proxy.folder / "new"
        fresh.write_text(self._content(resources, text))
        done = sum(self.stat(f"{scope}.update_{how}") for how in ("failure", "rejected", "success"))
        fresh.rename(self.proxy.folder / file)
        self.wait_until(
            lambda: sum(self.stat(f"{scope}.update_{how}") for how in ("failure", "rejected", "success")) > done
        )

    def _content(self, resources: tuple[Json, ...], text: str) -> str:
        self._version += 1
        content = text or json.dumps({"version_info": f"v{self._version}", "resources": resources})
        content = content.replace("@folder", str(self.proxy.folder))
        return re.sub(r'"@(one|two|three)"', lambda mark: str(self.backends[mark[1]].port), content)

    # -- what there is -----------------------------------------------------------------------------------------

    def snapshot(self, *clusters: str) -> None:
        """Stats of the manager and of clusters, and how /clusters shows these."""
        for line in self.proxy.admin("/stats").splitlines():
            if re.search(MANAGER_STATS, line):
                self.note(re.sub(r"^(.*(added|modified|removed|update_\w+|config_reload)): \d+", r"\1", line))
            elif any(line.startswith(f"cluster.{name}.") for name in clusters) and re.search(CLUSTER_STATS, line):
                self.note(line)
        shown = self.proxy.admin("/clusters").splitlines()
        # Envoy's order is that of a hash, seeded per process.
        for name in clusters:
            for line in shown:
                if line.startswith(f"{name}::") and not re.search("::(cx|rq|max)_", line):
                    self.note(line)

    def keep_alive(self, cluster: str, want: str) -> None:
        """As ``get``; how many connections the cluster made so far."""
        self.get(cluster, want)
        self.note(f"connections: {self.stat(f'cluster.{cluster}.upstream_cx_total')}")

    def counted(self, *names: str) -> None:
        """Counters, once they are no longer 0."""
        for name in names:
            self.wait_until(lambda name=name: self.stat(name) > 0)  # type: ignore[misc]
            self.note(f"{name}: {self.stat(name)}")

    def dump(self, query: str) -> None:
        """Part of /config_dump, without times."""
        text = self.proxy.admin(f"/config_dump?{query}")
        self.note(re.sub(r'"last_updated": "[^"]*",?', "", text))

    def get(self, cluster: str, want: str, path: str = "/") -> None:
        """A request until its answer has `want`; the answer."""
        seen = ""

        def has_it() -> bool:
            nonlocal seen
            seen = self.ask(cluster, path)
            return want in seen

        try:
            self.wait_until(has_it)
        finally:
            self.note(f"{cluster}{path}: {seen}")

    def ask(self, cluster: str, path: str = "/") -> str:
        """One answer."""
        connection = http.client.HTTPConnection(*self._address[:2], timeout=TIMEOUT)
        connection.request("GET", path, headers={"x-cluster": cluster})
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        marks = sorted(f"{k}={v}" for k, v in answer.getheaders() if k.startswith("x-") and "service-time" not in k)
        return f"{answer.status} {body!r} {' '.join(marks)}"

    def hold(self, cluster: str) -> Callable[[], None]:
        """A request under way at backend one; call the result to let it end, and note its answer."""
        backend = self.backends["one"]
        backend.held.clear()
        backend.let_go.clear()
        heard: list[str] = []
        thread = threading.Thread(target=lambda: heard.append(self.ask(cluster, "/hold")), daemon=True)
        thread.start()
        assert backend.held.wait(TIMEOUT)

        def let_go() -> None:
            backend.let_go.set()
            thread.join(TIMEOUT)
            self.note(f"held: {heard}")

        return let_go

    def finish(self) -> list[str]:
        """The transcript; the next case begins without clusters."""
        self.put()
        lines, self.lines = self.lines, []
        return lines

    def close(self) -> None:
        self.proxy.close()
        for backend in self.backends.values():
            backend.close()
