"""``google.protobuf.Duration`` to milliseconds, as Envoy's PROTOBUF_GET_MS (what is left below is cut off)."""

from __future__ import annotations

from typing import Any


def milliseconds(duration: Any) -> int:
    """Whole milliseconds of a Duration message."""
    return int(duration.seconds * 1000 + duration.nanos // 1_000_000)


def optional_milliseconds(message: Any, field: str) -> int | None:
    """The same for a field that may be unset."""
    return milliseconds(getattr(message, field)) if message.HasField(field) else None
