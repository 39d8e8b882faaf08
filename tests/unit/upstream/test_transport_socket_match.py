"""Transport sockets by the metadata of endpoints."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2
from google.protobuf.json_format import ParseDict

from proxeny.network.transport_socket import PLAIN_UPSTREAM
from proxeny.stats.store import MainStore
from proxeny.upstream import transport_socket_match
from proxeny.upstream.endpoints import HostEntry
from proxeny.upstream.stats import CLUSTER, DEFAULT_TOTAL_MATCH_COUNT, TOTAL_MATCH_COUNT, TRANSPORT_SOCKET_MATCH
from proxeny.upstream.transport_socket_match import NAMESPACE, PLAIN, ClusterSocket

INTERNAL: Any = "an internal upstream"


def metadata(**labels: Any) -> bytes:
    return ParseDict({"filter_metadata": {NAMESPACE: labels}}, base_pb2.Metadata()).SerializeToString()


def socket(internal: Any) -> ClusterSocket:
    return ClusterSocket(PLAIN_UPSTREAM, internal)


class World:
    def __init__(self, *matches: tuple[str, dict[str, Any]], default: Any = None) -> None:
        self.store = MainStore()
        self.stats = self.store.block(CLUSTER, "cluster.c.")
        messages = [
            (ParseDict({"name": name, "match": labels}, cluster_pb2.Cluster.TransportSocketMatch()), socket(name))
            for name, labels in matches
        ]
        self.sockets = transport_socket_match.compile(messages, socket(default), self.stats, "cluster.c.", self.store)

    def of(self, own: bytes = b"", locality: bytes = b"") -> Any:
        return self.sockets.resolve(HostEntry("127.0.0.1", 1, metadata=own, locality_metadata=locality)).socket.internal

    def count(self, name: str) -> int:
        return self.store.block(TRANSPORT_SOCKET_MATCH, f"cluster.c.{name}.").get(TOTAL_MATCH_COUNT)


@pytest.mark.parametrize(
    ("own", "locality", "found"),
    [
        (metadata(mode="a"), b"", "a"),
        (metadata(mode="b", depth=2, more=True), b"", "b"),
        (metadata(mode="b"), b"", None),
        (b"", metadata(mode="a"), "a"),
        (metadata(mode="b", depth=2), metadata(mode="a"), "b"),
        (metadata(mode="x"), metadata(mode="a"), "a"),
        (b"", b"", None),
    ],
    ids=["own", "more_labels", "a_label_short", "locality", "own_before_locality", "locality_where_own_fails", "none"],
)
def test_which_one(own: bytes, locality: bytes, found: str | None) -> None:
    assert World(("a", {"mode": "a"}), ("b", {"mode": "b", "depth": 2})).of(own, locality) == found


def test_a_match_without_labels_is_for_all() -> None:
    assert World(("a", {"mode": "a"}), ("rest", {})).of() == "rest"


def test_the_default_is_the_clusters_own() -> None:
    assert World(("a", {"mode": "a"}), default=INTERNAL).of() is INTERNAL


def test_hosts_are_counted() -> None:
    world = World(("a", {"mode": "a"}))
    entries = [HostEntry("127.0.0.1", 1, metadata=metadata(mode=mode)) for mode in ("a", "a", "x")]
    world.sockets.count(entries)
    assert (world.count("a"), world.stats.get(DEFAULT_TOTAL_MATCH_COUNT)) == (2, 1)


def test_whether_pools_depend_on_the_host() -> None:
    assert World(("a", {"mode": "a"})).sockets.special
    store = MainStore()
    message = cluster_pb2.Cluster.TransportSocketMatch(name="a")
    stats = store.block(CLUSTER, "cluster.c.")
    plain = transport_socket_match.compile([(message, PLAIN)], PLAIN, stats, "cluster.c.", store)
    assert not plain.special
