"""A view as tables for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from proxeny.top.view import ClusterRow, HostRow, HttpRow, ListenerRow, View, XdsRow

VIEWS: Final = ("overview", "listeners", "http", "clusters", "hosts", "xds")
SORTS: Final = ("rate", "errors", "latency", "name")
_FEW: Final = 8
"""Rows per table of the overview."""

Row = Any
_Cells = Callable[[Row], Sequence[str | Text]]


def render(view: View, shown: str, sort: str, rows: int, notice: str = "") -> RenderableType:
    """The tables that fit in ``rows`` lines."""
    parts: list[RenderableType] = [_headline(view, sort, notice)]
    for name in VIEWS[1:] if shown == "overview" else (shown,):
        found = _ROWS[name](view)
        if name == "xds" and shown == "overview" and not found:
            continue
        room = _FEW if shown == "overview" else max(rows - 5, 1)
        parts.append(_table(name, _sorted(found, sort), room))
    return Group(*parts)


def _headline(view: View, sort: str, notice: str) -> Text:
    text = Text(f"{view.version.split('/')[0][:12]} {view.state} up {view.uptime}", style="bold")
    text.append(
        f"   {_rate(sum(row.rq_rate for row in view.http))} rq/s"
        f"   {sum(row.cx_active for row in view.listeners)} cx"
        f"   {sum(row.healthy for row in view.clusters)}/{sum(row.hosts for row in view.clusters)} hosts healthy"
        f"   sorted by {sort}",
        style="not bold",
    )
    if notice:
        text.append(f"   {notice}", style="bold red")
    return text


def _table(name: str, rows: Sequence[Row], room: int) -> Table:
    headings, cells = _TABLES[name]
    left = len(rows) - room
    title = f"{name} ({len(rows)})" + (f", {left} more not shown" if left > 0 else "")
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, expand=False)
    for heading in headings:
        is_text = heading in _TEXTS
        table.add_column(heading, justify="left" if is_text else "right", no_wrap=True, overflow="ellipsis")
    for row in rows[:room]:
        table.add_row(*cells(row))
    return table


def _sorted(rows: Sequence[Row], sort: str) -> list[Row]:
    return sorted(rows, key=_KEYS[sort])


def _name(row: Row) -> str:
    return f"{row.cluster} {row.address}" if isinstance(row, HostRow) else str(row.name)


def _often(row: Row) -> float:
    return float(row.updates_rate if isinstance(row, XdsRow) else row.rq_rate)


def _errors(row: Row) -> float:
    if isinstance(row, XdsRow):
        return float(row.rejected + row.failed)
    if isinstance(row, HostRow):
        return row.errors_rate + row.connect_fails_rate
    if isinstance(row, ClusterRow):
        return row.errors_rate + row.rate_5xx
    return float(row.rate_5xx if isinstance(row, HttpRow) else row.rejected_rate)


def _latency(row: Row) -> float:
    values = getattr(row, "latency_ms", [None])
    return float(values[-1] or 0.0)


_KEYS: Final[dict[str, Callable[[Row], Any]]] = {
    "rate": lambda row: (-_often(row), _name(row)),
    "errors": lambda row: (-_errors(row), -_often(row), _name(row)),
    "latency": lambda row: (-_latency(row), -_often(row), _name(row)),
    "name": _name,
}


# -- cells -------------------------------------------------------------------------------------------------------


def _rate(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:.1f}M"
    if value >= 1e4:
        return f"{value / 1e3:.1f}k"
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"


def _bad(value: float) -> Text:
    return Text(_rate(value), style="red" if value else "dim")


def _ms(values: Sequence[float | None]) -> list[str]:
    return ["-" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}" for value in values]


def _listener_cells(row: ListenerRow) -> list[str | Text]:
    return [row.name, row.address, str(row.cx_active), _rate(row.cx_rate), _rate(row.rq_rate), _bad(row.rejected_rate)]


def _http_cells(row: HttpRow) -> list[str | Text]:
    return [
        row.name,
        _rate(row.rq_rate),
        str(row.rq_active),
        str(row.cx_active),
        _rate(row.rate_2xx),
        _rate(row.rate_4xx),
        _bad(row.rate_5xx),
        *_ms(row.latency_ms),
    ]


def _cluster_cells(row: ClusterRow) -> list[str | Text]:
    healthy = Text(f"{row.healthy}/{row.hosts}", style="" if row.healthy == row.hosts else "red")
    return [
        row.name,
        healthy,
        _rate(row.rq_rate),
        str(row.rq_active),
        str(row.cx_active),
        _bad(row.rate_5xx),
        _bad(row.errors_rate),
        _rate(row.retries_rate),
        *_ms(row.latency_ms),
        Text(", ".join(row.open_breakers), style="red"),
    ]


def _host_cells(row: HostRow) -> list[str | Text]:
    return [
        row.cluster,
        row.address if not row.hostname else f"{row.address} {row.hostname}",
        Text(row.health, style="green" if row.health == "healthy" else "red"),
        _rate(row.rq_rate),
        str(row.rq_active),
        str(row.cx_active),
        "-" if row.success_percent is None else f"{row.success_percent:.1f}",
        _bad(row.errors_rate),
        _bad(row.timeouts_rate),
        _bad(row.connect_fails_rate),
        str(row.priority),
        str(row.weight),
        row.zone,
    ]


def _xds_cells(row: XdsRow) -> list[str | Text]:
    return [
        row.name,
        row.version,
        _rate(row.updates_rate),
        str(row.updates),
        _bad(row.rejected),
        _bad(row.failed),
        "-" if row.connected is None else Text("yes", style="green") if row.connected else Text("no", style="red"),
    ]


_QUANTILES: Final = ("p50 ms", "p90 ms", "p99 ms")
_TEXTS: Final = ("listener", "address", "manager", "cluster", "host", "health", "zone", "open breakers", "subscription",
                  "version")  # fmt: skip
_TABLES: Final[dict[str, tuple[Sequence[str], _Cells]]] = {
    "listeners": (("listener", "address", "cx", "cx/s", "rq/s", "rejected/s"), _listener_cells),
    "http": (("manager", "rq/s", "active", "cx", "2xx/s", "4xx/s", "5xx/s", *_QUANTILES), _http_cells),
    "clusters": (
        ("cluster", "healthy", "rq/s", "active", "cx", "5xx/s", "errors/s", "retries/s", *_QUANTILES, "open breakers"),
        _cluster_cells,
    ),
    "hosts": (
        ("cluster", "host", "health", "rq/s", "active", "cx", "good %", "errors/s", "timeouts/s", "connect fails/s",
         "priority", "weight", "zone"),
        _host_cells,
    ),
    "xds": (("subscription", "version", "updates/s", "updates", "rejected", "failed", "connected"), _xds_cells),
}  # fmt: skip
_ROWS: Final[dict[str, Callable[[View], Sequence[Row]]]] = {
    "listeners": lambda view: view.listeners,
    "http": lambda view: view.http,
    "clusters": lambda view: view.clusters,
    "hosts": lambda view: view.hosts,
    "xds": lambda view: view.xds,
}
