"""Transcripts: what one side did as lines of text, what in them may differ, and how two of them are judged."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import zip_longest

from tests.differential.case import Case
from tests.differential.wire import End, Message


@dataclass(slots=True)
class Transcript:
    """What one side did."""

    responses: list[Message] = field(default_factory=list)
    end: End = End.OPEN
    requests: int = 0
    lines: list[str] = field(default_factory=list)


def show(data: bytes) -> str:
    if len(data) > 400:
        return f"{len(data)} bytes, {data[:60]!r}...{data[-20:]!r}"
    return repr(data)[1:]


_TIMES = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "<time>"),
    (re.compile(r"\d{4}/\d\d/\d\dT\d\d:\d\d:\d\d\.\d{3}"), "<custom time>"),
    (re.compile(r"(\d+ \d+) \d+ (\d+|-) (\"(?:10|-))"), r"\1 <ms> <ms> \3"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"(<time> <custom time>)(( (\d+|-)){5}) "), r"\1 <numbers> "),
)


def normalise_times(line: str) -> str:
    for pattern, mark in _TIMES:
        line = pattern.sub(mark, line)
    return line


_VOLATILE = {
    b"date": (re.compile(rb"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"), b"<date>"),
    b"x-request-id": (re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), b"<uuid>"),
    b"x-envoy-upstream-service-time": (re.compile(rb"\d+"), b"<ms>"),
    b"x-envoy-expected-rq-timeout-ms": (re.compile(rb"\d+"), b"<ms>"),
}


def message_lines(message: Message) -> Iterator[str]:
    """Headers sorted by name: their order among different names carries no meaning."""
    yield show(message.line)
    for prefix, fields in (("", message.headers), ("trailer ", message.trailers)):
        for name, value in sorted(fields, key=lambda pair: pair[0]):
            pattern, mark = _VOLATILE.get(name.lower(), (None, b""))
            shown = mark if pattern is not None and pattern.fullmatch(value) else value
            yield f"  {prefix}{name.decode('latin-1')}: {shown.decode('latin-1')}"
    yield f"  body {show(message.body)} {message.end}"


_POOL_STATS = re.compile(
    r"^stat \S+ (\S+_bytes_buffered|cluster\.\w+\.upstream_rq_pending_total|\S+\.downstream_cx_tx_bytes_total"
    r"|cluster\.\w+\.(update_\w+|default\.total_match_count)"
    r"|cluster\.\w+\.upstream_cx_(total|active|http1_total|destroy|destroy_local|destroy_remote|[rt]x_bytes_total|max_requests|connect_attempts.*))$"
)
"""How many upstream connections a case meets depends on the cases before it, DNS refreshes come by the clock, and the
digits of times change byte counts."""


def ignored(case: Case, line: str) -> bool:
    if any(re.search(pattern, line) for pattern in case.ignore):
        return True
    return bool(_POOL_STATS.match(line)) and not (case.exact and re.search(case.exact, line))


def compared(case: Case, transcript: Transcript) -> list[str]:
    return [line for line in transcript.lines if not ignored(case, line)]


def expectation_failures(case: Case, transcript: Transcript) -> list[str]:
    """What the case itself expects, and did not get."""
    failures = []
    statuses = tuple(response.status for response in transcript.responses)
    if case.status is not None:
        wanted = case.status if isinstance(case.status, tuple) else (case.status,)
        _expect(failures, "status", wanted, statuses)
    if case.body is not None:
        _expect(failures, "body", case.body, transcript.responses[-1].body if transcript.responses else None)
    if case.end is not None:
        end = transcript.end
        _expect(failures, "end", case.end, End.CLOSED if case.end is End.CLOSED and end in (End.FIN, End.RST) else end)
    if case.forwarded is not None:
        _expect(failures, "forwarded", case.forwarded, transcript.requests)
    if case.log and not any(case.log in line for line in transcript.lines if line.startswith("log ")):
        failures.append(f"no log line with {case.log!r}")
    text = "\n".join(transcript.lines)
    failures += [f"nothing matches {pattern!r}" for pattern in case.contains if not re.search(pattern, text, re.M)]
    return failures


def _expect(failures: list[str], what: str, wanted: object, got: object) -> None:
    if wanted != got:
        failures.append(f"{what} {wanted!r} expected, got {got!r}")


def safety_failures(envoy: Transcript, proxeny: Transcript) -> list[str]:
    """A stricter verdict: as Envoy, or refused (4xx, 5xx, or closed unanswered); never more requests forwarded."""
    failures = []
    same = [response.status for response in envoy.responses] == [response.status for response in proxeny.responses]
    last = proxeny.responses[-1] if proxeny.responses else Message(end=proxeny.end)
    refused = last.status >= 400 or last.end in (End.FIN, End.RST)
    if not (same or refused):
        failures.append(f"proxeny: neither Envoy's verdict nor a refusal: {last.line!r}")
    if proxeny.requests > envoy.requests:
        failures.append(f"proxeny: {proxeny.requests} requests reached the upstream, with Envoy {envoy.requests}")
    return failures


def side_by_side(left: list[str], right: list[str]) -> list[str]:
    """Both transcripts in columns, aligned; `!` marks what only one side has."""
    width = 78
    rows = [f"  {'ENVOY':<{width}} | PROXENY"]
    for what, a, b, c, d in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        mark = " " if what == "equal" else "!"
        rows += [f"{mark} {one:<{width}} | {other}" for one, other in zip_longest(left[a:b], right[c:d], fillvalue="")]
    return rows
