"""Listeners from dynamic configuration (Envoy: ``LdsApiImpl``)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

from envoy.config.listener.v3 import listener_pb2

from proxeny.config.errors import ConfigError
from proxeny.event.slices import Steps, finish
from proxeny.server.listener_errors import UpdateFailure
from proxeny.server.listener_manager import ListenerManager
from proxeny.stats.store import Store
from proxeny.xds.config_source import check_node
from proxeny.xds.init_manager import InitTarget
from proxeny.xds.manager import XdsManager
from proxeny.xds.rejection import RefusedResource, UpdateRejected, told
from proxeny.xds.resource import Amend, DecodedResource, ResourceDecoder
from proxeny.xds.stats import SubscriptionStats
from proxeny.xds.subscription import FailureReason
from proxeny.xds.validation import DynamicValidation

log = logging.getLogger("proxeny.upstream")

_FEW: Final = 8
"""Up to so many listeners are changed in one step."""
LISTENER_TYPE: Final = "envoy.config.listener.v3.Listener"
_PAUSED: Final = (
    "envoy.config.route.v3.RouteConfiguration",
    "envoy.config.route.v3.ScopedRouteConfiguration",
    "envoy.extensions.transport_sockets.tls.v3.Secret",
)
"""What listeners name."""


class LdsApi:
    """Subscribes to listeners and keeps the listener manager equal to what the source says; ConfigError."""

    def __init__(
        self,
        xds: XdsManager,
        lds_config: Any,
        node: Any,
        listeners: ListenerManager,
        store: Store,
        validation: DynamicValidation,
        amend: Amend | None = None,
        locator: str = "",
    ) -> None:
        """``lds_config``: a ``config.core.v3.ConfigSource``; ``locator``: of a collection in it."""
        check_node(node, LISTENER_TYPE)
        self._xds = xds
        self._listeners = listeners
        self.target = InitTarget("LDS", self._start)
        """Ready when the first listeners are there, or cannot be had."""
        self.version_info = ""
        decoder = ResourceDecoder(listener_pb2.Listener, "name", validation, amend)
        stats = SubscriptionStats(store, "listener_manager.lds.")
        self._subscription = xds.subscribe_collection(locator, lds_config, self, decoder, stats)

    def _start(self) -> None:
        self._subscription.start()

    def on_config_update(self, resources: Sequence[DecodedResource], version: str) -> Steps[None] | None:
        """Remove what is no longer there, then add and update; what is refused does not keep the rest from it."""
        named = {resource.name for resource in resources}
        removed = [name for name in self._listeners.names() if name not in named]
        return self.on_config_delta(resources, removed, version)

    def on_config_delta(
        self, added: Sequence[DecodedResource], removed: Sequence[str], version: str
    ) -> Steps[None] | None:
        """Likewise, for what changed."""
        steps = self._take(added, removed, version)
        if len(added) + len(removed) > _FEW:
            return steps
        finish(steps)
        return None

    def _take(self, added: Sequence[DecodedResource], removed: Sequence[str], version: str) -> Steps[None]:
        with self._xds.pause(*_PAUSED):  # what several listeners ask for is asked for together
            yield from self._apply_all(added, removed, version)

    def _apply_all(self, added: Sequence[DecodedResource], removed: Sequence[str], version: str) -> Steps[None]:
        listeners = self._listeners
        listeners.errors.begin_update()
        # Removals go first: a new listener may have the address of one that goes.
        applied = False
        for name in removed:
            if listeners.remove(name):
                log.info("lds: remove listener '%s'", name)
                applied = True
            yield
        failures: list[UpdateFailure] = []
        refused: list[RefusedResource] = []
        seen: set[str] = set()
        for resource in added:
            name = resource.message.name
            try:
                applied |= self._apply(resource, seen)
            except ConfigError as error:
                log.warning("lds: listener '%s' config rejected: %s", name, error)
                failures.append(UpdateFailure(resource.message, str(error)))
                refused.append(RefusedResource(name, str(error), told=told(error)))
            yield
        listeners.errors.end_update(failures)
        if applied:
            self.version_info = version
        self.target.ready()
        if refused:
            reasons = "".join([f"{one.name}: {one.told}\n" for one in refused])
            raise UpdateRejected(f"Error adding/updating listener(s) {reasons}", refused)

    def _apply(self, resource: DecodedResource, seen: set[str]) -> bool:
        name = resource.message.name
        if name in seen:
            raise ConfigError(f"duplicate listener {name} found")
        seen.add(name)
        if resource.error is not None:
            self._listeners.errors.note(resource.message, str(resource.error))
            raise resource.error
        if not self._listeners.add_or_update(resource.message, resource.version):
            log.debug("lds: add/update listener '%s' skipped", name)
            return False
        log.info("lds: add/update listener '%s'", name)
        return True

    def on_config_update_failed(self, reason: FailureReason, error: ConfigError | None) -> None:
        """The start goes on without."""
        if reason is not FailureReason.CONNECTION_FAILURE:
            self.target.ready()

    def close(self) -> None:
        """Hear of no more updates."""
        self._subscription.close()
