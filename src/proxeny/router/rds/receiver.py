"""A route configuration that is put together of what RDS and VHDS say (Envoy: ``RouteConfigUpdateReceiverImpl``)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

import msgspec

from proxeny.event.slices import finish
from proxeny.router.rds.route_version import RouteVersion
from proxeny.router.route_table import RouteTable

if TYPE_CHECKING:
    from proxeny.event.slices import Steps
    from proxeny.router.rds.manager import RouteConfigProviderManager
    from proxeny.router.rds.provider import RouteConfigProvider
    from proxeny.stats.store import MainStore


class RouteConfigReceiver:
    """Compiles every version before it holds, and hands it on; what is refused leaves all as it was."""

    def __init__(
        self,
        provider: RouteConfigProvider,
        manager: RouteConfigProviderManager,
        count: Callable[[], object] = lambda: None,
        *,
        validates_clusters: bool = False,
    ) -> None:
        """``count`` hears of every version that holds; ``validates_clusters``: where the configuration does not say."""
        self.provider = provider
        self.version: RouteVersion | None = None
        """What holds."""
        self.virtual_hosts: dict[str, Any] = {}
        """Those of VHDS, by name; kept while the configuration has no VHDS, as in Envoy."""
        self._manager = manager
        self._store = cast("MainStore", manager.compile_context().stats)
        self._count = count
        self._validates_clusters = validates_clusters
        self._base: Any = None
        """The ``RouteConfiguration`` without those of VHDS."""
        self._base_data = b""
        self._closed = False

    @property
    def uses_vhds(self) -> bool:
        """Whether more virtual hosts come from elsewhere."""
        return self._base is not None and bool(self._base.HasField("vhds"))

    def is_known(self, data: bytes) -> bool:
        """Whether this is the serialized configuration that RDS brought last."""
        return self._base is not None and data == self._base_data

    def take(self, message: Any, data: bytes, version: str) -> None:
        """Another configuration; ConfigError."""
        finish(self.take_steps(message, data, version))

    def take_steps(self, message: Any, data: bytes, version: str) -> Steps[None]:
        """``take`` in slices; nothing else is to be taken meanwhile, and ``close`` ends it."""
        yield from self._publish(message, self.virtual_hosts, version)
        self._base, self._base_data = message, data

    def close(self) -> None:
        """Take no more, nor what is being taken."""
        self._closed = True

    def take_virtual_hosts(self, added: Iterable[Any], removed: Iterable[str], version: str) -> None:
        """Virtual hosts come, change or go; ConfigError."""
        hosts = dict(self.virtual_hosts)
        for name in removed:
            hosts.pop(name, None)
        for host in added:
            hosts[host.name] = host
        finish(self._publish(self._base, hosts, version))
        self.virtual_hosts = hosts

    def _publish(self, base: Any, hosts: dict[str, Any], version: str) -> Steps[None]:
        message = base
        if hosts and base.HasField("vhds"):
            message = type(base)()
            message.CopyFrom(base)
            message.virtual_hosts.extend([hosts[name] for name in sorted(hosts)])
        data = message.SerializeToString(deterministic=True)
        context, previous = self._manager.compile_context(), self.provider.current
        steps = RouteTable.compile_steps(message, context, previous, self._validates_clusters)
        compiled, table = yield from self._store.recording_steps(steps)
        if self._closed:
            self._store.release(table)
            return
        digests = msgspec.msgpack.encode(compiled.digests())
        self.version = RouteVersion(message, data, version, time.time(), table, digests)
        self._count()
        # Workers hear of it before those of their requests that wait for it.
        self._manager.on_change(self)
        self.provider.exchange(compiled)
