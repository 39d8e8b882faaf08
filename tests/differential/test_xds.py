"""The same control plane before Envoy and Proxeny: ADS and separate streams, state of the world and differences."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.differential.xds_config import VARIANTS, Variant, assignment, eds, listener, routes, static
from tests.differential.xds_pair import XdsCase, XdsPair, into
from tests.differential.xds_side import Side

from proxeny.testing.xds import CDS, EDS, LDS, RDS

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


@case("200 'x'", "200 'y'")
def routes_over_the_same(side: Side) -> None:
    version = side.serve(RDS, routes("r", "=x"))
    side.put(LDS, listener("l", rds={"route_config_name": "r", "config_source": side.source}))
    side.acked(RDS, version)
    side.get("l", "/say", "x")
    side.put(RDS, routes("r", "=y"))
    side.get("l", "/say", "y")


@pytest.fixture(scope="module", params=VARIANTS, ids=lambda variant: variant.name)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[XdsPair]:
    variant: Variant = request.param
    made = XdsPair(variant, tmp_path_factory.mktemp(variant.name))
    yield made
    made.close()


def test_starts_are_the_same(pair: XdsPair) -> None:
    pair.check_start("CDS", "LDS")


@pytest.mark.parametrize("sequence", CASES, ids=lambda sequence: sequence.name)
def test_same(sequence: XdsCase, pair: XdsPair) -> None:
    pair.check(sequence)
