"""Where subscriptions come from (Envoy: ``Config::XdsManagerImpl``, ``Config::SubscriptionFactoryImpl``)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.core.v3 import config_source_pb2

from proxeny.config.errors import ConfigError
from proxeny.xds import api_config_source, backoff, delta_mux, rate_limit, services, sotw_mux
from proxeny.xds.collection import CollectionSubscription, aggregates, decode_locator, file_path, node_context
from proxeny.xds.config_source import check_node, check_path, describe
from proxeny.xds.config_stream import ConfigStream, ConfigStreamCallbacks, StreamOptions
from proxeny.xds.config_validators import AddedClusters, compile_validators
from proxeny.xds.control_plane_stats import ControlPlaneStats
from proxeny.xds.eds_cache import EdsResourcesCache
from proxeny.xds.filesystem import FilesystemSubscription
from proxeny.xds.filesystem_collection import FilesystemCollectionSubscription
from proxeny.xds.grpc_subscription import INITIAL_FETCH_TIMEOUT_MS, GrpcSubscription, GrpcSubscriptionOptions
from proxeny.xds.record import XdsRecord
from proxeny.xds.recording import RecordedCallbacks, RecordedSubscription
from proxeny.xds.resource import TYPE_URL_PREFIX
from proxeny.xds.rest import RestSubscription

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.event.file_watcher import FileWatcher
    from proxeny.stats.store import MainStore, Store
    from proxeny.xds.grpc_client import GrpcClients
    from proxeny.xds.http_client import HttpClient
    from proxeny.xds.mux import Mux
    from proxeny.xds.resource import ResourceDecoder
    from proxeny.xds.stats import UpdateStats
    from proxeny.xds.subscription import Subscription, SubscriptionCallbacks
    from proxeny.xds.validation import DynamicValidation

_NO_ADS: Final = "ADS must be configured to support an ADS config source"


class XdsManager:
    """The subscriptions of main. ``loop``: None where configuration is only checked."""

    def __init__(
        self,
        loop: Dispatcher | None,
        bootstrap: Any,
        node: Any,
        store: Store,
        validation: Callable[[], DynamicValidation],
        *,
        partial_updates: bool = False,
    ) -> None:
        """``bootstrap``: None is an empty one; ``node``: the ``config.core.v3.Node`` that asks.

        ``partial_updates``: take what is good of a response even where Envoy refuses all of it.
        """
        if bootstrap is None:
            bootstrap = bootstrap_pb2.Bootstrap()
        self._loop = loop
        self._node = node
        self._store = store
        self._validation = validation
        self._ads_config = bootstrap.dynamic_resources.ads_config
        self._has_ads = bootstrap.dynamic_resources.HasField("ads_config")
        self._partial_updates = partial_updates
        self._context_keys = tuple(bootstrap.node_context_params)
        self._primaries = api_config_source.primary_clusters(bootstrap)
        self._ads: Mux | None = None
        self.record = XdsRecord()
        self.eds_cache: EdsResourcesCache | None = None
        """The assignments that came over ADS; None: there is no ADS."""
        self.added_clusters: AddedClusters = frozenset
        """Set by the server: what config validators look at."""
        self.grpc_clients: GrpcClients | None = None
        """Set by the server before anything subscribes."""
        self.http_client: HttpClient | None = None
        """Likewise, for REST."""

    def reach_through(self, *bootstraps: Any) -> None:
        """The static clusters of these ``Bootstrap`` messages are those that control planes may be reached through."""
        self._primaries = frozenset().union(*[api_config_source.primary_clusters(one) for one in bootstraps])

    # -- ADS ---------------------------------------------------------------------------------------------------

    def initialize(self) -> None:
        """Make the stream of ``ads_config``, once the clusters are there that it may go through; ConfigError."""
        if not self._has_ads:
            return
        check_node(self._node, "ads")
        api_config_source.check_ads(self._ads_config, self._primaries)
        self._check_services(self._ads_config)
        if self._loop is not None:
            self.eds_cache = EdsResourcesCache(self._loop)
            self._ads = self._mux(self._ads_config, services.ADS, "", self.eds_cache)

    @property
    def ads_cluster(self) -> str:
        """The cluster that the stream of ADS goes through, empty where there is none."""
        services = self._ads_config.grpc_services if self._ads is not None else ()
        name: str = services[0].envoy_grpc.cluster_name if services else ""
        return name

    def start(self) -> None:
        """Open the stream of ADS, once its cluster is initialized."""
        if self._ads is not None:
            self._ads.start()

    def pause(self, *type_names: str) -> AbstractContextManager[object]:
        """Within it nothing is requested of these types over ADS (Envoy: ``ScopedResume``); afterwards what is due."""
        paused = ExitStack()
        if self._ads is not None:
            paused.enter_context(self._ads.pause([TYPE_URL_PREFIX + name for name in type_names]))
        return paused

    # -- subscriptions -----------------------------------------------------------------------------------------

    def check_source(self, source: Any, type_name: str = "") -> None:
        """ConfigError for a ``config.core.v3.ConfigSource`` that ``subscribe`` would refuse."""
        kind = source.WhichOneof("config_source_specifier")
        if kind in ("path", "path_config_source"):
            check_path(source)
        elif kind == "api_config_source":
            api_config_source.check_subscription(source, type_name, self._primaries)
            self._check_services(source.api_config_source)
        elif kind != "ads":
            raise ConfigError("Missing config source specifier in envoy::config::core::v3::ConfigSource")
        elif not self._has_ads:
            raise ConfigError(_NO_ADS)

    def subscribe(
        self,
        source: Any,
        callbacks: SubscriptionCallbacks,
        decoder: ResourceDecoder,
        stats: UpdateStats,
        watcher: FileWatcher | None = None,
        namespaces: bool = False,
    ) -> Subscription:
        """A subscription (not started) for ``source``, a ``config.core.v3.ConfigSource``; ConfigError.

        ``watcher``: shared by subscriptions of which there may be many. ``namespaces``: each name stands for all that
        begin with it and a slash.
        """
        self.check_source(source, decoder.type_name)

        def make(recorded: SubscriptionCallbacks) -> Subscription:
            if source.WhichOneof("config_source_specifier") in ("path", "path_config_source"):
                return self._filesystem(source, recorded, decoder, stats, watcher)
            if source.api_config_source.api_type == config_source_pb2.ApiConfigSource.REST:
                return self._rest(source, recorded, decoder, stats)
            return self._grpc(source, recorded, decoder, stats, namespaces)

        return self._recorded(describe(source), callbacks, decoder, make)

    def _recorded(
        self,
        described: str,
        callbacks: SubscriptionCallbacks,
        decoder: ResourceDecoder,
        make: Callable[[SubscriptionCallbacks], Subscription],
    ) -> Subscription:
        decoder.keeps_broken = self._partial_updates
        record = self.record.subscription(decoder.type_name, described)
        try:
            subscription = make(RecordedCallbacks(callbacks, record))
        except ConfigError:
            record.closed()
            raise
        return RecordedSubscription(subscription, record)

    def check_collection(self, locator: str, source: Any, type_name: str) -> None:
        """ConfigError for what ``subscribe_collection`` would refuse."""
        if not locator:
            self.check_source(source, type_name)
            return
        if path := file_path(locator):
            check_path(config_source_pb2.ConfigSource(path=path))
            return
        decode_locator(locator, type_name)
        if aggregates(source):
            if not self._has_ads:
                raise ConfigError(_NO_ADS)
        else:
            api_config_source.check_subscription(source, type_name, self._primaries)
            self._check_services(source.api_config_source)

    def _check_services(self, api: Any) -> None:
        if self.grpc_clients is not None:
            for service in api.grpc_services:
                self.grpc_clients.check(service)

    def subscribe_collection(
        self, locator: str, source: Any, callbacks: SubscriptionCallbacks, decoder: ResourceDecoder, stats: UpdateStats
    ) -> Subscription:
        """A subscription (not started) to an xdstp collection, whose name also says who asks, or to one in a file;
        ConfigError.

        Without a ``locator``: to everything that ``source`` has.
        """
        if not locator:
            return self.subscribe(source, callbacks, decoder, stats)
        self.check_collection(locator, source, decoder.type_name)
        if path := file_path(locator):
            return self._recorded(
                locator, callbacks, decoder, lambda recorded: self._file_collection(path, recorded, decoder, stats)
            )
        collection = decode_locator(locator, decoder.type_name)
        collection.context = {**node_context(self._node, self._context_keys), **collection.context}
        if aggregates(source):
            source = config_source_pb2.ConfigSource(
                ads=config_source_pb2.AggregatedConfigSource(),
                initial_fetch_timeout=source.initial_fetch_timeout
                if source.HasField("initial_fetch_timeout")
                else None,
            )
        return CollectionSubscription(self.subscribe(source, callbacks, decoder, stats), collection.encode())

    def _filesystem(
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

    def _file_collection(
        self, path: str, callbacks: SubscriptionCallbacks, decoder: ResourceDecoder, stats: UpdateStats
    ) -> Subscription:
        assert self._loop is not None
        source = config_source_pb2.PathConfigSource(path=path)
        return FilesystemCollectionSubscription(self._loop, source, callbacks, decoder, stats, self._validation())

    def _rest(
        self, source: Any, callbacks: SubscriptionCallbacks, decoder: ResourceDecoder, stats: UpdateStats
    ) -> Subscription:
        assert self._loop is not None
        timeout_ms = _initial_fetch_timeout_ms(source)
        return RestSubscription(
            self._loop,
            self._find_http_client,
            self._node,
            source.api_config_source,
            callbacks,
            decoder,
            stats,
            self._validation(),
            timeout_ms,
        )

    def _find_http_client(self) -> HttpClient:
        assert self.http_client is not None
        return self.http_client

    def _grpc(
        self,
        source: Any,
        callbacks: SubscriptionCallbacks,
        decoder: ResourceDecoder,
        stats: UpdateStats,
        namespaces: bool,
    ) -> Subscription:
        assert self._loop is not None
        options = GrpcSubscriptionOptions(_initial_fetch_timeout_ms(source), namespaces=namespaces)
        mux: Mux | Callable[[], Mux] = self._find_ads
        if source.WhichOneof("config_source_specifier") == "api_config_source":
            options.is_aggregated = False
            methods = services.methods_of(decoder.type_name)
            make = partial(self._mux, source.api_config_source, methods, stats.prefix)
            mux = make if self.grpc_clients is None else make()
        return GrpcSubscription(self._loop, mux, callbacks, decoder, stats, options)

    def _find_ads(self) -> Mux:
        assert self._ads is not None
        return self._ads

    def _mux(
        self,
        api: Any,
        methods: services.DiscoveryMethods,
        stat_prefix: str,
        eds_cache: EdsResourcesCache | None = None,
    ) -> Mux:
        loop, clients = self._loop, self.grpc_clients
        assert loop is not None and clients is not None
        delta = api_config_source.is_delta(api)
        service = api.grpc_services[0]
        options = StreamOptions(
            clients.of(service, stat_prefix),
            service.envoy_grpc.cluster_name or service.google_grpc.target_uri,
            methods.delta if delta else methods.sotw,
            delta_mux.MESSAGE if delta else sotw_mux.MESSAGE,
            backoff.from_api_config_source(api),
            rate_limit.from_api_config_source(api, loop.time_source),
        )

        def open_stream(callbacks: ConfigStreamCallbacks) -> ConfigStream:
            store = cast("MainStore", self._store)
            return ConfigStream(loop, callbacks, options, ControlPlaneStats(store, stat_prefix))

        make: Callable[..., Mux] = delta_mux.DeltaMux if delta else sotw_mux.SotwMux
        return make(
            loop,
            self._node,
            open_stream,
            skip_subsequent_node=api.set_node_on_first_message_only,
            eds_cache=eds_cache,
            partial_updates=self._partial_updates,
            validators=compile_validators(api, self.added_clusters),
        )

    def close(self) -> None:
        """The server ends."""
        if self._ads is not None:
            self._ads.close()


def _initial_fetch_timeout_ms(source: Any) -> int:
    if not source.HasField("initial_fetch_timeout"):
        return INITIAL_FETCH_TIMEOUT_MS
    milliseconds: int = source.initial_fetch_timeout.ToMilliseconds()
    return milliseconds
