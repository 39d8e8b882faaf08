"""Clusters and their endpoints from a control plane: order, warming, what is kept, replaced and removed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.differential.xds_config import VARIANTS, Json, Variant, address, assignment, eds, listener, routes, static
from tests.differential.xds_pair import XdsCase, XdsPair, into
from tests.differential.xds_side import Side

from proxeny.testing.xds import CDS, EDS, LDS, ControlPlane

CASES: list[XdsCase] = []
case = into(CASES)
SOTW_CASES: list[XdsCase] = []
sotw_case = into(SOTW_CASES)
"""Where Envoy's differences go to watchers in any order."""
SHORT = "0.15s"
"""An ``initial_fetch_timeout``."""
LONG = "60s"


def patient(side: Side) -> Json:
    """A config source that is waited for."""
    return side.variant.source(initial_fetch_timeout=LONG)


def impatient(side: Side) -> Json:
    """One that is not waited for long."""
    return side.variant.source(initial_fetch_timeout=SHORT)


def note_state(side: Side, name: str) -> None:
    """What /config_dump and the warming gauges tell now."""
    side.note(f"{name} warming {side.stat(f'cluster.{name}.warming_state')}")
    for line in side.dump():
        if " control_plane " not in line:
            side.note(line)


def note_acks(side: Side, version: str) -> None:
    """Whether a version of the clusters was confirmed yet."""
    acked = any(request.is_ack and request.version == version for request in side.plane.requests_of(CDS))
    side.note(f"{version} confirmed: {acked and not side.variant.delta}")


def warm(side: Side, *clusters: Json) -> str:
    """Serve clusters of which some will warm; return when they do."""
    version = side.serve(CDS, *clusters)
    side.wait_until(lambda: side.stat("cluster_manager.warming_clusters") > 0)
    return version


@case("dynamic_warming_clusters a", "confirmed: False", "cluster.a.update_success: +1")
def a_cluster_warms_until_its_endpoints_come(side: Side) -> None:
    side.plane.hold(EDS)
    side.serve(EDS, assignment("a", side.port("one")))
    version = warm(side, eds("a", patient(side)), static("b"))
    side.asked_for(EDS, "a")
    note_state(side, "a")
    note_acks(side, version)
    side.plane.release(EDS)
    side.acked(CDS, version)
    note_state(side, "a")


@case("cluster.a.init_fetch_timeout: +1")
def warming_ends_when_nothing_comes_in_time(side: Side) -> None:
    side.plane.hold(EDS)
    side.put(CDS, eds("a", impatient(side)))
    note_state(side, "a")
    side.plane.release(EDS)
    side.put(EDS, assignment("a", side.port("one")))


@case("cluster.a.assignment_use_cached: +1", "200 'one'")
def a_changed_cluster_goes_on_with_the_endpoints_that_it_had(side: Side) -> None:
    version = side.serve(EDS, assignment("a", side.port("one")))
    side.put(CDS, eds("a", patient(side)))
    side.acked(EDS, version)
    side.put(LDS, listener("l", route_config=routes("r", "a")))
    side.get("l", "/a", "one")
    side.put(CDS, eds("a", impatient(side)))
    side.get("l", "/a", "one")
    note_state(side, "a")


@case("cluster_manager.cluster_modified: +2")
def a_change_is_taken_back_while_it_warms(side: Side) -> None:
    endpoints = side.serve(EDS, assignment("a", side.port("one")))
    side.put(CDS, eds("a", patient(side)))
    side.acked(EDS, endpoints)
    modified = side.stat("cluster_manager.cluster_modified")
    warm(side, eds("a", patient(side), connect_timeout="7s"))
    side.wait_for_stat("cluster_manager.cluster_modified", modified + 1)
    side.serve(CDS, eds("a", patient(side)))
    side.wait_for_stat("cluster_manager.cluster_modified", modified + 2)
    note_state(side, "a")


@case("cluster_manager.cluster_added: +2", "cluster_manager.cluster_removed: +1")
def a_cluster_goes_and_comes_back(side: Side) -> None:
    version = side.serve(EDS, assignment("a", side.port("one")))
    side.put(CDS, eds("a", patient(side)))
    side.acked(EDS, version)
    side.put(CDS)
    side.asked_for(EDS)
    # Its statistics go when no worker uses them any more; whoever asks anew is answered anew.
    side.wait_until(lambda: not side.proxy.stats(r"^cluster\.a\.update_attempt$"))
    side.put(CDS, eds("a", patient(side)))
    side.acked(EDS, version)
    side.put(EDS, assignment("a", side.port("two")))
    note_state(side, "a")


