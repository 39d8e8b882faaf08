"""The bootstrap compiled in main, step by step as Envoy initialises: what --mode validate checks and what serving does.

Nothing here opens a socket. Each resource is compiled inside a recording of the stats it was allotted; that table goes
to the workers with the resource.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from proxeny.access_log.config import compile_access_logs
from proxeny.config.deprecation import judge
from proxeny.config.errors import ConfigError
from proxeny.config.loader import LoadedBootstrap
from proxeny.event.dispatcher import Dispatcher
from proxeny.filter_config.manager import FilterConfigManager
from proxeny.kernel.limits import LimitTable
from proxeny.kernel.randomness import RandomGenerator
from proxeny.listener.kinds import compile_listener
from proxeny.listener.limits import GLOBAL_RUNTIME_KEY, monitored_limit
from proxeny.network import address
from proxeny.network.bootstrap_extensions import install_bootstrap_extensions
from proxeny.network.factory_context import FactoryContext, LocalInfo, ServerState
from proxeny.network.local_address import local_address
from proxeny.network.overload_state import GLOBAL_DOWNSTREAM_MAX_CONNECTIONS
from proxeny.router.async_request import AsyncRequests
from proxeny.router.rds.manager import RouteConfigProviderManager
from proxeny.rpc.client_manager import GrpcClientManager
from proxeny.runtime.loader import RuntimeLoader
from proxeny.runtime.snapshot import RuntimeReader
from proxeny.secret.manager import SecretManager
from proxeny.server.cds_api import check_cds, has_cds
from proxeny.server.listener_table import ListenerTable
from proxeny.server.options import Options
from proxeny.server.overload.manager import OverloadManager
from proxeny.server.server_stats import PATCHES, PATCHES_APPLIED, PATCHES_UNMATCHED
from proxeny.server.validation import load_options
from proxeny.server.version import describe
from proxeny.stats.config import StatsSettings
from proxeny.stats.store import MainStore, StatTable, Store
from proxeny.upstream.main_cluster_manager import MainClusterManager
from proxeny.xds.init_manager import InitManager
from proxeny.xds.manager import XdsManager
from proxeny.xds.validation import DynamicValidation

log = logging.getLogger("proxeny.config")
server_log = logging.getLogger("proxeny.main")


@dataclass(slots=True, eq=False)
class CompiledListener:
    """One generation of a listener as main keeps it; ``data`` is the serialized message, ``tag`` its generation."""

    proto: Any
    config: Any
    stats: StatTable
    data: bytes
    hash: bytes
    has_own_name: bool = True
    init_manager: InitManager = field(default_factory=lambda: InitManager(""))
    """What this generation waits for before the workers hear of it."""

    @property
    def name(self) -> str:
        """The listener's name."""
        return str(self.proto.name)

    @property
    def as_configured(self) -> Any:
        """The message, without the name that it was given."""
        if self.has_own_name:
            return self.proto
        message = type(self.proto)()
        message.CopyFrom(self.proto)
        message.ClearField("name")
        return message


def local_info(bootstrap: Any, options: Options) -> LocalInfo:
    """Who we are: the flags win over ``node``."""
    node = bootstrap.node
    if options.service_cluster:
        node.cluster = options.service_cluster
    if options.service_node:
        node.id = options.service_node
    if options.service_zone:
        node.locality.zone = options.service_zone
    describe(node)
    own = local_address(6 if options.local_address_ip_version == "v6" else 4)
    return LocalInfo(node.cluster, node.id, node.locality.zone, node, own)


def log_notices(loaded: LoadedBootstrap, deprecated: list[str]) -> None:
    """What is worth telling about a bootstrap that was accepted."""
    for warning in [*loaded.warnings, *deprecated]:
        log.warning("%s", warning)
    for line in loaded.patches.summary if loaded.patches is not None else ():
        log.info("patched by %s", line)


