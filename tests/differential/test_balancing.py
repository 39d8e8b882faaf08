"""Which hosts get how many requests: exactly where the policy leaves nothing to chance, else within five deviations."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.differential.balance_pair import BalancePair

LB = "type.googleapis.com/envoy.extensions.load_balancing_policies"
FAILED, DEGRADED = "UNHEALTHY", "DEGRADED"


@dataclass(frozen=True)
class Host:
    number: int
    weight: int = 0
    health: str = ""

    def message(self) -> dict[str, Any]:
        address = {"address": f"127.0.0.{self.number}", "port_value": "PORT"}
        made: dict[str, Any] = {"endpoint": {"address": {"socket_address": address}}}
        if self.weight:
            made["load_balancing_weight"] = self.weight
        if self.health:
            made["health_status"] = self.health
        return made


@dataclass(frozen=True)
class Group:
    """A locality, or just a priority."""

    hosts: Sequence[Host]
    zone: str = ""
    weight: int = 0
    priority: int = 0

    def message(self) -> dict[str, Any]:
        made: dict[str, Any] = {"lb_endpoints": [host.message() for host in self.hosts], "priority": self.priority}
        if self.zone:
            made["locality"] = {"region": "r", "zone": self.zone}
        if self.weight:
            made["load_balancing_weight"] = self.weight
        return made


@dataclass(frozen=True)
class Case:
    name: str
    groups: Sequence[Group]
    shares: Mapping[str, float]
    """Of the requests, by host or status."""
    requests: int
    slack: float | None = 2
    """How far a host's count may be off; None: five deviations of a draw."""
    counted: Mapping[str, int | None] = field(default_factory=dict)
    report: str = ""
    cluster: Mapping[str, Any] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)

    def message(self) -> dict[str, Any]:
        cluster = dict(self.cluster)
        assignment = cluster.pop("assignment", {})
        made = {
            "name": self.name,
            "load_assignment": {
                "cluster_name": self.name,
                "endpoints": [group.message() for group in self.groups],
                **assignment,
            },
            **cluster,
        }
        if self.policy:
            made["load_balancing_policy"] = listed(self.policy)
        return made

    def bounds(self) -> dict[str, tuple[float, float]]:
        made = {}
        for name, share in self.shares.items():
            mean = self.requests * share
            slack = 5 * (mean * (1 - share)) ** 0.5 if self.slack is None else self.slack
            made[name] = (mean - slack, mean + slack)
        return made


def listed(policy: Mapping[str, Any]) -> dict[str, Any]:
    return {"policies": [{"typed_extension_config": {"name": "policy", "typed_config": dict(policy)}}]}


def typed(name: str, message: str, **fields: Any) -> dict[str, Any]:
    return {"@type": f"{LB}.{name}.v3.{message}", **fields}


def hosts(*numbers: int, **more: Any) -> list[Host]:
    return [Host(number, **more) for number in numbers]


def weighing(*weights: int) -> list[Group]:
    return [Group([Host(at, weight) for at, weight in enumerate(weights, 1)])]


def even(*numbers: int, of: float = 1.0) -> dict[str, float]:
    return {str(number): of / len(numbers) for number in numbers}


def panic(requests: int) -> dict[str, int]:
    return {"lb_healthy_panic": requests}


SICK = Host(2, health=FAILED)
POOR = Host(3, health=DEGRADED)
LEAST = {"lb_policy": "LEAST_REQUEST"}
NEVER_PANIC = {"common_lb_config": {"healthy_panic_threshold": {"value": 0}}}
WEIGHTED = {"common_lb_config": {"locality_weighted_lb_config": {}}}
WEIGHTED_LOCALITIES = {"locality_lb_config": {"locality_weighted_lb_config": {}}}
FULL_SCAN = typed("least_request", "LeastRequest", selection_method="FULL_SCAN")
FAIL_ON_PANIC = typed(
    "round_robin", "RoundRobin", locality_lb_config={"zone_aware_lb_config": {"fail_traffic_on_panic": True}}
)
SLOW = typed("round_robin", "RoundRobin", slow_start_config={"slow_start_window": "600s"})
SLOW_LEAST = typed("least_request", "LeastRequest", slow_start_config={"slow_start_window": "600s"})
BIASED = {
    "lb_policy": "LEAST_REQUEST",
    "least_request_lb_config": {"active_request_bias": {"default_value": 0, "runtime_key": "bias"}},
}
FIVE_OF_SEVEN_FAIL = [Group(hosts(1, 2) + hosts(3, 4, 5, 6, 7, health=FAILED))]

