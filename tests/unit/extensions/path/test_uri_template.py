"""URI templates; verdicts and matches asked of Envoy 1.40."""

import pytest

from proxeny.config.errors import ConfigError
from proxeny.extensions.path.uri_template import REWRITE, UriTemplate, parse_rewrite
from proxeny.matcher.regex import CompiledRegex


def matches(template: str, path: bytes) -> bool:
    regex = UriTemplate(template).regex
    return regex is not None and CompiledRegex(regex).match(path)


@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        ("/users/{id}", b"/users/me;a=b", True),
        ("/users/{id}", b"/users/", False),
        ("/users/{id}", b"/users/a/b", False),
        ("/users/{id}", b'/users/"', False),
        ("/files/**", b"/files/", True),
        ("/files/**", b"/files/a//b", True),
        ("/files/**", b"/files", False),
        ("/f/*.js", b"/f/a.js", True),
        ("/f/*.js", b"/f/.js", False),
        ("/a{x}b/c", b"/a12b/c", True),
        ("/a*b", b"/aab", True),
        ("/a*b", b"/a*b", False),
        ("/b.c+d($)", b"/b.c+d($)", True),
        ("/b.c", b"/bxc", False),
        ("/g/", b"/g/", True),
        ("/g/", b"/g", False),
        ("/{x=a/*}/**", b"/a/b/c/d", True),
        ("/***", b"/anything", False),
    ],
)
def test_match(template: str, path: bytes, expected: bool) -> None:
    assert matches(template, path) is expected


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("a", 'Invalid pattern: "a"'),
        ("/é", 'Invalid pattern: "/é"'),
        ("/a b", 'Invalid pattern: "/a b"'),
        ("/a//b", 'Invalid literal: ""'),
        ("/a?b", 'Invalid literal: "a?b"'),
        ("/a{b", 'Invalid literal: "a{b"'),
        ("/a}b{c}", 'Invalid prefix literal: "a}b"'),
        ("/a{b}c}", 'Invalid suffix literal: "c}"'),
        ("/{x", 'Unmatched variable bracket in mixed pattern: "{x"'),
        ("/{x}/{x}", 'Repeated variable name: "x"'),
        ("/{1a}", 'Invalid variable name: "1a"'),
        ("/{abcdefghijklmnopq}", "Invalid variable name length"),
        ("/{a}/{b}/{c}/{d}/{e}/{f}", "Exceeded variable count limit (5)"),
        ("/{x=}", "Empty variable match"),
        ("/{x=*a}", 'Invalid variable match: "a"'),
        ("/{x=a/}", 'Invalid variable match: "/"'),
        ("/**/*", "Glob after text glob."),
        ("/{x=**}/{y}", "Implicit variable path glob after text glob."),
        ("/**a/b", "Prefix match not supported."),
    ],
)
def test_refused(template: str, reason: str) -> None:
    with pytest.raises(ConfigError) as error:
        UriTemplate(template)
    assert str(error.value).startswith(reason)


class Message:
    def __init__(self, template: str) -> None:
        self.path_template_rewrite = template


def rewritten(template: str, rewrite: str, path: bytes) -> bytes | None:
    rewriter = REWRITE.create_rewriter(Message(rewrite), UriTemplate(template), None)  # type: ignore[arg-type]
    return rewriter.rewrite(path)


def test_rewrite() -> None:
    assert rewritten("/{a}/{b}", "/s/{b}/{a}", b"/1/2") == b"/s/2/1"
    assert rewritten("/r/{x=**}", "/s{x}", b"/r/") == b"/s"
    assert rewritten("/{x}", "/{x}-{x}", b"/1") == b"/1-1"
    assert rewritten("/{x}", "/*", b"/1") == b"/*"
    assert rewritten("/{x}", "/{x}", b"/changed/since") is None
    assert rewritten("/***", "/a", b"/***") is None


@pytest.mark.parametrize("template", ["b/{x}", "/b//{x}", "/b/{x", "/{x=a}", "/b?c", "{x}"])
def test_a_bad_rewrite(template: str) -> None:
    with pytest.raises(ConfigError, match=r"path_rewrite_policy.path_template_rewrite .* is invalid"):
        parse_rewrite(template)


def test_a_rewrite_fits_its_template() -> None:
    with pytest.raises(ConfigError, match=r"mismatch between variables in path_match_policy /{x} and .* /{y}"):
        rewritten("/{x}", "/{y}", b"/1")
    with pytest.raises(ConfigError, match=r"unable to use .*uri_template_rewriter extension without"):
        REWRITE.create_rewriter(Message("/a"), None, None)  # type: ignore[arg-type]
