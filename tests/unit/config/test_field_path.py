"""Field paths: joining and splitting are inverse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxeny.config import field_path
from proxeny.config.errors import ConfigError


@pytest.mark.parametrize(
    ("path", "items"),
    [
        ("", []),
        ("a", ["a"]),
        ("a.b_c[0].d", ["a", "b_c", 0, "d"]),
        ('a["x.y"].b', ["a", "x.y", "b"]),
        ("a.@type", ["a", "@type"]),
    ],
)
def test_splitting(path: str, items: list[field_path.PathItem]) -> None:
    assert field_path.split(path) == items


@given(st.lists(st.text(min_size=1, max_size=6) | st.integers(0, 99), max_size=5))
def test_joining_is_the_inverse(items: list[field_path.PathItem]) -> None:
    path = ""
    for item in items:
        path = field_path.join(path, f"[{item}]" if isinstance(item, int) else field_path.key(item))
    assert field_path.split(path) == items


def test_errors_say_where() -> None:
    assert str(ConfigError("no", "a.b", "f.yaml", 3)) == "f.yaml:3: a.b: no"
    assert str(ConfigError("no")) == "no"
    assert str(ConfigError("no", line=3)) == "line 3: no"
    assert str(ConfigError("no").at(path="x").at(path="y", file="f")) == "f: x: no"
