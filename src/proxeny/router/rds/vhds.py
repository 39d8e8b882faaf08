"""Virtual hosts that are discovered one by one (Envoy: ``VhdsSubscription``); only the incremental protocol has them.

Without on-demand requests the control plane says which there are. A request for an unknown host asks for the alias
``<route configuration>/<host>``, and waits until a resource of that name, or with that alias, comes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from envoy.config.core.v3 import config_source_pb2
from envoy.config.route.v3 import route_components_pb2

from proxeny.config.errors import ConfigError
from proxeny.config.loader import LoadOptions
from proxeny.kernel.headers import HeaderMap
from proxeny.router.rds.stats import VHDS, VHDS_CONFIG_RELOAD
from proxeny.xds.init_manager import InitTarget
from proxeny.xds.resource import DecodedResource, ResourceDecoder
from proxeny.xds.stats import SubscriptionStats, release_stats
from proxeny.xds.subscription import FailureReason
from proxeny.xds.validation import DynamicValidation

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.router.rds.receiver import RouteConfigReceiver
    from proxeny.stats.store import MainStore

log = logging.getLogger("proxeny.config")

_DELTA: Final = config_source_pb2.ApiConfigSource.DELTA_GRPC

OnLoaded = Callable[[bool], object]


def check_vhds(config: Any, context: FactoryContext) -> None:
    """ConfigError for a ``RouteConfiguration`` whose virtual hosts cannot be discovered."""
    source = config.vhds.config_source
    is_ads = source.HasField("ads")
    if not is_ads and source.api_config_source.api_type != _DELTA:
        raise ConfigError("vhds: only 'DELTA_GRPC' or 'ADS' (which uses Delta xDS) is supported as a config source.")
    if is_ads:
        dynamic = context.bootstrap.dynamic_resources if context.bootstrap is not None else None
        if dynamic is None or not dynamic.HasField("ads_config"):
            raise ConfigError("vhds: ADS config source specified but no ADS configured in bootstrap.")
        if dynamic.ads_config.api_type != _DELTA:
            raise ConfigError("vhds: ADS must use DELTA_GRPC api_type when used as VHDS config source.")
    assert context.xds is not None
    context.xds.check_source(source, "envoy.config.route.v3.VirtualHost")


class VhdsSubscription:
    """Subscribes to the virtual hosts of one route configuration."""

    def __init__(
        self, config: Any, receiver: RouteConfigReceiver, stat_prefix: str, store: MainStore, context: FactoryContext
    ) -> None:
        """``config``: a ``RouteConfiguration`` that passed ``check_vhds``; ``stat_prefix``: as its own, or none."""
        assert context.xds is not None
        self._name: str = config.name
        self._receiver = receiver
        self._store = store
        self._prefix = f"{stat_prefix}vhds.{self._name}."
        self._waiting: dict[str, dict[OnLoaded, None]] = {}
        """By alias; equal ones are told once."""
        self._asked: set[str] = set()
        self._answered: set[str] = set()
        """Aliases that were asked for and came."""
        self.target = InitTarget(f"VhdsConfigSubscription {self._name}", self._start)
        validation = context.dynamic_validation or DynamicValidation(LoadOptions())
        decoder = ResourceDecoder(route_components_pb2.VirtualHost, "name", validation)
        with store.recording() as self._table:
            self._block = store.block(VHDS, self._prefix)
            stats = SubscriptionStats(store, self._prefix)
            self._subscription = context.xds.subscribe(config.vhds.config_source, self, decoder, stats, namespaces=True)

    def _start(self) -> None:
        self._subscription.start([self._name])

    def close(self) -> None:
        """The route configuration has no VHDS any more, or another one: who waits goes on."""
        self._subscription.close()
        self.target.ready()
        waiting, self._waiting = self._waiting, {}
        for on_loaded in [one for group in waiting.values() for one in group]:
            on_loaded(False)
        release_stats(self._store, self._table, self._prefix)

    def load(self, host: str, on_loaded: OnLoaded) -> None:
        """A request wants a host; ``on_loaded`` hears whether there is a virtual host for it, once one was sent."""
        alias = f"{self._name}/{host}"
        if alias in self._answered:
            on_loaded(self._exists(alias))
            return
        self._waiting.setdefault(alias, {})[on_loaded] = None
        self._asked.add(alias)
        self._subscription.request_on_demand([alias])

    def _exists(self, alias: str) -> bool:
        table: Any = self._receiver.provider.current
        host = alias[len(self._name) + 1 :].encode("latin-1")
        return table is not None and table._find_virtual_host(HeaderMap([(b":authority", host)])) is not None

    # -- the subscription --------------------------------------------------------------------------------------

    def on_config_update(self, resources: Sequence[DecodedResource], version: str) -> None:
        """There is no state of the world of these."""

    def on_config_delta(self, added: Sequence[DecodedResource], removed: Sequence[str], version: str) -> None:
        """Virtual hosts come, change and go; ConfigError, and then none of them do."""
        ids = {name for resource in added for name in (resource.name, *resource.aliases)}
        for resource in added:
            if resource.error is not None:
                raise resource.error
        hosts = [resource.message for resource in added if resource.has_resource]
        known = self._receiver.virtual_hosts
        gone = [name for name in removed if name in known]
        if hosts or gone or ids:
            self._receiver.take_virtual_hosts(hosts, gone, version)
            self._block.inc(VHDS_CONFIG_RELOAD)
            log.debug("vhds: loading new configuration: config_name=%s version=%s", self._name, version)
        self._answered.difference_update(removed)
        self._answer(ids & self._asked)
        self.target.ready()

    def _answer(self, aliases: set[str]) -> None:
        self._answered |= aliases
        for alias in sorted(aliases):
            exists = self._exists(alias)
            for on_loaded in self._waiting.pop(alias, ()):
                on_loaded(exists)

    def on_config_update_failed(self, reason: FailureReason, error: ConfigError | None) -> None:
        """The start goes on without, unless it is tried again."""
        if reason is not FailureReason.CONNECTION_FAILURE:
            self.target.ready()

    def __repr__(self) -> str:
        return f"<VhdsSubscription {self._name} waiting={len(self._waiting)}>"
