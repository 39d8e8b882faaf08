"""Where subscriptions come from (Envoy: ``Config::XdsManagerImpl``, ``Config::SubscriptionFactoryImpl``)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from envoy.config.core.v3 import config_source_pb2

from proxeny.config.errors import ConfigError
from proxeny.xds.config_source import check_source, describe
from proxeny.xds.filesystem import FilesystemSubscription
from proxeny.xds.record import XdsRecord
from proxeny.xds.recording import RecordedCallbacks, RecordedSubscription

if TYPE_CHECKING:
    from proxeny.event.file_watcher import FileWatcher
    from proxeny.stats.store import Store
    from proxeny.xds.grpc_client import GrpcClients
    from proxeny.xds.resource import ResourceDecoder
    from proxeny.xds.stats import UpdateStats
    from proxeny.xds.subscription import Subscription, SubscriptionCallbacks
    from proxeny.xds.validation import DynamicValidation


class XdsManager:
    """The subscriptions of main. ``loop``: None where configuration is only checked."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop | None,
        bootstrap: Any,
        node: Any,
        store: Store,
        validation: Callable[[], DynamicValidation],
    ) -> None:
        """``node``: the ``config.core.v3.Node`` that asks."""
        self._loop = loop
        self._bootstrap = bootstrap
        self._node = node
        self._store = store
        self._validation = validation
        self.record = XdsRecord()
        self.grpc_clients: GrpcClients | None = None
        """Set by the server before anything subscribes."""

    def check_source(self, source: Any) -> None:
        """ConfigError for a ``config.core.v3.ConfigSource`` that ``subscribe`` would refuse."""
        check_source(source)

    def subscribe(
        self,
        source: Any,
        callbacks: SubscriptionCallbacks,
        decoder: ResourceDecoder,
        stats: UpdateStats,
        watcher: FileWatcher | None = None,
    ) -> Subscription:
        """A subscription (not started) for ``source``, a ``config.core.v3.ConfigSource``; ConfigError.

        ``watcher``: shared by subscriptions of which there may be many.
        """
        self.check_source(source)
        record = self.record.subscription(decoder.type_name, describe(source))
        recorded = RecordedCallbacks(callbacks, record)
        try:
            return RecordedSubscription(self._subscription(source, recorded, decoder, stats, watcher), record)
        except ConfigError:
            record.closed()
            raise

    def _subscription(
        self,
        source: Any,
        callbacks: SubscriptionCallbacks,
        decoder: ResourceDecoder,
        stats: UpdateStats,
        watcher: FileWatcher | None,
    ) -> Subscription:
        assert self._loop is not None
        path = source.path_config_source
        if source.WhichOneof("config_source_specifier") == "path":
            path = config_source_pb2.PathConfigSource(path=source.path)
        return FilesystemSubscription(self._loop, path, callbacks, decoder, stats, self._validation(), watcher)

    def pause(self, *type_names: str) -> AbstractContextManager[object]:
        """Within it nothing is requested of these types (Envoy: ``ScopedResume``); afterwards what is due."""
        return nullcontext()

    def close(self) -> None:
        """The server ends."""
