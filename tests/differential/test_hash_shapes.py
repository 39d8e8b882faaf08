"""Rings and Maglev tables over host sets of many shapes: the same host for the same key, and the same gauges."""

import pytest
from tests.differential.harness import Case, Do, Pairs, Release, Reply, Send, StatIs, Step, case_id, request
from tests.differential.upstream import FIN, Hold, Read

SHAPES = (
    "even", "weights", "extremes", "sick", "spilling", "panic", "degraded", "failover", "doubles", "zones",
    "zones_without_weights", "zones_partly_weighted", "zones_sick", "zones_in_panic", "zones_by_priority",
)  # fmt: skip
OTHERS = (
    "ring_unweighted_zones", "ring_extension_zones", "maglev_extension_zones", "maglev_extension_unweighted",
    "ring_extension_old_fields", "ring_tiny", "ring_large", "ring_murmur_weights", "maglev_tiny", "maglev_two",
    "maglev_default", "ring_sick_without_panic", "maglev_bounded", "maglev_bounded_zones",
)  # fmt: skip
CLUSTERS = (*(f"{kind}_{shape}" for shape in SHAPES for kind in ("ring", "maglev")), *OTHERS)
KEYS = [f"key-{number}" for number in range(25)]


def head(cluster: str, *headers: str) -> bytes:
    return "\r\n".join(["GET / HTTP/1.1", "Host: a.test", f"x-cluster: {cluster}", *headers, "", ""]).encode()


def keyed(cluster: str) -> Case:
    steps: list[Step] = [step for key in KEYS for step in request(head(cluster, f"x-key: {key}"))]
    return Case(cluster, steps, config="hash_shapes")


def busy(cluster: str, connections: int = 8) -> Case:
    """As many requests of one key at a time: hosts that have their share pass on to others."""
    active = f"cluster.{cluster}.upstream_rq_active"
    steps: list[Step] = []
    for on in range(connections):
        steps += [Send(head(cluster, "x-key: key-7"), on), StatIs(active, on + 1)]
    steps += [Release("hold", name) for name in "abcdef"]
    steps += [Reply(on) for on in range(connections)]
    held = (Hold("hold"), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    return Case(
        f"busy_{cluster}",
        steps,
        config="hash_shapes",
        answers_of={name: (held,) * connections for name in "abcdef"},
        forwarded=connections,
        ignore=(r"^client", r"^log", r"cx_"),
    )


def tcp(listener: str, number: int) -> Case:
    """One connection from an address of its own."""
    return Case(
        f"{listener}_{number}",
        (b"x", Do("end")),
        config="hash_shapes",
        listener=listener,
        source=f"127.0.7.{number}",
        raw=(Read(1), b"y", FIN),
        forwarded=1,
    )


CASES = [
    *[keyed(cluster) for cluster in CLUSTERS],
    *[busy(cluster) for cluster in ("maglev_bounded", "maglev_bounded_zones")],
    Case(
        "own_policy",
        [step for key in KEYS[:12] for step in request(head("own_policy", f"x-own: {key}", "x-key: same"))],
        config="hash_shapes",
    ),
    *[tcp(listener, number) for listener in ("tcp_source_ip", "tcp_state") for number in range(1, 7)],
]


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_hash_shapes(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
