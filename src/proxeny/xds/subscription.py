"""The contract of subscriptions, whatever their transport (Envoy: ``Config::Subscription``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Protocol

from proxeny.config.errors import ConfigError
from proxeny.xds.resource import DecodedResource


class FailureReason(Enum):
    """Why an update did not happen (Envoy: ``ConfigUpdateFailureReason``)."""

    CONNECTION_FAILURE = "connection failure"
    """It could not be had; it will be tried again."""
    FETCH_TIMED_OUT = "fetch timed out"
    """Nothing came within ``initial_fetch_timeout``."""
    UPDATE_REJECTED = "update rejected"
    """It came and could not be taken."""


class SubscriptionCallbacks(Protocol):
    """The owner of resources of one type; it is called from main's event loop."""

    def on_config_update(self, resources: Sequence[DecodedResource], version: str) -> None:
        """The whole state of the world; raises ConfigError when any of it is refused (the good part holds)."""

    def on_config_delta(self, added: Sequence[DecodedResource], removed: Sequence[str], version: str) -> None:
        """What changed: resources that are new or other than before, and names of those that are gone; ConfigError."""

    def on_config_update_failed(self, reason: FailureReason, error: ConfigError | None) -> None:
        """Nothing came, or it was refused: what there was holds.

        A start waits no longer, unless ``reason`` is CONNECTION_FAILURE, which is tried again until the time is up.
        """


class Subscription(Protocol):
    """A source of resources; it calls its ``SubscriptionCallbacks`` from main's event loop."""

    def start(self, names: Iterable[str] = ()) -> None:
        """Fetch; without ``names`` everything there is."""

    def update_names(self, names: Iterable[str]) -> None:
        """Want these from now on, and no others (Envoy: ``updateResourceInterest``)."""

    def request_on_demand(self, names: Iterable[str]) -> None:
        """Ask for these besides (Envoy: ``requestOnDemandUpdate``)."""

    def close(self) -> None:
        """No more callbacks."""
