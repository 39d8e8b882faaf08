"""Names that begin with xdstp: parts, one form, collections."""

import pytest

from proxeny.config.errors import ConfigError
from proxeny.xds import xdstp

TYPE = "envoy.config.cluster.v3.Cluster"


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        (f"xdstp://a/{TYPE}/b/c", f"xdstp://a/{TYPE}/b/c"),
        (f"xdstp://a/{TYPE}/b?y=2&x=1", f"xdstp://a/{TYPE}/b?x=1&y=2"),
        (f"xdstp:///{TYPE}/b", f"xdstp:///{TYPE}/b"),
        (f"xdstp://a/{TYPE}", f"xdstp://a/{TYPE}"),
        (f"xdstp://a/{TYPE}/%62%3A", f"xdstp://a/{TYPE}/b%3A"),
        (f'xdstp://a/{TYPE}/b?k=%5B"x"%5D', f'xdstp://a/{TYPE}/b?k=%5B"x"%5D'),
        (f"xdstp://a/{TYPE}/b c~é", f"xdstp://a/{TYPE}/b c%7E%C3%A9"),
        (f"xdstp://a/{TYPE}/100%", f"xdstp://a/{TYPE}/100%25"),
        ("plain?y=2&x=1", "plain?y=2&x=1"),
    ],
)
def test_one_form(name: str, encoded: str) -> None:
    assert xdstp.normalized(name) == encoded


def test_parts() -> None:
    parts = xdstp.decode(f"xdstp://auth/{TYPE}/a/b?k=v%26")
    assert (parts.authority, parts.type_name, parts.id, parts.context) == ("auth", TYPE, "a/b", {"k": "v&"})
    assert xdstp.decode_locator(f"xdstp://a/{TYPE}/*#entry=x").fragment == "entry=x"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("plain", "plain does not have an xdstp: scheme"),
        ("xdstp://a", "Resource type missing from /"),
        ("xdstp:", "Resource type missing from /"),
        ("xdstp://a//b", "Resource type missing from //b"),
    ],
)
def test_names_that_are_none(name: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        xdstp.decode(name)
    assert str(caught.value) == words


def test_collections() -> None:
    assert xdstp.is_glob(f"xdstp://a/{TYPE}/b/*")
    assert xdstp.is_glob(f"xdstp://a/{TYPE}/*?x=1")
    assert not xdstp.is_glob(f"xdstp://a/{TYPE}/b")
    assert not xdstp.is_glob("b/*")
    assert xdstp.glob_of(f"xdstp://a/{TYPE}/b/c?x=1") == f"xdstp://a/{TYPE}/b/*?x=1"
    assert xdstp.glob_of(f"xdstp://a/{TYPE}/b") == f"xdstp://a/{TYPE}/*"
