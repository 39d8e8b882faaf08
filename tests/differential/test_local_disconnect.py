"""Requests that end because their listener or filter chain goes: what the access log says of them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.differential.lds import Json, Side, http, listener
from tests.differential.proxies import ENVOY, PROXENY
from tests.differential.upstream import NEVER, Answer

HALF = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"
FORMAT = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% %BYTES_SENT%\n"
COUNTERS = r"^http\.web\.downstream_(rq_(active|completed|rx_reset|tx_reset)|cx_destroy.*)$"


def forwarding(side: Side, timeout: str = "0s") -> Json:
    """A chain that forwards every request, and logs it."""
    chain = http()
    manager = chain["filters"][0]["typed_config"]
    [host] = manager["route_config"]["virtual_hosts"]
    host["routes"] = [{"match": {"prefix": "/"}, "route": {"cluster": "up", "timeout": timeout}}]
    manager["access_log"] = [
        {
            "name": "log",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                "path": str(side.proxy.log_path("web")),
                "log_format": {"text_format_source": {"inline_string": FORMAT}},
            },
        }
    ]
    return chain


def gone(side: Side) -> None:
    """The listener is removed."""
    side.put()


def replaced(side: Side) -> None:
    """Its only chain is replaced."""
    side.put(listener("one", "A", forwarding(side, "1s")))


@pytest.mark.parametrize("answer", [(NEVER,), (HALF, NEVER)], ids=["waiting", "answering"])
@pytest.mark.parametrize("end", [gone, replaced], ids=lambda end: end.__name__)
def test_request_under_way(end: Callable[[Side], None], answer: Answer, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(_transcript, kind, end, answer, tmp_path / kind) for kind in (ENVOY, PROXENY)]
        envoy, proxeny = (run.result() for run in runs)
    assert any("downstream_local_disconnect" in line for line in envoy)
    assert proxeny == envoy


def _transcript(kind: str, end: Callable[[Side], None], answer: Answer, folder: Path) -> list[str]:
    side = Side(kind, folder, ("--drain-time-s", "1"), "lds_forwarding")
    try:
        upstream = side.proxy.upstreams["up"]
        upstream.begin([answer], None)
        side.put(listener("one", "A", forwarding(side)))
        client = side.connect("A")
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert upstream.wait_for(lambda upstream: len(upstream.seen) == 1)
        if len(answer) > 1:
            side.note(f"client < {client.recv(1000)[:12]!r}")
        end(side)
        side.drained()
        side.note(f"client < {client.recv(1000)!r}")
        log = side.proxy.log_path("web")
        side.wait_until(lambda: log.exists() and log.read_text().endswith("\n"))
        side.note(log.read_text())
        for name, value in side.proxy.stats(COUNTERS).items():
            side.note(f"{name} {value}")
        return side.lines
    finally:
        side.close()
