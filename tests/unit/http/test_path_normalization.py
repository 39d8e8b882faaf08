from __future__ import annotations

import pytest

from proxeny.http.path_normalization import (
    EscapedSlashes,
    NormalizePathAction,
    PathNormalizer,
    canonicalize,
    merge_slashes,
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/a/b", b"/a/b"),
        (b"/a/../b", b"/b"),
        (b"/a/./b/", b"/a/b/"),
        (b"/a/b/..", b"/a/"),
        (b"/..", b"/"),
        (b"/../../x", b"/x"),
        (b"/%2e%2e/x", b"/x"),
        (b"/%61bc", b"/abc"),
        (b"/a%2Fb", b"/a%2Fb"),
        (b"/x\\..\\y", b"/y"),
        (b"/x/..;a=b/admin", b"/admin"),
        (b"/a/../b?x=/../y", b"/b?x=/../y"),
        (b"/a\0", None),
        (b"/a%00", None),
    ],
)
def test_canonicalize(path: bytes, expected: bytes | None) -> None:
    assert canonicalize(path) == expected


def test_merge_slashes_spares_the_query() -> None:
    assert merge_slashes(b"//a///b//?c=//") == b"/a/b/?c=//"


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (EscapedSlashes.KEEP_UNCHANGED, (b"/a%2Fb", NormalizePathAction.CONTINUE)),
        (EscapedSlashes.REJECT_REQUEST, (b"/a/b", NormalizePathAction.REJECT)),
        (EscapedSlashes.UNESCAPE_AND_REDIRECT, (b"/a/b", NormalizePathAction.REDIRECT)),
        (EscapedSlashes.UNESCAPE_AND_FORWARD, (b"/a/b", NormalizePathAction.CONTINUE)),
    ],
)
def test_escaped_slashes(action: EscapedSlashes, expected: tuple[bytes, NormalizePathAction]) -> None:
    assert PathNormalizer(False, False, action).apply(b"/a%2Fb") == expected
