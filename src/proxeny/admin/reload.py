"""/reload: load the configuration anew (beyond Envoy)."""

from __future__ import annotations

from typing import Any, Final, Protocol

from proxeny.admin.query import Query
from proxeny.admin.response import AdminResponse, respond, respond_json
from proxeny.config.errors import ConfigError

PARAMETERS: Final = (
    ("plan", "only say what would change"),
    ("partial", "apply the rest when some of it needs a restart"),
    ("patience", "seconds that a cluster or a listener may take to become ready"),
)
_MOST_PATIENCE_S: Final = 3600.0


class Reloads(Protocol):
    """Who reloads."""

    def reload(self, plan_only: bool, partial: bool, patience_s: float | None) -> dict[str, Any]:
        """Begin; ConfigError while another one runs."""

    def last_reload(self) -> dict[str, Any] | None:
        """What became of the last one; None: there was none."""


class ReloadHandler:
    """The command and its outcome."""

    def __init__(self, reloads: Reloads) -> None:
        self._reloads = reloads

    def reload(self, query: Query, body: bytes) -> AdminResponse:
        """/reload"""
        parameters = query.parameters
        try:
            patience = _seconds(parameters["patience"]) if "patience" in parameters else None
        except ValueError:
            return respond(f"patience is no number of seconds up to {_MOST_PATIENCE_S:g}\n", 400)
        try:
            return respond_json(self._reloads.reload("plan" in parameters, "partial" in parameters, patience))
        except ConfigError as error:
            return respond(f"{error}\n", 409)

    def status(self, query: Query, body: bytes) -> AdminResponse:
        """/reload/status"""
        last = self._reloads.last_reload()
        return respond("there was no reload\n", 404) if last is None else respond_json(last)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= _MOST_PATIENCE_S:
        raise ValueError
    return value
