"""The lines of the event log, byte for byte as Envoy writes them."""

from __future__ import annotations

from typing import Any

from proxeny.upstream.outlier.event_log import timestamp


def test_an_ejection_and_a_return(bench: Any) -> None:
    one = bench(base_ejection_time_ms=2000, max_ejection_time_ms=2000, max_ejection_percent=100)
    one.detector.cluster = "a<b>"
    one.put(0, *[500] * 5)
    one.after(2500)
    one.put(0, *[500] * 5)
    head = b'{"type":"CONSECUTIVE_5XX","timestamp":"2023-11-14T22:13:20Z",'
    where = b'"cluster_name":"a\\u003cb\\u003e","upstream_url":"127.0.0.1:1000",'
    assert one.lines == [
        head + where + b'"action":"EJECT","num_ejections":1,"enforced":true,"eject_consecutive_event":{}}\n',
        head + b'"secs_since_last_action":"2",' + where + b'"action":"UNEJECT","num_ejections":1,"enforced":false}\n',
        head
        + b'"secs_since_last_action":"0",'
        + where
        + b'"action":"EJECT","num_ejections":2,"enforced":true,"eject_consecutive_event":{}}\n',
    ]


def test_timestamps_have_milliseconds_where_there_are_any() -> None:
    assert timestamp(1_700_000_000_000) == "2023-11-14T22:13:20Z"
    assert timestamp(1_700_000_000_050) == "2023-11-14T22:13:20.050Z"
