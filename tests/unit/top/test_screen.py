"""Tables as text."""

from io import StringIO

import pytest
from rich.console import Console

from proxeny.top.screen import VIEWS, render
from proxeny.top.view import ClusterRow, HostRow, HttpRow, ListenerRow, View, XdsRow


def cluster(name: str, rq_rate: float, p99: float | None = None, rate_5xx: float = 0.0) -> ClusterRow:
    return ClusterRow(name, 2, 1, rq_rate, 3, 4, rate_5xx, 0.0, 0.0, [1.0, None, p99], ["default rq"])


VIEW = View(
    "9e5580933739775e/1.40.0/Clean",
    "LIVE",
    "6s",
    2.0,
    [ListenerRow("main", "127.0.0.1:80", 7, 1.0, 2.0, 0.0)],
    [HttpRow("web", 12345.0, 1, 7, 9.25, 0.0, 0.5, [None, None, None])],
    [cluster("slow", 1.0, 900.0), cluster("busy", 50.0, 3.0), cluster("broken", 2.0, None, 2.0)],
    [HostRow("busy", "h:1", "a.test", "failed", 0, 1, "z", 2.0, 0, 1, 0.0, 0.0, 0.0, 99.96)],
    [
        XdsRow("cluster_manager.cds", "v7", 0.5, 9, 1, 0, True),
        XdsRow("sds.key", "v1", 2.0, 3, 0, 0, None),
        XdsRow("listener_manager.lds", "", 0.0, 0, 0, 4, False),
    ],
)


def text(shown: str, sort: str = "rate", rows: int = 50, notice: str = "") -> str:
    out = StringIO()
    Console(file=out, width=200).print(render(VIEW, shown, sort, rows, notice))
    return out.getvalue()


@pytest.mark.parametrize("shown", VIEWS)
def test_every_view(shown: str) -> None:
    lines = text(shown).splitlines()
    assert "LIVE up 6s" in lines[0]
    assert "12.3k rq/s" in lines[0]
    assert "3/6 hosts healthy" in lines[0]
    assert lines[1].strip() == ("listeners (1)" if shown in ("overview", "listeners") else lines[1].strip())


def order(sort: str) -> list[str]:
    lines = text("clusters", sort).splitlines()[3:]
    return [line.split()[0] for line in lines if line.strip()]


def test_sorting() -> None:
    assert order("rate") == ["busy", "broken", "slow"]
    assert order("errors") == ["broken", "busy", "slow"]
    assert order("latency") == ["slow", "busy", "broken"]
    assert order("name") == ["broken", "busy", "slow"]


def test_what_does_not_fit_is_counted() -> None:
    assert "clusters (3), 2 more not shown" in text("clusters", rows=6)


def test_a_notice_is_in_the_headline() -> None:
    assert text("http", notice="no answer from x").splitlines()[0].endswith("no answer from x")


def test_a_host() -> None:
    line = text("hosts").splitlines()[3]
    assert line.split() == ["busy", "h:1", "a.test", "failed", "2", "0", "1", "100.0", "0", "0", "0", "0", "1", "z"]


def test_subscriptions() -> None:
    first, second, third = text("xds").splitlines()[3:]
    assert first.split() == ["sds.key", "v1", "2", "3", "0", "0", "-"]
    assert second.split() == ["cluster_manager.cds", "v7", "0.5", "9", "1", "0", "yes"]
    assert third.split() == ["listener_manager.lds", "0", "0", "0", "4", "no"]
    assert text("xds", "errors").splitlines()[3].startswith("listener_manager.lds")
    assert "xds (3)" in text("overview")
