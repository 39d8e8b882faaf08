"""The longest prefix, and its chain, as a scan finds them."""

from hypothesis import given, settings
from hypothesis import strategies as st

from proxeny.matcher.regex import CompiledRegex, containing
from proxeny.router.prefix_table import PrefixTable

TEXTS = st.text("ab", max_size=9).map(str.encode)


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXTS, max_size=20), st.lists(TEXTS, min_size=1, max_size=10))
def test_chains(prefixes: list[bytes], texts: list[bytes]) -> None:
    table = PrefixTable()
    for prefix in prefixes:
        table.node(prefix).value = prefix
    table.freeze()
    for text in texts:
        found = []
        node = table.find(text)
        while node is not None:
            if node.value is not None:
                found.append(node.value)
            node = node.parent
        assert found == sorted({prefix for prefix in prefixes if text.startswith(prefix)}, key=len, reverse=True)


PIECES = [
    "a",
    "b",
    "ab",
    "a*",
    "b{0,2}",
    "a?",
    "b|a",
    "(a|b)",
    "[ab]",
    ".",
    "a+",
    "(?i)a",
    "(?:ab)?",
    "^",
    "$",
    "\\x61",
]
PATTERNS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join)


@settings(max_examples=400, deadline=None)
@given(PATTERNS, TEXTS)
def test_what_matches_begins_with_the_literal_prefix(pattern: str, text: bytes) -> None:
    regex = CompiledRegex(pattern)
    assert not regex.match(text) or text.startswith(regex.literal_prefix())


def test_literal_prefixes_are_found() -> None:
    assert CompiledRegex("/svc1/.*").literal_prefix() == b"/svc1/"
    assert CompiledRegex("/svc1*").literal_prefix() == b"/svc"
    assert CompiledRegex("(/a)?/svc|/svc2").literal_prefix() == b"/"
    assert CompiledRegex("(?i)/ab").literal_prefix() == b"/"
    assert CompiledRegex("/svc1").literal_prefix() == b"/svc1"
    assert CompiledRegex(".*a").literal_prefix() == b""


def test_a_pattern_for_texts_with_a_literal_in_them() -> None:
    regex = CompiledRegex(containing(b"a.\xe9", any_case=False))
    assert regex.match(b"x\na.\xe9\r") and not regex.match(b"axa\xe9")
    assert CompiledRegex(containing(b"ab", any_case=True)).match(b"xAbx")
