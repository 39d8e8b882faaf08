"""The walk over a message: chains of constraints, durations, deprecation, classes of support, Any contents."""

from collections.abc import Callable

import pytest
from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap

from proxeny.config.builder import Builder
from proxeny.config.errors import ConfigError, UnknownExtensionError, UnsupportedFieldError
from proxeny.config.inspector import Findings, Inspector
from proxeny.config.loader import unpack_any
from proxeny.config.validate import inspect
from proxeny.config.yaml_loader import load_yaml

TYPE = "type.googleapis.com"
LAYERS = "layered_runtime: {layers: [{name: a, static_layer: {}}]}"


def bootstrap(text: str) -> Bootstrap:
    message = Bootstrap()
    Builder().build(message, load_yaml(text))
    return message


def fault(text: str, findings: Findings | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        inspect(bootstrap(text), Inspector(findings))
    return caught.value


def cluster(fields: str) -> str:
    return f"static_resources: {{clusters: [{{name: a}}, {{name: b, {fields}}}]}}"


def test_a_chain_of_messages_in_pgvs_words() -> None:
    error = fault(cluster("connect_timeout: 0s"))
    assert error.path == "static_resources.clusters[1].connect_timeout"
    assert error.message == (
        "Proto constraint validation failed (BootstrapValidationError.StaticResources: embedded message failed "
        "validation | caused by StaticResourcesValidationError.Clusters[1]: embedded message failed validation | "
        "caused by ClusterValidationError.ConnectTimeout: value must be greater than 0s)"
    )


def test_a_required_oneof() -> None:
    error = fault(cluster("health_checks: [{timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1}]"))
    assert error.message.endswith(
        "ClusterValidationError.HealthChecks[0]: embedded message failed validation | caused by field: "
        '"health_checker", reason: is required)'
    )
    assert error.path == "static_resources.clusters[1].health_checks[0]"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ("health_checks: [{}]", "HealthCheckValidationError.Timeout: value is required)"),
        ("lb_policy: 77", "ClusterValidationError.LbPolicy: value must be one of the defined enum values)"),
        ("load_assignment: {}", "ClusterLoadAssignmentValidationError.ClusterName: value length must be at least 1"),
        ("per_connection_buffer_limit_bytes: 7", None),
        ("max_requests_per_connection: 0", None),
        ("metadata: {filter_metadata: {'': {}}}", "MetadataValidationError.FilterMetadata[]: value length must be"),
        ("outlier_detection: {max_ejection_percent: 101}", "MaxEjectionPercent: value must be less than or equal"),
    ],
)
def test_rules_on_fields(fields: str, reason: str | None) -> None:
    if reason is None:
        inspect(bootstrap(cluster(fields)))
    else:
        assert reason in fault(cluster(fields)).message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{seconds: -1}", "Expected positive duration"),
        ("{nanos: -1}", "Expected positive duration"),
        ("{seconds: 1, nanos: 1000000000}", "Duration out-of-range"),
        ("9223372036s", "Duration out-of-range"),
    ],
)
def test_durations_are_checked_first(text: str, words: str) -> None:
    assert fault(cluster(f"connect_timeout: {text}")).message.startswith(f"Invalid duration: {words}")


def test_deprecated_fields_are_noted() -> None:
    findings = Findings()
    inspect(bootstrap(cluster("max_requests_per_connection: 5")), Inspector(findings))
    (use,) = findings.deprecated
    assert use.warning().startswith(
        "type envoy.config.cluster.v3.Cluster Using deprecated option "
        "'envoy.config.cluster.v3.Cluster.max_requests_per_connection' from file cluster.proto."
    )


def test_a_deprecated_default_value_is_noted() -> None:
    findings = Findings(accept_unsupported=True)
    inspect(bootstrap("dynamic_resources: {ads_config: {}}"), Inspector(findings))
    assert "the default now-deprecated value DEPRECATED_AND_UNAVAILABLE_DO_NOT_USE" in findings.deprecated[0].warning()


def test_unsupported_fields_are_refused_by_name_and_path() -> None:
    error = fault(cluster("filters: [{name: a}]"), Findings())
    assert isinstance(error, UnsupportedFieldError)
    assert error.path == "static_resources.clusters[1].filters"
    assert error.message == "the field 'filters' is not supported by this build of Proxeny"


def test_a_flag_makes_unsupported_fields_a_note() -> None:
    findings = Findings(accept_unsupported=True)
    inspect(bootstrap(cluster("filters: [{name: a}]")), Inspector(findings))
    assert findings.unsupported == ["static_resources.clusters[1].filters"]


