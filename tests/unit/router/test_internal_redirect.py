"""Policies of internal redirects, and the URLs that can be followed."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.route.v3.route_components_pb2 import RouteAction
from google.protobuf.json_format import ParseDict

from proxeny.config.errors import ConfigError
from proxeny.router.internal_redirect import _URL, InternalRedirectPolicy, compile_internal_redirect


def policy(**fields: Any) -> InternalRedirectPolicy | None:
    return compile_internal_redirect(ParseDict(fields, RouteAction()))


def test_defaults() -> None:
    made = policy(internal_redirect_policy={})
    assert made is not None
    assert (made.max_redirects, made.codes, made.allows_cross_scheme) == (1, {302}, False)


def test_codes_that_are_no_redirects_are_left_out() -> None:
    made = policy(internal_redirect_policy={"redirect_response_codes": [200, 307]})
    assert made is not None
    assert made.codes == {307}


def test_the_older_spelling() -> None:
    assert policy() is None
    assert policy(internal_redirect_action="PASS_THROUGH_INTERNAL_REDIRECT") is None
    made = policy(internal_redirect_action="HANDLE_INTERNAL_REDIRECT", max_internal_redirects=4)
    assert made is not None
    assert made.max_redirects == 4


@pytest.mark.parametrize("name", ["host", "Host", ":path"])
def test_some_headers_are_not_copied(name: str) -> None:
    with pytest.raises(ConfigError, match=":-prefixed headers or Hosts may not be specified here"):
        policy(internal_redirect_policy={"response_headers_to_copy": [name]})


@pytest.mark.parametrize(
    ("location", "host", "rest"),
    [
        (b"http://a", b"a", b""),
        (b"https://a:1/b?c#d", b"a:1", b"/b?c#d"),
        (b"http://u:p@a.b-c_d/", b"a.b-c_d", b"/"),
        (b"http://[::1]:80?x", b"[::1]:80", b"?x"),
    ],
)
def test_urls(location: bytes, host: bytes, rest: bytes) -> None:
    found = _URL.fullmatch(location)
    assert found is not None
    assert (found[2], found[4]) == (host, rest)


@pytest.mark.parametrize("location", [b"/a", b"a/b", b"//a/", b"http://", b"http:///a", b"http://a b", b"http://a:x/"])
def test_no_urls(location: bytes) -> None:
    assert _URL.fullmatch(location) is None


def test_long_locations_are_judged_at_once() -> None:
    for text in (b"a" * 200_000, b":" * 200_000, b"a:" * 100_000, b"/" * 200_000, b"a@" * 100_000):
        assert _URL.fullmatch(b"http://" + text + b" ") is None