PLAIN = [
    Case("round_robin", [Group(hosts(1, 2, 3))], even(1, 2, 3), 60, 0),
    Case("round_robin_of_one", [Group(hosts(4))], even(4), 10, 0),
    Case("round_robin_weights", weighing(1, 2, 5), {"1": 1 / 8, "2": 2 / 8, "3": 5 / 8}, 400),
    Case("round_robin_equal_weights", weighing(7, 7), even(1, 2), 60, 0),
    Case("least_request", [Group(hosts(1, 2, 3))], even(1, 2, 3), 400, None, cluster=LEAST),
    Case("least_request_weights", weighing(1, 3), {"1": 0.25, "2": 0.75}, 400, cluster=LEAST),
    Case("least_request_without_bias", weighing(1, 3), {"1": 0.25, "2": 0.75}, 400, cluster=BIASED),
    Case("least_request_of_all", [Group(hosts(1, 2, 3))], even(1, 2, 3), 400, None, policy=FULL_SCAN),
    Case("random_ignores_weights", weighing(1, 50, 7), even(1, 2, 3), 400, None, cluster={"lb_policy": "RANDOM"}),
    Case("slow_start_of_all", [Group(hosts(1, 2, 3))], even(1, 2, 3), 300, 3, policy=SLOW),
    Case("slow_start_with_weights", weighing(1, 3), {"1": 0.25, "2": 0.75}, 400, 4, policy=SLOW_LEAST),
    Case("no_hosts", [], {"503": 1}, 5, 0, {**panic(5), "upstream_cx_none_healthy": 5}),
]

HEALTH = [
    Case("a_quarter_may_fail", [Group([*hosts(1, 3, 5), SICK]), Group(hosts(4), priority=1)], even(1, 3, 5), 60, 0),
    Case("failover", [Group([SICK]), Group(hosts(4, 5), priority=1)], even(4, 5), 40, 0),
    Case("spill_over", [Group([Host(1), SICK]), Group(hosts(4), priority=1)], {"1": 0.7, "4": 0.3}, 400, None),
    Case("empty_priority", [Group([]), Group(hosts(4), priority=1)], even(4), 10, 0),
    Case("gap_of_priorities", [Group([SICK]), Group(hosts(4), priority=3)], even(4), 10, 0),
    Case("degraded_take_the_rest", [Group([Host(1), POOR])], {"1": 0.7, "3": 0.3}, 400, None),
    Case("only_degraded", [Group([POOR, Host(4, health=DEGRADED)])], even(3, 4), 20, 0),
    Case("panic", [Group([Host(1), SICK, Host(3, health=FAILED)])], even(1, 2, 3), 60, 0, panic(60)),
    Case(
        "panic_of_all", [Group([SICK]), Group(hosts(4, health=FAILED), priority=1)], even(2, 4), 400, None, panic(400)
    ),
    Case("panic_by_degraded", [Group([POOR, SICK])], even(3), 20, 0),
    Case(
        "panic_fails",
        [Group([Host(1), SICK, Host(3, health=FAILED)])],
        {"503": 1},
        10,
        0,
        {**panic(10), "upstream_cx_none_healthy": 10},
        policy=FAIL_ON_PANIC,
    ),
    Case("never_panic", [Group([SICK])], {"503": 1}, 10, 0, {"upstream_cx_none_healthy": 10}, cluster=NEVER_PANIC),
    Case(
        "threshold_is_cut",
        FIVE_OF_SEVEN_FAIL,
        even(1, 2),
        40,
        0,
        cluster={"common_lb_config": {"healthy_panic_threshold": {"value": 29}}},
    ),
    Case(
        "threshold_30",
        FIVE_OF_SEVEN_FAIL,
        even(*range(1, 8)),
        70,
        0,
        panic(70),
        cluster={"common_lb_config": {"healthy_panic_threshold": {"value": 30}}},
    ),
    Case(
        "no_overprovisioning",
        [Group([Host(1), SICK]), Group(hosts(4), priority=1)],
        even(1, 4),
        400,
        None,
        cluster={"assignment": {"policy": {"overprovisioning_factor": 100}}},
    ),
    Case(
        "priorities_by_weight",
        [Group([Host(1, 9), Host(2, 1, FAILED)]), Group(hosts(4), priority=1)],
        even(1),
        40,
        0,
        cluster={"assignment": {"policy": {"weighted_priority_health": True}}},
    ),
]

