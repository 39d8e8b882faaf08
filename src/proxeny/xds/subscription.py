"""The contract of subscriptions, whatever their transport (Envoy: ``Config::Subscription``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Protocol

from proxeny.config.errors import ConfigError
from proxeny.event.slices import Steps
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
    """The owner of resources of one type; it is called from main's event loop.

    What takes long returns steps, which raise what the call would: the update is applied when they are through.
    """

    def on_config_update(self, resources: Sequence[DecodedResource], version: str) -> Steps[None] | None:
        """The whole state of the world; raises ConfigError when any of it is refused (the good part holds)."""

    def on_config_delta(
        self, added: Sequence[DecodedResource], removed: Sequence[str], version: str
    ) -> Steps[None] | None:
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


def followed(
    apply: Callable[[], Steps[None] | None], applied: Callable[[ConfigError | None], object]
) -> Steps[None] | None:
    """Call ``apply``, an owner's callback; ``applied`` hears of its end, or of the end of the steps that it returns,
    and of a refusal, which is raised further."""
    try:
        steps = apply()
    except ConfigError as error:
        applied(_alone(error))
        raise
    if steps is not None:
        return _follow(steps, applied)
    applied(None)
    return None


def _follow(steps: Steps[None], applied: Callable[[ConfigError | None], object]) -> Steps[None]:
    try:
        yield from steps
    except ConfigError as error:
        applied(_alone(error))
        raise
    applied(None)


def _alone(error: ConfigError) -> ConfigError:
    """The error without the frames that it came through: whoever keeps it keeps no user of a resource alive."""
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error
