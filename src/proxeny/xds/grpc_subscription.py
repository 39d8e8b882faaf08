"""One subscription over a mux (Envoy: ``GrpcSubscriptionImpl``)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxeny.config.errors import ConfigError
from proxeny.event.slices import Steps
from proxeny.xds.mux import Mux, Watch
from proxeny.xds.resource import DecodedResource, ResourceDecoder
from proxeny.xds.stats import UpdateStats
from proxeny.xds.subscription import FailureReason, SubscriptionCallbacks, followed

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher

log = logging.getLogger("proxeny.config")

INITIAL_FETCH_TIMEOUT_MS: Final = 15_000
"""Envoy's default."""


@dataclass(slots=True)
class GrpcSubscriptionOptions:
    """How a subscription uses its mux."""

    initial_fetch_timeout_ms: int = INITIAL_FETCH_TIMEOUT_MS
    """How long a start waits for the first update; 0: for ever."""
    is_aggregated: bool = True
    """Others use the mux too; False: it begins and ends with the subscription."""
    namespaces: bool = False
    """Each name stands for all that begin with it and a slash."""


class GrpcSubscription:
    """Passes on what a mux says, and counts it."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        mux: Mux | Callable[[], Mux],
        callbacks: SubscriptionCallbacks,
        decoder: ResourceDecoder,
        stats: UpdateStats,
        options: GrpcSubscriptionOptions,
    ) -> None:
        """``mux``: or what finds it at the start, where it is configured before there can be streams."""
        self._find_mux = mux if callable(mux) else None
        self._mux: Mux | None = None if callable(mux) else mux
        self._callbacks = callbacks
        self._decoder = decoder
        self._stats = stats
        self._options = options
        self._type_url = decoder.type_url
        self._watch: Watch | None = None
        self._closed = False
        self._timer = dispatcher.create_timer(self._on_timeout)

    # -- Subscription ------------------------------------------------------------------------------------------

    def start(self, names: Iterable[str] = ()) -> None:
        """Ask for ``names``, or for everything; ConfigError for names that are none."""
        if self._options.initial_fetch_timeout_ms:
            self._timer.enable(self._options.initial_fetch_timeout_ms)
        if self._find_mux is not None:
            self._mux = self._find_mux()
        mux = self._mux
        assert mux is not None
        self._watch = mux.add_watch(self._type_url, names, self, self._decoder, namespaces=self._options.namespaces)
        self._stats.attempt()
        if not self._options.is_aggregated:
            mux.start()

    def update_names(self, names: Iterable[str]) -> None:
        """Want these from now on, and no others."""
        if self._watch is not None:
            self._watch.update(names)
            self._stats.attempt()

    def request_on_demand(self, names: Iterable[str]) -> None:
        """Ask for these besides."""
        if self._watch is not None:
            self._watch.append(names)
            self._stats.attempt()

    def close(self) -> None:
        """No more callbacks."""
        self._closed = True
        self._timer.close()
        watch, self._watch = self._watch, None
        mux = None if self._options.is_aggregated else self._mux
        # The last request of a stream of its own is one of the incremental protocol only, as Envoy's.
        if watch is not None and (mux is None or mux.unsubscribes_at_end):
            watch.close()
        if mux is not None:
            mux.close()

    # -- WatchCallbacks ----------------------------------------------------------------------------------------

    def on_config_update(self, resources: Sequence[DecodedResource], version: str) -> Steps[None] | None:
        """What of a state of the world is this subscription's."""
        self._timer.disable()
        began = time.monotonic()

        def applied(error: ConfigError | None) -> None:
            if error is None and not self._closed:
                self._applied(version, began)
                log.debug(
                    "gRPC config for %s accepted with %d resources with version %s",
                    self._type_url,
                    len(resources),
                    version,
                )

        return followed(lambda: self._callbacks.on_config_update(resources, version), applied)

    def on_config_delta(
        self, added: Sequence[DecodedResource], removed_names: Sequence[str], version: str
    ) -> Steps[None] | None:
        """What of it changed."""
        self._timer.disable()
        began = time.monotonic()

        def applied(error: ConfigError | None) -> None:
            if self._closed:
                return
            if error is None:
                self._applied(version, began)
            else:
                self._stats.attempt()

        return followed(lambda: self._callbacks.on_config_delta(added, removed_names, version), applied)

    def _applied(self, version: str, began: float) -> None:
        self._stats.attempt()
        self._stats.success(version, int((time.monotonic() - began) * 1000))

    def on_config_update_failed(self, reason: FailureReason, error: ConfigError | None) -> None:
        """What there was holds."""
        self._stats.attempt()
        if reason is FailureReason.CONNECTION_FAILURE:
            self._stats.failure()
            log.debug("gRPC update for %s failed", self._type_url)
        else:
            self._timer.disable()
            self._stats.rejected()
            log.warning("gRPC config for %s rejected: %s", self._type_url, error)
        self._callbacks.on_config_update_failed(reason, error)

    def _on_timeout(self) -> None:
        self._stats.timed_out()
        self._stats.attempt()
        log.warning("gRPC config: initial fetch timed out for %s", self._type_url)
        self._callbacks.on_config_update_failed(FailureReason.FETCH_TIMED_OUT, None)
