"""Clusters and endpoints from the control plane."""

from __future__ import annotations

from envoy.config.cluster.v3 import cluster_pb2
from google.protobuf import any_pb2
from tests.differential.xds_config import assignment, eds, listener, routes, static
from tests.differential.xds_pair import XdsCase, into
from tests.differential.xds_side import Side

from proxeny.testing.xds import CDS, EDS, LDS, type_url

CASES: list[XdsCase] = []
case = into(CASES)


@case("CDS", "cluster_manager.cluster_added: +2", "cluster_manager.cds.update_success: +1")
def clusters_come(side: Side) -> None:
    side.put(CDS, static("a", side.port("one")), static("b"))


@case("cluster_manager.cluster_removed: +1", "cluster_manager.cluster_modified: +1")
def clusters_change_and_go(side: Side) -> None:
    side.put(CDS, static("a", side.port("one")), static("b"))
    side.put(CDS, static("a", side.port("two")))


@case("cluster_manager.cluster_removed: +1", "config_reload: +")
def a_cluster_goes(side: Side) -> None:
    side.put(CDS, static("a", side.port("one")), static("b"))
    side.put(CDS, static("a", side.port("one")))


@case("CDS")
def the_same_clusters_again(side: Side) -> None:
    side.put(CDS, static("a", side.port("one")), static("b"))
    if not side.variant.delta:
        side.put(CDS, static("a", side.port("one")), static("b"))


@case("error=13:")
def a_cluster_that_is_refused(side: Side) -> None:
    side.put(CDS, static("a", side.port("one")))
    side.put_bad(CDS, static("a", side.port("one")), static("b"), {"name": "bad", "type": "EDS"})
    side.put(CDS, static("a", side.port("two")))


@case("200 'one'", "200 'two'")
def endpoints_over_the_same(side: Side) -> None:
    version = side.serve(EDS, assignment("a", side.port("one")))
    side.put(CDS, eds("a", side.source))
    side.acked(EDS, version)
    side.put(LDS, listener("l", route_config=routes("r", "a")))
    side.get("l", "/a", "one")
    side.put(EDS, assignment("a", side.port("two")))
    side.get("l", "/a", "two")


@case("listener_manager.listener_added: +1")
def a_route_to_a_cluster_that_is_warming(side: Side) -> None:
    side.plane.hold(EDS)
    version = side.serve(CDS, eds("a", side.source))
    side.asked_for(EDS, "a")
    side.put(LDS, listener("l", route_config=routes("r", "a")))
    side.get("l", "/a", "503")
    endpoints = side.serve(EDS, assignment("a", side.port("one")))
    side.plane.release(EDS)
    side.acked(EDS, endpoints)
    side.acked(CDS, version)
    side.get("l", "/a", "one")


@case("unknown cluster 'nobody'")
def a_route_to_no_cluster(side: Side) -> None:
    side.put_bad(LDS, listener("l", route_config=routes("r", "nobody")))


@case("duplicate")
def a_cluster_twice(side: Side) -> None:
    side.plane.hold(CDS)
    twice = [static("a"), static("a", side.port("one"))]
    side.plane.send(CDS, twice, version="twice")
    side.nacked(CDS, "twice")


@case("Expected positive duration")
def a_cluster_that_breaks_a_constraint(side: Side) -> None:
    side.put_bad(CDS, static("a"), {"name": "bad", "connect_timeout": "-1s"})


@case("error=13:")
def a_cluster_without_a_name(side: Side) -> None:
    side.put_bad(CDS, static("a"), static(""))


@case("error=13:")
def a_resource_of_another_type(side: Side) -> None:
    other = any_pb2.Any(type_url=type_url(EDS), value=b"")
    side.serve_by_name(CDS, other=other)
    side.nacked(CDS, side.version)
    side.put(CDS, static("a"))


@case("error=")
def a_resource_of_broken_bytes(side: Side) -> None:
    side.serve_by_name(CDS, a=any_pb2.Any(type_url=type_url(CDS), value=b"\xff\xff"))
    side.nacked(CDS, side.version)
    side.put(CDS, static("a"))


