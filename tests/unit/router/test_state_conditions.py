"""Conditions of routes on the client's certificate."""

import pytest
from envoy.config.route.v3 import route_components_pb2
from google.protobuf import json_format
from tests.unit.network.test_ssl_connection import PEER, Session

from proxeny.network.address import ip_address
from proxeny.network.ssl_connection import SslConnectionInfo
from proxeny.network.stream_info import ConnectionInfo, StreamInfo
from proxeny.router.state_conditions import StateCondition, compile_state_conditions

ADDRESS = ip_address("127.0.0.1", 80)


def conditions(**asked: bool) -> tuple[StateCondition, ...]:
    match = json_format.ParseDict({"prefix": "/", "tls_context": asked}, route_components_pb2.RouteMatch())
    return compile_state_conditions(match)


def stream(session: Session | None) -> StreamInfo:
    connection = ConnectionInfo(ADDRESS, ADDRESS, 1)
    connection.ssl = None if session is None else SslConnectionInfo(session)
    return StreamInfo(connection, 0.0, 0)


PLAIN = stream(None)
WITHOUT = stream(Session())
SHOWN = stream(Session(PEER, verified=False))
VERIFIED = stream(Session(PEER))
ALL = (PLAIN, WITHOUT, SHOWN, VERIFIED)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"presented": True}, (False, False, True, True)),
        ({"presented": False}, (True, True, False, False)),
        ({"validated": True}, (False, False, False, True)),
        ({"validated": False}, (True, True, True, False)),
        ({"presented": True, "validated": False}, (False, False, True, False)),
        ({"presented": True, "validated": True}, (False, False, False, True)),
    ],
)
def test_client_certificates(asked: dict[str, bool], expected: tuple[bool, ...]) -> None:
    (condition,) = conditions(**asked)
    assert tuple([condition.matches(info) for info in ALL]) == expected


def test_nothing_asked_is_no_condition() -> None:
    assert conditions() == ()


def test_reasons() -> None:
    (condition,) = conditions(presented=True, validated=True)
    assert condition.failure(PLAIN) == "the client's certificate is not presented and not validated"
    assert condition.failure(None) == "the client's certificate is not presented and not validated"
    assert condition.failure(SHOWN) == "the client's certificate is not validated"
    (condition,) = conditions(presented=False)
    assert condition.failure(SHOWN) == "the client's certificate is presented"
