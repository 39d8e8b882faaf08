"""The subscription of one route configuration (Envoy: ``RdsRouteConfigSubscription``)."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from envoy.config.route.v3 import route_pb2

from proxeny.config.errors import ConfigError
from proxeny.config.loader import LoadOptions
from proxeny.event.slices import finish
from proxeny.router.rds.provider import RouteConfigProvider
from proxeny.router.rds.receiver import RouteConfigReceiver
from proxeny.router.rds.route_version import RouteVersion
from proxeny.router.rds.stats import CONFIG_RELOAD, CONFIG_RELOAD_TIME_MS, RDS, UPDATE_EMPTY
from proxeny.router.rds.vhds import OnLoaded, VhdsSubscription, check_vhds
from proxeny.xds.config_source import check_node
from proxeny.xds.init_manager import InitManager, InitTarget
from proxeny.xds.resource import DecodedResource, ResourceDecoder
from proxeny.xds.stats import SubscriptionStats, release_stats
from proxeny.xds.subscription import FailureReason, Subscription
from proxeny.xds.validation import DynamicValidation

if TYPE_CHECKING:
    from proxeny.event.slices import Steps
    from proxeny.router.rds.manager import RouteConfigProviderManager
    from proxeny.stats.store import MainStore

log = logging.getLogger("proxeny.rds")

_TYPE: Final = "envoy.config.route.v3.RouteConfiguration"
_LARGE: Final = 1 << 14
"""Bytes of a route configuration from which on it is compiled in slices."""


class RdsSubscription:
    """Subscribes to one route configuration, compiles what comes, and says what holds."""

    def __init__(
        self, provider: RouteConfigProvider, rds: Any, stat_prefix: str, manager: RouteConfigProviderManager
    ) -> None:
        """``rds``: an ``Rds`` message; ConfigError where its source cannot be subscribed to."""
        context = manager.compile_context()
        assert context.xds is not None
        self.provider = provider
        self.receiver = RouteConfigReceiver(provider, manager, self._count)
        self.vhds: VhdsSubscription | None = None
        self._vhds_source: bytes | None = None
        self._vhds_prefix = f"{stat_prefix}rds."
        self._is_begun = False
        """Whether there was a version."""
        self._is_counted = True
        self._waits_for_hosts = False
        """Whether that version waits for its virtual hosts."""
        self._hosts_came = False
        self._name: str = rds.route_config_name
        self._manager = manager
        self._store = cast("MainStore", context.stats)
        self._prefix = f"{stat_prefix}rds.{self._name}."
        self._subscription: Subscription | None = None
        self._target = InitTarget(f"RdsRouteConfigSubscription RDS init {self._name}", self._start, shared=True)
        if context.local_info.node is not None:
            check_node(context.local_info.node, _TYPE)
        context.xds.check_source(rds.config_source, _TYPE)
        with self._store.recording() as self._table:
            self._stats = self._store.block(RDS, self._prefix)
            stats = SubscriptionStats(self._store, self._prefix)
            if context.dispatcher is not None:
                validation = context.dynamic_validation or DynamicValidation(LoadOptions())
                decoder = ResourceDecoder(route_pb2.RouteConfiguration, "name", validation)
                self._subscription = context.xds.subscribe(rds.config_source, self, decoder, stats)

    @property
    def version(self) -> RouteVersion | None:
        """What holds."""
        return self.receiver.version

    def wait_in(self, init_manager: InitManager | None) -> None:
        """Have a listener wait for the first answer."""
        if init_manager is not None:
            init_manager.add(self._target)

    def _start(self) -> None:
        if self._subscription is not None:
            self._subscription.start([self._name])

    def close(self) -> None:
        """Nobody uses it any more."""
        self.receiver.close()
        if self.vhds is not None:
            self.vhds.close()
        if self._subscription is not None:
            self._subscription.close()
        self._target.ready()
        release_stats(self._store, self._table, self._prefix)

    # -- the subscription --------------------------------------------------------------------------------------

    def on_config_update(self, resources: Sequence[DecodedResource], version: str) -> Steps[None] | None:
        """The route configuration, alone; ConfigError when it is another one, or cannot be compiled."""
        steps = self._logged(self._update(resources, version))
        # Virtual hosts may come from elsewhere at any time: with them an update is one step.
        if sum([len(one.serialized) for one in resources]) >= _LARGE and not self._has_vhds(resources):
            return steps
        finish(steps)
        return None

    def _has_vhds(self, resources: Sequence[DecodedResource]) -> bool:
        return self.receiver.uses_vhds or any(one.message.HasField("vhds") for one in resources)

    def _logged(self, steps: Steps[None]) -> Steps[None]:
        try:
            yield from steps
        except ConfigError as error:
            log.warning("rds: route config '%s' rejected: %s", self._name, error)
            raise

    def _update(self, resources: Sequence[DecodedResource], version: str) -> Steps[None]:
        if not resources:
            log.debug("Missing RDS RouteConfiguration for %s in onConfigUpdate()", self._name)
            self._stats.inc(UPDATE_EMPTY)
            self._target.ready()
            return
        if len(resources) != 1:
            raise ConfigError(f"Unexpected RDS resource length: {len(resources)}")
        (resource,) = resources
        message = resource.message
        if message.name != self._name:
            raise ConfigError(f"Unexpected RDS configuration (expecting {self._name}): {message.name}")
        if resource.error is not None:
            raise resource.error
        data = message.SerializeToString(deterministic=True)
        if not self.receiver.is_known(data):
            yield from self._take(message, data, version)
        if not self._waits_for_hosts:
            self._target.ready()

    def _take(self, message: Any, data: bytes, version: str) -> Steps[None]:
        has_vhds = message.HasField("vhds")
        if has_vhds:
            check_vhds(message, self._manager.compile_context())
        # The first version counts when its virtual hosts are there.
        self._waits_for_hosts = has_vhds and not self._is_begun
        yield from self.receiver.take_steps(message, data, version)
        self._is_begun = True
        log.debug("rds: loading new configuration: config_name=%s", self._name)
        self._restart_vhds(message, version)

    def _count(self) -> None:
        self._is_counted = not self._waits_for_hosts or self._hosts_came
        if self._is_counted:
            self._stats.inc(CONFIG_RELOAD)
            self._stats.set(CONFIG_RELOAD_TIME_MS, int(time.time() * 1000))

    # -- virtual hosts -----------------------------------------------------------------------------------------

    def _restart_vhds(self, message: Any, version: str) -> None:
        source = message.vhds.SerializeToString(deterministic=True) if message.HasField("vhds") else None
        if source == self._vhds_source:
            return
        self._vhds_source = source
        old, self.vhds = self.vhds, None
        if old is not None:
            old.close()
        if source is not None:
            log.debug("rds: vhds configuration present/changed, (re)starting vhds: config_name=%s", self._name)
            context = self._manager.compile_context()
            self.vhds = VhdsSubscription(message, self.receiver, self._vhds_prefix, self._store, context)
            init = InitManager(f"VHDS {self._name}:{version}")
            init.add(self.vhds.target)
            init.initialize(self._on_hosts)

    def _on_hosts(self) -> None:
        """The first virtual hosts came, or cannot be had."""
        self._hosts_came = True
        if not self._is_counted:
            self._count()
        self._waits_for_hosts = False
        self._target.ready()

    def load(self, host: str, on_loaded: OnLoaded) -> None:
        """A request in a worker has no virtual host."""
        if self.vhds is None:
            on_loaded(False)
        else:
            self.vhds.load(host, on_loaded)

    def on_config_delta(
        self, added: Sequence[DecodedResource], removed: Sequence[str], version: str
    ) -> Steps[None] | None:
        """Likewise; a route configuration that was removed is kept, as in Envoy."""
        if removed:
            log.debug(
                "Server sent a delta RDS update attempting to remove a resource (name: %s). Ignoring.", removed[0]
            )
        return self.on_config_update(added, added[0].version) if added else None

    def on_config_update_failed(self, reason: FailureReason, error: ConfigError | None) -> None:
        """The start goes on without, unless it is tried again."""
        if reason is not FailureReason.CONNECTION_FAILURE:
            self._target.ready()

    def __repr__(self) -> str:
        return f"<RdsSubscription {self._name} version={self.version and self.version.version_info!r}>"
