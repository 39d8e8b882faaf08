"""`python -m benchmarks.xds_scale`: thousands of clusters from a control plane, against Envoy.

All clusters come over one aggregated stream, each with its endpoints by EDS. What counts: seconds from the start until
the proxy is ready, memory, and how long one changed endpoint takes: from the moment when the control plane sends it
until requests of every worker go there.
"""

import argparse
import json
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.processes import Peer, free_ports
from benchmarks.xds_world import assignment, bootstrap, cluster, listener, packed, proxy
from proxeny.testing.xds import CDS, EDS, LDS, RDS, ControlPlane

CLUSTERS = 5000
WORKERS = 2
CONNECTIONS = 16
"""To the proxy: enough for every worker to have some."""
UPDATES = 40
LIMITS = {"ready, s": 1.5, "update, ms": 1.0}
"""What Proxeny may take of what Envoy does."""


def upstream(folder: Path, port: int, answer: str) -> Peer:
    """An nginx that answers with its name."""
    folder.mkdir(mode=0o777)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    (folder / "nginx.conf").write_text(f"""daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error crit;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_timeout 600s; keepalive_requests 100000000; {paths}
server {{ listen 127.0.0.1:{port}; location / {{ return 200 "{answer}"; }} }} }}
""")
    return Peer("upstream", ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], port, folder)


class Client:
    """A connection that stays; ``get`` says who answered."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get(self) -> str:
        self._sock.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._sock.recv(65536)
        return data.rpartition(b"\r\n\r\n")[2].decode()

    def close(self) -> None:
        self._sock.close()


class Scale:
    """A proxy, its control plane with many clusters, two upstreams."""

    def __init__(self, name: str, folder: Path, count: int, *, delta: bool) -> None:
        self.name, self.folder, self.count = name, folder, count
        self.admin, self.port, *ports = free_ports(4)
        self.upstreams = [upstream(folder / f"up{i}", port, f"U{i}") for i, port in enumerate(ports)]
        self.ports = ports
        self.plane = ControlPlane()
        names = [f"cluster_{number}" for number in range(count)]
        self.target = names[count // 2]
        self.plane.set(CDS, {one: packed(CDS, cluster(one)) for one in names})
        self.plane.set(EDS, {one: packed(EDS, assignment(one, [ports[0]])) for one in names})
        route: dict[str, Any] = {"match": {"prefix": "/"}, "route": {"cluster": self.target}}
        routes = {"name": "routes", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]}
        self.plane.set(RDS, {"routes": packed(RDS, routes)})
        self.plane.set(LDS, {"bench": packed(LDS, listener("bench", self.port))})
        config = bootstrap(self.plane.port, self.admin)
        if delta:
            config["dynamic_resources"]["ads_config"]["api_type"] = "DELTA_GRPC"
        path = folder / "config.json"
        path.write_text(json.dumps(config))
        self.peer = proxy(name, path, self.admin, WORKERS)

    def start(self) -> float:
        """Seconds until the first request is answered."""
        for one in self.upstreams:
            one.start()
            one.wait_serving(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        self.peer.start()
        serving = Peer("listener", [], self.port, self.folder, process=self.peer.process)
        serving.started = self.peer.started
        (self.folder / "listener.log").touch()
        return serving.wait_serving(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")

    def updates(self, count: int) -> list[float]:
        """Milliseconds until all connections' requests go to the other upstream, per change."""
        clients = [Client(self.port) for _ in range(CONNECTIONS)]
        taken = []
        for client in clients:
            client.get()
        for number in range(1, count + 1):
            wanted = f"U{number % 2}"
            fresh = {self.target: packed(EDS, assignment(self.target, [self.ports[number % 2]]))}
            mark = self.plane.mark()
            began = time.perf_counter()
            version = self.plane.update(EDS, fresh)
            waiting = clients
            while waiting:
                waiting = [client for client in waiting if client.get() != wanted]
            taken.append((time.perf_counter() - began) * 1000)
            self.plane.wait_for_ack(EDS, version, since=mark)
        for client in clients:
            client.close()
        return taken

    def close(self) -> None:
        for one in (self.peer, *self.upstreams):
            one.stop()
        self.plane.close()


def measure(name: str, count: int, *, delta: bool) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="proxeny-bench-") as folder:
        path = Path(folder)
        path.chmod(0o777)
        scale = Scale(name, path, count, delta=delta)
        try:
            ready = scale.start()
            memory = scale.peer.settled_memory()
            taken = scale.updates(UPDATES)
        finally:
            scale.close()
    return {
        "ready, s": ready,
        "memory, MB": memory,
        "update, ms": statistics.median(taken),
        "slowest update, ms": max(taken),
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.xds_scale", description=__doc__)
    parser.add_argument("--clusters", type=int, default=CLUSTERS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="envoy,proxeny", help="proxies, separated by commas")
    parser.add_argument("--protocol", action="append", choices=("sotw", "delta"), help="(both)")
    args = parser.parse_args(arguments)
    kept = True
    for protocol in args.protocol or ("delta", "sotw"):
        found: dict[str, dict[str, float]] = {}
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in args.only.split(",")}
        for _ in range(args.rounds):
            for name, results in rounds.items():
                results.append(measure(name, args.clusters, delta=protocol == "delta"))
        for name, results in rounds.items():
            found[name] = {what: statistics.median(one[what] for one in results) for what in results[0]}
        print(f"{args.clusters:,} clusters, {protocol}")
        for what in next(iter(found.values())):
            cells = [f"{name} {values[what]:10.3f}" for name, values in found.items()]
            ratio = found["proxeny"][what] / found["envoy"][what] if len(found) == 2 else 0.0
            limit = LIMITS.get(what)
            kept = kept and (limit is None or ratio <= limit)
            print(f"  {what:20}{'   '.join(cells)}   ratio {ratio:.2f}{'' if limit is None else f' (<= {limit})'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
