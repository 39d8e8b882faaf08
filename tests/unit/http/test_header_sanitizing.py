"""Header sanitising; the expectations were observed on Envoy 1.40."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from google.protobuf import json_format

from proxeny.http.header_sanitizing import HeaderSanitizer, has_token, is_upgrade
from proxeny.kernel.headers import HeaderMap
from proxeny.kernel.randomness import RandomGenerator
from proxeny.network.address import ip_address
from proxeny.network.factory_context import LocalInfo

PEER = ip_address("203.0.113.7", 4000)
LOOPBACK = ip_address("127.0.0.1", 4000)


def sanitizer(**fields: Any) -> HeaderSanitizer:
    config = json_format.ParseDict(fields, HttpConnectionManager())
    info = LocalInfo(cluster_name="sc", node_id="sn", address="192.0.2.2")
    return HeaderSanitizer(config, info, RandomGenerator())


def run(rules: HeaderSanitizer, pairs: dict[str, str], peer: Any = PEER) -> tuple[dict[str, str], Any]:
    headers = HeaderMap((name.encode(), value.encode()) for name, value in pairs.items())
    client = rules.sanitize_request(headers, is_upgrade(headers), peer, False)
    return {name.decode(): value.decode() for name, value in headers.items()}, client


def test_defaults_set_proto_scheme_and_request_id() -> None:
    headers, client = run(sanitizer(), {":path": "/"})
    assert headers["x-forwarded-proto"] == "http"
    assert headers[":scheme"] == "http"
    assert len(headers["x-request-id"]) == 36
    assert "x-forwarded-for" not in headers
    assert client is PEER


def test_hop_by_hop_headers_go() -> None:
    headers, _ = run(
        sanitizer(),
        {"connection": "close", "upgrade": "foo", "keep-alive": "1", "proxy-connection": "x", "te": "trailers, gzip"},
    )
    assert not {"connection", "upgrade", "keep-alive", "proxy-connection"} & headers.keys()
    assert headers["te"] == "trailers"


def test_upgrade_keeps_its_headers() -> None:
    headers, _ = run(sanitizer(), {"connection": "Upgrade", "upgrade": "websocket"})
    assert headers["connection"] == "Upgrade"
    assert headers["upgrade"] == "websocket"


def test_untrusted_envoy_headers_go_and_others_stay() -> None:
    headers, _ = run(sanitizer(), {"x-envoy-retry-on": "5xx", "x-envoy-foo": "1", "x-envoy-internal": "true"})
    assert "x-envoy-retry-on" not in headers
    assert "x-envoy-internal" not in headers
    assert headers["x-envoy-foo"] == "1"


def test_edge_appends_the_peer_and_distrusts_the_id() -> None:
    headers, client = run(
        sanitizer(use_remote_address=True),
        {"x-forwarded-for": "1.2.3.4", "x-forwarded-proto": "https", "x-request-id": "abc"},
    )
    assert headers["x-forwarded-for"] == "1.2.3.4,203.0.113.7"
    assert headers["x-forwarded-proto"] == "http"
    assert headers["x-envoy-external-address"] == "203.0.113.7"
    assert headers["x-request-id"] != "abc"
    assert client is PEER


def test_a_loopback_peer_is_written_as_the_machines_address() -> None:
    headers, _ = run(sanitizer(use_remote_address=True), {}, LOOPBACK)
    assert headers["x-forwarded-for"] == "192.0.2.2"


def test_trusted_hops_take_the_client_from_the_header() -> None:
    _, client = run(sanitizer(use_remote_address=True, xff_num_trusted_hops=1), {"x-forwarded-for": "9.9.9.9, 1.2.3.4"})
    assert client.ip == "1.2.3.4"


def test_internal_networks_must_be_configured() -> None:
    networks = {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]}
    xff = {"x-forwarded-for": "10.0.0.1", "x-envoy-max-retries": "1"}
    trusted, _ = run(sanitizer(internal_address_config=networks), xff)
    assert trusted["x-envoy-internal"] == "true"
    assert trusted["x-envoy-max-retries"] == "1"
    distrusted, _ = run(sanitizer(), xff)
    assert "x-envoy-internal" not in distrusted
    assert "x-envoy-max-retries" not in distrusted


def test_a_second_address_makes_the_request_external() -> None:
    networks = {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]}
    headers, _ = run(sanitizer(internal_address_config=networks), {"x-forwarded-for": "10.0.0.2,10.0.0.1"})
    assert "x-envoy-internal" not in headers


def test_via_and_user_agent() -> None:
    headers, _ = run(sanitizer(via="foo", add_user_agent=True), {"via": "bar"})
    assert headers["via"] == "bar, foo"
    assert headers["user-agent"] == "sc"
    assert headers["x-envoy-downstream-service-cluster"] == "sc"
    assert headers["x-envoy-downstream-service-node"] == "sn"


@pytest.mark.parametrize(
    ("value", "found"),
    [(b"close", True), (b"x, Close", True), (b"closed", False), (b"x,closer", False), (None, False)],
)
def test_has_token(value: bytes | None, found: bool) -> None:
    assert has_token(value, b"close") is found
