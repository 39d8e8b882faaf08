"""The path index finds what a scan over all routes would find first."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from proxeny.kernel.headers import HeaderMap
from proxeny.router.path_index import PathIndex
from proxeny.router.request_facts import RequestFacts
from proxeny.router.route_group import NO_ROUTE

SEGMENTS = st.lists(st.sampled_from(["", "a", "A", "b", "ab", "abc", "/"]), max_size=5)
PATHS = SEGMENTS.map(lambda parts: "/" + "/".join(parts))
KINDS = ("prefix", "exact", "regex", "separated", "template")
SPECS = st.tuples(st.sampled_from(KINDS), PATHS, st.booleans(), st.sampled_from((None, True, False)))


class Says:
    """A condition that always says the same."""

    def __init__(self, answer: bool) -> None:
        self.answer = answer

    def matches(self, facts: RequestFacts) -> bool:
        return self.answer

    def keys(self) -> tuple[()]:
        return ()


def scan(specs: list[tuple[str, str, bool, bool | None]], path: str) -> int:
    """The first matching route, by asking one after the other."""
    for number, (kind, text, case_sensitive, answer) in enumerate(specs):
        here, there = (path, text) if case_sensitive or kind in ("regex", "template") else (path.lower(), text.lower())
        if kind == "exact":
            matches = here == there
        elif kind == "separated":
            matches = here == there or here.startswith(there + "/")
        else:
            matches = here.startswith(there)
        if matches and answer is not False:
            return number
    return NO_ROUTE


def index_of(specs: list[tuple[str, str, bool, bool | None]]) -> PathIndex:
    conditions: list[Any] = [None if answer is None else Says(answer) for *_, answer in specs]
    index = PathIndex(conditions)
    for number, (kind, text, case_sensitive, _) in enumerate(specs):
        if kind == "prefix":
            index.add_prefix(text.encode(), number, case_sensitive)
        elif kind == "exact":
            index.add_exact(text.encode(), number, case_sensitive)
        elif kind == "separated":
            index.add_separated_prefix(text.encode(), number, case_sensitive)
        elif kind == "template":
            index.add_template(text.encode() + b".*", number)
        else:
            index.add_regex(text.encode() + b".*", number)
    index.freeze()
    return index


def first(index: PathIndex, path: bytes) -> int:
    quick = index.quick(path)
    found = index.first(RequestFacts(HeaderMap(), path, None, 0), path)
    assert quick in (-1, found)
    return found


@settings(max_examples=400, deadline=None)
@given(st.lists(SPECS, max_size=40), st.lists(PATHS, min_size=1, max_size=8))
def test_first_match_is_the_scans(specs: list[tuple[str, str, bool, bool | None]], paths: list[str]) -> None:
    index = index_of(specs)
    for path in [*paths, *[text for _, text, _, _ in specs]]:
        assert first(index, path.encode()) == scan(specs, path)


def test_many_prefix_lengths() -> None:
    count = 300
    specs: Any = [("prefix", "/" + "x" * (count - number), True, None) for number in range(count)]
    index = index_of(specs)
    for number in range(count):
        assert first(index, b"/" + b"x" * (count - number) + b"/y") == number
    assert first(index, b"/y") == NO_ROUTE


def test_nested_prefixes_keep_their_order() -> None:
    index = index_of([("prefix", "/a/b", True, False), ("prefix", "/", True, None), ("prefix", "/a", True, False)])
    assert first(index, b"/a/b/c") == 1
    assert first(index, b"/a/x") == 1


def test_deep_chains_of_conditional_prefixes() -> None:
    count = 3000
    specs: Any = [("prefix", "/" + "a/" * number, True, number == 7) for number in range(count)]
    index = index_of(specs)
    assert first(index, b"/" + b"a/" * count) == 7
    assert first(index, b"/a/a/") == NO_ROUTE
