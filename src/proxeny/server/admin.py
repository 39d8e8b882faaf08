"""The admin interface: a listener and a connection manager of our own, on main's dispatcher (Envoy: ``AdminImpl``)."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from proxeny.admin.filter import AdminFilter
from proxeny.admin.handler import AdminHandler
from proxeny.config.errors import ConfigError
from proxeny.extensions.network_filters import http_connection_manager
from proxeny.http.filter import StreamFilter
from proxeny.http.filter_chain import FilterChain as HttpFilterChain
from proxeny.listener.config import ListenerConfig
from proxeny.listener.connection_handler import ConnectionHandler
from proxeny.listener.filter_chain import FilterChain
from proxeny.listener.filter_chain_match import FilterChainTable
from proxeny.listener.socket_factory import ListenSocketFactory
from proxeny.server.admin_context import ServerAdminContext
from proxeny.server.configuration import make_context

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.server.bootstrap import Bootstrapped
    from proxeny.server.server import Server

log = logging.getLogger("proxeny.admin")


def admin_manager(admin: Any) -> Any:
    """The connection manager's configuration."""
    manager = http_connection_manager_pb2.HttpConnectionManager(stat_prefix="admin")
    manager.normalize_path.value = True
    manager.access_log.extend(admin.access_log)
    if admin.access_log_path:
        from envoy.extensions.access_loggers.file.v3 import file_pb2

        entry = manager.access_log.add(name="envoy.access_loggers.file")
        entry.typed_config.Pack(file_pb2.FileAccessLog(path=admin.access_log_path))
    return manager


def admin_listener(admin: Any) -> Any:
    """The listener that ``bootstrap.admin`` stands for; its one filter is made apart."""
    listener = listener_pb2.Listener(name="admin", address=admin.address)
    listener.socket_options.extend(admin.socket_options)
    listener.enable_reuse_port.value = False
    listener.ignore_global_conn_limit = admin.ignore_global_conn_limit
    listener.drain_type = listener_pb2.Listener.MODIFY_ONLY
    listener.filter_chains.add()
    return listener


class AdminFilters:
    """Makes the filter of each admin request; the pages are made when somebody first asks."""

    name = "envoy.filters.http.admin"
    filter_class: type[StreamFilter] = AdminFilter
    is_terminal = True

    def __init__(self, server: Server, parts: Bootstrapped) -> None:
        self._server = server
        self._parts = parts
        self._handler: AdminHandler | None = None

    def create(self) -> AdminFilter:
        """A fresh filter."""
        if self._handler is None:
            self._handler = AdminHandler(ServerAdminContext(self._server, self._parts))
        return AdminFilter(self._handler)


class AdminInterface:
    """Binds early, so that a taken port is told before anything is started; serves once ``start`` is called."""

    def __init__(self, server: Server, parts: Bootstrapped) -> None:
        self._server = server
        self._parts = parts
        self._admin = parts.loaded.bootstrap.admin
        self.config: ListenerConfig | None = None
        self.sockets: ListenSocketFactory | None = None
        self._handler: ConnectionHandler | None = None

    def bind(self) -> None:
        """Compile and bind; ConfigError."""
        if not self._admin.HasField("address"):
            log.warning("No admin address given, so no admin HTTP server started.")
            return
        configuration = self._parts.configuration
        context = make_context(
            "admin", self._server.store, configuration, self._server.dispatcher, configuration.runtime
        )
        context.access_log_manager = self._parts.access_logs
        context.limits = self._server.supervisor.limits
        self.config = self._compile(context)
        self.sockets = ListenSocketFactory(self.config, 1)
        self._handler = ConnectionHandler(context)
        self._write_address()

    def _compile(self, context: FactoryContext) -> ListenerConfig:
        config = ListenerConfig.compile(admin_listener(self._admin), context)
        inner = context.for_listener("admin", config.stat_prefix, 0, config.drain)
        manager = http_connection_manager.FACTORY.create_filter_factory(admin_manager(self._admin), inner)
        manager.config.chain = HttpFilterChain([AdminFilters(self._server, self._parts)])
        chain = FilterChain("admin", (manager,))
        config.matcher = FilterChainTable().build(chain)
        return config

    @property
    def address(self) -> str:
        """Where it listens, as text; empty without an admin interface."""
        return self.sockets.addresses[0].as_string() if self.sockets is not None else ""

    def _write_address(self) -> None:
        path = self._server.options.admin_address_path
        if not path:
            return
        try:
            # Written whole or not at all: whoever waits for the file reads it at once.
            with open(f"{path}.tmp", "w") as file:
                file.write(self.address)
            os.replace(f"{path}.tmp", path)
        except OSError as error:
            raise ConfigError(f"cannot open admin address output file {path} for writing.") from error

    def start(self) -> None:
        """Accept."""
        if self.sockets is None or self._handler is None or self.config is None:
            return
        log.info("admin address: %s", self.address)
        self._handler.add_listener(0, self.config, [os.dup(fd) for fd in self.sockets.fds(0)])

    @property
    def connection_count(self) -> int:
        """Open admin connections."""
        return self._handler.connection_count if self._handler is not None else 0

    def close(self) -> None:
        """Close its socket and connections."""
        if self._handler is not None:
            self._handler.close()
        if self.sockets is not None:
            self.sockets.close()
