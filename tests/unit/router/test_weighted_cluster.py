"""Weighted clusters: intervals, headers, hashes, weights from runtime; their filter configurations."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from envoy.config.route.v3.route_components_pb2 import RouteAction
from google.protobuf.json_format import ParseDict

from proxeny.config.errors import ConfigError
from proxeny.http.hash_policy import compile_hash_policy
from proxeny.kernel.headers import HeaderMap
from proxeny.matcher.xxhash import xxhash64
from proxeny.router.per_filter_config import PerFilterConfigs
from proxeny.router.weighted_cluster import WeightedClusters


def clusters(header: bytes = b"", runtime: dict[str, int] | None = None, hashed: bool = False) -> WeightedClusters:
    routes: Any = ["a", "b"]
    found: Any = None
    if runtime is not None:
        found = SimpleNamespace(get_integer=lambda key, default: runtime.get(key, default))
    policy = None
    if hashed:
        policy = compile_hash_policy([ParseDict({"header": {"header_name": "x-key"}}, RouteAction.HashPolicy())])
    prefix = "" if runtime is None else "p"
    return WeightedClusters(routes, ["a", "b"], [30, 70], "r", header, prefix, found, policy)


def test_the_number_falls_into_an_interval() -> None:
    made = clusters()
    assert [made.pick(HeaderMap(), number) for number in (0, 29, 30, 99, 100)] == ["a", "a", "b", "b", "a"]


@pytest.mark.parametrize(("text", "expected"), [(b"30", "b"), (b"+30", "b"), (b"x", "a"), (b"", "a")])
def test_a_header_may_give_the_number(text: bytes, expected: str) -> None:
    assert clusters(b"x-n").pick(HeaderMap(((b"x-n", text),)), 0) == expected  # type: ignore[comparison-overlap]


def test_two_headers_give_none() -> None:
    assert clusters(b"x-n").pick(HeaderMap(((b"x-n", b"30"), (b"x-n", b"31"))), 0) == "a"  # type: ignore[comparison-overlap]


def test_a_hash_may_give_the_number() -> None:
    made = clusters(hashed=True)
    expected = "a" if xxhash64(b"k") % 100 < 30 else "b"
    assert made.pick(HeaderMap(((b"x-key", b"k"),)), 0) == expected  # type: ignore[comparison-overlap]
    assert made.pick(HeaderMap(), 99) == "b"  # type: ignore[comparison-overlap]


def test_runtime_changes_the_weights() -> None:
    made = clusters(runtime={"p.a": 0})
    made.check_runtime()
    assert made.pick(HeaderMap(), 0) == "b"  # type: ignore[comparison-overlap]


def test_all_weights_zero_in_runtime() -> None:
    made = clusters(runtime={"p.a": 0, "p.b": 0})
    assert made.pick(HeaderMap(), 0) is None
    with pytest.raises(ConfigError, match="must be greater than 0"):
        made.check_runtime()


def test_filter_configurations_stand_on_one_another() -> None:
    route = PerFilterConfigs({"x": "route", "y": "route"}, {"z": True})
    own = PerFilterConfigs({"x": "own"}, {"w": False}).above(route)
    assert own.configs == {"x": "own", "y": "route"}
    assert own.disabled == {"z": True, "w": False}
    assert (own.all("x"), own.all("y"), own.all("n")) == (["route", "own"], ["route"], [])
    assert PerFilterConfigs({}, {}).above(None).all("x") == []
