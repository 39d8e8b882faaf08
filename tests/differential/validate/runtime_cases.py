"""Layers of the runtime, and what they make of deprecated fields."""

from tests.differential.validate.corpus import Verdict, bootstrap

FAIL = "envoy.features.fail_on_any_deprecated_feature: true"
ALL = "envoy.features.enable_all_deprecated_features"
CORS = '"envoy.deprecated_features:envoy.config.route.v3.RouteAction.cors"'

_HTTP = """
static_resources:
  listeners:
  - name: main
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: h
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: x
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          route_config:
            virtual_hosts:
            - name: a
              domains: ["*"]
              routes:
              - match: {prefix: /}
                route: {cluster: c, cors: {allow_origin_string_match: [{exact: a}]}}
  clusters:
  - {name: c, connect_timeout: 1s, type: STATIC}
"""

_NODE = "node: {id: node, cluster: cluster}"


def _layers(name: str, layers: str, more: str = "", stricter: str = "") -> Verdict:
    return bootstrap(f"layers-{name}", f"layered_runtime: {{layers: [{layers}]}}\n{more}", stricter)


def _deprecated(name: str, *values: str) -> Verdict:
    return _layers(f"deprecated-{name}", f"{{name: s, static_layer: {{{', '.join(values)}}}}}", _HTTP)


def _disk(name: str, fields: str) -> Verdict:
    return _layers(f"disk-{name}", f"{{name: d, disk_layer: {{{fields}}}}}")


CASES = [
    bootstrap("layers-none", "layered_runtime: {}"),
    bootstrap("layers-empty", "layered_runtime: {layers: []}"),
    _layers("null", "{name: s, static_layer: {a: null}}"),
    _layers("list", "{name: s, static_layer: {a: [1]}}"),
    _layers("nested-list", "{name: s, static_layer: {a: {b: {c: [1]}}}}"),
    _layers("fraction", "{name: s, static_layer: {a: {numerator: 1, denominator: HUNDRED}}}"),
    _layers("fraction-odd", "{name: s, static_layer: {a: {numerator: x, denominator: 7, other: 1}}}"),
    _layers("name-empty", "{name: '', admin_layer: {}}"),
    _layers("rtds", "{name: r, rtds_layer: {name: r, rtds_config: {ads: {}}}}"),
    _layers("rtds-file", "{name: r, rtds_layer: {name: r, rtds_config: {path: /dev/null}}}", _NODE),
    _layers("rtds-no-node", "{name: r, rtds_layer: {name: r, rtds_config: {path: /dev/null}}}"),
    _layers("rtds-no-file", "{name: r, rtds_layer: {name: r, rtds_config: {path: /no/such/file}}}", _NODE),
    _layers("rtds-no-source", "{name: r, rtds_layer: {name: r, rtds_config: {}}}", _NODE),
    _layers("rtds-no-config", "{name: r, rtds_layer: {name: r}}", _NODE),
    _layers("rtds-no-name", "{name: r, rtds_layer: {rtds_config: {path: /dev/null}}}", _NODE),
    _disk("root-missing", "symlink_root: /no/such/folder/root"),
    _disk("folder-there", "symlink_root: /tmp/no-such-root"),
    _disk("root-empty", "symlink_root: ''"),
    _disk("only-subdirectory", "subdirectory: x"),
    _deprecated("by-default"),
    _deprecated("fail", FAIL),
    _deprecated("fail-but-all", FAIL, f"{ALL}: true"),
    _deprecated("fail-but-own", FAIL, f"{CORS}: true"),
    _deprecated("fail-all-own-off", FAIL, f"{ALL}: true", f"{CORS}: false"),
    _deprecated("own-off", f"{CORS}: false"),
    _deprecated("all-off", f"{ALL}: false"),
    _deprecated("fail-text", 'envoy.features.fail_on_any_deprecated_feature: "true"'),
    _layers(
        "deprecated-cluster-field",
        f"{{name: s, static_layer: {{{FAIL}}}}}",
        "static_resources: {clusters: [{name: a, max_requests_per_connection: 5}]}",
    ),
]
