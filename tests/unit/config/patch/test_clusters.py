"""Patches of clusters."""

from __future__ import annotations

import pytest
from tests.unit.config.patch.conftest import MakePatches, message

from proxeny.config.anys import open_any
from proxeny.config.errors import ConfigError
from proxeny.config.patch.clusters import added_clusters, patch_cluster

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
SERVICE = "outbound|80|v1|reviews.default"


def entry(operation: str, match: str = "{}", value: str = "") -> str:
    with_value = f", value: {value}" if value else ""
    return f"{{applyTo: CLUSTER, match: {match}, patch: {{operation: {operation}{with_value}}}}}"


@pytest.mark.parametrize(
    ("cluster", "match", "matches"),
    [
        ("{name: a}", "{}", True),
        ("{name: a}", "{cluster: {name: a}}", True),
        ("{name: a}", "{cluster: {name: b}}", False),
        (f"{{name: '{SERVICE}'}}", "{cluster: {service: reviews.default, portNumber: 80, subset: v1}}", True),
        (f"{{name: '{SERVICE}'}}", "{cluster: {service: ratings.default}}", False),
        (f"{{name: '{SERVICE}'}}", "{cluster: {portNumber: 81}}", False),
        (f"{{name: '{SERVICE}'}}", "{cluster: {subset: v2}}", False),
        (f"{{name: '{SERVICE}'}}", f"{{cluster: {{name: '{SERVICE}', subset: v2}}}}", True),
        ("{name: outbound_.80_.v1_.reviews.default}", "{cluster: {service: reviews.default, portNumber: 80}}", True),
        ("{name: a}", "{cluster: {service: a}}", False),
        ("{name: a}", "{context: SIDECAR_OUTBOUND}", True),
        ("{name: a}", "{context: SIDECAR_INBOUND}", False),
        ("{name: 'inbound|80||'}", "{context: SIDECAR_INBOUND}", True),
        ("{name: 'inbound|80||'}", "{context: SIDECAR_OUTBOUND}", False),
        ("{name: InboundPassthroughCluster}", "{context: SIDECAR_INBOUND}", True),
        ("{name: 'inbound|80||'}", "{cluster: {service: reviews.default}}", False),
        ("{name: 'inbound|80||', metadata: {filter_metadata: {istio: {services: [{host: reviews.default}]}}}}",
         "{cluster: {service: reviews.default}}", True),
        ("{name: 'inbound|80||', metadata: {filter_metadata: {istio: {}}}}", "{cluster: {portNumber: 80}}", True),
        ("{name: 'outbound|٨٠|v1|a'}", "{cluster: {portNumber: 80}}", False),
    ],
)  # fmt: skip
def test_cluster_match(patches: MakePatches, cluster: str, match: str, matches: bool) -> None:
    made = message("CLUSTER", cluster)
    assert patch_cluster(patches(entry("MERGE", match, "{alt_stat_name: x}")), made)
    assert (made.alt_stat_name == "x") is matches


def test_clusters_are_removed_and_added(patches: MakePatches) -> None:
    chosen = patches(
        entry("REMOVE", "{cluster: {name: a}}"),
        entry("ADD", "{cluster: {name: whatever}}", "{name: any}"),
        entry("ADD", "{context: GATEWAY}", "{name: gateway}"),
    )
    assert not patch_cluster(chosen, message("CLUSTER", "{name: a}"))
    assert patch_cluster(chosen, message("CLUSTER", "{name: b}"))
    assert [cluster.name for cluster in added_clusters(chosen)] == ["any"]
    assert [text.rpartition(": ")[2] for text in chosen.summary()] == ["removed cluster 'a'", "added cluster 'any'"]


def socket(name: str, sni: str) -> str:
    return f"{{name: {name}, typed_config: {{'@type': {TLS}, sni: {sni}}}}}"


def test_the_transport_socket_is_merged_into_the_match_of_its_name(patches: MakePatches) -> None:
    cluster = (
        f"{{name: a, transport_socket_matches: [{{name: one, transport_socket: {socket('raw', 'a')}}}, "
        f"{{name: two, transport_socket: {socket('tls', 'b')}}}]}}"
    )
    made = message("CLUSTER", cluster)
    value = f"{{alt_stat_name: x, transport_socket: {socket('tls', 'new')}}}"
    assert patch_cluster(patches(entry("MERGE", "{}", value)), made)
    matches = made.transport_socket_matches
    assert [open_any(one.transport_socket.typed_config).sni for one in matches] == ["a", "new"]
    assert made.alt_stat_name == "x"
    assert not made.HasField("transport_socket")

    made = message("CLUSTER", cluster)
    chosen = patches(entry("MERGE", "{}", value.replace("name: tls", "name: other")))
    assert patch_cluster(chosen, made)
    assert not made.HasField("transport_socket")
    assert "is left out of cluster 'a', none of whose transport_socket_matches is named 'other'" in chosen.warnings()[0]


def test_transport_sockets_of_two_types_are_a_fault_of_the_patch(patches: MakePatches) -> None:
    made = message("CLUSTER", f"{{name: a, transport_socket: {socket('tls', 'a')}}}")
    raw = "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
    value = f"{{transport_socket: {{name: tls, typed_config: {{'@type': {raw}}}}}}}"
    with pytest.raises(ConfigError, match=r"\(MERGE CLUSTER\): the transport socket of cluster 'a': cannot merge a"):
        patch_cluster(patches(entry("MERGE", "{}", value)), made)
