"""Rate limit descriptors: every action, stages, overrides, the virtual host's besides the route's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from envoy.config.route.v3.route_components_pb2 import RateLimit
from google.protobuf.json_format import ParseDict

from proxeny.config.errors import ConfigError
from proxeny.kernel.headers import HeaderMap
from proxeny.network.address import ip_address
from proxeny.network.stream_info import ConnectionInfo, StreamInfo
from proxeny.router.rate_limit import Descriptor, RateLimitRequest, RateLimits, compile_rate_limits, descriptors

HEADERS = ((b":path", b"/a?q=1&e="), (b"x-one", b"1"), (b"x-one", b"2"))


def limits(*configs: dict[str, Any], include: bool = False) -> RateLimits:
    made = compile_rate_limits([ParseDict(config, RateLimit()) for config in configs], include)
    assert made is not None
    return made


def request(
    route_limits: RateLimits | None, host_limits: RateLimits | None = None, ip: str = "10.1.2.3", direct: bool = False
) -> RateLimitRequest:
    policy = SimpleNamespace(rate_limits=route_limits)
    entry = SimpleNamespace(policy=policy, is_direct=direct)
    host = SimpleNamespace(rate_limits=host_limits)
    route: Any = SimpleNamespace(entry=entry, virtual_host=host, metadata={"ns": {"key": "of route"}})
    info = StreamInfo(ConnectionInfo(ip_address("127.0.0.1", 80), ip_address(ip, 99), 1), 0.0, 0)
    return RateLimitRequest(HeaderMap(HEADERS), info, route, "there", "here")


def entries(*actions: dict[str, Any], **more: Any) -> tuple[tuple[str, bytes], ...] | None:
    found = descriptors(request(limits({"actions": list(actions)}), **more), 0, None)
    return found[0].entries if found else None


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ({"source_cluster": {}}, ("source_cluster", b"here")),
        ({"destination_cluster": {}}, ("destination_cluster", b"there")),
        ({"request_headers": {"header_name": "X-One", "descriptor_key": "k"}}, ("k", b"1")),
        ({"query_parameters": {"query_parameter_name": "q", "descriptor_key": "k"}}, ("k", b"1")),
        ({"query_parameters": {"query_parameter_name": "e", "descriptor_key": "k"}}, ("k", b"")),
        ({"remote_address": {}}, ("remote_address", b"10.1.2.3")),
        ({"masked_remote_address": {}}, ("masked_remote_address", b"10.1.2.3/32")),
        ({"masked_remote_address": {"v4_prefix_mask_len": 24}}, ("masked_remote_address", b"10.1.2.0/24")),
        ({"generic_key": {"descriptor_value": "v"}}, ("generic_key", b"v")),
        ({"generic_key": {"descriptor_value": "v", "descriptor_key": "k"}}, ("k", b"v")),
        (
            {"header_value_match": {"descriptor_value": "v", "headers": [{"name": "x-one"}]}},
            ("header_match", b"v"),
        ),
        (
            {"header_value_match": {"descriptor_value": "v", "expect_match": False, "headers": [{"name": "x-no"}]}},
            ("header_match", b"v"),
        ),
        (
            {"query_parameter_value_match": {"descriptor_value": "v", "query_parameters": [{"name": "q"}]}},
            ("query_match", b"v"),
        ),
        (
            {"metadata": {"descriptor_key": "k", "source": 1, "metadata_key": {"key": "ns", "path": [{"key": "key"}]}}},
            ("k", b"of route"),
        ),
        (
            {"metadata": {"descriptor_key": "k", "default_value": "d", "metadata_key": {"key": "no"}}},
            ("k", b"d"),
        ),
        (
            {"dynamic_metadata": {"descriptor_key": "k", "default_value": "d", "metadata_key": {"key": "no"}}},
            ("k", b"d"),
        ),
    ],
)
def test_actions(action: dict[str, Any], expected: tuple[str, bytes]) -> None:
    assert entries(action) == (expected,)


def test_masks_of_ipv6() -> None:
    action = {"masked_remote_address": {"v6_prefix_mask_len": 48}}
    assert entries(action, ip="2001:db8:1:2::3") == (("masked_remote_address", b"2001:db8:1::/48"),)


@pytest.mark.parametrize(
    "action",
    [
        {"request_headers": {"header_name": "x-no", "descriptor_key": "k"}},
        {"query_parameters": {"query_parameter_name": "no", "descriptor_key": "k"}},
        {"header_value_match": {"descriptor_value": "v", "headers": [{"name": "x-no"}]}},
        {"metadata": {"descriptor_key": "k", "metadata_key": {"key": "no"}}},
    ],
)
def test_an_absent_value_drops_the_descriptor(action: dict[str, Any]) -> None:
    assert entries({"source_cluster": {}}, action) is None


@pytest.mark.parametrize(
    "action",
    [
        {"request_headers": {"header_name": "x-no", "descriptor_key": "k", "skip_if_absent": True}},
        {"query_parameters": {"query_parameter_name": "no", "descriptor_key": "k", "skip_if_absent": True}},
        {"metadata": {"descriptor_key": "k", "skip_if_absent": True, "metadata_key": {"key": "no"}}},
    ],
)
def test_or_is_skipped(action: dict[str, Any]) -> None:
    assert entries({"source_cluster": {}}, action) == (("source_cluster", b"here"),)


KEY: dict[str, Any] = {"actions": [{"generic_key": {"descriptor_value": "route"}}]}
HOST_KEY: dict[str, Any] = {"actions": [{"generic_key": {"descriptor_value": "host"}}]}


def values(made: RateLimitRequest, stage: int = 0, **more: Any) -> list[bytes]:
    return [found.entries[0][1] for found in descriptors(made, stage, None, **more)]


def test_stages() -> None:
    made = request(limits(KEY, {**HOST_KEY, "stage": 2}))
    assert values(made) == [b"route"]
    assert values(made, 2) == [b"host"]


def test_the_hosts_limits_count_where_the_route_has_none_or_includes_them() -> None:
    host = limits(HOST_KEY)
    assert values(request(limits(KEY), host)) == [b"route"]
    assert values(request(None, host)) == [b"host"]
    assert values(request(limits(KEY, include=True), host)) == [b"route", b"host"]
    assert values(request(limits(include=True), host)) == [b"host"]
    assert values(request(None, host, direct=True)) == [b"host"]


def test_limits_for_the_end_of_the_stream_are_apart() -> None:
    made = request(limits(KEY, {**HOST_KEY, "apply_on_stream_done": True}))
    assert values(made) == [b"route"]
    assert values(made, on_stream_done=True) == [b"host"]


def test_a_disable_key_asks_runtime() -> None:
    asked: list[str] = []

    def feature_enabled(key: str, *rest: int) -> bool:
        asked.append(key)
        return False

    runtime: Any = SimpleNamespace(feature_enabled=feature_enabled)
    assert not descriptors(request(limits({**KEY, "disable_key": "x"})), 0, runtime)
    assert asked == ["ratelimit.x.http_filter_enabled"]


def test_an_override_comes_from_dynamic_metadata() -> None:
    made = request(
        limits({**KEY, "limit": {"dynamic_metadata": {"metadata_key": {"key": "ns", "path": [{"key": "o"}]}}}})
    )
    assert descriptors(made, 0, None)[0].limit is None
    made.info.dynamic_metadata["ns"] = {"o": {"requests_per_unit": 42, "unit": "HOUR"}}
    assert descriptors(made, 0, None)[0].limit == (42, "HOUR")
    made.info.dynamic_metadata["ns"] = {"o": {"requests_per_unit": 42, "unit": "WEEKS"}}
    assert descriptors(made, 0, None)[0].limit is None


@pytest.mark.parametrize(
    ("addend", "expected"),
    [
        ({"number": 3}, 3),
        ({"format": "%REQ(x-one)%"}, 1),
        ({"format": "%BYTES_RECEIVED%"}, 0),
        ({"format": "%REQ(x-no)%"}, None),
    ],
)
def test_hits_addend(addend: dict[str, Any], expected: int | None) -> None:
    found = descriptors(request(limits({**KEY, "hits_addend": addend})), 0, None)
    assert found == ([] if expected is None else [Descriptor((("generic_key", b"route"),), None, expected)])


def test_extensions_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="Rate limit descriptor extension not found: mine"):
        limits({"actions": [{"extension": {"name": "mine"}}]})
