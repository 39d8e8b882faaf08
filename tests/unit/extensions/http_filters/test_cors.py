"""The CORS filter against policies of one or two levels; the rest is differential."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from envoy.config.route.v3.route_components_pb2 import CorsPolicy as Message
from google.protobuf.json_format import ParseDict

from proxeny.extensions.http_filters.cors import CONTINUE, NAME, ORIGIN_INVALID, ORIGIN_VALID, STOP, Cors, CorsConfig
from proxeny.kernel.headers import HeaderMap
from proxeny.network.factory_context import FactoryContext
from proxeny.router.cors_policy import CorsPolicy
from proxeny.stats.store import MainStore

CONTEXT = FactoryContext("main", MainStore())
FULL: dict[str, Any] = {"allow_origin_string_match": [{"exact": "http://a"}], "allow_methods": "PUT", "max_age": "1"}


def policy(**fields: Any) -> CorsPolicy:
    return CorsPolicy(ParseDict(fields, Message()), CONTEXT)


class Request:
    """One request through the filter; ``answer`` is what it answered itself."""

    def __init__(self, *policies: CorsPolicy, typed: bool = True, method: bytes = b"GET", origin: bytes = b"http://a"):
        self.config = CorsConfig("http.x.", CONTEXT)
        self.filter = Cors(self.config)
        self.answer: HeaderMap | None = None
        levels = list(policies[::-1])
        older = SimpleNamespace(cors=policies[0] if policies else None)
        route = SimpleNamespace(
            entry=SimpleNamespace(is_direct=False, policy=older),
            virtual_host=SimpleNamespace(cors=policies[1] if len(policies) > 1 else None),
            per_filter_configs=lambda name: levels if typed and name == NAME else [],
        )
        callbacks: Any = SimpleNamespace(route=route, encode_headers=self._answer)
        self.filter.decoder_callbacks = callbacks
        pairs = [(b":method", method), (b"access-control-request-method", b"PUT")]
        self.status = self.filter.decode_headers(HeaderMap([*pairs, (b"origin", origin)]), True)

    def _answer(self, headers: HeaderMap, end_stream: bool, details: str) -> None:
        self.answer = headers

    def response(self) -> HeaderMap:
        headers = HeaderMap(((b":status", b"200"),))
        self.filter.encode_headers(headers, True)
        return headers


def test_without_a_policy_nothing_happens() -> None:
    request = Request()
    assert request.status is CONTINUE
    assert len(request.response()) == 1


def test_a_preflight_is_answered() -> None:
    request = Request(policy(**FULL), method=b"OPTIONS")
    assert request.status is STOP
    assert request.answer is not None
    assert dict(request.answer.items()) == {
        b":status": b"200",
        b"access-control-allow-origin": b"http://a",
        b"access-control-allow-methods": b"PUT",
        b"access-control-max-age": b"1",
    }


@pytest.mark.parametrize("typed", [True, False])
def test_what_a_level_does_not_say_the_next_may(typed: bool) -> None:
    request = Request(policy(**FULL), policy(expose_headers="x", allow_methods="GET"), typed=typed)
    headers = request.response()
    assert headers.get(b"access-control-expose-headers") == b"x"
    assert headers.get(b"access-control-allow-origin") == b"http://a"


def test_origins_are_counted() -> None:
    request = Request(policy(**FULL))
    before = request.config.stats.get(ORIGIN_VALID), request.config.stats.get(ORIGIN_INVALID)
    Request(policy(**FULL), origin=b"http://b")
    Request(policy(**FULL))
    after = request.config.stats.get(ORIGIN_VALID), request.config.stats.get(ORIGIN_INVALID)
    assert (after[0] - before[0], after[1] - before[1]) == (1, 1)


def test_a_policy_that_is_off() -> None:
    off = {"default_value": {"numerator": 0}}
    request = Request(policy(**FULL, filter_enabled=off), method=b"OPTIONS")
    assert request.status is CONTINUE
    assert request.response().get(b"access-control-allow-origin") is None