TWO_ZONES = [Group(hosts(1), "a", 1), Group(hosts(2, 3), "b", 3)]
LOCALITIES = [
    Case("localities", TWO_ZONES, {"1": 1 / 4, "2": 3 / 8, "3": 3 / 8}, 400, cluster=WEIGHTED),
    Case(
        "localities_least_request",
        TWO_ZONES,
        {"1": 1 / 4, "2": 3 / 8, "3": 3 / 8},
        400,
        None,
        cluster={**WEIGHTED, **LEAST},
    ),
    Case(
        "localities_of_extension",
        TWO_ZONES,
        {"1": 1 / 4, "2": 3 / 8, "3": 3 / 8},
        400,
        None,
        policy=typed("random", "Random", **WEIGHTED_LOCALITIES),
    ),
    Case("localities_not_asked_for", TWO_ZONES, even(1, 2, 3), 60, 0),
    Case(
        "localities_with_failures",
        [Group([Host(1), SICK], "a", 10), Group(hosts(4, 5), "b", 10)],
        {"1": 7 / 17, "4": 5 / 17, "5": 5 / 17},
        340,
        cluster=WEIGHTED,
    ),
    Case("locality_without_weight", [Group(hosts(1), "a", 5), Group(hosts(2), "b")], even(1), 20, 0, cluster=WEIGHTED),
    Case(
        "localities_without_weights",
        [Group(hosts(1), "a"), Group(hosts(2, 3), "b")],
        even(1, 2, 3),
        60,
        0,
        cluster=WEIGHTED,
    ),
    Case(
        "locality_in_two_groups",
        [Group(hosts(1), "a", 1), Group(hosts(2), "b", 1), Group(hosts(3), "a", 3)],
        {"1": 3 / 8, "2": 1 / 4, "3": 3 / 8},
        400,
        cluster=WEIGHTED,
    ),
    Case(
        "localities_degraded",
        [Group(hosts(1, health=DEGRADED), "a", 1), Group(hosts(2, health=DEGRADED), "b", 3)],
        {"1": 1 / 4, "2": 3 / 4},
        400,
        cluster=WEIGHTED,
    ),
    Case(
        "localities_with_host_weights",
        [Group([Host(1, 1), Host(2, 3)], "a", 1), Group(hosts(3), "b", 1)],
        {"1": 1 / 8, "2": 3 / 8, "3": 1 / 2},
        400,
        cluster=WEIGHTED,
    ),
]


def reported(name: str, **fields: Any) -> dict[str, Any]:
    inner = typed(
        "client_side_weighted_round_robin",
        "ClientSideWeightedRoundRobin",
        blackout_period="0s",
        weight_update_period="0.05s",
        **fields,
    )
    return inner if name == "plain" else typed("wrr_locality", "WrrLocality", endpoint_picking_policy=listed(inner))


REPORTS = [
    *[
        Case(
            f"reports_{kind}",
            [Group(hosts(1, 2, 3))],
            {"1": 1 / 6, "2": 2 / 6, "3": 3 / 6},
            300,
            4,
            report=kind,
            policy=reported("plain"),
        )
        for kind in ("text", "json", "binary", "grpc", "colons", "hex")
    ],
    *[
        Case(f"reports_{kind}", [Group(hosts(1, 2, 3))], even(1, 2, 3), 60, 0, report=kind, policy=reported("plain"))
        for kind in ("bad", "cost", "spaces", "unknown", "named")
    ],
    Case(
        "reports_of_named_metrics",
        [Group(hosts(1, 2, 3))],
        {"1": 1 / 6, "2": 2 / 6, "3": 3 / 6},
        300,
        4,
        report="named",
        policy=reported("plain", metric_names_for_computing_utilization=["named_metrics.a", "utilization.b"]),
    ),
    Case("without_reports", [Group(hosts(1, 2, 3))], even(1, 2, 3), 60, 0, policy=reported("plain")),
    Case(
        "reports_and_localities",
        [Group(hosts(1, 3), "a", 1), Group(hosts(2), "b", 1)],
        {"1": 1 / 8, "3": 3 / 8, "2": 1 / 2},
        400,
        6,
        report="text",
        policy=reported("localities"),
    ),
]

