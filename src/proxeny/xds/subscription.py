"""The contract of subscriptions, whatever their transport (Envoy: ``Config::Subscription``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from proxeny.config.errors import ConfigError
from proxeny.xds.resource import DecodedResource


class SubscriptionCallbacks(Protocol):
    """The owner of resources of one type."""

    def on_config_update(self, resources: Sequence[DecodedResource], version: str) -> None:
        """The whole state of the world; raises ConfigError when any of it is refused (the good part holds)."""

    def on_config_update_failed(self, error: ConfigError) -> None:
        """An update could not be read, or was refused: what there was holds. A start must not wait any longer."""


class Subscription(Protocol):
    """A source of resources; it calls its ``SubscriptionCallbacks`` from main's event loop."""

    def start(self, names: Iterable[str] = ()) -> None:
        """Fetch; without ``names`` everything there is."""

    def close(self) -> None:
        """No more callbacks."""
