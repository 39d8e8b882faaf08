from __future__ import annotations

import pytest
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)

from proxeny.http.proxy_status import ERRORS, RECOMMENDED_CODES, ProxyStatus
from proxeny.kernel.headers import HeaderMap
from proxeny.network.address import ip_address
from proxeny.network.stream_info import ConnectionInfo, ResponseFlag, StreamInfo

Flag = ResponseFlag


def info(*flags: ResponseFlag, details: str = "why") -> StreamInfo:
    address = ip_address("127.0.0.1")
    made = StreamInfo(ConnectionInfo(address, address, 1), 0.0, 0)
    made.protocol = "HTTP/1.1"
    made.response_code_details = details
    for flag in flags:
        made.set_flag(flag)
    return made


def applied(made: StreamInfo, status: bytes = b"503", **fields: object) -> HeaderMap:
    headers = HeaderMap(((b":status", status),))
    config = HttpConnectionManager.ProxyStatusConfig(**fields)  # type: ignore[arg-type]
    ProxyStatus(config, b"server", "node").apply(headers, made)
    return headers


def value(made: StreamInfo, **fields: object) -> bytes | None:
    return applied(made, **fields).get(b"proxy-status")


def test_details_and_flags() -> None:
    made = info(Flag.UPSTREAM_REQUEST_TIMEOUT, Flag.UPSTREAM_RETRY_LIMIT_EXCEEDED)
    assert value(made) == b'server; error=http_response_timeout; details="why; URX,UT"'
    assert value(made, remove_response_flags=True) == b'server; error=http_response_timeout; details="why"'
    assert value(made, remove_details=True) == b"server; error=http_response_timeout"


def test_names() -> None:
    made = info(Flag.NO_ROUTE_FOUND)
    assert value(made, use_node_id=True, remove_details=True) == b"node; error=destination_not_found"
    assert value(made, literal_proxy_name="me", remove_details=True) == b"me; error=destination_not_found"


def test_without_details() -> None:
    assert value(info(Flag.NO_ROUTE_FOUND, details="")) == b"server; error=destination_not_found"


def test_details_are_escaped() -> None:
    made = info(Flag.NO_ROUTE_FOUND, details='a"b\\c\n')
    assert value(made, remove_response_flags=True) == b'server; error=destination_not_found; details="a\\"b\\\\c\\n"'


@pytest.mark.parametrize("flags", [(), (Flag.DELAY_INJECTED,)])
def test_no_failure_no_header(flags: tuple[ResponseFlag, ...]) -> None:
    assert value(info(*flags)) is None


def test_the_first_flag_in_the_table_decides() -> None:
    made = info(Flag.NO_CLUSTER_FOUND, Flag.UPSTREAM_OVERFLOW)
    assert value(made, remove_details=True) == b"server; error=connection_limit_reached"


def test_joined_to_the_upstreams() -> None:
    headers = HeaderMap(((b":status", b"503"), (b"proxy-status", b"behind")))
    config = HttpConnectionManager.ProxyStatusConfig(remove_details=True)
    ProxyStatus(config, b"server", "").apply(headers, info(Flag.NO_ROUTE_FOUND))
    assert headers.get_all(b"proxy-status") == [b"behind, server; error=destination_not_found"]


@pytest.mark.parametrize(
    ("flag", "status"),
    [
        (Flag.NO_ROUTE_FOUND, b"500"),
        (Flag.UPSTREAM_CONNECTION_FAILURE, b"502"),
        (Flag.UPSTREAM_OVERFLOW, b"503"),
        (Flag.STREAM_IDLE_TIMEOUT, b"504"),
        (Flag.INVALID_ENVOY_REQUEST_HEADERS, b"418"),
    ],
)
def test_recommended_codes(flag: ResponseFlag, status: bytes) -> None:
    assert applied(info(flag), b"418", set_recommended_response_code=True).get(b":status") == status
    assert applied(info(flag), b"418").get(b":status") == b"418"


def test_tables_agree() -> None:
    errors = {error for _, error in ERRORS}
    assert RECOMMENDED_CODES.keys() == errors - {b"http_request_error"}
