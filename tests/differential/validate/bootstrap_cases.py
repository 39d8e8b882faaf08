"""Bootstrap fields: node, admin, runtime, stats, watchdog; deprecated fields."""

from tests.differential.validate.corpus import TYPE, bootstrap, cluster

_ADDRESS = "{socket_address: {address: 127.0.0.1, port_value: 0}}"
_NODE = f"{TYPE}/envoy.config.core.v3.Node"

CASES = [
    bootstrap("admin", f"admin: {{address: {_ADDRESS}}}"),
    bootstrap("admin-without-address", "admin: {}"),
    bootstrap("admin-bad-address", "admin: {address: {socket_address: {address: nohost.invalid, port_value: 0}}}"),
    bootstrap("admin-pipe", "admin: {address: {pipe: {path: '@proxeny-validate'}}}"),
    bootstrap("admin-deprecated-log-path", f"admin: {{access_log_path: /dev/null, address: {_ADDRESS}}}"),
    bootstrap("admin-unknown-log", f"admin: {{address: {_ADDRESS}, access_log: [{{name: nothing}}]}}"),
    bootstrap("flush-interval-zero", "stats_flush_interval: 0s"),
    bootstrap("flush-interval-long", "stats_flush_interval: 301s"),
    bootstrap("flush-interval-smallest", "stats_flush_interval: 0.001s"),
    bootstrap("flush-both", "stats_flush_interval: 1s\nstats_flush_on_admin: true"),
    bootstrap("flush-on-admin-false", "stats_flush_on_admin: false"),
    bootstrap("sink-unknown", "stats_sinks: [{name: nothing}]"),
    bootstrap("sink-wrong-type", f'stats_sinks: [{{name: x, typed_config: {{"@type": {_NODE}}}}}]'),
    bootstrap("tag-bad-regex", "stats_config: {stats_tags: [{tag_name: a, regex: '('}]}"),
    bootstrap("tag-default-name-without-value", "stats_config: {stats_tags: [{tag_name: nothing}]}"),
    bootstrap("tag-fixed", "stats_config: {stats_tags: [{tag_name: a, fixed_value: b}]}"),
    bootstrap("tag-empty-name-fixed", "stats_config: {stats_tags: [{fixed_value: b}]}"),
    bootstrap("matcher-inclusion", "stats_config: {stats_matcher: {inclusion_list: {patterns: [{prefix: a}]}}}"),
    bootstrap("matcher-empty", "stats_config: {stats_matcher: {}}"),
    bootstrap("matcher-no-pattern", "stats_config: {stats_matcher: {inclusion_list: {patterns: []}}}"),
    bootstrap("runtime-static", "layered_runtime: {layers: [{name: a, static_layer: {x: 1}}]}"),
    bootstrap("runtime-without-name", "layered_runtime: {layers: [{static_layer: {}}]}"),
    bootstrap("runtime-without-kind", "layered_runtime: {layers: [{name: a}]}"),
    bootstrap(
        "runtime-same-name", "layered_runtime: {layers: [{name: a, admin_layer: {}}, {name: a, static_layer: {}}]}"
    ),
    bootstrap(
        "runtime-two-admin", "layered_runtime: {layers: [{name: a, admin_layer: {}}, {name: b, admin_layer: {}}]}"
    ),
    bootstrap("runtime-two-kinds", "layered_runtime: {layers: [{name: a, admin_layer: {}, static_layer: {}}]}"),
    bootstrap("watchdog-deprecated", "watchdog: {miss_timeout: 1s}"),
    bootstrap("watchdog-both", "watchdog: {miss_timeout: 1s}\nwatchdogs: {main_thread_watchdog: {miss_timeout: 1s}}"),
    bootstrap("watchdogs", "watchdogs: {worker_watchdog: {miss_timeout: 0.5s, megamiss_timeout: 1s}}"),
    bootstrap("local-cluster-missing", "cluster_manager: {local_cluster_name: nothing}"),
    bootstrap("locality", "node: {id: a, locality: {region: r, zone: z}}"),
    bootstrap("empty-static-resources", "static_resources:"),
    bootstrap("clusters-same-name", "static_resources: {clusters: [{name: a}, {name: a}]}"),
    bootstrap("overload-without-rules", "overload_manager: {resource_monitors: [{name: a}]}"),
    bootstrap(
        "overload-buffer-factory-range",
        "overload_manager: {buffer_factory_config: {minimum_account_to_track_power_of_two: 3}}",
    ),
    bootstrap("dynamic-without-node", "dynamic_resources: {cds_config: {api_config_source: {}}}"),
    bootstrap("certificate-provider", "certificate_provider_instances: {'': {name: ''}}"),
    bootstrap("regex-engine-unknown", "default_regex_engine: {name: x}"),
    bootstrap("extension-unknown", f'bootstrap_extensions: [{{name: x, typed_config: {{"@type": {_NODE}}}}}]'),
    bootstrap("fatal-action-unknown", "fatal_actions: [{config: {name: x}}]"),
    bootstrap("server-version-override", "stats_server_version_override: 7"),
    bootstrap("inline-headers-undefined-type", "inline_headers: [{inline_header_name: a, inline_header_type: 9}]"),
    cluster("deprecated-max-requests", "max_requests_per_connection: 1"),
    cluster("deprecated-http-options", "http_protocol_options: {accept_http_10: true}"),
    cluster("deprecated-tcp-dns", "use_tcp_for_dns_lookups: true"),
]
