"""Failed requests as text and JSON, and which of them are shown."""

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from proxeny.config.errors import ConfigError
from proxeny.explain.recent import as_json, as_text, printable, recent_failures
from proxeny.http.recent_failures import FailedRequest
from proxeny.network.factory_context import FactoryContext
from proxeny.server.failure_log import FailureLog
from proxeny.stats.store import MainStore

REQUEST = FailedRequest(
    1_700_000_000.5, 1, "web", "main", "ingress", "10.0.0.1:5", "10.0.0.2:80", "", "HTTP/1.1", "GET", "http", "a.test",
    "/p", [("x", "y")], 503, "UF,URX", "details", True, "host", "route", "cluster", "10.0.0.3:80", 2,
    "delayed_connect_error", "", 3, 4, 12_345, 10, 20, -1, 7,
)  # fmt: skip


@pytest.fixture
def world() -> Any:
    return SimpleNamespace(context=FactoryContext("main", MainStore()), listeners=lambda: [])


def changed(**fields: Any) -> FailedRequest:
    return msgspec.structs.replace(REQUEST, **fields)


def test_a_story(world: Any) -> None:
    text = as_text(recent_failures([REQUEST], {}, world))
    assert text.splitlines() == [
        "2023-11-14T22:13:20.500Z GET http://a.test/p: 503 UF,URX details",
        "   from 10.0.0.1:5 to 10.0.0.2:80, listener 'web', filter chain 'main' (worker 1)",
        "   virtual host 'host', route 'route', cluster 'cluster', host 10.0.0.3:80",
        "   2 attempts: delayed_connect_error",
        "   12.3 ms, request at 0.0, upstream at 0.0; 3 bytes received, 4 sent",
        "   headers: x: y",
    ]
    (value,) = as_json(recent_failures([REQUEST], {}, world))
    assert (value["time"], value["code"], value["headers"], value["no_route"]) == (
        "2023-11-14T22:13:20.500Z",
        503,
        [["x", "y"]],
        None,
    )
    assert as_text([]) == "no failed requests\n"


def test_no_route_when_the_listener_is_gone(world: Any) -> None:
    request = changed(flags="NR", route_found=False, code=404, method="", headers=[])
    text = as_text(recent_failures([request], {}, world))
    assert "its listener has no such route configuration any more" in text
    assert "(no whole request): 404 NR details" in text


def test_filters(world: Any) -> None:
    requests = [changed(code=code, flags=flags) for code, flags in ((503, "UH"), (404, "NR"), (0, "DC"), (500, "-"))]

    def codes(**parameters: str) -> list[int]:
        return [failure.request.code for failure in recent_failures(requests, parameters, world)]

    assert codes() == [503, 404, 0, 500]
    assert codes(code="503") == [503]
    assert codes(code="5XX") == [503, 500]
    assert codes(code="0") == [0]
    assert codes(flag="dc") == [0]
    assert codes(limit="2") == [503, 404]
    assert codes(host="b.test") == []
    assert codes(route="route", listener="web", cluster="cluster", host="a.test") == [503, 404, 0, 500]
    for bad in ({"code": "5x"}, {"code": "99"}, {"limit": "x"}, {"limit": "9999999"}):
        with pytest.raises(ConfigError):
            recent_failures(requests, bad, world)


def test_what_clients_sent_commands_no_terminal() -> None:
    assert printable("a\x1b[1m\x9b\té") == "a\\x1b[1m\\x9b\\x09é"


def test_the_log_is_a_ring_for_each_worker() -> None:
    log = FailureLog()
    log.add(0, [changed(time=float(second)) for second in range(250)])
    log.add(1, [changed(time=1000.0, worker=1)])
    kept = log.newest_first()
    assert len(kept) == 101
    assert [one.time for one in kept[:2]] == [1000.0, 249.0]
    assert kept[-1].time == 150.0
