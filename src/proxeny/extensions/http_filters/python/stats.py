"""Statistics of one Python filter: ``http.<stat_prefix>.python.<name>.*``."""

from __future__ import annotations

from typing import Final

from proxeny.stats.schema import Schema

PYTHON_FILTER: Final = Schema(
    "python_filter",
    counters=("errors", "local_replies", "time_budget_exceeded"),
    histograms=("on_request_us", "on_response_us"),
)

ERRORS: Final = PYTHON_FILTER.slot("errors")
LOCAL_REPLIES: Final = PYTHON_FILTER.slot("local_replies")
TIME_BUDGET_EXCEEDED: Final = PYTHON_FILTER.slot("time_budget_exceeded")
ON_REQUEST_US: Final = PYTHON_FILTER.slot("on_request_us")
"""Microseconds in the request's header hook, and in async body hooks."""
ON_RESPONSE_US: Final = PYTHON_FILTER.slot("on_response_us")
