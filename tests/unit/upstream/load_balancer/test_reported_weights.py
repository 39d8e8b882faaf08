"""client_side_weighted_round_robin and wrr_locality: weights of what endpoints report; ORCA's formats."""

from __future__ import annotations

import random
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from google.protobuf.json_format import ParseDict
from xds.data.orca.v3.orca_load_report_pb2 import OrcaLoadReport

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.config.message_types import message_class
from proxeny.event.dispatcher import Dispatcher
from proxeny.event.time_source import SimulatedTimeSource
from proxeny.extensions.load_balancing_policies.client_side_weighted_round_robin import (
    ClientSideWeightedRoundRobin,
    ReportedLoadBalancer,
    weight_of,
)
from proxeny.kernel.headers import HeaderMap
from proxeny.network.factory_context import FactoryContext
from proxeny.upstream.host import Host
from proxeny.upstream.load_balancer import policy
from proxeny.upstream.load_balancer.common_config import DEFAULT
from proxeny.upstream.load_balancer.contract import LbSetting
from proxeny.upstream.orca import max_utilization, parse_report
from proxeny.upstream.priority_set import PrioritySet

MakeHosts = Callable[..., list[Host]]
TYPE = "envoy.extensions.load_balancing_policies"
REPORT = OrcaLoadReport(cpu_utilization=0.5, rps_fractional=100)
BINARY = b64encode(REPORT.SerializeToString())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"endpoint-load-metrics-bin", BINARY),
        (b"endpoint-load-metrics", b"BIN " + BINARY),
        (b"endpoint-load-metrics", b"TEXT cpu_utilization=0.5,rps_fractional=100"),
        (b"endpoint-load-metrics", b"TEXT cpu_utilization:5e-1 , rps_fractional:+100."),
        (b"endpoint-load-metrics", b'JSON {"cpu_utilization": 0.5, "rpsFractional": "100"}'),
        (b"endpoint-load-metrics", b"TEXT cpu_utilization=0x1p-1,,rps_fractional=100,"),
    ],
)
def test_formats(name: bytes, value: bytes) -> None:
    assert parse_report(HeaderMap([(name, value)])) == REPORT


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"BAD x",
        b"BIN",
        b"BIN !!",
        b"BIN " + b64encode(b"\xff\xff"),
        b"TEXT request_cost.a=1",
        b"TEXT cpu_utilization = 1",
        b'JSON {"unknown": 1}',
        b"TEXT cpu_utilization",
        b"TEXT cpu_utilization=",
        b"TEXT cpu_utilization=1_0",
        b"TEXT cpu_utilization=nan",
        b"TEXT cpu_utilization=inf",
        "TEXT cpu_utilization=٣".encode(),
        b"TEXT cpu_utilization=1,cpu_utilization=1",
        b"TEXT named_metrics.=1",
        b"TEXT unknown=1",
        b"JSON {",
        b"JSON [" + b"[" * 5000,
    ],
)
def test_bad_reports_are_none(value: bytes) -> None:
    assert parse_report(HeaderMap([(b"endpoint-load-metrics", value)])) is None


def test_named_metrics() -> None:
    report = parse_report(HeaderMap([(b"endpoint-load-metrics", b"TEXT named_metrics.a=2,named_metrics.b=3,eps=9")]))
    assert max_utilization(report, ("named_metrics.a",)) == 2
    assert max_utilization(report, ("named_metrics.*", "mem_utilization")) == 3
    assert max_utilization(report, ("named_metrics.none", "nonsense")) == 0


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"cpu_utilization": 0.5}, 200),
        ({"cpu_utilization": 0.5, "application_utilization": 0.25}, 400),
        ({"cpu_utilization": 0.5, "named_metrics": {"load": 0.1}}, 1000),
        ({"cpu_utilization": 0.5, "eps": 50}, 100),
        ({"cpu_utilization": 1e-12}, 2**32 - 1),
        ({}, None),
        ({"cpu_utilization": 0.5, "rps_fractional": 0}, None),
        ({"cpu_utilization": float("nan")}, None),
    ],
)
def test_weights(fields: dict[str, Any], expected: int | None) -> None:
    settings = ClientSideWeightedRoundRobin(error_penalty=1.0, metric_names=("named_metrics.load",))
    assert weight_of(OrcaLoadReport(**{"rps_fractional": 100, **fields}), settings) == expected