@case("cluster_manager.cluster_added: +1")
def a_resource_with_unknown_fields(side: Side) -> None:
    message = cluster_pb2.Cluster(name="a")
    data = message.SerializeToString() + b"\xc2\x3e\x01x"
    side.serve_by_name(CDS, a=any_pb2.Any(type_url=type_url(CDS), value=data))
    side.acked(CDS, side.version)


@case("cluster_manager.cds.update_rejected: +2", "cluster_manager.cds.update_success: +2")
def versions_are_skipped_and_come_again(side: Side) -> None:
    side.put(CDS, static("a"))
    side.put_bad(CDS, static("a"), {"name": "bad", "type": "EDS"})
    side.put_bad(CDS, static("a"), {"name": "worse", "type": "EDS"})
    side.put(CDS, static("a"), static("b"))


@case("answers='by hand'")
def the_same_version_of_other_content(side: Side) -> None:
    side.plane.hold(CDS)
    for name in ("a", "b"):
        mark = side.plane.mark()
        side.plane.send(CDS, [static(name)], version="by hand", removed=["a"] if name == "b" else [])
        side.plane.wait_for_ack(CDS, "by hand", since=mark)


@case("answers='without a nonce'")
def a_response_without_a_nonce(side: Side) -> None:
    side.plane.hold(CDS)
    side.plane.send(CDS, [static("a")], version="without a nonce", nonce="")
    side.wait_for_stat("cluster_manager.active_clusters", 2)
    side.plane.wait(lambda: side.plane.requests_of(CDS))
    side.note("answers='without a nonce'")


@case("cluster_manager.cluster_modified: +1")
def a_cluster_changes_its_type(side: Side) -> None:
    version = side.serve(EDS, assignment("a", side.port("one")))
    side.put(CDS, eds("a", side.source))
    side.acked(EDS, version)
    side.put(CDS, static("a", side.port("two")))
    side.asked_for(EDS)


@case("'service'")
def endpoints_of_another_name(side: Side) -> None:
    version = side.serve(EDS, assignment("service", side.port("one")))
    side.put(CDS, eds("a", side.source, "service"))
    side.acked(EDS, version)
    side.put(LDS, listener("l", route_config=routes("r", "a")))
    side.get("l", "/a", "one")


@case("cluster.b.membership_total: +1")
def two_clusters_of_the_same_endpoints(side: Side) -> None:
    version = side.serve(EDS, assignment("shared", side.port("one")))
    side.put(CDS, eds("a", side.source, "shared"), eds("b", side.source, "shared"))
    streams = 1 if side.variant.aggregated else 2
    side.plane.wait_for(EDS, lambda one: one.answers is not None and one.answers.version == version, count=streams)
    side.wait_for_stat("cluster.b.membership_total", 1)
    side.put(CDS, eds("b", side.source, "shared"))
    side.wait_for_stat("cluster_manager.active_clusters", 2)


@case("cluster.b.update_success: +2")
def endpoints_of_one_of_two_clusters(side: Side) -> None:
    version = side.serve(EDS, assignment("a", side.port("one")), assignment("b", side.port("one")))
    side.put(CDS, eds("a", side.source), eds("b", side.source))
    side.acked(EDS, version)
    side.wait_for_stat("cluster_manager.warming_clusters", 0)
    side.put(EDS, assignment("a", side.port("one")), assignment("b", side.port("two")))
    side.wait_for_stat("cluster.b.update_success", 2)


@case("error=")
def endpoints_that_are_refused(side: Side) -> None:
    version = side.serve(EDS, assignment("a", side.port("one")))
    side.put(CDS, eds("a", side.source))
    side.acked(EDS, version)
    bad = assignment("a", side.port("two"))
    bad["endpoints"][0]["priority"] = 200
    side.put_bad(EDS, bad)
    side.put(EDS, assignment("a", side.port("three")))