class Configuration:
    """Compiles the parts of one bootstrap in role "main"."""

    def __init__(
        self, loaded: LoadedBootstrap, options: Options, store: MainStore, dispatcher: Dispatcher | None = None
    ) -> None:
        self.loaded = loaded
        self.bootstrap = loaded.bootstrap
        self.store = store
        self.options = options
        self.server_state = ServerState()
        self.stats_settings = StatsSettings(self.bootstrap, tuple(options.stats_tags.items()))
        self.local_info = local_info(self.bootstrap, options)
        self.runtime = RuntimeLoader(self.bootstrap, store, self.local_info.cluster_name, dispatcher)
        deprecated = judge(loaded.deprecated, self.runtime.get_boolean)
        self.runtime.count_deprecated(len(deprecated))
        clusters = self.bootstrap.static_resources.clusters
        self.context = make_context("main", store, self, dispatcher, self.runtime)
        self.context.cluster_names = frozenset(cluster.name for cluster in clusters)
        self.context.xds = self.xds = XdsManager(
            dispatcher,
            self.bootstrap,
            self.local_info.node,
            store,
            self._dynamic_validation,
            partial_updates=options.accept_partial_updates,
        )
        self.xds.grpc_clients = self.grpc_clients = GrpcClientManager(self.context)
        self.context.secrets = self.secrets = SecretManager(
            store, self.local_info.node, dispatcher, self._dynamic_validation, self.xds, options
        )
        self.context.init_manager = self.init_manager = InitManager("Server")
        self.context.routes = self.routes = RouteConfigProviderManager(self.context)
        self.secrets.init_manager = lambda: self.context.init_manager
        self.context.filter_configs = self.filter_configs = FilterConfigManager(
            store, dispatcher, self._dynamic_validation
        )
        install_bootstrap_extensions(self.context)
        log_notices(loaded, [] if options.skip_deprecated_logs else deprecated)
        if loaded.patches is not None:
            block = store.block(PATCHES, "server.")
            block.add(PATCHES_APPLIED, loaded.patches.applied)
            block.add(PATCHES_UNMATCHED, loaded.patches.unmatched)

    def _dynamic_validation(self) -> DynamicValidation:
        return self.context.dynamic_validation or DynamicValidation(load_options(self.options))

    def add_secrets(self) -> None:
        """All static secrets, which clusters and listeners may name; ConfigError."""
        secrets = self.bootstrap.static_resources.secrets
        log.info("loading %d static secret(s)", len(secrets))
        for index, secret in enumerate(secrets):
            log.debug("static secret #%d: %s", index, secret.name)
        self.secrets.add_static(secrets)

    def clusters(self, limits: LimitTable | None = None) -> MainClusterManager:
        """All static clusters; the runtime's layers, too, may come through them."""
        protos = self.bootstrap.static_resources.clusters
        log.info("loading %d cluster(s)", len(protos))
        seen: set[str] = set()
        for proto in protos:
            if proto.name in seen:
                raise ConfigError(f"cluster manager: duplicate cluster '{proto.name}'")
            seen.add(proto.name)
        dynamic = self.bootstrap.dynamic_resources
        if has_cds(dynamic, self.options):
            check_cds(dynamic, self.local_info.node, self.xds)
        manager = MainClusterManager(self.context, self.options.concurrency, limits)
        self.xds.http_client = AsyncRequests(self.context)
        self.xds.added_clusters = manager.added_names
        self.xds.initialize()
        manager.add_static(protos)
        self.context.cluster_names = manager.known()
        local = self.bootstrap.cluster_manager.local_cluster_name
        if local and local not in seen:
            raise ConfigError(f"local cluster '{local}' must be defined")
        self.runtime.connect(self.xds, self.local_info.node, self._dynamic_validation())
        return manager

    def take_resources(self, bootstrap: Any) -> None:
        """What another bootstrap says of static resources and runtime layers holds now."""
        for name in ("static_resources", "layered_runtime"):
            if bootstrap.HasField(name):
                getattr(self.bootstrap, name).CopyFrom(getattr(bootstrap, name))
            else:
                self.bootstrap.ClearField(name)

    def listener(self, proto: Any) -> CompiledListener:
        """One listener; gives it a name when it has none."""
        has_own_name = bool(proto.name)
        if not has_own_name:
            proto.name = str(uuid.uuid4())
        data = proto.SerializeToString(deterministic=True)
        digest = content_hash(data)
        init_manager = InitManager(f"Listener-local-init-manager {proto.name} {int.from_bytes(digest[:8])}")
        with self.store.recording() as table, self.context.initializing(init_manager):
            config = compile_listener(proto, self.context)
        return CompiledListener(proto, config, table, data, digest, has_own_name, init_manager)

    def listeners(self) -> list[CompiledListener]:
        """All static listeners, in order, no two on one address; of two with one name the first counts, as in Envoy."""
        protos = self.bootstrap.static_resources.listeners
        log.info("loading %d listener(s)", len(protos))
        table: ListenerTable[CompiledListener] = ListenerTable()
        for index, proto in enumerate(protos):
            if proto.name in table:
                log.debug("duplicate/locked listener '%s'. no add/update", proto.name)
                continue
            try:
                compiled = self.listener(proto)
            except ConfigError as error:
                raise error.at(f"static_resources.listeners[{index}]") from None
            check_duplicate_address(compiled, table.sharing(compiled.config))
            table.put(compiled)
        return list(table.values())

    def overload(self, used_memory: Callable[[], int]) -> OverloadManager:
        """The overload manager, with its resource monitors; ConfigError."""
        return OverloadManager(self.bootstrap.overload_manager, self.store, used_memory)

    def admin(self) -> Any:
        """The admin address and access logs, checked; None without an admin interface."""
        admin = self.bootstrap.admin
        if not self.bootstrap.HasField("admin") or not admin.HasField("address"):
            return None
        compile_access_logs(admin.access_log, self.context)
        return address.from_proto(admin.address)


