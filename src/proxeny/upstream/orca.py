"""ORCA: what endpoints report of their load in headers or trailers of responses (Envoy: ``source/common/orca``)."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from math import isinf, isnan
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.json_format import Parse, ParseError
from google.protobuf.message import DecodeError
from xds.data.orca.v3.orca_load_report_pb2 import OrcaLoadReport

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap

HEADER: Final = b"endpoint-load-metrics"
BINARY_HEADER: Final = b"endpoint-load-metrics-bin"
_FIELDS: Final = frozenset(("cpu_utilization", "mem_utilization", "application_utilization", "eps", "rps_fractional"))
_MAPS: Final = {"named_metrics.": "named_metrics", "utilization.": "utilization", "request_cost.": "request_cost"}
_NOT_IN_TEXT: Final = ("request_cost",)


def has_report(headers: HeaderMap) -> bool:
    """Whether it is worth while to parse."""
    return BINARY_HEADER in headers or HEADER in headers


def parse_report(headers: HeaderMap) -> Any:
    """The ``OrcaLoadReport`` of the first header that has one; None: there is none, or it is not good."""
    binary = headers.get(BINARY_HEADER)
    if binary is not None:
        return _from_binary(binary)
    value = headers.get(HEADER) or b""
    kind, _, content = value.partition(b" ")
    if kind == b"BIN":
        return _from_binary(content)
    if kind == b"TEXT":
        return _from_text(content.decode("latin-1"))
    return _from_json(content) if kind == b"JSON" else None


def _from_binary(value: bytes) -> Any:
    try:
        data = b64decode(value, validate=True)
        return OrcaLoadReport.FromString(data) if data else None
    except (ValueError, DecodeError):
        return None


def _from_json(text: bytes) -> Any:
    try:
        return Parse(text, OrcaLoadReport())
    except (ParseError, ValueError, RecursionError):
        return None


def _from_text(text: str) -> Any:
    """``name=value`` or ``name:value``, separated by commas; none twice."""
    report = OrcaLoadReport()
    seen = set()
    for item in filter(None, [part.strip(" \t") for part in text.split(",")]):
        name, value = _split(item)
        number = _number(value)
        if not name or name in seen or number is None or not _set_metric(report, name, number):
            return None
        seen.add(name)
    return report


def _split(item: str) -> tuple[str, str]:
    at = next((index for index, char in enumerate(item) if char in "=:"), len(item))
    return item[:at], item[at + 1 :]


def _number(text: str) -> float | None:
    # float() takes more than absl::SimpleAtod does.
    if not text.isascii() or "_" in text:
        return None
    try:
        number = float.fromhex(text) if "x" in text.lower() else float(text)
    except (ValueError, OverflowError):
        return None
    return None if isnan(number) or isinf(number) else number


def _set_metric(report: Any, name: str, value: float) -> bool:
    if name in _FIELDS:
        setattr(report, name, value)
        return True
    for prefix, field in _MAPS.items():
        if name.startswith(prefix) and field not in _NOT_IN_TEXT:
            key = name[len(prefix) :]
            if key:
                getattr(report, field)[key] = value
            return bool(key)
    return False


def named_values(report: Any, names: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    """The metrics of these names that the report has (Envoy: ``addOrcaLoadReportToLoadMetricStats``)."""
    for name in names:
        if name in _FIELDS:
            yield name, getattr(report, name)
            continue
        for prefix, field in _MAPS.items():
            if name.startswith(prefix):
                metrics, key = getattr(report, field), name[len(prefix) :]
                if key == "*":
                    yield from [(prefix + found, value) for found, value in metrics.items()]
                elif key in metrics:
                    yield name, metrics[key]


def max_utilization(report: Any, names: tuple[str, ...]) -> float:
    """The greatest of the metrics of these names (``named_metrics.foo``; ``*`` stands for all); at least 0."""
    found = [0.0]
    for name in names:
        if name in _FIELDS:
            found.append(getattr(report, name))
            continue
        for prefix, field in _MAPS.items():
            if name.startswith(prefix):
                metrics, key = getattr(report, field), name[len(prefix) :]
                found.extend(metrics.values() if key == "*" else [metrics[key]] if key in metrics else [])
    return max(found)
