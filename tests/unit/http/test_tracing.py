"""Trace decisions without a tracer."""

from typing import Any

import pytest
from envoy.config.route.v3.route_components_pb2 import Tracing as RouteTracing
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from google.protobuf import json_format

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.http.request_id import TraceReason, UuidRequestId
from proxeny.http.tracing import OUTBOUND, Sampling, Tracing, compile_tracing
from proxeny.kernel.headers import HeaderMap
from proxeny.kernel.randomness import RandomGenerator
from proxeny.network.address import ip_address
from proxeny.network.factory_context import FactoryContext
from proxeny.network.stream_info import ConnectionInfo, StreamInfo
from proxeny.router.route import RouteExtra

ID = b"00000001-0000-4000-8000-00000000000a"
OPERATION = b"x-envoy-decorator-operation"


class Counts:
    """A block that remembers what was counted."""

    def __init__(self) -> None:
        self.slots: list[int] = []

    def inc(self, slot: int) -> None:
        self.slots.append(slot)


class FakeRoute:
    """A route with a decorator."""

    def __init__(self, decorator: str = "", propagate: bool = True, sampling: Sampling | None = None) -> None:
        self.extra = RouteExtra({}, decorator, propagate, sampling)
        self.decorator = decorator


def compiled(fields: dict[str, Any], direction: int = 0, request_id: UuidRequestId | None = None) -> Tracing:
    context = FactoryContext("worker", None)  # type: ignore[arg-type]
    context.listener_direction = direction
    context.random = RandomGenerator()
    config = json_format.ParseDict({"tracing": fields}, HttpConnectionManager())
    made = compile_tracing(config, request_id or UuidRequestId(), Counts(), context)
    assert made is not None
    return made


def info() -> StreamInfo:
    address = ip_address("127.0.0.1", 1)
    return StreamInfo(ConnectionInfo(address, address, 1), 0.0, 0)


def decided(tracing: Tracing, route: Any = None, **headers: str) -> tuple[TraceReason, bytes | None]:
    held = HeaderMap(((b"x-request-id", ID),))
    for name, value in headers.items():
        held.add(name.replace("_", "-").encode(), value.encode())
    facts = info()
    tracing.decide(held, facts, route)
    return facts.tracing.reason, held.get(b"x-request-id")


@pytest.mark.parametrize(
    ("fields", "headers", "reason", "digit"),
    [
        ({}, {}, TraceReason.SAMPLING, b"9"),
        ({"random_sampling": {"value": 0}}, {}, TraceReason.NOT_TRACEABLE, b"4"),
        ({"random_sampling": {"value": 0.01}}, {}, TraceReason.NOT_TRACEABLE, b"4"),
        ({"random_sampling": {"value": 0.02}}, {}, TraceReason.SAMPLING, b"9"),
        ({"random_sampling": {"value": 0}}, {"x_client_trace_id": "1"}, TraceReason.CLIENT_FORCED, b"b"),
        ({"random_sampling": {"value": 0}}, {"x_envoy_force_trace": "1"}, TraceReason.SERVICE_FORCED, b"a"),
        ({"overall_sampling": {"value": 0}}, {}, TraceReason.NOT_TRACEABLE, b"4"),
    ],
)
def test_decisions(fields: dict[str, Any], headers: dict[str, str], reason: TraceReason, digit: bytes) -> None:
    assert decided(compiled(fields), **headers) == (reason, ID[:14] + digit + ID[15:])


def test_a_route_has_fractions_of_its_own() -> None:
    message = json_format.ParseDict({"random_sampling": {"numerator": 0}}, RouteTracing())
    assert decided(compiled({}), FakeRoute(sampling=Sampling.of_route(message)))[0] is TraceReason.NOT_TRACEABLE


def test_all_are_sampled_where_the_id_does_not_decide() -> None:
    tracing = compiled({"random_sampling": {"value": 0}}, request_id=UuidRequestId(samples=False))
    assert decided(tracing) == (TraceReason.SAMPLING, ID)


def test_an_inbound_operation_goes_to_the_client() -> None:
    tracing, facts, headers = compiled({}), info(), HeaderMap()
    tracing.decide(headers, facts, FakeRoute("ours"))
    tracing.begin(headers, facts, FakeRoute("ours"))
    answer = HeaderMap()
    tracing.end(answer, facts)
    assert answer.get(OPERATION) == b"ours"
    assert OPERATION not in headers


def test_an_operation_in_the_request_overrides_the_routes() -> None:
    tracing, facts, headers = compiled({}), info(), HeaderMap(((OPERATION, b"theirs"),))
    tracing.decide(headers, facts, FakeRoute("ours"))
    tracing.begin(headers, facts, FakeRoute("ours"))
    answer = HeaderMap()
    tracing.end(answer, facts)
    assert OPERATION not in answer
    assert OPERATION not in headers


def test_an_outbound_operation_goes_upstream() -> None:
    tracing, facts, headers = compiled({}, OUTBOUND), info(), HeaderMap()
    tracing.decide(headers, facts, FakeRoute("ours"))
    tracing.begin(headers, facts, FakeRoute("ours"))
    assert headers.get(OPERATION) == b"ours"
    answer = HeaderMap(((OPERATION, b"theirs"),))
    tracing.end(answer, facts)
    assert OPERATION not in answer


def test_what_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Value not in the range of 0\.\.100 range\."):
        compiled({"random_sampling": {"value": "NaN"}})
    with pytest.raises(UnsupportedFieldError, match=r"tracing\.provider 'zipkin'"):
        compiled({"provider": {"name": "zipkin"}})
