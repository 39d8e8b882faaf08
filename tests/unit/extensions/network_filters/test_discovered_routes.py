"""A connection manager whose routes are discovered: what changes when another table holds."""

from typing import Any

from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from google.protobuf.json_format import ParseDict
from tests.unit.router.rds.rds_setup import routes

from proxeny import extensions
from proxeny.extensions.network_filters.http_connection_manager import FACTORY
from proxeny.network.factory_context import FactoryContext
from proxeny.router.rds.provider import RouteConfigProvider, RouteConfigProviders, ScopedRoutesProvider
from proxeny.router.route_table import RouteTable
from proxeny.stats.store import MainStore


class Providers:
    """One of each."""

    def __init__(self) -> None:
        self.routes = RouteConfigProvider("k", "r")
        self.scopes = ScopedRoutesProvider("k", "s")

    def provider(self, *arguments: Any) -> RouteConfigProvider:
        return self.routes

    def scoped_provider(self, *arguments: Any) -> ScopedRoutesProvider:
        return self.scopes


def compiled(providers: Any, **fields: Any) -> Any:
    extensions.install()
    message = ParseDict({"stat_prefix": "h", **fields}, http_connection_manager_pb2.HttpConnectionManager())
    message.http_filters.add(name="router").typed_config.Pack(router_pb2.Router())
    given: RouteConfigProviders = providers
    return FACTORY.create_filter_factory(message, FactoryContext(role="main", stats=MainStore(), routes=given))


def test_its_table_is_exchanged() -> None:
    providers = Providers()
    made = compiled(providers, rds={"route_config_name": "r", "config_source": {"ads": {}}})
    assert made.config.route_table is None
    assert made.describe() == "HTTP by the route configuration 'r'"
    context = FactoryContext(role="main", stats=MainStore())
    table = RouteTable.compile(routes("r", internal_only_headers=["X-In"]), context, False)
    providers.routes.exchange(table)
    assert made.config.route_table is table
    assert made.config.sanitizer.internal_only == (b"x-in",)
    providers.routes.exchange(RouteTable.compile(routes("r"), context, False))
    assert made.config.sanitizer.internal_only == ()


def test_it_keeps_its_provider_and_is_forgotten_with_its_configuration() -> None:
    providers = Providers()
    made = compiled(providers, rds={"route_config_name": "r", "config_source": {"ads": {}}})
    assert made.config.route_provider is providers.routes
    assert providers.routes.is_used
    del made
    assert not providers.routes.is_used


def test_it_looks_scopes_up_where_they_change() -> None:
    providers = Providers()
    made = compiled(
        providers,
        scoped_routes={
            "name": "s",
            "scope_key_builder": {"fragments": [{"header_value_extractor": {"name": "x", "index": 0}}]},
            "rds_config_source": {"ads": {}},
            "scoped_rds": {"scoped_rds_config_source": {"ads": {}}},
        },
    )
    table = made.config.route_table
    assert made.config.sanitizer.scopes is table
    providers.scopes.scopes[b"a",] = providers.routes
    assert [scope for scope in table._scopes.values()] == [providers.routes]
    assert providers.scopes.is_used
