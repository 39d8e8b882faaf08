"""A manager of discovered route configurations whose source the test plays."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from google.protobuf.json_format import ParseDict

from proxeny.event.dispatcher import Dispatcher
from proxeny.network.factory_context import FactoryContext
from proxeny.router.rds.manager import RouteConfigProviderManager
from proxeny.router.rds.provider import RouteConfigProvider
from proxeny.stats.store import MainStore
from proxeny.xds.init_manager import InitManager
from proxeny.xds.resource import DecodedResource


class FakeSubscription:
    """What was asked of it; ``callbacks`` are its user's."""

    def __init__(self, callbacks: Any) -> None:
        self.callbacks = callbacks
        self.started: list[list[str]] = []
        self.on_demand: list[str] = []
        self.closed = False

    def start(self, names: Any = ()) -> None:
        self.started.append(list(names))

    def request_on_demand(self, names: Any) -> None:
        self.on_demand += names

    def close(self) -> None:
        self.closed = True


class FakeXds:
    def __init__(self) -> None:
        self.subscriptions: list[FakeSubscription] = []
        self.paused: list[str] = []

    @contextmanager
    def pause(self, *type_names: str) -> Iterator[None]:
        self.paused += type_names
        yield
        del self.paused[-len(type_names) :]

    def check_source(self, source: Any, type_name: str) -> None:
        """Any will do."""

    def subscribe(
        self, source: Any, callbacks: Any, decoder: Any, stats: Any, watcher: Any = None, namespaces: bool = False
    ) -> FakeSubscription:
        self.subscriptions.append(FakeSubscription(callbacks))
        return self.subscriptions[-1]


class User:
    """A connection manager's configuration."""

    def __init__(self, provider: RouteConfigProvider | None = None) -> None:
        self.table: Any = None
        self.provider = provider
        if provider is not None:
            provider.attach(self)

    def use_routes(self, table: Any) -> None:
        self.table = table


class Setup:
    def __init__(self) -> None:
        self.dispatcher = Dispatcher(name="test")
        self.store = MainStore()
        self.xds: Any = FakeXds()
        self.context = FactoryContext(role="main", stats=self.store, dispatcher=self.dispatcher, xds=self.xds)
        self.context.cluster_names = frozenset(["static"])
        self.manager = RouteConfigProviderManager(self.context)
        self.init = InitManager("test")
        self.context.init_manager = self.init
        self.events: list[str] = []
        self.manager.on_change = lambda one: self.events.append(f"change {one.version and one.version.version_info}")
        self.manager.on_scopes = self.scope_rows
        self.manager.on_unused = lambda one: self.events.append(f"unused {one.provider.name}")

    def scope_rows(self, key: str, removed: list[list[bytes]], scopes: list[tuple[list[bytes], str]]) -> None:
        gone = " ".join(b"/".join(one).decode() for one in removed)
        there = " ".join(b"/".join(one).decode() + ("" if routes else "?") for one, routes in scopes)
        self.events.append(f"scopes -{gone} +{there}")

    def user(self, name: str = "r", path: str = "/x", prefix: str = "http.web.") -> User:
        return User(self.manager.provider(rds(name, path), prefix, self.init))

    def turn(self) -> None:
        self.dispatcher.run_until_complete(asyncio.sleep(0))

    def stat(self, schema: Any, prefix: str, name: str) -> int:
        return self.store.block(schema, prefix).get(schema.slot(name))

    def close(self) -> None:
        self.manager.close()
        self.dispatcher.close()


def rds(name: str = "r", path: str = "/x") -> Any:
    made = http_connection_manager_pb2.Rds(route_config_name=name)
    made.config_source.path_config_source.path = path
    return made


def routes(name: str = "r", status: int = 200, cluster: str = "", **more: Any) -> route_pb2.RouteConfiguration:
    action = {"route": {"cluster": cluster}} if cluster else {"direct_response": {"status": status}}
    counted = [{"name": f"v{status}", "headers": [{"name": ":path", "present_match": True}]}]
    host = {
        "name": "all",
        "domains": ["*"],
        "virtual_clusters": counted,
        "routes": [{"match": {"prefix": "/"}, **action}],
    }
    return ParseDict({"name": name, "virtual_hosts": [host], **more}, route_pb2.RouteConfiguration())


def resource(message: Any, version: str = "1", error: Any = None) -> DecodedResource:
    return DecodedResource(message.name, message, version, error)
