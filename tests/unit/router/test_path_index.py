"""The path index finds what a scan over all routes would find."""

from hypothesis import given, settings
from hypothesis import strategies as st

from proxeny.matcher.regex import CompiledRegex
from proxeny.router.path_index import PathIndex

SEGMENTS = st.lists(st.sampled_from(["", "a", "A", "b", "ab", "abc", "/"]), max_size=5)
PATHS = SEGMENTS.map(lambda parts: "/" + "/".join(parts))
SPECS = st.tuples(st.sampled_from(["prefix", "exact", "regex"]), PATHS, st.booleans(), st.booleans())


def linear(specs: list[tuple[str, str, bool, bool]], path: str) -> list[int]:
    """Numbers of the matching routes up to the first final one."""
    found = []
    for number, (kind, text, case_sensitive, final) in enumerate(specs):
        here, there = (path, text) if case_sensitive or kind == "regex" else (path.lower(), text.lower())
        matches = here == there if kind == "exact" else here.startswith(there)
        if matches:
            found.append(number)
            if final:
                break
    return found


@settings(max_examples=400, deadline=None)
@given(st.lists(SPECS, max_size=24), st.lists(PATHS, min_size=1, max_size=8))
def test_first_match_is_the_scans(specs: list[tuple[str, str, bool, bool]], paths: list[str]) -> None:
    index = PathIndex([final for _, _, _, final in specs])
    for number, (kind, text, case_sensitive, _) in enumerate(specs):
        if kind == "prefix":
            index.add_prefix(text.encode(), number, case_sensitive)
        elif kind == "exact":
            index.add_exact(text.encode(), number, case_sensitive)
        else:
            index.add_regex(CompiledRegex(text + ".*"), number)
    index.freeze()
    for path in [*paths, *[text for _, text, _, _ in specs]]:
        expected = linear(specs, path)
        candidates = list(index.candidates(path.encode()))
        # Candidates behind the first final one may be named; nobody looks at them.
        finals = [position for position, number in enumerate(candidates) if specs[number][3]]
        assert (candidates[: finals[0] + 1] if finals else candidates) == expected


def test_many_prefix_lengths() -> None:
    count = 300
    index = PathIndex([True] * count)
    for number in range(count):
        index.add_prefix(b"/" + b"x" * (count - number), number, True)
    index.freeze()
    for number in range(count):
        assert index.candidates(b"/" + b"x" * (count - number) + b"/y")[0] == number
    assert list(index.candidates(b"/y")) == []


def test_nested_prefixes_keep_their_order() -> None:
    index = PathIndex([False, True, False, True])
    index.add_prefix(b"/a/b", 0, True)
    index.add_prefix(b"/", 1, True)
    index.add_prefix(b"/a", 2, True)
    index.add_prefix(b"/a/b/c", 3, True)
    index.freeze()
    assert list(index.candidates(b"/a/b/c")) == [0, 1]
    assert list(index.candidates(b"/a/x")) == [1]
