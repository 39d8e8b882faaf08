"""HeaderMutation messages, one after the other."""

from typing import Any

import pytest
from envoy.config.common.mutation_rules.v3.mutation_rules_pb2 import HeaderMutation
from google.protobuf import json_format

from proxeny.config.errors import ConfigError
from proxeny.kernel.headers import HeaderMap
from proxeny.router.header_mutations import compile_mutations


def mutated(pairs: list[tuple[bytes, bytes]], *mutations: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    headers = HeaderMap(pairs)
    for mutation in compile_mutations([json_format.ParseDict(item, HeaderMutation()) for item in mutations]):
        mutation.apply(headers, headers, None, None)  # type: ignore[arg-type]
    return headers.items()


def append(key: str, value: str, **more: object) -> dict[str, Any]:
    return {"append": {"header": {"key": key, "value": value}, **more}}


def test_each_sees_what_those_before_it_left() -> None:
    assert mutated([], append("A", "1"), append("b", "%REQ(a)%"), {"remove": "A"}) == [(b"b", b"1")]


@pytest.mark.parametrize(
    ("action", "present", "absent"),
    [
        ("APPEND_IF_EXISTS_OR_ADD", [(b"a", b"0"), (b"a", b"1")], [(b"a", b"1")]),
        ("ADD_IF_ABSENT", [(b"a", b"0")], [(b"a", b"1")]),
        ("OVERWRITE_IF_EXISTS_OR_ADD", [(b"a", b"1")], [(b"a", b"1")]),
        ("OVERWRITE_IF_EXISTS", [(b"a", b"1")], []),
    ],
)
def test_actions(action: str, present: list[tuple[bytes, bytes]], absent: list[tuple[bytes, bytes]]) -> None:
    assert mutated([(b"a", b"0")], append("a", "1", append_action=action)) == present
    assert mutated([], append("a", "1", append_action=action)) == absent


def test_an_empty_value_is_nothing_unless_kept() -> None:
    assert mutated([], append("a", "%REQ(x)%")) == []
    assert mutated([], append("a", "%REQ(x)%", keep_empty_value=True)) == [(b"a", b"")]


def test_removal_by_name_pattern() -> None:
    pairs = [(b"x-a", b"1"), (b"y", b"2"), (b"x-b", b"3"), (b"x-a", b"4")]
    assert mutated(pairs, {"remove_on_match": {"key_matcher": {"prefix": "x-"}}}) == [(b"y", b"2")]


def test_host_is_not_modified() -> None:
    with pytest.raises(ConfigError, match=":-prefixed or host headers may not be modified"):
        mutated([], append("Host", "a"))
    assert mutated([(b":authority", b"a")], {"remove": "host"}) == [(b":authority", b"a")]
