"""Session states: what requests say, what responses say; hostile values."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from envoy.extensions.http.stateful_session.cookie.v3.cookie_pb2 import CookieBasedSessionState
from google.protobuf.json_format import ParseDict

from proxeny.config.errors import ConfigError
from proxeny.extensions.http.stateful_session.cookie import COOKIE, CookieSessionStates
from proxeny.extensions.http.stateful_session.envelope import EnvelopeSessionStates
from proxeny.extensions.http.stateful_session.header import HeaderSessionStates
from proxeny.kernel.headers import HeaderMap

ADDRESS = "127.0.0.1:80"


def encoded(data: bytes) -> bytes:
    return base64.b64encode(data)


def cookies(now: float = 1000.0, **cookie: Any) -> CookieSessionStates:
    config = ParseDict({"cookie": {"name": "s", **cookie}}, CookieBasedSessionState())
    return CookieSessionStates(config, lambda: now)


def asked(states: Any, *headers: tuple[bytes, bytes], path: bytes = b"/") -> Any:
    return states.create(HeaderMap(((b":path", path), *headers)))


def test_header_round_trip() -> None:
    states = HeaderSessionStates(b"x-s")
    response = HeaderMap()
    assert asked(states).on_update(ADDRESS, response)
    again = asked(states, (b"x-s", response.get(b"x-s") or b""))
    assert again.address == ADDRESS
    later = HeaderMap()
    assert not again.on_update(ADDRESS, later)
    assert len(later) == 0


@pytest.mark.parametrize("value", [b"", b"!", b"YQ", b"YR==", b"Y Q==", b"YQ==\xff", b"===="])
def test_what_is_no_base64_is_no_address(value: bytes) -> None:
    assert asked(HeaderSessionStates(b"x-s"), (b"x-s", value)).address == ""
    assert asked(cookies(), (b"cookie", b"s=" + value)).address == ""


def test_cookie_round_trip_with_expiry() -> None:
    made = HeaderMap()
    assert asked(cookies(ttl="10s", path="/a"), path=b"/a").on_update(ADDRESS, made)
    crumb, *attributes = (made.get(b"set-cookie") or b"").split(b"; ")
    assert attributes == [b"Max-Age=10", b"Path=/a", b"HttpOnly"]
    assert asked(cookies(now=1010.9), (b"cookie", crumb)).address == ADDRESS
    assert asked(cookies(now=1011.0), (b"cookie", crumb)).address == ""


def test_cookie_of_the_address_alone() -> None:
    assert asked(cookies(), (b"cookie", b"s=" + encoded(ADDRESS.encode()))).address == ADDRESS


@pytest.mark.parametrize(
    ("own", "path", "has_session"),
    [
        ("", b"/x", True),
        ("/", b"x", True),
        ("/a", b"/a", True),
        ("/a", b"/a/b", True),
        ("/a", b"/a?b", True),
        ("/a", b"/a#b", True),
        ("/a", b"/ab", False),
        ("/a", b"/", False),
        ("/a/", b"/a", False),
        ("/a/", b"/a/b", True),
    ],
)
def test_paths_of_cookies(own: str, path: bytes, has_session: bool) -> None:
    assert (asked(cookies(path=own), path=path) is not None) is has_session


def test_a_cookie_needs_a_name() -> None:
    with pytest.raises(ConfigError, match="Cookie key cannot be empty"):
        cookies(name="")


def test_unknown_fields_of_a_cookie_are_passed_over() -> None:
    message = COOKIE(address=ADDRESS).SerializeToString() + b"\x1a\x01x"
    assert asked(cookies(), (b"cookie", b"s=" + encoded(message))).address == ADDRESS


def test_envelope_round_trip() -> None:
    states = EnvelopeSessionStates(b"x-e")
    response = HeaderMap(((b"x-e", b"inner"),))
    assert asked(states).on_update(ADDRESS, response)
    request = HeaderMap(((b":path", b"/"), (b"x-e", response.get(b"x-e") or b"")))
    state = states.create(request)
    assert (state.address, request.get(b"x-e")) == (ADDRESS, b"inner")


@pytest.mark.parametrize("value", [b"", b";", b"MQ==", b"MQ==;UV:", b"MQ==;UV:!", b"UV:MQ==", b"MQ==;uv:MQ=="])
def test_what_is_no_envelope_stays_as_it_is(value: bytes) -> None:
    request = HeaderMap(((b":path", b"/"), (b"x-e", value)))
    assert EnvelopeSessionStates(b"x-e").create(request).address == ""
    assert request.get(b"x-e") == value


def test_only_one_header_of_the_upstream_is_packed() -> None:
    response = HeaderMap(((b"x-e", b"one"), (b"x-e", b"two")))
    EnvelopeSessionStates(b"x-e").create(HeaderMap()).on_update(ADDRESS, response)
    assert response.get_all(b"x-e") == [b"one", b"two"]