def test_constraints_hold_below_unsupported_fields() -> None:
    fields = "outlier_detection: {max_ejection_percent: 101}"
    assert "MaxEjectionPercent" in fault(cluster(fields), Findings(accept_unsupported=True)).message


def test_a_broken_constraint_is_named_before_an_unsupported_field() -> None:
    text = "static_resources: {clusters: [{name: a, outlier_detection: {}}, {name: ''}]}"
    assert "ClusterValidationError.Name" in fault(text, Findings()).message


def test_accepted_fields_are_noted() -> None:
    findings = Findings()
    inspect(bootstrap("perf_tracing_file_path: p"), Inspector(findings))
    assert findings.accepted == ["perf_tracing_file_path"]


def listener(config: str, name: str = "f") -> str:
    filters = f"[{{name: {name}, typed_config: {config}}}]"
    return f"static_resources: {{listeners: [{{filter_chains: [{{filters: {filters}}}]}}]}}"


def test_the_content_of_an_any_is_a_chain_of_its_own() -> None:
    config = f'{{"@type": {TYPE}/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, cluster: a}}'
    error = fault(listener(config))
    assert error.message == (
        "Proto constraint validation failed "
        "(TcpProxyValidationError.StatPrefix: value length must be at least 1 characters)"
    )
    assert error.path == "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.stat_prefix"


def test_unknown_extensions_in_envoys_words() -> None:
    error = fault(listener(f'{{"@type": {TYPE}/envoy.config.core.v3.Node}}'), Findings())
    assert isinstance(error, UnknownExtensionError)
    assert error.message == (
        "Didn't find a registered implementation for 'f' with type URL: 'envoy.config.core.v3.Node'"
    )


def test_a_typed_struct_inside_of_an_any_is_replaced_too() -> None:
    log = "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
    struct = f'{{"@type": {TYPE}/xds.type.v3.TypedStruct, type_url: {TYPE}/{log}, value: {{}}}}'
    url = f"{TYPE}/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
    logs = f"[{{name: l, typed_config: {struct}}}]"
    message = bootstrap(listener(f'{{"@type": {url}, stat_prefix: a, cluster: b, access_log: {logs}}}'))
    inspect(message, Inspector(Findings()))
    content = unpack_any(message.static_resources.listeners[0].filter_chains[0].filters[0].typed_config)
    assert content.access_log[0].typed_config.type_url == f"{TYPE}/{log}"


@pytest.mark.parametrize("package", ["xds.type.v3", "udpa.type.v1"])
@pytest.mark.parametrize(
    ("value", "check"),
    [
        ("{stat_prefix: a, cluster: b}", None),
        ("{stat_prefix: a, clusterr: b}", lambda error: error.path.endswith("typed_config.value.clusterr")),
        ("{cluster: b}", lambda error: "StatPrefix" in error.message),
    ],
)
def test_typed_structs(package: str, value: str, check: Callable[[ConfigError], bool] | None) -> None:
    url = f"{TYPE}/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
    config = f'{{"@type": {TYPE}/{package}.TypedStruct, type_url: {url}, value: {value}}}'
    if check is None:
        message = bootstrap(listener(config))
        inspect(message, Inspector(Findings()))
        content = message.static_resources.listeners[0].filter_chains[0].filters[0].typed_config
        assert content.type_url == url
        assert unpack_any(content).cluster == "b"
    else:
        assert check(fault(listener(config)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{stats_flush_interval: 1s, stats_flush_on_admin: true}", "Only one of stats_flush_interval"),
        ("{watchdog: {}, watchdogs: {}}", "Only one of watchdog or watchdogs"),
        ("static_resources: {listeners: [{filter_chains: [{filters: [{name: x}]}]}]}", "implementation for 'x'"),
        (
            "static_resources: {listeners: [{filter_chains: [{filters: [{name: h, typed_config: {'@type': "
            "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, "
            "stat_prefix: s, route_config: {}, internal_address_config: {cidr_ranges: [{address_prefix: 10.0.0}]}"
            "}}]}]}]}",
            "invalid ip/mask combo '10.0.0/0'",
        ),
        (
            "stats_config: {stats_matcher: {inclusion_list: {patterns: [{safe_regex: "
            "{google_re2: {max_program_size: 1}, regex: aaaaaaaa}}]}}}",
            "> max program size of 1",
        ),
    ],
)
def test_rules_that_envoy_has_in_code(text: str, words: str) -> None:
    assert words in fault(text).message


def test_undefined_enum_numbers_are_refused_without_a_rule_too() -> None:
    error = fault("static_resources: {listeners: [{traffic_direction: 7}]}")
    assert error.message.endswith("TrafficDirection: value must be one of the defined enum values)")