@case("EDS: ", "200 'two'")
def a_cluster_takes_another_name_for_its_endpoints(side: Side) -> None:
    version = side.serve(EDS, assignment("x", side.port("one")), assignment("y", side.port("two")))
    side.put(CDS, eds("a", patient(side), "x"))
    side.acked(EDS, version)
    side.put(LDS, listener("l", route_config=routes("r", "a")))
    side.get("l", "/a", "one")
    side.put(CDS, eds("a", patient(side), "y"))
    side.asked_for(EDS, "y")
    side.get("l", "/a", "two")


@sotw_case("200 'two'")
def a_changed_cluster_waits_for_new_endpoints(side: Side) -> None:
    endpoints = side.serve(EDS, assignment("a", side.port("one")))
    side.put(CDS, eds("a", patient(side)))
    side.acked(EDS, endpoints)
    side.put(LDS, listener("l", route_config=routes("r", "a")))
    side.get("l", "/a", "one")
    version = warm(side, eds("a", patient(side), connect_timeout="7s"))
    side.get("l", "/a", "one")
    note_state(side, "a")
    note_acks(side, version)
    side.serve(EDS, assignment("a", side.port("two")))
    side.get("l", "/a", "two")
    side.acked(CDS, version)


@case("cluster_manager.cluster_modified: +2")
def a_cluster_changes_while_it_warms(side: Side) -> None:
    side.plane.hold(EDS)
    warm(side, eds("a", patient(side)))
    side.asked_for(EDS, "a")
    modified = side.stat("cluster_manager.cluster_modified")
    side.serve(CDS, eds("a", patient(side), connect_timeout="7s"))
    side.wait_for_stat("cluster_manager.cluster_modified", modified + 1)
    version = side.serve(CDS, eds("a", patient(side), connect_timeout="8s"))
    side.serve(EDS, assignment("a", side.port("one")))
    side.plane.release(EDS)
    side.acked(CDS, version)
    note_state(side, "a")


@case("cluster_manager.cluster_removed: +1")
def a_cluster_goes_while_it_warms(side: Side) -> None:
    side.plane.hold(EDS)
    warm(side, eds("a", patient(side)), static("b"))
    side.asked_for(EDS, "a")
    side.put(CDS, static("b"))
    side.asked_for(EDS)
    note_state(side, "a")


@case("=['else']", "200 'one'")
def endpoints_go_by_a_name_of_their_own(side: Side) -> None:
    version = side.serve(EDS, assignment("else", side.port("one")))
    side.put(CDS, eds("a", patient(side), "else"))
    side.acked(EDS, version)
    side.put(LDS, listener("l", route_config=routes("r", "a")))
    side.get("l", "/a", "one")


@case("200 'two'")
def two_clusters_share_endpoints(side: Side) -> None:
    version = side.serve(EDS, assignment("s", side.port("one")))
    side.put(CDS, eds("a", patient(side), "s"), eds("b", patient(side), "s"))
    side.acked(EDS, version)
    side.put(LDS, listener("l", route_config=routes("r", "a", "b")))
    side.put(EDS, assignment("s", side.port("two")))
    side.get("l", "/a", "two")
    side.get("l", "/b", "two")
    side.put(CDS, eds("b", patient(side), "s"))
    side.asked_for(EDS, "s")
    side.put(EDS, assignment("s", side.port("one")))
    side.get("l", "/b", "one")


@case("cluster_manager.cluster_added: +40")
def many_clusters_ask_at_once(side: Side) -> None:
    names = [f"c{i:02}" for i in range(40)]
    version = side.serve(EDS, *[assignment(name, side.port("one")) for name in names])
    side.put(CDS, *[eds(name, patient(side)) for name in names])
    side.acked(EDS, version)


