"""Clusters from files (CDS), their endpoints (EDS), aggregates of them: the same files through Envoy and Proxeny."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from tests.differential.cds import Json, Side, aggregate, assignment, eds, endpoint, group, static
from tests.differential.proxies import ENVOY, PROXENY


@dataclass(frozen=True)
class Sequence:
    """A case: `contains` must be found in both transcripts."""

    run: Callable[[Side], None]
    contains: tuple[str, ...]


CASES: list[Sequence] = []


def case(*contains: str) -> Callable[[Callable[[Side], None]], None]:
    """Make a case of a function."""
    return lambda run: CASES.append(Sequence(run, contains))


# -- endpoints -------------------------------------------------------------------------------------------------


def start(side: Side, name: str, *groups: Json, **policy: object) -> None:
    """A cluster with these endpoints."""
    side.prepare(name, assignment(name, *groups, **policy))
    side.put(eds(name))


@case("membership_total: 2", "'two'")
def hosts_of_a_file(side: Side) -> None:
    start(side, "e1", group(endpoint("one", health_status="UNHEALTHY"), endpoint("two")))
    side.get("e1", "two")
    side.snapshot("e1")


@case("eds_service_name::svc", "'one'")
def service_name(side: Side) -> None:
    side.prepare("e2", assignment("svc", group(endpoint("one"))))
    side.put(eds("e2", eds={"service_name": "svc"}))
    side.get("e2", "one")
    side.snapshot("e2")


@case("update_empty: 1", "'one'")
def an_empty_update_changes_nothing(side: Side) -> None:
    start(side, "e3", group(endpoint("one")))
    side.assign("e3")
    side.get("e3", "one")
    side.snapshot("e3")


@case("update_rejected: 2", "'one'")
def not_its_own_resource(side: Side) -> None:
    start(side, "e4", group(endpoint("one")))
    side.assign("e4", assignment("other", group(endpoint("two"))))
    side.assign("e4", assignment("e4", group(endpoint("two"))), assignment("e4b"))
    side.get("e4", "one")
    side.snapshot("e4")


@case("update_rejected: 1")
def a_name_is_no_address(side: Side) -> None:
    start(side, "e5", group(endpoint("one")))
    side.assign("e5", assignment("e5", group(endpoint("one", ip="host.test"))))
    side.get("e5", "one")
    side.snapshot("e5")


@case("membership_change: 3", "'two'", "'one'")
def hosts_come_and_go(side: Side) -> None:
    start(side, "e6", group(endpoint("one")))
    side.get("e6", "one")
    side.assign("e6", assignment("e6", group(endpoint("one"), endpoint("two"))))
    side.get("e6", "two")
    side.assign("e6", assignment("e6", group(endpoint("two"))))
    side.get("e6", "two")
    side.snapshot("e6")


@case("weight::7", "membership_change: 1", "max_host_weight: 7", "update_no_rebuild: 1")
def weights(side: Side) -> None:
    start(side, "e7", group(endpoint("one")))
    side.assign("e7", assignment("e7", group(endpoint("one", load_balancing_weight=7))))
    side.assign("e7", assignment("e7", group(endpoint("one", load_balancing_weight=7))))
    side.snapshot("e7")


@case("membership_total: 2", "total_match_count: 2")
def the_first_of_an_address_counts(side: Side) -> None:
    hosts = [endpoint("one", load_balancing_weight=3), endpoint("one"), endpoint("two")]
    start(side, "e8", group(*hosts), group(endpoint("two"), priority=1))
    side.snapshot("e8")


@case("priority::1", "'two'")
def priorities(side: Side) -> None:
    start(side, "e9", group(endpoint("one", health_status="UNHEALTHY")), group(endpoint("two"), priority=1))
    side.get("e9", "two")
    side.snapshot("e9")
    side.assign("e9", assignment("e9", group(endpoint("two")), group(endpoint("one"), priority=1)))
    side.get("e9", "two")
    side.snapshot("e9")


@case("/failed_eds_health", "/eds_status_draining", "/degraded_eds_health", "no healthy upstream")
def health_statuses(side: Side) -> None:
    start(side, "e10", group(endpoint("one", health_status="DRAINING"), endpoint("two", health_status="TIMEOUT")))
    side.snapshot("e10")
    side.assign("e10", assignment("e10", group(endpoint("one", health_status="DEGRADED"))))
    side.get("e10", "one")
    side.snapshot("e10")
    side.assign("e10", assignment("e10"))
    side.get("e10", "no healthy")
    side.snapshot("e10")


@case("zone::b", "membership_change: 2")
def another_locality_is_another_host(side: Side) -> None:
    start(side, "e11", group(endpoint("one"), locality={"zone": "a"}))
    side.get("e11", "one")
    side.assign("e11", assignment("e11", group(endpoint("one"), locality={"zone": "b"})))
    side.get("e11", "one")
    side.snapshot("e11")


@case("503 'unconditional drop overload'", "x-envoy-unconditional-drop-overload=true", "x-facts=UDO|")
def everything_is_dropped(side: Side) -> None:
    drops = [{"category": "all", "drop_percentage": {"numerator": 100}}]
    start(side, "e12", group(endpoint("one")), drop_overloads=drops)
    side.get("e12", "drop")
    side.snapshot("e12")
    side.counted("cluster.e12.upstream_rq_503", "cluster.e12.external.upstream_rq_5xx")
    side.dump("include_eds&resource=dynamic_endpoint_configs")


@case("503 'drop overload'", "x-envoy-drop-overload=true", "x-facts=DO|", "200 'one'")
def some_are_dropped(side: Side) -> None:
    drops = [{"category": "all", "drop_percentage": {"numerator": 500000, "denominator": "MILLION"}}]
    start(side, "e13", group(endpoint("one")), drop_overloads=drops)
    side.get("e13", "drop")
    side.get("e13", "one")


@case("update_rejected: 2", "'one'")
def drops_that_are_refused(side: Side) -> None:
    start(side, "e14", group(endpoint("one")))
    drop = {"category": "a", "drop_percentage": {"numerator": 1}}
    side.assign("e14", assignment("e14", group(endpoint("two")), drop_overloads=[drop, drop]))
    drop = {"category": "a", "drop_percentage": {"numerator": 101}}
    side.assign("e14", assignment("e14", group(endpoint("two")), drop_overloads=[drop]))
    side.get("e14", "one")
    side.snapshot("e14")


@case("assignment_stale: 1", "assignment_timeout_received: 1", "no healthy upstream")
def stale_endpoints(side: Side) -> None:
    start(side, "e15", group(endpoint("one")), endpoint_stale_after="0.1s")
    side.get("e15", "no healthy")
    side.counted("cluster.e15.assignment_stale")
    side.snapshot("e15")


@case("assignment_stale: 0", "assignment_timeout_received: 1", "'one'")
def confirmed_endpoints_do_not_get_stale(side: Side) -> None:
    start(side, "e16", group(endpoint("one")), endpoint_stale_after="600s")
    side.assign("e16", assignment("e16", group(endpoint("one"))))
    side.get("e16", "one")
    side.snapshot("e16")


@case("update_no_rebuild: 0")
def another_factor_is_a_rebuild(side: Side) -> None:
    start(side, "e17", group(endpoint("one")))
    side.assign("e17", assignment("e17", group(endpoint("one")), overprovisioning_factor=200))
    side.snapshot("e17")


@case("update_failure: 1", "'one'")
def an_unreadable_file(side: Side) -> None:
    start(side, "e18", group(endpoint("one")))
    side.assign("e18", text="{ this is no")
    side.get("e18", "one")
    side.snapshot("e18")


@case("update_rejected: 1", "'one'")
def a_broken_constraint(side: Side) -> None:
    start(side, "e19", group(endpoint("one")))
    side.assign("e19", assignment("e19", group(endpoint("one", load_balancing_weight=0))))
    side.get("e19", "one")
    side.snapshot("e19")


@case("canary::true", "hostname::second", "membership_change: 2")
def what_changes_of_a_host(side: Side) -> None:
    start(side, "e20", group(endpoint("one", hostname="first")))
    metadata = {"filter_metadata": {"envoy.lb": {"canary": True}}}
    side.assign("e20", assignment("e20", group(endpoint("one", hostname="first", metadata=metadata))))
    side.snapshot("e20")
    side.assign("e20", assignment("e20", group(endpoint("one", hostname="second", metadata=metadata))))
    side.snapshot("e20")


@case("200 'one'", "'two'")
def requests_of_a_host_that_goes_end(side: Side) -> None:
    start(side, "e21", group(endpoint("one")))
    let_go = side.hold("e21")
    side.assign("e21", assignment("e21", group(endpoint("two"))))
    side.get("e21", "two")
    let_go()
    side.snapshot("e21")


@case("connections: 1", "connections: 2")
def connections_close_with_every_change(side: Side) -> None:
    side.prepare("e22", assignment("e22", group(endpoint("one"))))
    side.put(eds("e22", common_lb_config={"close_connections_on_host_set_change": True}))
    side.keep_alive("e22", "one")
    side.keep_alive("e22", "one")
    dead = endpoint("two", health_status="UNHEALTHY")
    side.assign("e22", assignment("e22", group(endpoint("one"), dead)))
    side.wait_until(lambda: side.stat("cluster.e22.upstream_cx_active") == 0)
    side.keep_alive("e22", "one")
    side.snapshot("e22")


@case("cluster_updated 2")
def updates_are_counted(side: Side) -> None:
    start(side, "e23", group(endpoint("one")))
    before = side.stat("cluster_manager.cluster_updated")
    side.assign("e23", assignment("e23", group(endpoint("one"), endpoint("two"))))
    side.assign("e23", assignment("e23", group(endpoint("two"))))
    side.note(f"cluster_updated {side.stat('cluster_manager.cluster_updated') - before}")


# -- clusters --------------------------------------------------------------------------------------------------


@case("'one'", "x-facts=NC|", "added_via_api::true")
def clusters_come_and_go(side: Side) -> None:
    side.put(static("c1", "one"))
    side.get("c1", "one")
    side.snapshot("c1")
    side.put()
    side.get("c1", "NC")
    side.snapshot("c1")


@case("'two'", "membership_change: 2")
def a_cluster_is_another(side: Side) -> None:
    side.put(static("c2", "one"))
    side.get("c2", "one")
    side.put(static("c2", "two", connect_timeout="1s"))
    side.get("c2", "two")
    side.snapshot("c2")


@case('"version_info": "c"')
def the_same_again_changes_nothing(side: Side) -> None:
    side.put(static("c3", "one"))
    side.put(static("c3", "one"))
    side.snapshot("c3")
    side.note('"version_info": "c"')


@case("'one'", "x-facts=NC|")
def what_is_refused_does_not_keep_the_rest(side: Side) -> None:
    before = side.stat("cluster_manager.cds.update_rejected")
    side.put(static("c4", "one"), static("c4b", "one", lb_policy="CLUSTER_PROVIDED"), static("c4", "two"))
    side.get("c4", "one")
    side.get("c4b", "NC")
    side.note(f"rejected {side.stat('cluster_manager.cds.update_rejected') - before}")
    side.snapshot("c4", "c4b")


@case("added_via_api::false", "rejected 0")
def clusters_of_the_bootstrap_stay(side: Side) -> None:
    before = side.stat("cluster_manager.cds.update_rejected")
    side.put(static("static", "two"))
    side.put()
    side.note(f"rejected {side.stat('cluster_manager.cds.update_rejected') - before}")
    side.snapshot("static")


@case("rejected 1", "NC")
def a_file_that_does_not_exist(side: Side) -> None:
    before = side.stat("cluster_manager.cds.update_rejected")
    side.put(eds("nofile"), static("c5", "one"))
    side.get("c5", "one")
    side.get("nofile", "NC")
    side.note(f"rejected {side.stat('cluster_manager.cds.update_rejected') - before}")


@case("dynamic_active_clusters", "ClusterLoadAssignment")
def dumps(side: Side) -> None:
    side.prepare("c6", assignment("c6", group(endpoint("one"), locality={"region": "r"}), group(priority=1)))
    side.put(eds("c6"))
    side.get("c6", "one")
    side.dump("resource=dynamic_active_clusters")
    side.dump("include_eds&resource=dynamic_endpoint_configs")
    side.note("dynamic_active_clusters")


@case("200 'one'", "NC")
def requests_of_a_cluster_that_goes_end(side: Side) -> None:
    side.put(static("c7", "one"))
    let_go = side.hold("c7")
    side.put()
    side.get("c7", "NC")
    let_go()


@case("200 'one'", "200 'two'")
def requests_of_a_cluster_that_changes_end(side: Side) -> None:
    side.put(static("c8", "one"))
    let_go = side.hold("c8")
    side.put(static("c8", "two"))
    side.get("c8", "two")
    let_go()
    side.snapshot("c8")


# -- aggregates ------------------------------------------------------------------------------------------------


@case("'one'", "cluster.a1.upstream_rq_2xx: 1")
def the_first_cluster_serves(side: Side) -> None:
    side.put(static("x1", "one"), static("y1", "two"), aggregate("a1", "x1", "y1"))
    side.get("a1", "one")
    side.counted("cluster.a1.upstream_rq_2xx", "cluster.x1.upstream_rq_total", "cluster.x1.upstream_cx_total")
    side.snapshot("a1", "x1", "y1")


@case("'two'")
def a_cluster_without_hosts_is_left_out(side: Side) -> None:
    side.put(static("x2"), static("y2", "two"), aggregate("a2", "nobody", "x2", "y2"))
    side.get("a2", "two")
    side.snapshot("a2")


@case("'two'", "'one'")
def failover_and_back(side: Side) -> None:
    side.prepare("x3", assignment("x3", group(endpoint("one"))))
    side.put(eds("x3"), static("y3", "two"), aggregate("a3", "x3", "y3"))
    side.get("a3", "one")
    side.assign("x3", assignment("x3", group(endpoint("one", health_status="UNHEALTHY"))))
    side.get("a3", "two")
    side.assign("x3", assignment("x3", group(endpoint("one"))))
    side.get("a3", "one")


@case("no healthy upstream", "x-facts=UH|", "upstream_cx_none_healthy: 1")
def an_aggregate_of_nothing(side: Side) -> None:
    side.put(static("x4"), aggregate("a4", "x4", "nobody"))
    side.get("a4", "no healthy")
    side.counted("cluster.a4.upstream_cx_none_healthy")
    side.note(f"x4 {side.stat('cluster.x4.upstream_cx_none_healthy')}")


@case("'two'", "'one'")
def clusters_of_an_aggregate_come_and_go(side: Side) -> None:
    side.put(static("x5", "one"), static("y5", "two"), aggregate("a5", "x5", "y5"))
    side.get("a5", "one")
    side.put(static("y5", "two"), aggregate("a5", "x5", "y5"))
    side.get("a5", "two")
    side.put(static("x5", "one"), static("y5", "two"), aggregate("a5", "x5", "y5"))
    side.get("a5", "one")


@case("200 'two'")
def a_retry_goes_to_the_next_cluster(side: Side) -> None:
    side.put(static("x6", "one"), static("y6", "two"), aggregate("a6", "x6", "y6"))
    side.get("a6", "two", "/retry/fail")


@case("rejected 1")
def an_aggregate_has_its_own_balancer(side: Side) -> None:
    before = side.stat("cluster_manager.cds.update_rejected")
    side.put(static("x7", "one"), aggregate("a7", "x7", lb_policy="ROUND_ROBIN"))
    side.get("a7", "NC")
    side.note(f"rejected {side.stat('cluster_manager.cds.update_rejected') - before}")


@case("rejected 1")
def an_aggregate_of_no_clusters(side: Side) -> None:
    before = side.stat("cluster_manager.cds.update_rejected")
    side.put(aggregate("a8"))
    side.note(f"rejected {side.stat('cluster_manager.cds.update_rejected') - before}")


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Side]]:
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda kind: Side(kind, tmp_path_factory.mktemp(kind) / "proxy"), (ENVOY, PROXENY)))
    yield made
    for side in made:
        side.close()


@pytest.mark.parametrize("sequence", CASES, ids=lambda sequence: sequence.run.__name__)
def test_same(sequence: Sequence, sides: list[Side]) -> None:
    def run(side: Side) -> list[str]:
        try:
            sequence.run(side)
        finally:
            lines = side.finish()
        return lines

    with ThreadPoolExecutor(2) as pool:
        envoy, proxeny = pool.map(run, sides)
    assert "\n".join(proxeny) == "\n".join(envoy)
    text = "\n".join(envoy)
    assert [mark for mark in sequence.contains if mark not in text] == []
