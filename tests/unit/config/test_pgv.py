"""validate.rules of single fields: verdicts and words."""

import pytest
from validate.validate_pb2 import FieldRules

from proxeny.config.pgv import compile_rules, go_duration, size_check, unique_check

MS = 1_000_000


def rules(text: str) -> FieldRules:
    from google.protobuf import text_format

    return text_format.Parse(text, FieldRules())


@pytest.mark.parametrize(
    ("text", "value", "reason"),
    [
        ("uint32 {gte: 1 lte: 5}", 5, None),
        ("uint32 {gte: 1 lte: 5}", 6, "value must be inside range [1, 5]"),
        ("uint32 {gte: 200 lt: 600}", 600, "value must be inside range [200, 600)"),
        ("uint32 {gt: 5 lt: 1}", 3, "value must be outside range [1, 5]"),
        ("uint32 {gt: 5 lt: 1}", 6, None),
        ("uint32 {gt: 0}", 0, "value must be greater than 0"),
        ("uint32 {lte: 128}", 129, "value must be less than or equal to 128"),
        ("double {gte: 0 lte: 100}", 100.5, "value must be inside range [0, 100]"),
        ("double {gte: 0 lte: 100}", float("nan"), "value must be inside range [0, 100]"),
        ("uint32 {in: [1, 2]}", 3, "value must be in list [1 2]"),
        ("enum {not_in: [0]}", 0, "value must not be in list [0]"),
        ("bool {const: true}", False, "value must equal true"),
        ("string {min_len: 1}", "", "value length must be at least 1 characters"),
        ("string {min_len: 1 max_len: 3}", "abcd", "value length must be between 1 and 3 characters, inclusive"),
        ("string {max_bytes: 3}", "éé", "value length must be at most 3 bytes"),
        ("string {max_len: 3}", "éé", None),
        ("string {in: ['a', '']}", "b", "value must be in list [a ]"),
        ("string {prefix: '%'}", "a", 'value does not have prefix "%"'),
        ("string {suffix: '%'}", "a", 'value does not have suffix "%"'),
        ("string {prefix: '%' ignore_empty: true}", "", None),
        ("string {pattern: '^a+$'}", "ab", 'value does not match regex pattern "^a+$"'),
        ("string {well_known_regex: HTTP_HEADER_NAME strict: false}", "a b", None),
        (
            "string {well_known_regex: HTTP_HEADER_NAME strict: false}",
            "a\n",
            'value does not match regex pattern "^[^\\x00\\n\\r]*$"',
        ),
        ("string {well_known_regex: HTTP_HEADER_NAME}", "a b", "value does not match regex"),
        ("string {well_known_regex: HTTP_HEADER_NAME}", ":path", None),
        ("string {well_known_regex: HTTP_HEADER_VALUE}", "a\x01", "value does not match regex"),
        ("string {well_known_regex: HTTP_HEADER_VALUE}", "a\tb", None),
        ("bytes {max_len: 1}", b"ab", "value length must be at most 1 bytes"),
    ],
)
def test_scalar_rules(text: str, value: object, reason: str | None) -> None:
    check = compile_rules(rules(text))
    assert check is not None
    found = check(value)
    assert found is None if reason is None else found is not None and found.startswith(reason)


def test_no_rules_no_check() -> None:
    assert compile_rules(rules("")) is None
    assert compile_rules(rules("message {required: true}")) is None


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_500, "1.5µs"),
        (MS, "1ms"),
        (1500 * MS, "1.5s"),
        (300_000 * MS, "5m0s"),
        (3_661_000 * MS, "1h1m1s"),
        (-MS, "-1ms"),
    ],
)
def test_durations_as_go_prints_them(nanos: int, text: str) -> None:
    assert go_duration(nanos) == text


def test_sizes() -> None:
    check = size_check(1, None, "item(s)")
    assert check is not None
    assert check([]) == "value must contain at least 1 item(s)"
    assert check([1]) is None
    most = size_check(None, 1, "pair(s)")
    assert most is not None
    assert most({"a": 1, "b": 2}) == "value must contain no more than 1 pair(s)"
    assert size_check(None, None, "item(s)") is None


def test_uniqueness() -> None:
    assert unique_check([1, 2]) is None
    assert unique_check([1, 1]) == "repeated value must contain unique items"