@case("error=")
def endpoints_with_a_name_for_an_address(side: Side) -> None:
    version = side.serve(EDS, assignment("a", side.port("one")))
    side.put(CDS, eds("a", side.source))
    side.acked(EDS, version)
    bad = assignment("a", side.port("two"))
    bad["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]["address"] = "host.test"
    side.put_bad(EDS, bad)


@case("membership_total: +1")
def endpoints_that_nobody_asked_for(side: Side) -> None:
    version = side.serve(EDS, assignment("a", side.port("one")))
    side.put(CDS, eds("a", side.source))
    side.acked(EDS, version)
    side.plane.hold(EDS)
    both = [assignment("a", side.port("one")), assignment("stranger", side.port("one"))]
    side.plane.send(EDS, both, version="more")
    side.plane.wait(
        lambda: [one for one in side.plane.requests_of(EDS) if one.answers and one.answers.version == "more"]
    )


@case("warming 1")
def endpoints_come_late(side: Side) -> None:
    side.plane.hold(EDS)
    version = side.serve(CDS, eds("a", side.source))
    side.asked_for(EDS, "a")
    side.note(f"warming {side.stat('cluster_manager.warming_clusters')}")
    side.serve(EDS, assignment("a", side.port("one")))
    side.plane.release(EDS)
    side.acked(CDS, version)
    side.wait_for_stat("cluster_manager.warming_clusters", 0)


@case("cluster.a.membership_total: +1")
def a_cluster_changes_while_it_warms(side: Side) -> None:
    side.plane.hold(EDS)
    side.serve(CDS, eds("a", side.source))
    side.asked_for(EDS, "a")
    side.serve(CDS, eds("a", side.source, connect_timeout="2s"))
    side.serve(EDS, assignment("a", side.port("one")))
    side.wait_for_stat("cluster_manager.cluster_modified", side.before("cluster_manager.cluster_modified") + 1)
    side.plane.release(EDS)
    side.wait_for_stat("cluster_manager.warming_clusters", 0)


@case("cluster_manager.cluster_removed: +1")
def a_cluster_goes_while_it_warms(side: Side) -> None:
    side.plane.hold(EDS)
    side.serve(CDS, eds("a", side.source))
    side.asked_for(EDS, "a")
    version = side.serve(CDS)
    side.acked(CDS, version)
    side.asked_for(EDS)


@case("cluster.a.init_fetch_timeout: +1", "no healthy upstream")
def endpoints_never_come(side: Side) -> None:
    side.plane.hold(EDS)
    version = side.serve(CDS, eds("a", side.variant.source(initial_fetch_timeout="0.05s")))
    side.acked(CDS, version)
    side.wait_for_stat("cluster.a.init_fetch_timeout", 1)
    side.put(LDS, listener("l", route_config=routes("r", "a")))
    side.get("l", "/a", "no healthy upstream")


@case("answers=", "cluster_manager.cds.update_success: +30")
def a_flood_of_clusters(side: Side) -> None:
    for number in range(29):
        side.serve(CDS, static("a", side.port("one"), connect_timeout=f"{number + 1}s"))
    side.put(CDS, static("a", side.port("two")))


@case("200 'two'", "cluster.a.version_text")
def a_flood_of_endpoints(side: Side) -> None:
    version = side.serve(EDS, assignment("a", side.port("one")))
    side.put(CDS, eds("a", side.source))
    side.acked(EDS, version)
    for number in range(29):
        side.serve(EDS, assignment("a", *[side.port("one"), side.port("two")][: number % 2 + 1]))
    side.put(EDS, assignment("a", side.port("two")))
    side.put(LDS, listener("l", route_config=routes("r", "a")))
    side.get("l", "/a", "two")


@case("held: [\"200 'one'\"]")
def a_cluster_goes_under_a_request(side: Side) -> None:
    version = side.serve(EDS, assignment("a", side.port("one")))
    side.put(CDS, eds("a", side.source))
    side.acked(EDS, version)
    side.put(LDS, listener("l", route_config=routes("r", "a", match="prefix")))
    side.get("l", "/a", "one")
    let_go = side.hold("l", "/a/hold")
    side.put(CDS)
    side.get("l", "/a", "503")
    let_go()


@case("held: [\"200 'one'\"]")
def endpoints_go_under_a_request(side: Side) -> None:
    version = side.serve(EDS, assignment("a", side.port("one")))
    side.put(CDS, eds("a", side.source))
    side.acked(EDS, version)
    side.put(LDS, listener("l", route_config=routes("r", "a", match="prefix")))
    side.get("l", "/a", "one")
    let_go = side.hold("l", "/a/hold")
    side.put(EDS, assignment("a", side.port("two")))
    side.get("l", "/a", "two")
    let_go()