@case("cluster.a.update_no_rebuild: +1")
def the_same_endpoints_again(side: Side) -> None:
    version = side.serve(EDS, assignment("a", side.port("one")))
    side.put(CDS, eds("a", patient(side)))
    side.acked(EDS, version)
    side.plane.send(EDS, [assignment("a", side.port("one"))], version="again")
    side.wait_until(lambda: side.stat("cluster.a.update_no_rebuild") == 1)


@case("200 'one'")
def endpoints_that_are_not_sent_any_more_stay(side: Side) -> None:
    version = side.serve(EDS, assignment("a", side.port("one")), assignment("b", side.port("two")))
    side.put(CDS, eds("a", patient(side)), eds("b", patient(side)))
    side.acked(EDS, version)
    side.put(EDS, assignment("b", side.port("one")))
    side.put(LDS, listener("l", route_config=routes("r", "a")))
    side.get("l", "/a", "one")


@case("cluster.a.membership_total: +1", "no healthy upstream")
def endpoints_become_none(side: Side) -> None:
    version = side.serve(EDS, assignment("a", side.port("one"), side.port("two")))
    side.put(CDS, eds("a", patient(side)))
    side.acked(EDS, version)
    side.put(LDS, listener("l", route_config=routes("r", "a")))
    side.put(EDS, assignment("a"))
    side.get("l", "/a", "no healthy upstream")
    side.put(EDS, assignment("a", side.port("one")))
    side.get("l", "/a", "one")


@case("cluster.a.update_rejected: +2", "error=13:")
def endpoints_that_are_refused(side: Side) -> None:
    version = side.serve(EDS, assignment("a", side.port("one")))
    side.put(CDS, eds("a", patient(side)))
    side.acked(EDS, version)
    named = assignment("a")
    named["endpoints"] = [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {
        "address": "no.such.host", "port_value": 1}}}}]}]  # fmt: skip
    side.put_bad(EDS, named)
    invalid = assignment("a", side.port("one"))
    invalid["endpoints"][0]["priority"] = 500
    side.put_bad(EDS, invalid)
    side.put(EDS, assignment("a", side.port("two")))


@case("cluster.a.assignment_stale: +1", "cluster.a.assignment_timeout_received: +1")
def endpoints_become_stale(side: Side) -> None:
    version = side.serve(EDS, assignment("a", side.port("one"), policy={"endpoint_stale_after": "0.1s"}))
    side.put(CDS, eds("a", patient(side)))
    side.acked(EDS, version)
    side.wait_for_stat("cluster.a.assignment_stale", 1)
    note_state(side, "a")


@case("held: [\"200 'one'\"]", "503")
def a_cluster_goes_with_a_request_under_way(side: Side) -> None:
    version = side.serve(EDS, assignment("a", side.port("one")))
    side.put(CDS, eds("a", patient(side)))
    side.acked(EDS, version)
    side.put(LDS, listener("l", route_config=routes("r", "a")))
    side.get("l", "/a", "one")
    let_go = side.hold("l", "/a?/hold")
    side.put(CDS, static("b"))
    side.get("l", "/a", "503")
    let_go()


@case("cluster_manager.cluster_modified: +1")
def the_type_of_a_cluster_changes(side: Side) -> None:
    version = side.serve(EDS, assignment("a", side.port("one")))
    side.put(CDS, eds("a", patient(side)))
    side.acked(EDS, version)
    side.put(CDS, static("a", side.port("two")))
    side.asked_for(EDS)
    note_state(side, "a")


@case("cluster_manager.cds.update_success: +2")
def a_cluster_of_the_bootstrap_stays_as_it_is(side: Side) -> None:
    side.put(CDS, static("control_plane", side.port("one")), static("a"))
    side.put(CDS, static("b"))


@case("update_rejected: +1", "duplicate ")
def two_clusters_of_one_name(side: Side) -> None:
    side.put(CDS, static("b"))
    twice = [static("a", side.port("one")), static("a", side.port("two"))]
    side.plane.send(CDS, twice, version="twice")
    side.nacked(CDS, "twice")


@case("200 'one'")
def health_is_checked_before_the_first_request(side: Side) -> None:
    check = {
        "timeout": "1s", "interval": "60s", "unhealthy_threshold": 1, "healthy_threshold": 1,
        "http_health_check": {"path": "/"}, "no_traffic_interval": "60s",
    }  # fmt: skip
    version = side.serve(EDS, assignment("a", side.port("one")))
    side.put(CDS, eds("a", patient(side), health_checks=[check]))
    side.acked(EDS, version)
    side.note(f"healthy {side.stat('cluster.a.membership_healthy')}")
    side.put(LDS, listener("l", route_config=routes("r", "a")))
    side.get("l", "/a", "one")