CASES = [*PLAIN, *HEALTH, *LOCALITIES, *REPORTS]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BalancePair]:
    made = BalancePair([case.message() for case in CASES], tmp_path_factory.mktemp("balancing"))
    yield made
    made.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_shares(pair: BalancePair, case: Case) -> None:
    pair.check(case.name, case.requests, case.bounds(), case.counted, case.report)


def zone_aware(**fields: Any) -> dict[str, Any]:
    return typed("round_robin", "RoundRobin", locality_lb_config={"zone_aware_lb_config": fields})


def zones(**numbers: Sequence[int]) -> list[Group]:
    return [Group(hosts(*found), zone) for zone, found in numbers.items()]


ANY = {"min_cluster_size": 1}
DIRECT = "lb_zone_routing_all_directly"
SAMPLED, CROSS = "lb_zone_routing_sampled", "lb_zone_routing_cross_zone"
FELLOWS = Case("fellows", zones(a=[7], b=[8]), even(7, 8), 20, 0)
ZONES = [
    FELLOWS,
    Case("zone_direct", zones(a=[1, 2], b=[3, 4]), even(1, 2), 40, 0, {DIRECT: 40}, policy=zone_aware(**ANY)),
    Case(
        "zone_legacy",
        zones(a=[1, 2], b=[3, 4]),
        even(1, 2),
        40,
        0,
        {DIRECT: 40},
        cluster={"common_lb_config": {"zone_aware_lb_config": ANY}},
    ),
    Case("zone_by_default", zones(a=[1, 2, 3], b=[4, 5, 6]), even(1, 2, 3), 60, 0, {DIRECT: 60}),
    Case("zone_too_small", zones(a=[1, 2], b=[3, 4]), even(1, 2, 3, 4), 40, 0),
    Case("zone_alone", zones(a=[1, 2, 3, 4, 5, 6]), even(*range(1, 7)), 60, 0),
    Case(
        "zone_residual",
        zones(a=[1], b=[2, 3, 4]),
        {"1": 1 / 2, **even(2, 3, 4, of=0.5)},
        400,
        None,
        {SAMPLED: None, CROSS: None},
        policy=zone_aware(**ANY),
    ),
    Case(
        "zone_of_others",
        zones(b=[1], c=[2], d=[3]),
        even(2, 3),
        400,
        None,
        {CROSS: 400},
        policy=zone_aware(**ANY),
    ),
    Case("zone_off", zones(a=[1], b=[2]), even(1, 2), 40, 0, policy=zone_aware(**ANY, routing_enabled={"value": 0})),
    Case(
        "zone_half",
        zones(a=[1], b=[2]),
        {"1": 3 / 4, "2": 1 / 4},
        400,
        None,
        {DIRECT: None},
        policy=zone_aware(**ANY, routing_enabled={"value": 50}),
    ),
    Case(
        "zone_forced",
        zones(a=[1], b=[2, 3, 4]),
        even(1),
        40,
        0,
        {DIRECT: 40},
        policy=zone_aware(**ANY, force_local_zone={"min_size": 1}),
    ),
    Case(
        "zone_forced_if_large",
        zones(a=[1], b=[2, 3, 4]),
        {"1": 1 / 2, **even(2, 3, 4, of=0.5)},
        400,
        None,
        {SAMPLED: None, CROSS: None},
        policy=zone_aware(**ANY, force_local_zone={"min_size": 2}),
    ),
    Case(
        "zone_forced_of_old",
        zones(a=[1], b=[2, 3, 4]),
        even(1),
        40,
        0,
        {DIRECT: 40},
        policy=zone_aware(**ANY, force_locality_direct_routing=True),
    ),
    Case(
        "zone_by_weight",
        [Group([Host(1, 9)], "a"), Group([Host(2, 1), Host(3, 1), Host(4, 1)], "b")],
        even(1),
        40,
        0,
        {DIRECT: 40},
        policy=zone_aware(**ANY, locality_basis="HEALTHY_HOSTS_WEIGHT"),
    ),
    Case(
        "zone_random",
        zones(a=[1, 2], b=[3, 4]),
        even(1, 2),
        400,
        None,
        {DIRECT: 400},
        policy=typed("random", "Random", locality_lb_config={"zone_aware_lb_config": ANY}),
    ),
    Case(
        "zone_and_weights",
        [Group(hosts(1), "a", 1), Group(hosts(2), "b", 3)],
        {"1": 1 / 4, "2": 3 / 4},
        400,
        cluster=WEIGHTED,
    ),
    Case(
        "zone_of_hashing_does_not_matter", zones(a=[1], b=[2]), even(1, 2), 400, None, cluster={"lb_policy": "MAGLEV"}
    ),
]


