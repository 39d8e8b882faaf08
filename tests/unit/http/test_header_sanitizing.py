"""Header sanitising; the expectations were observed on Envoy 1.40."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from google.protobuf import json_format

from proxeny.http.forward_client_cert import ALWAYS_FORWARD_ONLY, ForwardClientCert, ForwardClientCertRules
from proxeny.http.header_sanitizing import HeaderSanitizer, has_token, is_upgrade
from proxeny.http.original_ip import Detection
from proxeny.kernel.headers import HeaderMap
from proxeny.kernel.randomness import RandomGenerator
from proxeny.network.address import ip_address, pipe_address
from proxeny.network.factory_context import LocalInfo
from proxeny.network.stream_info import ConnectionInfo, StreamInfo

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


def facts(local: Any = LOOPBACK, peer: Any = PEER) -> StreamInfo:
    return StreamInfo(ConnectionInfo(local, peer, 1), 0.0, 0)


def run_with(
    rules: HeaderSanitizer, pairs: dict[str, str], info: StreamInfo, upgrade: bool = False
) -> tuple[dict[str, str], Any]:
    headers = HeaderMap((name.encode(), value.encode()) for name, value in pairs.items())
    client = rules.sanitize_request(headers, upgrade, info.connection.remote_address, False, info)
    return {name.decode(): value.decode() for name, value in headers.items()}, client


@pytest.mark.parametrize(
    ("fields", "given", "port"),
    [
        ({}, {}, None),
        ({"append_x_forwarded_port": True}, {}, "4000"),
        ({"append_x_forwarded_port": True}, {"x-forwarded-port": "1"}, "1"),
        ({"append_x_forwarded_port": True, "use_remote_address": True}, {"x-forwarded-port": "1"}, "4000"),
        (
            {"append_x_forwarded_port": True, "use_remote_address": True, "xff_num_trusted_hops": 1},
            {"x-forwarded-port": "1"},
            "1",
        ),
    ],
)
def test_the_forwarded_port(fields: dict[str, Any], given: dict[str, str], port: str | None) -> None:
    headers, _ = run_with(sanitizer(**fields), given, facts())
    assert headers.get("x-forwarded-port") == port


@pytest.mark.parametrize(
    ("proto", "scheme"),
    [("https", "https"), ("HTTPS", "https"), ("ftp", "http"), ("https,http", "http"), ("", "http")],
)
def test_the_scheme_follows_x_forwarded_proto(proto: str, scheme: str) -> None:
    headers, _ = run_with(sanitizer(), {"x-forwarded-proto": proto}, facts())
    assert (headers["x-forwarded-proto"], headers[":scheme"]) == (proto, scheme)


def test_an_empty_x_forwarded_proto_matches_no_route() -> None:
    info = facts()
    run_with(sanitizer(), {"x-forwarded-proto": ""}, info)
    assert info.unroutable


def test_a_scheme_that_is_overwritten() -> None:
    rules = sanitizer(scheme_header_transformation={"scheme_to_overwrite": "https"})
    headers, _ = run_with(rules, {":scheme": "http", "x-forwarded-proto": "http"}, facts())
    assert (headers["x-forwarded-proto"], headers[":scheme"]) == ("https", "https")


@pytest.mark.parametrize(("unix", "internal"), [(True, "true"), (False, None)])
def test_peers_on_unix_sockets(unix: bool, internal: str | None) -> None:
    rules = sanitizer(use_remote_address=True, internal_address_config={"unix_sockets": unix})
    pipe = pipe_address("/a/socket")
    headers, client = run_with(rules, {}, facts(pipe, pipe))
    assert headers.get("x-envoy-internal") == internal
    assert "x-forwarded-for" not in headers
    assert "x-envoy-external-address" not in headers
    assert client is pipe


class Finder:
    """A detector that always says the same."""

    def __init__(self, found: Detection) -> None:
        self.found = found

    def detect(self, headers: HeaderMap, peer: Any) -> Detection:
        return self.found


CLIENT = ip_address("198.51.100.1")


@pytest.mark.parametrize(
    ("found", "client", "xff"),
    [
        ((Detection(), Detection(CLIENT)), CLIENT, None),
        ((Detection(append_xff=True), Detection(CLIENT)), CLIENT, "203.0.113.7"),
        ((Detection(append_xff=True), Detection(CLIENT, append_xff=True)), CLIENT, "203.0.113.7,203.0.113.7"),
        ((Detection(CLIENT), Detection(append_xff=True)), CLIENT, None),
        ((Detection(),), PEER, None),
        ((Detection(reject_status=403), Detection(CLIENT)), 403, None),
    ],
)
def test_detectors(found: tuple[Detection, ...], client: Any, xff: str | None) -> None:
    rules = sanitizer()
    rules.detect_by(tuple(Finder(one) for one in found))
    headers, seen = run_with(rules, {}, facts())
    assert seen == client
    assert headers.get("x-forwarded-for") == xff


def test_a_trusted_address_may_be_internal() -> None:
    networks = {"cidr_ranges": [{"address_prefix": "198.51.100.0", "prefix_len": 24}]}
    rules = sanitizer(internal_address_config=networks)
    rules.detect_by((Finder(Detection(CLIENT, trusted=True)),))
    assert run_with(rules, {}, facts())[0]["x-envoy-internal"] == "true"
    rules.detect_by((Finder(Detection(CLIENT)),))
    assert "x-envoy-internal" not in run_with(rules, {}, facts())[0]


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ("trailers", "trailers"),
        ("gzip, trailers", "trailers"),
        ("trailers;q=0.5", None),
        ("TRAILERS", None),
        ("", ""),
        ("gzip", None),
    ],
)
def test_te(value: str, left: str | None) -> None:
    assert run_with(sanitizer(), {"te": value}, facts())[0].get("te") == left
    assert run_with(sanitizer(), {"te": value}, facts(), upgrade=True)[0]["te"] == value


def test_referers() -> None:
    assert "referer" in run(sanitizer(), {"referer": "http://a.test/"})[0]
    assert "referer" not in run(sanitizer(), {"referer": "http://u:p@a.test/"})[0]


def test_an_empty_request_id_is_none() -> None:
    assert len(run(sanitizer(), {"x-request-id": ""})[0]["x-request-id"]) == 36


def test_client_certificates_are_removed_unless_forwarded() -> None:
    pairs = {"x-forwarded-client-cert": "By=a"}
    assert "x-forwarded-client-cert" not in run_with(sanitizer(), pairs, facts())[0]
    rules = sanitizer()
    details = HttpConnectionManager.SetCurrentClientCertDetails()
    rules.forward_client_cert(ForwardClientCertRules(ForwardClientCert(ALWAYS_FORWARD_ONLY, details), None))
    assert run_with(rules, pairs, facts())[0]["x-forwarded-client-cert"] == "By=a"


def test_a_forced_trace_sets_the_id_in_the_response() -> None:
    answer = HeaderMap(((b"upgrade", b"h2c"), (b"keep-alive", b"1")))
    request = HeaderMap(((b"x-request-id", b"id"), (b"x-envoy-force-trace", b"1")))
    sanitizer().sanitize_response(answer, request, False)
    assert answer.items() == [(b"x-request-id", b"id")]
