"""A connection manager with very many routes is compiled in slices."""

from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from proxeny import extensions
from proxeny.event.slices import finish
from proxeny.listener.kinds import compile_listener_steps
from proxeny.network.factory_context import FactoryContext
from proxeny.stats.store import MainStore


def test_routes_are_compiled_step_by_step() -> None:
    extensions.install()
    manager = http_connection_manager_pb2.HttpConnectionManager(stat_prefix="h")
    host = manager.route_config.virtual_hosts.add(name="v", domains=["*"])
    for number in range(2000):
        route = host.routes.add()
        route.match.prefix, route.direct_response.status = f"/{number}/", 200
    manager.http_filters.add(name="router").typed_config.Pack(router_pb2.Router())
    listener = listener_pb2.Listener(name="l")
    listener.address.socket_address.address, listener.address.socket_address.port_value = "127.0.0.1", 0
    listener.filter_chains.add().filters.add(name="hcm").typed_config.Pack(manager)
    context = FactoryContext(role="main", stats=MainStore())
    steps = compile_listener_steps(listener, context)
    for _ in range(100):
        next(steps)
    assert finish(steps).name == "l"
