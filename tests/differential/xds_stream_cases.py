"""Streams that end and come back."""

from __future__ import annotations

import grpc
from envoy.service.discovery.v3 import discovery_pb2
from tests.differential.xds_config import assignment, eds, listener, routes, static
from tests.differential.xds_pair import XdsCase, into
from tests.differential.xds_side import Side

from proxeny.testing.xds import CDS, EDS, LDS, RDS, type_url

CASES: list[XdsCase] = []
case = into(CASES)

COUNTS_OF_TRIES = r"update_(attempt|failure)"


def some_of_all(side: Side) -> None:
    """A listener with routes to a cluster with endpoints, all discovered."""
    endpoints = side.serve(EDS, assignment("a", side.port("one")))
    side.put(CDS, eds("a", side.source))
    side.acked(EDS, endpoints)
    version = side.serve(RDS, routes("r", "a"))
    side.put(LDS, listener("l", rds={"route_config_name": "r", "config_source": side.source}))
    side.acked(RDS, version)
    side.get("l", "/a", "one")


def all_are_back(side: Side, mark: int) -> None:
    """All four types have been asked for since."""
    for type_name in (CDS, EDS, LDS, RDS):
        side.plane.wait_for(type_name, since=mark)


@case("200 'one'", "200 'two'")
def streams_end(side: Side) -> None:
    some_of_all(side)
    mark = side.plane.mark()
    side.plane.end_streams()
    all_are_back(side, mark)
    side.get("l", "/a", "one")
    side.put(EDS, assignment("a", side.port("two")))
    side.get("l", "/a", "two")


@case("200 'one'")
def streams_end_with_an_error(side: Side) -> None:
    some_of_all(side)
    mark = side.plane.mark()
    side.plane.end_streams(grpc.StatusCode.PERMISSION_DENIED, "go away")
    all_are_back(side, mark)


@case("200 'one'")
def streams_end_without_an_error(side: Side) -> None:
    some_of_all(side)
    mark = side.plane.mark()
    side.plane.end_streams(grpc.StatusCode.OK)
    all_are_back(side, mark)


@case("200 'one'", "200 'two'")
def the_control_plane_goes_and_comes(side: Side) -> None:
    side.ignore(COUNTS_OF_TRIES)
    some_of_all(side)
    side.plane.stop()
    side.get("l", "/a", "one")
    mark = side.plane.mark()
    side.plane.start()
    all_are_back(side, mark)
    side.put(EDS, assignment("a", side.port("two")))
    side.get("l", "/a", "two")


@case("200 'two'", "cluster_manager.cluster_removed: +1")
def things_change_while_it_is_away(side: Side) -> None:
    side.ignore(COUNTS_OF_TRIES)
    some_of_all(side)
    side.put(CDS, eds("a", side.source), static("gone"), static("b"))
    side.plane.stop()
    clusters = side.serve(CDS, eds("a", side.source), static("b", side.port("one")))
    endpoints = side.serve(EDS, assignment("a", side.port("two")))
    side.plane.start()
    side.acked(CDS, clusters)
    side.acked(EDS, endpoints)
    side.get("l", "/a", "two")


@case("error=13:", "cluster_manager.cds.update_rejected: +2")
def what_was_refused_comes_again(side: Side) -> None:
    side.put(CDS, static("a"))
    version = side.put_bad(CDS, static("a"), {"name": "bad", "type": "EDS"})
    mark = side.plane.mark()
    side.plane.end_streams()
    side.plane.wait_for_nack(CDS, version, since=mark)


@case("cluster.a.membership_total: +1")
def streams_end_while_a_cluster_warms(side: Side) -> None:
    side.plane.hold(EDS)
    side.serve(CDS, eds("a", side.source))
    side.asked_for(EDS, "a")
    mark = side.plane.mark()
    side.plane.end_streams()
    side.plane.wait_for(EDS, since=mark)
    side.serve(EDS, assignment("a", side.port("one")))
    side.plane.release(EDS)
    side.wait_for_stat("cluster_manager.warming_clusters", 0)


@case("CDS")
def a_response_of_a_type_that_nobody_asked_for(side: Side) -> None:
    kind = discovery_pb2.DeltaDiscoveryResponse if side.variant.delta else discovery_pb2.DiscoveryResponse
    stranger = kind(type_url=type_url("envoy.config.route.v3.Nothing"), nonce="stranger")
    side.plane.send_raw(CDS, stranger.SerializeToString())
    side.put(CDS, static("a"))
