"""Scalars by yaml-cpp's rules, structure, limits, and lines."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxeny.config.errors import ConfigError
from proxeny.config.yaml_loader import MAX_DEPTH, line_of, load_documents, load_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("+5", 5),
        ("-5", -5),
        ("010", 8),
        ("0x1F", 31),
        ("-0x10", -16),
        ("0", 0),
        ("-0", 0),
        ("2147483647", 2147483647),
        ("2147483648", "2147483648"),
        ("0x80000000", "2147483648"),
        ("9223372036854775808", "9223372036854775808"),
        ("08", "08"),
        ("1_000", "1_000"),
        ("0b1", "0b1"),
        ("5.0", "5.0"),
        ("1e3", "1e3"),
        (".inf", ".inf"),
        ("1:30", "1:30"),
        ("2001-01-01", "2001-01-01"),
        ("٣", "٣"),
        ("y", True),
        ("Yes", True),
        ("ON", True),
        ("tRUE", "tRUE"),
        ("n", False),
        ("OFF", False),
        ("~", None),
        ("", None),
        ("Null", None),
        ("nULL", "nULL"),
        ("'5'", "5"),
        ('"true"', "true"),
        ("!foo x", "x"),
        ("!foo '5'", 5),
        ("!!str 5", 5),
        ("! 5", "5"),
        ("!foo null", "null"),
        ("|-\n  5", "5"),
    ],
)
def test_scalars_mean_what_they_mean_to_yaml_cpp(text: str, value: object) -> None:
    loaded = load_yaml(f"a: {text}\n")["a"]
    assert loaded == value
    assert type(loaded) is type(value)


def test_keys_are_strings_and_the_last_one_wins() -> None:
    assert load_yaml("5: a\ntrue: b\n~: c\n5: d\n") == {"5": "d", "true": "b", "null": "c"}


def test_merge_key_is_an_ordinary_key() -> None:
    assert load_yaml("a: &x {b: 1}\nc: {<<: *x}\n") == {"a": {"b": 1}, "c": {"<<": {"b": 1}}}


def test_an_ignored_entry_is_dropped_but_its_anchor_stays() -> None:
    assert load_yaml("!ignore x: &x [1, 2]\ny: *x\n") == {"y": [1, 2]}


def test_the_first_document_counts() -> None:
    assert load_yaml("a: 1\n---\nb: 2\n") == {"a": 1}


def test_a_line_of_blanks_and_tabs_is_an_empty_line() -> None:
    assert load_yaml("a: 1\n  \t\nb: 2\n") == {"a": 1, "b": 2}
    with pytest.raises(ConfigError) as caught:
        load_yaml("a: 1\n\t\nb: c: 2\n")
    assert caught.value.line == 3


def test_an_anchor_may_be_defined_twice() -> None:
    assert load_yaml("[&x 1, *x, &x 2, *x]") == [1, 1, 2, 2]


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "--- ~\n"])
def test_nothing_is_null(text: str) -> None:
    assert load_yaml(text) is None


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: c: d\n", 2, "mapping values"),
        ("a: 1\nb: [1\n", 3, "yaml: "),
        ("a:\n- *x\n", 2, "has no anchor"),
        ("a: 1\n[b]: 2\n", 2, "must be a scalar"),
        ("a: 1\nb: \x01\n", 2, "control characters"),
        ("a: &x [*x]\n", 1, "has no anchor"),
    ],
)
def test_faults_name_file_and_line(text: str, line: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        load_yaml(text, "file.yaml")
    assert (caught.value.file, caught.value.line) == ("file.yaml", line)


def test_nesting_is_bounded() -> None:
    assert load_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    with pytest.raises(ConfigError, match="too deeply"):
        load_yaml("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))
    with pytest.raises(ConfigError, match="too deeply"):
        load_yaml("[" * 50_000)


def test_aliases_cannot_multiply_without_bound() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [" + ", ".join([f"*a{i - 1}"] * 10) + "]" for i in range(1, 12)]
    with pytest.raises(ConfigError, match="multiply"):
        load_yaml("\n".join(lines))


TEXT = """\
a:
  bC:
  - 1
  - {x: 3,
     y.z: 4}
  d: 5
a2: 1
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("a", 1),
        ("a.b_c", 2),
        ("a.bC[1]", 4),
        ("a.b_c[1].x", 4),
        ('a.b_c[1]["y.z"]', 5),
        ("a.d", 6),
        ("a.missing", 1),
        ("a.d.deeper", 6),
        ("a2", 7),
        ("nothing", 1),
    ],
)
def test_the_line_of_a_path(path: str, line: int) -> None:
    assert line_of(TEXT, path) == line


def test_the_line_of_a_repeated_key_is_the_last_ones() -> None:
    assert line_of("a: 1\nb: 2\na: 3\n", "a") == 3


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab:- \n[]{},&*!'\"|>#?%@`~0x5.", max_size=60))
def test_any_text_is_a_tree_or_a_config_error(text: str) -> None:
    try:
        load_yaml(text)
    except ConfigError:
        line_of(text, "a.b[0]")


def test_all_documents_and_their_lines() -> None:
    text = "# none\n---\na: 1\n---\n---\nb:\n  c: {d: 2}\n"
    assert load_yaml(text) == {"a": 1}
    assert load_documents(text) == [{"a": 1}, None, {"b": {"c": {"d": 2}}}]
    assert load_documents("") == []
    assert [line_of(text, path, document) for path, document in (("a", 0), ("b.c.d", 2), ("x", 2), ("a", 3))] == [
        3,
        7,
        1,
        None,
    ]
    with pytest.raises(ConfigError, match="has no anchor") as caught:
        load_documents("a: 1\n---\nb: *x\n", "file.yaml")
    assert (caught.value.file, caught.value.line) == ("file.yaml", 3)