@pytest.fixture(scope="module")
def zone_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BalancePair]:
    folder = tmp_path_factory.mktemp("zones")
    made = BalancePair([case.message() for case in ZONES], folder, local="fellows", zone="a")
    yield made
    made.close()


@pytest.mark.parametrize("case", ZONES, ids=lambda case: case.name)
def test_zones(zone_pair: BalancePair, case: Case) -> None:
    zone_pair.check(case.name, case.requests, case.bounds(), case.counted, case.report)


DISCOVERED = {
    "name": "discovered",
    "type": "EDS",
    "eds_cluster_config": {"eds_config": {"path_config_source": {"path": "{{eds}}"}, "resource_api_version": "V3"}},
    "common_lb_config": {"locality_weighted_lb_config": {}, "update_merge_window": "0s"},
}
CHANGES = [
    Case("two", [Group(hosts(1, 2))], even(1, 2), 20, 0),
    Case("another", [Group(hosts(1, 2, 3))], even(1, 2, 3), 30, 0),
    Case("one_fails", [Group([*hosts(1, 3), SICK])], even(1, 3), 20, 0),
    Case("all_fail", [Group([SICK, Host(4, health=FAILED)])], even(2, 4), 20, 0),
    Case("weights", weighing(1, 3), {"1": 1 / 4, "2": 3 / 4}, 80),
    Case("other_weights", weighing(3, 1), {"1": 3 / 4, "2": 1 / 4}, 80),
    Case("zones_by_weight", TWO_ZONES, {"1": 1 / 4, "2": 3 / 8, "3": 3 / 8}, 160),
    Case(
        "zones_by_other_weights",
        [Group(hosts(1), "a", 3), Group(hosts(2, 3), "b", 1)],
        {"1": 3 / 4, **even(2, 3, of=1 / 4)},
        160,
    ),
    Case("failover_to_more", [Group([SICK]), Group(hosts(4, 5), priority=1)], even(4, 5), 20, 0),
    Case("back_to_one_priority", [Group(hosts(6))], even(6), 20, 0),
    Case(
        "weighted_health",
        [Group([Host(1, 9), Host(2, 1, FAILED)]), Group(hosts(4), priority=1)],
        even(1),
        40,
        0,
        cluster={"weighted_priority_health": True},
    ),
    Case(
        "no_overprovisioning",
        [Group([Host(1), SICK]), Group(hosts(4), priority=1)],
        even(1, 4),
        400,
        None,
        cluster={"overprovisioning_factor": 100},
    ),
    Case("none", [], {"503": 1}, 4, 0),
]


@pytest.fixture(scope="module")
def discovering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BalancePair]:
    made = BalancePair([DISCOVERED], tmp_path_factory.mktemp("discovering"))
    yield made
    made.close()


@pytest.mark.parametrize("case", CHANGES, ids=lambda case: case.name)
def test_changes_of_hosts(discovering: BalancePair, case: Case) -> None:
    endpoints = [group.message() for group in case.groups]
    discovering.check_change("discovered", endpoints, case.cluster, case.requests, case.bounds())
