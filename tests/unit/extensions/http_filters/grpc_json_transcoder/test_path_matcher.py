"""Which rule a path belongs to, and what it binds."""

from __future__ import annotations

import pytest

from proxeny.extensions.http_filters.grpc_json_transcoder.path_matcher import Binding, PathMatcher


def matcher(*paths: str, spec: int = 0, plus: bool = False, any_verb: bool = False, ignored: str = "") -> PathMatcher:
    made = PathMatcher(spec, plus, any_verb, frozenset(ignored.encode().split()))
    for path in paths:
        assert made.register(b"GET", path.encode(), (), path)
    return made


def found(made: PathMatcher, path: str, query: str = "", method: str = "GET") -> tuple[str, list[Binding]] | None:
    result = made.lookup(method.encode(), path.encode(), query.encode())
    return None if result is None else (result[0].method, result[1])


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("/a/b", "/a/b"),
        ("/a/c", "/a/*"),
        ("/a/c/d", "/a/**"),
        ("/a", "/a/**"),
        ("/a/", "/a/**"),
        ("/x/1/end", "/x/**/end"),
        ("/x/1/2/end", "/x/**/end"),
        ("/x/end", None),
        ("/x/1/2", None),
        ("/b/c/one", "/b/*/one"),
        ("/b/first/two", "/b/*/two"),
        ("/", "/"),
        ("", "/"),
        ("/v:go", "/v:go"),
        ("/v:other", None),
        ("/v:go/more", None),
    ],
)
def test_literals_come_before_wildcards(path: str, rule: str | None) -> None:
    made = matcher(
        "/", "/a/**", "/a/*", "/a/b", "/x/**/end", "/b/*/one", "/b/first/one", "/b/*/two", "/v:go",
    )  # fmt: skip
    result = found(made, path)
    assert (None if result is None else result[0]) == rule


def test_what_is_registered_twice_is_never_found() -> None:
    made = matcher("/a/b", "/a/b", "/a/*")
    assert found(made, "/a/b") is None
    assert found(made, "/a/c") == ("/a/*", [])


def test_any_method() -> None:
    made = PathMatcher(0, False, False, frozenset())
    assert made.register(b"*", b"/a", (), "any")
    assert made.register(b"PUT", b"/a", (), "put")
    assert found(made, "/a", method="LOCK") == ("any", [])
    assert found(made, "/a", method="PUT") == ("put", [])


@pytest.mark.parametrize(
    ("spec", "value"), [(0, b"a%2Fb/c d%3F"), (1, b"a%2Fb/c d?"), (2, b"a/b/c d?")], ids=["reserved", "slash", "all"]
)
def test_variables_over_several_segments_are_decoded_as_configured(spec: int, value: bytes) -> None:
    made = matcher("/x/{name=**}", "/y/{name}", spec=spec)
    assert found(made, "/x/a%2Fb/c%20d%3F") == ("/x/{name=**}", [((b"name",), value)])
    assert found(made, "/y/a%2Fb") == ("/y/{name}", [((b"name",), b"a/b")])


def test_variables_in_the_middle() -> None:
    made = matcher("/{a=x/*}/y/{b.c=**}/end:go")
    assert found(made, "/x/1/y/2/3/end:go") == (
        "/{a=x/*}/y/{b.c=**}/end:go",
        [((b"a",), b"x/1"), ((b"b", b"c"), b"2/3")],
    )


def test_query_parameters() -> None:
    made = matcher("/a", ignored="key", plus=True)
    result = found(made, "/a", "b.c=1+2%2B&key=x&=y&d&e=&b.c=3&%6Bey=4")
    assert result is not None
    assert result[1] == [((b"b", b"c"), b"1 2+"), ((b"e",), b""), ((b"b", b"c"), b"3"), ((b"%6Bey",), b"4")]


def test_verbs_that_nobody_registered() -> None:
    assert found(matcher("/{id}"), "/1:go") == ("/{id}", [((b"id",), b"1:go")])
    assert found(matcher("/{id}", any_verb=True), "/1:go") is None


@pytest.mark.parametrize(
    "path",
    ["", "a", "/a//b", "/a/", "/**/**", "/**/*", "/**/{a}", "/{a={b}}", "/{a", "/{}", "/{a.}", "/{a=}", "/a:", "/a:b:c",
     "/a:b/c", "/*a", "/{a}b", "/a}"],
)  # fmt: skip
def test_malformed_templates(path: str) -> None:
    assert not PathMatcher(0, False, False, frozenset()).register(b"GET", path.encode(), (), None)


def test_many_slashes_cost_no_stack() -> None:
    made = matcher("/a/**/b", "/**")
    assert found(made, "/a" + "/x" * 50_000) == ("/**", [])
