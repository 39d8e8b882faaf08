"""The filter: whose configuration counts, which host is asked for, what is counted."""

from __future__ import annotations

import base64
from types import SimpleNamespace
from typing import Any

import pytest
from envoy.extensions.filters.http.stateful_session.v3 import stateful_session_pb2
from envoy.extensions.http.stateful_session.header.v3 import header_pb2  # noqa: F401 - known to Any from here on
from google.protobuf.json_format import ParseDict

from proxeny.config.errors import ConfigError
from proxeny.extensions import install
from proxeny.extensions.http_filters.stateful_session import FACTORY, FLAG_UH, STATEFUL_SESSION
from proxeny.kernel.headers import HeaderMap
from proxeny.network.factory_context import FactoryContext
from proxeny.stats.store import MainStore
from proxeny.upstream.override_host import OverrideHost

ADDRESS = "127.0.0.1:80"
STATE = {
    "name": "envoy.http.stateful_session.header",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState",
        "name": "x-s",
    },
}


@pytest.fixture(autouse=True)
def registered() -> None:
    install()


class World:
    def __init__(self, **fields: Any) -> None:
        self.context = FactoryContext("main", MainStore())
        config = ParseDict(
            {"stat_prefix": "p", "session_state": STATE, **fields}, stateful_session_pb2.StatefulSession()
        )
        self.factory = FACTORY.create_filter_factory(config, "http.h.", self.context)

    def route(self, **fields: Any) -> Any:
        config = ParseDict(fields, stateful_session_pb2.StatefulSessionPerRoute())
        return FACTORY.create_route_config(config, self.context)

    def run(self, asked: str, got: str, route: Any = None, flags: int = 0) -> tuple[Any, HeaderMap]:
        """The host that is asked for, and the headers of a response from the host ``got``."""
        filter_ = self.factory.create()
        host = SimpleNamespace(address=SimpleNamespace(as_string=lambda: got)) if got else None
        info = SimpleNamespace(override_host=None, upstream_host=host, flags=flags)
        callbacks: Any = SimpleNamespace(stream_info=info, per_filter_config=lambda: route)
        filter_.decoder_callbacks = filter_.encoder_callbacks = callbacks
        pairs = ((b"x-s", base64.b64encode(asked.encode())),) if asked else ()
        filter_.decode_headers(HeaderMap(pairs), True)
        response = HeaderMap()
        filter_.encode_headers(response, True)
        return info.override_host, response

    def counted(self, prefix: str = "http.h.stateful_session.p.") -> dict[str, int]:
        block = self.context.stats.block(STATEFUL_SESSION, prefix)
        return {name: block.get(slot) for slot, name in enumerate(STATEFUL_SESSION.counters) if block.get(slot)}


def test_the_sessions_host_is_asked_for() -> None:
    world = World()
    assert world.run(ADDRESS, ADDRESS)[0] == OverrideHost(ADDRESS, False)
    assert world.counted() == {"routed": 1}


def test_a_new_host_is_told() -> None:
    world = World()
    _, response = world.run(ADDRESS, "127.0.0.1:81")
    assert response.get(b"x-s") == base64.b64encode(b"127.0.0.1:81")
    assert world.counted() == {"failed_open": 1}


def test_strict() -> None:
    world = World(strict=True)
    assert world.run(ADDRESS, "", flags=FLAG_UH)[0] == OverrideHost(ADDRESS, True)
    assert world.counted() == {"failed_closed": 1}


def test_without_state_nothing_is_asked() -> None:
    world = World(session_state=None)
    assert world.run(ADDRESS, ADDRESS)[0] is None
    assert world.counted() == {"no_session": 1}


def test_a_route_switches_it_off() -> None:
    world = World()
    asked, response = world.run(ADDRESS, "127.0.0.1:81", world.route(disabled=True))
    assert (asked, len(response), world.counted()) == (None, 0, {})


def test_a_routes_own() -> None:
    world = World()
    route = world.route(stateful_session={"strict": True, "stat_prefix": "r", "session_state": STATE})
    assert world.run(ADDRESS, ADDRESS, route)[0] == OverrideHost(ADDRESS, True)
    assert (world.counted(), world.counted("stateful_session.r.")) == ({}, {"routed": 1})


def test_unknown_states_are_refused() -> None:
    with pytest.raises(ConfigError, match="Didn't find a registered implementation for name: 'x'"):
        World(session_state={"name": "x", "typed_config": STATE["typed_config"]})