def content_hash(data: bytes) -> bytes:
    """What tells serialized messages apart."""
    return hashlib.blake2b(data, digest_size=16).digest()


def check_duplicate_address(added: CompiledListener, others: Iterable[CompiledListener]) -> None:
    """ConfigError when another listener has one of the same addresses, bound or not.

    Any number may bind port 0; whether they do is asked of the listener that was there first, as in Envoy.
    """
    own = {bound: bool(bound.is_pipe or bound.port) for bound in added.config.addresses}
    for other in others:
        if other.config.socket_type != added.config.socket_type:
            continue
        for bound in other.config.addresses:
            counts = own.get(bound)
            if counts is not None and (counts or not other.config.bind_to_port):
                joined = ",".join(bound.as_string() for bound in own)
                raise ConfigError(
                    f"error adding listener: '{added.proto.name}' has duplicate address '{joined}' as "
                    "existing listener, to check if the listener has duplicated addresses with other listeners or "
                    "'enable_reuse_port' is set to 'false' for the listener"
                )


def warn_of_limits(configuration: Configuration) -> None:
    """Say, as Envoy does, where connections are not limited, or by the deprecated runtime key."""
    if GLOBAL_RUNTIME_KEY in configuration.runtime.snapshot.entries:
        server_log.warning(
            "Usage of the deprecated runtime key %s, consider switching to `%s` instead."
            "This runtime key will be removed in future.",
            GLOBAL_RUNTIME_KEY,
            GLOBAL_DOWNSTREAM_MAX_CONNECTIONS,
        )
    if monitored_limit(configuration.bootstrap) is None:
        server_log.warning(
            "There is no configured limit to the number of allowed active downstream connections. Configure a limit in "
            "`%s` resource monitor.",
            GLOBAL_DOWNSTREAM_MAX_CONNECTIONS,
        )


def make_context(
    role: str, store: Store, configuration: Configuration, dispatcher: Dispatcher | None, runtime: RuntimeReader
) -> FactoryContext:
    """The factory context of main's own compiles (role "main" or "admin")."""
    return FactoryContext(
        role=role,
        stats=store,
        dispatcher=dispatcher,
        runtime=runtime,
        local_info=configuration.local_info,
        server_state=configuration.server_state,
        options=configuration.options,
        bootstrap=configuration.bootstrap,
        random=RandomGenerator(),
        concurrency=configuration.options.concurrency,
    )
