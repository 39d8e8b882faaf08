"""The harness itself: it must notice what differs, and tell a refusal from smuggling."""

from tests.differential.case import Case
from tests.differential.transcript import (
    Transcript,
    compared,
    expectation_failures,
    message_lines,
    safety_failures,
    side_by_side,
)
from tests.differential.wire import End, Message


def answered(status: int, requests: int = 1, end: End = End.OPEN) -> Transcript:
    return Transcript(responses=[Message(line=b"HTTP/1.1 %d X" % status)], requests=requests, end=end, lines=["log x"])


def test_expectations_are_asserted() -> None:
    case = Case("c", (), status=200, end=End.OPEN, forwarded=1, log="x", contains=("x$",))
    assert expectation_failures(case, answered(200)) == []
    wrong = expectation_failures(case, Transcript(requests=2, end=End.FIN))
    assert [failure.split()[0] for failure in wrong] == ["status", "end", "forwarded", "no", "nothing"]


def test_closed_is_fin_or_rst() -> None:
    for end in (End.FIN, End.RST):
        assert expectation_failures(Case("c", (), end=End.CLOSED), answered(200, end=end)) == []
    assert expectation_failures(Case("c", (), end=End.FIN), answered(200, end=End.RST))


def test_stricter_allows_a_refusal_but_no_smuggling() -> None:
    assert safety_failures(answered(200), answered(400, requests=0)) == []
    assert safety_failures(answered(200), answered(200)) == []
    assert safety_failures(answered(200), Transcript(end=End.FIN)) == []
    assert safety_failures(answered(200), answered(204))
    assert safety_failures(answered(200), Transcript(end=End.STALLED))
    assert safety_failures(answered(200), answered(400, requests=2))


def test_pool_stats_are_compared_only_on_demand() -> None:
    lines = ["stat +1 cluster.up.upstream_cx_total", "stat +1 cluster.up.upstream_rq_total"]
    assert compared(Case("c", ()), Transcript(lines=lines)) == lines[1:]
    assert compared(Case("c", (), exact="upstream_cx_total"), Transcript(lines=lines)) == lines
    assert compared(Case("c", (), ignore=("rq_total",)), Transcript(lines=lines)) == []


def test_only_well_formed_volatile_headers_are_replaced() -> None:
    headers = [(b"date", b"Mon, 23 Nov 2026 08:36:27 GMT"), (b"date", b"yesterday"), (b"X-Request-Id", b"1")]
    lines = list(message_lines(Message(line=b"HTTP/1.1 200 OK", headers=headers)))
    assert lines[1:4] == ["  X-Request-Id: 1", "  date: <date>", "  date: yesterday"]


def test_side_by_side_marks_differences() -> None:
    table = side_by_side(["same", "left"], ["same", "right"])
    assert [row[0] for row in table] == [" ", " ", "!"]
    assert "left" in table[2]
    assert "right" in table[2]
