"""Anything may be asked about: an explanation is an answer or a refusal in words, never an exception."""

import os
import random
from pathlib import Path
from typing import Any

import pytest

from proxeny import extensions
from proxeny.config.errors import ConfigError
from proxeny.explain import request_render
from proxeny.explain.request import explain_request
from proxeny.explain.request_facts import parse_request_facts
from proxeny.server.configuration import Configuration
from proxeny.server.explain_world import ConfiguredWorld
from proxeny.server.options import options_from
from proxeny.server.validation import load
from proxeny.stats.store import MainStore

EXAMPLE = Path(__file__).parents[2] / "examples" / "route_check" / "envoy.yaml"
ROUNDS = int(os.environ.get("PROXENY_FUZZ_ROUNDS", "300"))
HOSTS = ("shop.example", "shop.example:8080", "[::1]", "a,b", "..", "%00", "x" * 300, "*", "shop.example:", "é", "@")
PATHS = ("/", "/cart", "/cart/../x", "//search", "/%2f..", "/\\", "/search?a=b#c", "/" + "a" * 70_000, "/é", "/%00", "")
METHODS = ("GET", "POST", "CONNECT", "FOO", "get", "", "OPTIONS", "G T")
HEADERS = (
    "x-canary: 1", "Host: other", "Content-Length: 5", "Content-Length: -1", "Transfer-Encoding: chunked",
    "Connection: close, x-canary", "Upgrade: websocket", "Connection: upgrade", "x-forwarded-for: 1.2.3.4, x", "te: x",
    "expect: 100-continue", "x-a_b: c", "x: \xff", "cookie: a=b; c", "grpc-timeout: 1S", "x-envoy-max-retries: +1",
    "content-type: application/grpc", ":path: /x", "x-envoy-upstream-rq-timeout-ms: 99999999999999999999", "é: 1",
)  # fmt: skip


@pytest.fixture(scope="module")
def world() -> Any:
    extensions.install()
    options = options_from(["-c", str(EXAMPLE), "-l", "critical"])
    return ConfiguredWorld(Configuration(load(options), options, MainStore()))


def test_anything_may_be_asked(world: Any) -> None:
    draw = random.Random(11)
    told = 0
    for _ in range(ROUNDS):
        parameters = {
            "url": f"{draw.choice(('http', 'https', 'HTTP'))}://{draw.choice(HOSTS)}{draw.choice(PATHS)}",
            "method": draw.choice(METHODS),
            "src": draw.choice(("", "10.1.1.1", "[::1]:5", "/a/pipe")),
            "listener": draw.choice(("", "web", "none")),
            "body-size": draw.choice(("", "10", "2000000")),
        }
        if draw.random() < 0.1:
            parameters["http10"] = ""
        headers = [draw.choice(HEADERS) for _ in range(draw.randrange(5))]
        try:
            explanation = explain_request(world, parse_request_facts(parameters, headers))
        except ConfigError as refused:
            assert refused.message
            continue
        told += 1
        assert request_render.as_text(explanation).startswith("request ")
        assert request_render.as_json(explanation)["answer"]["text"]
    assert told > ROUNDS // 2