class World:
    """A balancer in simulated time."""

    def __init__(self, context: FactoryContext, hosts: list[Host]) -> None:
        random.seed(3)
        self.time = SimulatedTimeSource()
        self.dispatcher = Dispatcher(self.time)
        self.hosts = hosts
        members = PrioritySet()
        members.update(hosts)
        context = replace(context, dispatcher=self.dispatcher)
        setting = LbSetting(hosts[0].cluster, DEFAULT, members, context, weights_changed=lambda: self.lb.refresh())
        settings = ClientSideWeightedRoundRobin(blackout_ms=1000, expiration_ms=10_000, update_ms=100)
        self.lb: ReportedLoadBalancer = settings.create(setting)
        self.lb.refresh()

    def pass_ms(self, milliseconds: int) -> None:
        self.time.advance_ms(milliseconds)
        self.dispatcher.run_once()
        self.dispatcher.run_once()

    def report(self, index: int, rate: float) -> None:
        text = b"TEXT cpu_utilization=1,rps_fractional=%f" % rate
        self.lb.on_headers(HeaderMap([(b"endpoint-load-metrics", text)]), self.hosts[index])

    def counts(self, picks: int) -> list[int]:
        counter = Counter(id(self.lb.choose_host(None)) for _ in range(picks))
        return [counter[id(host)] for host in self.hosts]


@pytest.fixture
def world(context: FactoryContext, make_hosts: MakeHosts) -> Iterator[World]:
    made = World(context, make_hosts(1, 1, 1))
    yield made
    made.lb.close()
    made.dispatcher.close()


def test_weights_follow_reports(world: World) -> None:
    assert world.counts(300) == [100, 100, 100]
    for _ in range(2):
        world.report(0, 100)
        world.report(1, 300)
        world.pass_ms(600)
        # Nothing counts during the blackout.
        assert [host.weight for host in world.hosts] in ([1, 1, 1], [100, 300, 300])
    # The third has the median of the others.
    assert [host.weight for host in world.hosts] == [100, 300, 300]
    for count, expected in zip(world.counts(700), (100, 300, 300), strict=True):
        assert abs(count - expected) <= 2


def test_weights_expire(world: World) -> None:
    world.report(0, 100)
    world.report(1, 300)
    world.pass_ms(1100)
    assert [host.weight for host in world.hosts] == [100, 300, 300]
    world.pass_ms(11_000)
    assert [host.weight for host in world.hosts] == [1, 1, 1]
    # It begins again with a blackout.
    world.report(0, 100)
    world.pass_ms(200)
    assert world.hosts[0].weight == 1


def test_closed_it_listens_no_more(world: World) -> None:
    info: Any = world.hosts[0].cluster
    assert info.orca is world.lb
    world.lb.close()
    assert info.orca is None
    assert world.lb.choose_host(None) is None


def compiled(context: FactoryContext, name: str, message: str, **fields: Any) -> Any:
    message_class(f"{TYPE}.{message}")
    message_class(f"{TYPE}.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin")
    message_class(f"{TYPE}.random.v3.Random")
    typed = {"name": name, "typed_config": {"@type": f"type.googleapis.com/{TYPE}.{message}", **fields}}
    cluster = ParseDict(
        {"name": "c", "load_balancing_policy": {"policies": [{"typed_extension_config": typed}]}}, Cluster()
    )
    return policy.compile(cluster, {field.name: value for field, value in cluster.ListFields()}, context)


CHILD = f"type.googleapis.com/{TYPE}.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin"


def listed(type_url: str, **fields: Any) -> dict[str, Any]:
    return {"policies": [{"typed_extension_config": {"name": "x", "typed_config": {"@type": type_url, **fields}}}]}


def test_wrr_locality_takes_one_policy_only(context: FactoryContext) -> None:
    made = compiled(
        context,
        "w",
        "wrr_locality.v3.WrrLocality",
        endpoint_picking_policy=listed(CHILD, blackout_period="2s", error_utilization_penalty=0.5),
    )
    assert (made.kind, made.blackout_ms, made.error_penalty, made.locality.weighted) == (
        "wrr_locality",
        2000,
        0.5,
        True,
    )
    random_type = f"type.googleapis.com/{TYPE}.random.v3.Random"
    with pytest.raises(ConfigError, match="only supports ClientSideWeightedRoundRobinLoadBalancer"):
        compiled(context, "w", "wrr_locality.v3.WrrLocality", endpoint_picking_policy=listed(random_type))
    with pytest.raises(ConfigError, match=r"No supported endpoint picking policy\."):
        compiled(context, "w", "wrr_locality.v3.WrrLocality", endpoint_picking_policy={})


def test_out_of_band_reports_are_refused(context: FactoryContext) -> None:
    with pytest.raises(UnsupportedFieldError, match="enable_oob_load_report"):
        compiled(
            context,
            "w",
            "client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin",
            enable_oob_load_report=True,
        )
