"""Between a subscription and the owner of its resources: what passes is written to the record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from proxeny.config.errors import ConfigError
from proxeny.xds.subscription import FailureReason, followed

if TYPE_CHECKING:
    from proxeny.event.slices import Steps
    from proxeny.xds.record import SubscriptionRecord
    from proxeny.xds.resource import DecodedResource
    from proxeny.xds.subscription import Subscription, SubscriptionCallbacks


class RecordedCallbacks:
    """Passes every call on (``SubscriptionCallbacks``)."""

    __slots__ = ("_callbacks", "_record")

    def __init__(self, callbacks: SubscriptionCallbacks, record: SubscriptionRecord) -> None:
        self._callbacks = callbacks
        self._record = record

    def on_config_update(self, resources: Sequence[DecodedResource], version: str) -> Steps[None] | None:
        """The whole state of the world."""
        return self._record_of(lambda: self._callbacks.on_config_update(resources, version), resources, None, version)

    def on_config_delta(
        self, added: Sequence[DecodedResource], removed: Sequence[str], version: str
    ) -> Steps[None] | None:
        """What changed."""
        return self._record_of(
            lambda: self._callbacks.on_config_delta(added, removed, version), added, removed, version
        )

    def _record_of(
        self,
        apply: Callable[[], Steps[None] | None],
        resources: Sequence[DecodedResource],
        removed: Sequence[str] | None,
        version: str,
    ) -> Steps[None] | None:
        began = time.perf_counter()

        def applied(error: ConfigError | None) -> None:
            self._record.updated(resources, removed, version, time.perf_counter() - began, error)

        return followed(apply, applied)

    def on_config_update_failed(self, reason: FailureReason, error: ConfigError | None) -> None:
        """Nothing came, or it was refused."""
        if reason is not FailureReason.UPDATE_REJECTED:
            self._record.failed(f"{reason.value}: {error}" if error is not None else reason.value)
        elif error is not None:
            self._record.rejected(error)
        self._callbacks.on_config_update_failed(reason, error)


class RecordedSubscription:
    """Passes every call on (``Subscription``)."""

    __slots__ = ("_record", "_subscription")

    def __init__(self, subscription: Subscription, record: SubscriptionRecord) -> None:
        self._subscription = subscription
        self._record = record

    def start(self, names: Iterable[str] = ()) -> None:
        """Fetch."""
        wanted = tuple(names)
        self._record.interested(wanted or None)
        self._subscription.start(wanted)

    def update_names(self, names: Iterable[str]) -> None:
        """Want these."""
        wanted = tuple(names)
        self._record.interested(wanted)
        self._subscription.update_names(wanted)

    def request_on_demand(self, names: Iterable[str]) -> None:
        """Ask for these besides."""
        wanted = tuple(names)
        self._record.also_interested(wanted)
        self._subscription.request_on_demand(wanted)

    def close(self) -> None:
        """No more callbacks."""
        self._record.closed()
        self._subscription.close()
