"""What is asked of endpoint metadata: order, merging, equality of values."""

from typing import Any

import pytest
from envoy.config.core.v3.base_pb2 import Metadata
from google.protobuf.json_format import ParseDict

from proxeny.upstream.metadata_criteria import MetadataCriteria, criteria_of, value_key, with_dynamic


def metadata(**namespaces: Any) -> Metadata:
    named = {name.replace("_", "."): values for name, values in namespaces.items()}
    return ParseDict({"filter_metadata": named}, Metadata())


def test_pairs_are_sorted_by_name() -> None:
    criteria = criteria_of(metadata(envoy_lb={"b": "2", "a": 1, "é": None}))
    assert criteria is not None
    assert criteria.pairs == (("a", ("number", 1.0)), ("b", "2"), ("é", ("constant", "None")))


def test_other_namespaces_do_not_count() -> None:
    assert criteria_of(metadata(other={"a": "1"})) is None
    empty = criteria_of(metadata(envoy_lb={}))
    assert empty is not None and empty.pairs == ()


def test_merging_replaces_and_adds() -> None:
    merged = MetadataCriteria({"b": "1", "c": "1"}).merged({"a": "2", "b": "2"})
    assert merged.pairs == (("a", "2"), ("b", "2"), ("c", "1"))
    assert merged.only({"c", "x"}).pairs == (("c", "1"),)


def test_dynamic_metadata_goes_over_the_routes() -> None:
    route = MetadataCriteria({"a": "1", "b": "1"})
    assert with_dynamic(route, None) is route
    assert with_dynamic(route, {"other": {"a": "2"}}) is route
    assert with_dynamic(None, {"envoy.lb": {"a": "2"}}).pairs == (("a", "2"),)  # type: ignore[union-attr]
    assert with_dynamic(route, {"envoy.lb": {"a": "2"}}).pairs == (("a", "2"), ("b", "1"))  # type: ignore[union-attr]
    assert with_dynamic(None, {}) is None


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (1, 1.0, True),
        (1, True, False),
        (0, False, False),
        (0, None, False),
        ("1", 1, False),
        ("None", None, False),
        ([1, "a"], [1.0, "a"], True),
        ([1, 2], [2, 1], False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"a": True}, False),
        ([], {}, False),
    ],
)
def test_equality_is_that_of_values(one: Any, other: Any, equal: bool) -> None:
    assert (value_key(one) == value_key(other)) is equal
    if equal:
        assert hash(value_key(one)) == hash(value_key(other))


def test_protobuf_and_plain_values_agree() -> None:
    values = {"n": 3, "t": True, "s": "x", "z": None, "l": [1, {"k": "v"}], "m": {"k": [False]}}
    criteria = criteria_of(metadata(envoy_lb=values))
    assert criteria is not None and criteria.pairs == MetadataCriteria(values).pairs
