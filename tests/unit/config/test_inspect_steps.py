"""Checks in slices find what checks at once find."""

from typing import Any

import pytest
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.route.v3 import route_pb2
from google.protobuf import text_format

from proxeny.config.errors import ConfigError
from proxeny.config.inspector import Findings, Inspector
from proxeny.config.validate import inspect, inspect_steps
from proxeny.event.slices import finish


def routes(count: int, more: str = "") -> Any:
    config = text_format.Parse(f'name: "r" {more}', route_pb2.RouteConfiguration())
    host = config.virtual_hosts.add(name="v", domains=["*"])
    for number in range(count):
        route = host.routes.add()
        route.match.prefix, route.route.cluster = f"/{number}", "c"
    return config


def told(message: Any, walk: Any) -> str:
    findings = Findings()
    try:
        walk(message, Inspector(findings))
    except ConfigError as error:
        return f"{error.path}: {error.message}"
    return f"{findings.accepted} {findings.unsupported} {[one.path for one in findings.deprecated]}"


def in_slices(message: Any, inspector: Inspector) -> None:
    finish(inspect_steps(message, inspector))


def broken() -> list[Any]:
    found = []
    for change in ("match", "cluster", "name", "domains", "duration", "deprecated", "unsupported", "empty"):
        config = routes(20)
        host, route = config.virtual_hosts[0], config.virtual_hosts[0].routes[17]
        if change == "match":
            route.ClearField("match")
        elif change == "cluster":
            route.route.cluster = ""
        elif change == "name":
            host.name = ""
        elif change == "domains":
            del host.domains[:]
        elif change == "duration":
            route.route.timeout.seconds = -1
        elif change == "deprecated":
            route.route.max_grpc_timeout.seconds = 1
            route.route.cors.allow_credentials.value = True
        elif change == "unsupported":
            config.vhds.config_source.ads.SetInParent()
            route.route.hash_policy.add().filter_state.key = ""
        found.append(config)
    assignment = endpoint_pb2.ClusterLoadAssignment(cluster_name="c")
    assignment.endpoints.add(priority=200)
    return [*found, assignment]


@pytest.mark.parametrize("message", broken())
def test_the_same_is_found(message: Any) -> None:
    assert told(message, in_slices) == told(message, inspect)


def test_there_are_many_small_steps() -> None:
    steps = list(inspect_steps(routes(1000), Inspector(Findings())))
    assert len(steps) > 100
