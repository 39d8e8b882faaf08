"""The table: medians per peer, ratios to Envoy as the median of the per-round ratios, and the targets' verdicts."""

from statistics import median
from typing import Any

from benchmarks.runner import Series
from benchmarks.scenarios import IDLE_TLS_TARGET, START_TIME_TARGET, Scenario

Results = list[tuple[Scenario, dict[str, Series]]]

REFERENCE = "envoy"
SUBJECT = "proxeny"


def ratio(ours: list[float], theirs: list[float]) -> float | None:
    """Median of the rounds' ratios."""
    pairs = [one / other for one, other in zip(ours, theirs, strict=False) if other]
    return median(pairs) if pairs else None


def verdicts(results: Results) -> list[dict[str, Any]]:
    """One entry per target: name, what was reached, the limit, pass or not (None: not measured)."""
    found = []
    for scenario, series in results:
        ours, theirs = series.get(SUBJECT, Series()), series.get(REFERENCE, Series())
        if scenario.target is not None:
            reached = ratio(ours.cpu_us, theirs.cpu_us)
            found.append(_verdict(f"{scenario.name}: CPU per request / Envoy's", reached, scenario.target))
        if scenario.p99_target:
            reached = _middle(ours.p99_ms)
            found.append(_verdict(f"{scenario.name}: p99 ms", reached, _middle(theirs.p99_ms)))
        if scenario.kind == "idle" and scenario.shape.tls:
            reached = ratio(_grown(ours), _grown(theirs))
            found.append(_verdict(f"{scenario.name}: memory per connection / Envoy's", reached, IDLE_TLS_TARGET))
        elif scenario.kind == "idle":
            reached = _middle(ours.start_pss_mb)
            found.append(
                _verdict("memory at start: PSS, MB (limit: Envoy's RSS)", reached, _middle(theirs.start_rss_mb))
            )
        if scenario.kind == "start":
            reached = ratio(ours.start_s, theirs.start_s)
            found.append(_verdict(f"{scenario.name}: time to the first 200 / Envoy's", reached, START_TIME_TARGET))
            found.append(
                _verdict(f"{scenario.name}: PSS, MB (limit: Envoy's RSS)", _middle(ours.pss_mb), _middle(theirs.rss_mb))
            )
    return found


def _grown(one: Series) -> list[float]:
    """MB since the start."""
    return [after - before for after, before in zip(one.pss_mb, one.start_pss_mb, strict=False)]


def _verdict(name: str, reached: float | None, limit: float | None) -> dict[str, Any]:
    passed = None if reached is None or limit is None else reached <= limit
    return {"target": name, "reached": reached, "limit": limit, "pass": passed}


def _middle(values: list[float]) -> float | None:
    return median(values) if values else None


def markdown(results: Results, machine: dict[str, str]) -> str:
    """The whole report."""
    lines = ["# Benchmark", "", *[f"- {key}: {value}" for key, value in machine.items()], ""]
    head = [
        "scenario",
        "proxy",
        "CPU µs/request",
        "ratio to Envoy",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "RSS MB",
        "PSS MB",
        "start s",
    ]
    rows = [head]
    for scenario, series in results:
        rows += [_row(scenario, name, one, series.get(REFERENCE, Series())) for name, one in series.items()]
    lines += _table(rows)
    lines += ["", "## Targets", ""]
    rows = [["target", "reached", "limit", "verdict"]]
    for entry in verdicts(results):
        word = {True: "pass", False: "MISS", None: "not measured"}[entry["pass"]]
        rows.append([entry["target"], _number(entry["reached"], 3), _number(entry["limit"], 3), word])
    lines += _table(rows)
    errors = [
        f"- {scenario.name}, {name}: {one.error}"
        for scenario, series in results
        for name, one in series.items()
        if one.error
    ]
    if errors:
        lines += ["", "## Errors", "", *errors]
    return "\n".join(lines) + "\n"


def _row(scenario: Scenario, name: str, one: Series, reference: Series) -> list[str]:
    compared = (one.start_s, reference.start_s) if scenario.kind == "start" else (one.cpu_us, reference.cpu_us)
    if scenario.kind == "idle":
        compared = (one.pss_mb, reference.pss_mb)
    return [
        scenario.title,
        name + (" (failed)" if one.error else ""),
        _number(_middle(one.cpu_us), 1),
        _number(ratio(*compared), 3),
        _number(_middle(one.per_second), 0),
        _number(_middle(one.p50_ms), 2),
        _number(_middle(one.p99_ms), 2),
        _number(_middle(one.rss_mb), 1),
        _number(_middle(one.pss_mb), 1),
        _number(_middle(one.start_s), 3),
    ]


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return lines


def as_json(results: Results, machine: dict[str, str]) -> dict[str, Any]:
    """Everything measured, round by round."""
    rounds = {
        scenario.name: {
            name: {slot: getattr(one, slot) for slot in Series.__slots__}
            | {"ratio": ratio(one.cpu_us, series.get(REFERENCE, Series()).cpu_us)}
            for name, one in series.items()
        }
        for scenario, series in results
    }
    return {"machine": machine, "scenarios": rounds, "targets": verdicts(results)}
