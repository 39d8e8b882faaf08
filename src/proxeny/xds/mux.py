"""The contract of muxes: many subscriptions over one stream to a control plane (Envoy: ``Config::GrpcMux``)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Final, Protocol

from proxeny.config.errors import ConfigError
from proxeny.event.slices import Steps
from proxeny.xds.rejection import LONGEST_DETAIL
from proxeny.xds.resource import DecodedResource, ResourceDecoder
from proxeny.xds.subscription import FailureReason

log = logging.getLogger("proxeny.config")

WILDCARD: Final = "*"
INTERNAL: Final = 13
"""The gRPC status of every rejection."""


class WatchCallbacks(Protocol):
    """Who watches resources of one type (``GrpcSubscription``). What returns steps may be done in slices."""

    def on_config_update(self, resources: Sequence[DecodedResource], version: str) -> Steps[None] | None:
        """What of a state of the world it watches; ConfigError rejects it."""

    def on_config_delta(
        self, added: Sequence[DecodedResource], removed_names: Sequence[str], version: str
    ) -> Steps[None] | None:
        """What of it changed; ConfigError rejects it."""

    def on_config_update_failed(self, reason: FailureReason, error: ConfigError | None) -> None:
        """What there was holds."""


class Watch(Protocol):
    """Somebody's interest in resources."""

    def update(self, names: Iterable[str]) -> None:
        """These instead of those before."""

    def append(self, names: Iterable[str]) -> None:
        """These as well, on demand."""

    def close(self) -> None:
        """None any more."""


class Resume(Protocol):
    """Ends a pause once it is left or closed (Envoy: ``ScopedResume``)."""

    def __enter__(self) -> Resume: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def close(self) -> None:
        """Request again; what came up meanwhile is requested now."""


class Mux(Protocol):
    """Subscriptions over one stream."""

    unsubscribes_at_end: bool
    """Whether the end of the last subscription is told before the stream ends."""

    def start(self) -> None:
        """Open the stream."""

    def add_watch(
        self,
        type_url: str,
        names: Iterable[str],
        callbacks: WatchCallbacks,
        decoder: ResourceDecoder,
        namespaces: bool = False,
    ) -> Watch:
        """Watch resources of a type; without ``names`` all there are.

        ``namespaces``: each name stands for all that begin with it and a slash, and is not requested itself.
        """

    def pause(self, type_urls: Iterable[str]) -> Resume:
        """Request nothing of these types until resumed; pauses nest."""

    def close(self) -> None:
        """End the stream for good."""


class ScopedResume:
    """Calls ``resume`` once."""

    __slots__ = ("_resume",)

    def __init__(self, resume: Any) -> None:
        self._resume = resume

    def __enter__(self) -> ScopedResume:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Request again; what came up meanwhile is requested now."""
        resume, self._resume = self._resume, None
        if resume is not None:
            resume()


def tell_failure(callbacks: WatchCallbacks, reason: FailureReason, error: ConfigError | None) -> None:
    """Call ``on_config_update_failed``; a fault of one owner is no other's."""
    try:
        callbacks.on_config_update_failed(reason, error)
    except Exception:
        log.exception("the failure of an update could not be handled")


def as_refusal(error: Exception) -> ConfigError:
    """What a control plane hears when a response could not be handled: of a fault of ours too."""
    if isinstance(error, ConfigError):
        return error
    log.exception("a discovery response could not be handled")
    return ConfigError(f"internal error: {type(error).__name__}: {error}")


def detail(error: ConfigError) -> str:
    """How a control plane is told of an error (Envoy: ``truncateGrpcStatusMessage``)."""
    text = str(error)
    return text if len(text) <= LONGEST_DETAIL else f"{text[:LONGEST_DETAIL]}...(truncated)"
