"""`python -m benchmarks.clusters`: what 10,000 clusters cost, against Envoy: start, memory, the change of one cluster.

Every cluster has three hosts; two workers. Memory is the proportional set of all processes of a proxy, and its growth
per cluster is taken against the same configuration with ten. One cluster changes by its endpoints (EDS), and by the
file of all clusters (CDS), from the rename until /clusters says so.
"""

import argparse
import http.client
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.processes import Peer, free_ports

FEW, MANY = 10, 10_000
HOSTS = 3
CHANGES = 9
CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
ASSIGNMENT = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
LIMITS = {"start": 1.5, "memory per cluster": 1.0}
"""What Proxeny may take of what Envoy does."""

Json = dict[str, Any]


def assignment(name: str, first: int, **more: Any) -> Json:
    """Three endpoints."""
    hosts = [
        {
            "endpoint": {
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": 1024 + (first + i) % 60_000}}
            }
        }
        for i in range(HOSTS)
    ]
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}], **more}


def clusters(count: int, changed: int = 0) -> list[Json]:
    """Static clusters; `changed` tells versions of the last one apart."""
    firsts = [*(i * HOSTS for i in range(count - 1)), changed * HOSTS]
    return [{"name": f"cluster_{i}", "load_assignment": assignment(f"cluster_{i}", n)} for i, n in enumerate(firsts)]


class Bench:
    """One proxy with `count` clusters from a CDS file, and one whose endpoints are a file of their own."""

    def __init__(self, name: str, binary: list[str], count: int, folder: Path) -> None:
        self.count, self.folder = count, folder
        (self.admin,) = free_ports(1)
        config = {
            "node": {"id": "bench", "cluster": "bench"},
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": self.admin}}},
            "dynamic_resources": {"cds_config": {"path_config_source": {"path": str(folder / "cds.json")}}},
        }
        self.put_clusters(0)
        self.put_endpoints(0)
        (folder / "bootstrap.json").write_text(json.dumps(config))
        extra = ["--use-dynamic-base-id"] if name == "envoy" else []
        command = [*binary, "-c", str(folder / "bootstrap.json"), "--concurrency", "2", "-l", "warning", *extra]
        self.peer = Peer(name, command, self.admin, folder)

    def put_clusters(self, version: int) -> None:
        source = {"path_config_source": {"path": str(self.folder / "eds.json")}}
        eds = {"name": "eds", "type": "EDS", "eds_cluster_config": {"eds_config": source}}
        found = [{"@type": CLUSTER, **one} for one in [*clusters(self.count, version), eds]]
        self._put("cds.json", version, found)

    def put_endpoints(self, version: int) -> None:
        self._put("eds.json", version, [{"@type": ASSIGNMENT, **assignment("eds", version)}])

    def _put(self, file: str, version: int, resources: list[Json]) -> None:
        fresh = self.folder / "new"
        fresh.write_text(json.dumps({"version_info": f"v{version}", "resources": resources}))
        fresh.rename(self.folder / file)

    def start(self) -> float:
        """Seconds until it is live."""
        self.peer.start()
        return self.peer.wait_serving(b"GET /ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")

    def change(self, put: Callable[[int], None], cluster: str) -> float:
        """Seconds from the rename until a cluster has other hosts; the middle of several."""
        taken = []
        for version in range(1, CHANGES + 1):
            before = self._hosts(cluster)
            put(version)
            started = time.perf_counter()
            while self._hosts(cluster) == before:
                pass
            taken.append(time.perf_counter() - started)
        return statistics.median(taken)

    def _hosts(self, cluster: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=60)
        connection.request("GET", f"/clusters?filter=^{cluster}$")
        text = connection.getresponse().read().decode()
        connection.close()
        return " ".join(re.findall(r":(\d+)::hostname", text))


def measure(name: str, binary: list[str], count: int) -> dict[str, float]:
    """Start, memory and changes with `count` clusters."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(name, binary, count, Path(folder))
        try:
            start = bench.start()
            memory = int(bench.peer.settled_memory() * 1024)
            eds = bench.change(bench.put_endpoints, "eds")
            cds = bench.change(bench.put_clusters, f"cluster_{count - 1}")
        finally:
            bench.peer.stop()
    return {"start": start, "memory": float(memory), "eds": eds, "cds": cds}


def main() -> int:
    """Print the table; 1 when a limit is not kept."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--envoy", required=True, help="the Envoy binary")
    parser.add_argument("--proxeny", default=str(Path(sys.executable).with_name("proxeny")))
    arguments = parser.parse_args()
    results: dict[str, dict[str, float]] = {}
    for name, binary in (("envoy", [arguments.envoy]), ("proxeny", arguments.proxeny.split())):
        few, many = measure(name, binary, FEW), measure(name, binary, MANY)
        results[name] = {
            "start": many["start"],
            "memory per cluster": (many["memory"] - few["memory"]) / (MANY - FEW),
            "EDS change, few": few["eds"],
            "EDS change, many": many["eds"],
            "CDS change, many": many["cds"],
        }
    kept = True
    print(f"{'':22}{'Envoy':>12}{'Proxeny':>12}{'ratio':>8}  goal")
    for what, theirs in results["envoy"].items():
        ours = results["proxeny"][what]
        limit = LIMITS.get(what)
        kept = kept and (limit is None or ours <= theirs * limit)
        print(f"{what:22}{theirs:12.4f}{ours:12.4f}{ours / theirs:8.2f}  {'' if limit is None else f'<= {limit}'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
