"""Listeners from dynamic configuration (Envoy: ``LdsApiImpl``)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

from envoy.config.listener.v3 import listener_pb2

from proxeny.config.errors import ConfigError
from proxeny.server.listener_errors import UpdateFailure
from proxeny.server.listener_manager import ListenerManager
from proxeny.stats.store import Store
from proxeny.xds.config_source import check_node, subscribe
from proxeny.xds.resource import Amend, DecodedResource, ResourceDecoder
from proxeny.xds.stats import SubscriptionStats
from proxeny.xds.validation import DynamicValidation

log = logging.getLogger("proxeny.upstream")

LISTENER_TYPE: Final = "envoy.config.listener.v3.Listener"


class LdsApi:
    """Subscribes to listeners and keeps the listener manager equal to what the source says; ConfigError."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        lds_config: Any,
        node: Any,
        listeners: ListenerManager,
        store: Store,
        validation: DynamicValidation,
        amend: Amend | None = None,
    ) -> None:
        """``lds_config``: a ``config.core.v3.ConfigSource``."""
        check_node(node, LISTENER_TYPE)
        self._listeners = listeners
        self._ready = asyncio.Event()
        self.version_info = ""
        decoder = ResourceDecoder(listener_pb2.Listener, "name", validation, amend)
        stats = SubscriptionStats(store, "listener_manager.lds.")
        self._subscription = subscribe(loop, lds_config, self, decoder, stats, validation)

    async def initialize(self) -> None:
        """Fetch the first listeners; ends when they are there, or cannot be had."""
        self._subscription.start()
        await self._ready.wait()

    def on_config_update(self, resources: Sequence[DecodedResource], version: str) -> None:
        """Remove what is no longer there, then add and update; what is refused does not keep the rest from it."""
        listeners = self._listeners
        listeners.errors.begin_update()
        named = {resource.name for resource in resources}
        # Removals go first: a new listener may have the address of one that goes.
        applied = False
        for name in listeners.names():
            if name not in named and listeners.remove(name):
                log.info("lds: remove listener '%s'", name)
                applied = True
        failures: list[UpdateFailure] = []
        messages: list[str] = []
        seen: set[str] = set()
        for resource in resources:
            name = resource.message.name
            try:
                applied |= self._apply(resource, seen)
            except ConfigError as error:
                log.warning("lds: listener '%s' config rejected: %s", name, error)
                failures.append(UpdateFailure(resource.message, str(error)))
                messages.append(f"{name}: {error}\n")
        listeners.errors.end_update(failures)
        if applied:
            self.version_info = version
        self._ready.set()
        if messages:
            raise ConfigError(f"Error adding/updating listener(s) {''.join(messages)}")

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

    def on_config_update_failed(self, error: ConfigError) -> None:
        """The start goes on without."""
        self._ready.set()

    def close(self) -> None:
        """Hear of no more updates."""
        self._subscription.close()
