"""Route configurations, scopes and virtual hosts that are discovered: what --mode validate says of their sources."""

from tests.differential.validate.corpus import HCM, ROUTER, TYPE, Verdict, bootstrap

_NODE = "node: {id: a, cluster: b}"
_SERVICE = "grpc_services: [{envoy_grpc: {cluster_name: plane}}]"
_GRPC = f"api_config_source: {{api_type: GRPC, transport_api_version: V3, {_SERVICE}}}"
_DELTA = _GRPC.replace("GRPC", "DELTA_GRPC", 1)
_REST = _GRPC.replace("GRPC", "REST", 1).replace(_SERVICE, "cluster_names: [plane], refresh_delay: 1s")
_ADS = "dynamic_resources: {ads_config: {api_type: KIND, transport_api_version: V3, " + _SERVICE + "}}"
_BUILDER = "scope_key_builder: {fragments: [{header_value_extractor: {name: x, index: 0}}]}"
_ON_DEMAND = f"{TYPE}/envoy.extensions.filters.http.on_demand.v3"


def _http(
    name: str, routes: str, *, ads: str = "", filters: str = "", node: str = _NODE, stricter: str = ""
) -> Verdict:
    """A connection manager with these routes, and a cluster ``plane``; ``ads``: the kind of ADS that there is."""
    text = f"""
{node}
{_ADS.replace("KIND", ads) if ads else ""}
static_resources:
  clusters:
  - {{name: plane, type: STATIC}}
  listeners:
  - name: l
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {TYPE}/{HCM}
          stat_prefix: s
          {routes}
          http_filters: [{filters}{{name: r, typed_config: {{"@type": {TYPE}/{ROUTER}}}}}]
"""
    return bootstrap(f"discovered-{name}", text, stricter)


def _rds(name: str, source: str, *, ads: str = "", node: str = _NODE, stricter: str = "") -> Verdict:
    routes = f"rds: {{route_config_name: r, config_source: {{{source}}}}}"
    return _http(f"rds-{name}", routes, ads=ads, node=node, stricter=stricter)


def _scoped(name: str, fields: str, *, ads: str = "", stricter: str = "") -> Verdict:
    return _http(f"scoped-{name}", f"scoped_routes: {{{fields}}}", ads=ads, stricter=stricter)


def _hosts(name: str, source: str, *, ads: str = "", stricter: str = "") -> Verdict:
    routes = f"route_config: {{name: r, vhds: {{config_source: {{{source}}}}}}}"
    return _http(f"vhds-{name}", routes, ads=ads, stricter=stricter)


def _demand(name: str, fields: str, stricter: str = "") -> Verdict:
    config = f'{{"@type": {_ON_DEMAND}.OnDemand{fields}}}'
    one = f"{{name: envoy.filters.http.on_demand, typed_config: {config}}}, "
    return _http(f"on-demand-{name}", "route_config: {name: r}", filters=one, stricter=stricter)


_NAMES = f"name: s, {_BUILDER}"
_BOTH = f"rds_config_source: {{{_GRPC}}}, scoped_rds: {{scoped_rds_config_source: {{{_GRPC}}}}}"
_NO_ADS = "there is no stream that anything could come over"
_RDS_ADS = "rds_config_source: {ads: {}}"

