"""Rewrites of paths and hosts."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.route.v3.route_components_pb2 import RouteAction
from google.protobuf.json_format import ParseDict

from proxeny.config.errors import ConfigError
from proxeny.kernel.headers import HeaderMap
from proxeny.network.address import ip_address
from proxeny.network.stream_info import ConnectionInfo, StreamInfo
from proxeny.router.path_rewrite import HostRewrite, PathRewrite, TemplateRewrite


def request(path: bytes = b"/old?q", *pairs: tuple[bytes, bytes]) -> HeaderMap:
    return HeaderMap(((b":path", path), (b":authority", b"a.test"), *pairs))


def info() -> StreamInfo:
    address = ip_address("127.0.0.1", 80)
    return StreamInfo(ConnectionInfo(address, address, 1), 0.0, 0)


def action(**fields: Any) -> Any:
    return ParseDict(fields, RouteAction())


def regex(pattern: str, substitution: str) -> PathRewrite:
    made = PathRewrite.compile(action(regex_rewrite={"pattern": {"regex": pattern}, "substitution": substitution}))
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("pattern", "substitution", "expected"),
    [
        ("^/(o)(ld)$", "/\\2\\1", b"/ldo?q"),
        ("^/old$", "\\9", b"/old?q"),
        ("l", "\\", b"/old?q"),
        (".*", "", b"/old?q"),
        ("o|l", "xx", b"/xxxxd?q"),
    ],
)
def test_regex_rewrites(pattern: str, substitution: str, expected: bytes) -> None:
    headers = request()
    regex(pattern, substitution).apply(headers, -1, True, info())
    assert headers.get(b":path") == expected


def test_a_template_replaces_the_path_and_keeps_the_query() -> None:
    headers = request(b"/old?q", (b"x-a", b"v"))
    TemplateRewrite("/new/%REQ(x-a)%%REQ(x-no)%").apply(headers, -1, True, info())
    assert headers.get(b":path") == b"/new/v?q"
    assert headers.get(b"x-envoy-original-path") == b"/old?q"


def test_an_empty_template_leaves_everything_as_it_is() -> None:
    headers = request()
    TemplateRewrite("%REQ(x-no)%").apply(headers, -1, True, info())
    assert headers == request()


def test_a_host_template_says_what_is_missing() -> None:
    headers = request()
    HostRewrite(action(host_rewrite="%REQ(x-no)%.test", append_x_forwarded_host=True)).apply(headers, True, info())
    assert headers.get(b":authority") == b"-.test"
    assert headers.get(b"x-forwarded-host") == headers.get(b"x-envoy-original-host") == b"a.test"


@pytest.mark.parametrize(("field", "what"), [("path_rewrite", "path"), ("host_rewrite", "host")])
def test_templates_are_checked(field: str, what: str) -> None:
    with pytest.raises(ConfigError, match=f"Failed to create {what} rewrite formatter: "):
        if what == "path":
            TemplateRewrite("%NOPE%")
        else:
            HostRewrite(action(host_rewrite="%NOPE%"))