@case("cluster_updated +3", "cluster_updated_via_merge +0", "update_out_of_merge_window +0")
def weights_do_not_wait_for_the_merge_window(side: Side) -> None:
    def weighted(weight: int) -> Json:
        found = assignment("a", side.port("one"), side.port("two"))
        found["endpoints"][0]["lb_endpoints"][0]["load_balancing_weight"] = weight
        return found

    version = side.serve(EDS, weighted(1))
    side.put(CDS, eds("a", patient(side)))
    side.acked(EDS, version)
    names = ("cluster_updated", "cluster_updated_via_merge", "update_merge_cancelled", "update_out_of_merge_window")
    before = [side.stat(f"cluster_manager.{name}") for name in names]
    for weight in (2, 3, 4):
        side.put(EDS, weighted(weight))
    for name, was in zip(names, before, strict=True):
        side.note(f"{name} {side.stat(f'cluster_manager.{name}') - was:+}")


@case("cluster.a.update_success: +", "cluster.b.membership_total: +1")
def the_stream_ends_and_comes_back(side: Side) -> None:
    version = side.serve(EDS, assignment("a", side.port("one")), assignment("b", side.port("one")))
    side.put(CDS, eds("a", patient(side)), eds("b", patient(side)))
    side.acked(EDS, version)
    streams = len(side.plane.streams)
    side.plane.end_streams()
    side.plane.wait_for_streams(streams + 1)
    side.asked_for(EDS, "a", "b")
    side.put(EDS, assignment("a", side.port("two")), assignment("b", side.port("two")))


@case("dynamic_active_clusters a")
def endpoints_from_a_file_beside(side: Side) -> None:
    folder: Path = side.proxy.folder
    file = folder / "eds.json"
    file.write_text('{"version_info": "f", "resources": []}')
    side.put(CDS, eds("a", {"path_config_source": {"path": str(file)}}), static("b"))
    note_state(side, "a")


ADS = [variant for variant in VARIANTS if variant.aggregated]


@pytest.fixture(scope="module", params=ADS, ids=lambda variant: variant.name)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[XdsPair]:
    variant: Variant = request.param
    made = XdsPair(variant, tmp_path_factory.mktemp(variant.name))
    yield made
    made.close()


@pytest.mark.parametrize("sequence", CASES, ids=lambda sequence: sequence.name)
def test_same(sequence: XdsCase, pair: XdsPair) -> None:
    pair.check(sequence)


@pytest.mark.parametrize("pair", ADS[:1], ids=lambda variant: variant.name, indirect=True)
@pytest.mark.parametrize("sequence", SOTW_CASES, ids=lambda sequence: sequence.name)
def test_same_in_the_state_of_the_world(sequence: XdsCase, pair: XdsPair) -> None:
    pair.check(sequence)


def _bootstrap(variant: Variant, port: int) -> Json:
    config = variant.bootstrap(port)
    clusters = config["static_resources"]["clusters"]
    clusters.append(eds("first", variant.source()))
    clusters.append(eds("second", variant.source(), "other"))
    return config


def _resources(plane: ControlPlane) -> None:
    one = assignment("named")
    one["endpoints"] = [{"lb_endpoints": [{"endpoint": {"address": address(9)}}]}]
    plane.set(EDS, [assignment("first", 9), assignment("other", 9), assignment("third", 9)], "e")
    plane.set(CDS, [eds("third", {"ads": {}, "resource_api_version": "V3"}), static("fourth", 9)], "c")
    plane.set(LDS, (), "l")


@pytest.mark.parametrize("variant", ADS, ids=lambda variant: variant.name)
def test_a_start_with_clusters_of_both_phases(variant: Variant, tmp_path: Path) -> None:
    made = XdsPair(variant, tmp_path, partial(_bootstrap, variant), _resources)
    try:
        made.check_start("CDS", "EDS", "LDS", "dynamic_active_clusters third")
    finally:
        made.close()