CASES = [
    _rds("grpc", _GRPC),
    _rds("delta", f"resource_api_version: V3, {_DELTA}"),
    _rds("ads", "ads: {}", ads="GRPC"),
    _rds("ads-without-ads", "ads: {}", stricter=_NO_ADS),
    _rds("self", "self: {}"),
    _rds("nothing", ""),
    _rds("version-2", f"resource_api_version: V2, {_GRPC}"),
    _rds("version-auto", f"resource_api_version: AUTO, {_GRPC}"),
    _rds("aggregated", _GRPC.replace("GRPC", "AGGREGATED_GRPC", 1)),
    _rds("unknown-cluster", _GRPC.replace("plane", "nowhere")),
    _rds("no-services", "api_config_source: {api_type: GRPC, transport_api_version: V3}"),
    _rds("file-missing", "path_config_source: {path: /no/such/file}"),
    _rds("file", "path_config_source: {path: /dev/null}"),
    _rds("fetch-timeout-negative", f"initial_fetch_timeout: -1s, {_GRPC}"),
    _rds("no-node", _GRPC, node=""),
    _rds("no-node-file", "path_config_source: {path: /dev/null}", node=""),
    _rds("no-node-rest", _REST, node=""),
    _rds("rest", _REST),
    _http("rds-no-source", "rds: {route_config_name: r}"),
    _http("rds-no-name", f"rds: {{config_source: {{{_GRPC}}}}}"),
    _http("rds-xdstp", f"rds: {{route_config_name: 'xdstp://a/b', config_source: {{{_GRPC}}}}}"),
    _scoped("grpc", f"{_NAMES}, {_BOTH}"),
    _scoped("ads", f"{_NAMES}, {_RDS_ADS}, scoped_rds: {{scoped_rds_config_source: {{ads: {{}}}}}}", ads="GRPC"),
    _scoped(
        "ads-without-ads",
        f"{_NAMES}, {_RDS_ADS}, scoped_rds: {{scoped_rds_config_source: {{ads: {{}}}}}}",
        stricter=_NO_ADS,
    ),
    _scoped("rds-source-without-ads", f"{_NAMES}, {_RDS_ADS}, scoped_rds: {{scoped_rds_config_source: {{{_GRPC}}}}}"),
    _scoped("no-rds-source", f"{_NAMES}, scoped_rds: {{scoped_rds_config_source: {{{_GRPC}}}}}"),
    _scoped("no-source", f"{_NAMES}, rds_config_source: {{{_GRPC}}}, scoped_rds: {{}}"),
    _scoped("no-name", f"{_BUILDER}, {_BOTH}"),
    _scoped("no-builder", f"name: s, {_BOTH}"),
    _scoped("nothing", f"{_NAMES}, rds_config_source: {{{_GRPC}}}"),
    _scoped("file", f"{_NAMES}, {_BOTH.replace(_GRPC, 'path_config_source: {path: /no/such/file}')}"),
    _scoped(
        "locator",
        f"{_NAMES}, rds_config_source: {{{_GRPC}}}, scoped_rds: {{scoped_rds_config_source: {{{_GRPC}}}, "
        "srds_resources_locator: 'xdstp://a/envoy.config.route.v3.ScopedRouteConfiguration/x'}",
    ),
    _scoped(
        "list-with-name",
        f"{_NAMES}, scoped_route_configurations_list: {{scoped_route_configurations: "
        "[{name: a, route_configuration_name: r, key: {fragments: [{string_key: k}]}}]}",
    ),
    _hosts("delta", _DELTA),
    _hosts("sotw", _GRPC),
    _hosts("ads-delta", "ads: {}", ads="DELTA_GRPC"),
    _hosts("ads-sotw", "ads: {}", ads="GRPC"),
    _hosts("ads-without-ads", "ads: {}"),
    _hosts("file", "path_config_source: {path: /dev/null}"),
    _hosts("unknown-cluster", _DELTA.replace("plane", "nowhere"), stricter="nothing leads to the control plane"),
    _http("vhds-no-source", "route_config: {name: r, vhds: {}}"),
    _demand("plain", ""),
    _demand("clusters", ", odcds: {source: {ads: {}}}", stricter="clusters on demand are not served"),
    _demand("unknown", ", nothing: 1"),
    _http(
        "on-demand-per-route",
        f'route_config: {{name: r, typed_per_filter_config: {{envoy.filters.http.on_demand: {{"@type": '
        f"{_ON_DEMAND}.PerRouteConfig}}}}}}",
    ),
]
