"""Cluster messages compiled: Envoy's verdicts (asked from Envoy 1.40) and what comes out."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.extensions.clusters.dns.v3 import dns_cluster_pb2  # noqa: F401
from envoy.extensions.load_balancing_policies.least_request.v3 import least_request_pb2  # noqa: F401
from envoy.extensions.load_balancing_policies.random.v3 import random_pb2  # noqa: F401
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2  # noqa: F401
from google.protobuf import json_format

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.network.factory_context import FactoryContext
from proxeny.stats.store import MainStore
from proxeny.upstream import cluster_config, dns_options
from proxeny.upstream.cluster_config import ClusterConfig, ClusterType
from proxeny.upstream.dns_resolver_config import CaresOptions
from proxeny.upstream.endpoints import FAILED_EDS_HEALTH, PIPE, DnsTarget

TYPE = "type.googleapis.com/"
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def endpoint(address: str = "127.0.0.1", port: int = 80, **rest: Any) -> dict[str, Any]:
    return {"endpoint": {"address": {"socket_address": {"address": address, "port_value": port}}}, **rest}


def assignment(*endpoints: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"cluster_name": "c", "endpoints": [{"lb_endpoints": list(endpoints), **rest}]}


def cluster(**fields: Any) -> dict[str, Any]:
    return {"name": "c", "type": "STATIC", "load_assignment": assignment(endpoint()), **fields}


def http_options(**fields: Any) -> dict[str, Any]:
    return {"typed_extension_protocol_options": {OPTIONS: {"@type": TYPE + OPTIONS, **fields}}}


def compiled(fields: dict[str, Any]) -> ClusterConfig:
    proto = json_format.ParseDict(fields, cluster_pb2.Cluster())
    return cluster_config.compile(proto, FactoryContext(role="main", stats=MainStore()))


def extension(name: str, type_name: str, **fields: Any) -> dict[str, Any]:
    return {"typed_extension_config": {"name": name, "typed_config": {"@type": TYPE + type_name, **fields}}}


RANDOM = extension("y", "envoy.extensions.load_balancing_policies.random.v3.Random")
UNKNOWN = extension("x", "envoy.config.core.v3.Locality")
PIPE_ENDPOINT = {"endpoint": {"address": {"pipe": {"path": "/tmp/x"}}}}
RESOLVER = {"endpoint": {"address": {"socket_address": {"address": "a.b", "port_value": 80, "resolver_name": "x"}}}}
LB = "cluster: LB policy"
SINGLE = "LOGICAL_DNS clusters must have a single locality_lb_endpoint and a single lb_endpoint"
HINT = ". Consider setting resolver_name or setting cluster type to 'STRICT_DNS' or 'LOGICAL_DNS'"

REFUSED = {
    "name in a static cluster": (
        cluster(load_assignment=assignment(endpoint("foo.com"))),
        f"malformed IP address: foo.com{HINT}",
    ),
    "bracketed v6": (cluster(load_assignment=assignment(endpoint("[::1]"))), f"malformed IP address: [::1]{HINT}"),
    "short v4": (cluster(load_assignment=assignment(endpoint("1.2.3"))), f"malformed IP address: 1.2.3{HINT}"),
    "static resolver": (cluster(load_assignment=assignment(RESOLVER)), f"Unknown address resolver: x{HINT}"),
    "no address": (cluster(load_assignment=assignment({"endpoint": {}})), "Address must be set"),
    "no endpoint": (cluster(load_assignment=assignment({})), "Address must be set"),
    "logical without hosts": ({"name": "c", "type": "LOGICAL_DNS"}, "LOGICAL_DNS clusters must have a single host"),
    "logical with two": (
        cluster(type="LOGICAL_DNS", load_assignment=assignment(endpoint("a.b"), endpoint("c.d"))),
        SINGLE,
    ),
    "logical with none": (cluster(type="LOGICAL_DNS", load_assignment={"cluster_name": "c"}), SINGLE),
    "logical with a resolver": (
        cluster(type="LOGICAL_DNS", load_assignment=assignment(RESOLVER)),
        "LOGICAL_DNS clusters must NOT have a custom resolver name set",
    ),
    "strict with a resolver": (
        cluster(type="STRICT_DNS", load_assignment=assignment(RESOLVER)),
        "STRICT_DNS clusters must NOT have a custom resolver name set",
    ),
    "EDS without config": ({"name": "c", "type": "EDS"}, "cannot create an EDS cluster without an EDS config"),
    "EDS config elsewhere": (
        cluster(eds_cluster_config={"eds_config": {"ads": {}}}),
        "eds_cluster_config set in a non-EDS cluster",
    ),
    "original dst policy": (
        {"name": "c", "type": "ORIGINAL_DST"},
        f"{LB} ROUND_ROBIN is not valid for Cluster type ORIGINAL_DST. "
        "Only 'CLUSTER_PROVIDED' is allowed with cluster type 'ORIGINAL_DST'",
    ),
    "original dst with hosts": (
        cluster(type="ORIGINAL_DST", lb_policy="CLUSTER_PROVIDED"),
        "ORIGINAL_DST clusters must have no load assignment configured",
    ),
    "cluster provided": (
        cluster(lb_policy="CLUSTER_PROVIDED"),
        "cluster manager: cluster provided LB specified but cluster 'c' did not provide one. "
        "Check cluster documentation.",
    ),
    "policy config without policy": (
        cluster(lb_policy="LOAD_BALANCING_POLICY_CONFIG"),
        "cluster: field load_balancing_policy need to be set",
    ),
    "no policy": (
        cluster(load_balancing_policy={}),
        "cluster: didn't find a registered load balancer factory implementation for cluster: 'c' with names from []",
    ),
    "unknown policy": (
        cluster(load_balancing_policy={"policies": [UNKNOWN]}),
        "cluster: didn't find a registered load balancer factory implementation for cluster: 'c' with names from [x]",
    ),
    "policy and subsets": (
        cluster(lb_subset_config={}, load_balancing_policy={"policies": [RANDOM]}),
        "cluster: load_balancing_policy cannot be combined with lb_subset_config",
    ),
    "subset without locality weights": (
        cluster(lb_subset_config={"subset_selectors": [{"keys": ["a"]}], "locality_weight_aware": True}),
        "Locality weight aware subset LB requires that a locality_weighted_lb_config be set in c",
    ),
    "max requests twice": (
        cluster(
            max_requests_per_connection=3,
            **http_options(
                common_http_protocol_options={"max_requests_per_connection": 4},
                explicit_http_config={"http_protocol_options": {}},
            ),
        ),
        "Only one of max_requests_per_connection from Cluster or HttpProtocolOptions can be specified",
    ),
    "alien protocol options": (
        cluster(typed_extension_protocol_options={"foo": {"@type": TYPE + OPTIONS}}),
        "Didn't find a registered network or http filter or protocol options implementation for name: 'foo'",
    ),
    "both protocols": (
        cluster(http_protocol_options={}, http2_protocol_options={}),
        "cluster: Both HTTP1 and HTTP2 options may only be configured with non-default 'protocol_selection' values",
    ),
    "failure refresh backwards": (
        cluster(type="STRICT_DNS", dns_failure_refresh_rate={"base_interval": "5s", "max_interval": "1s"}),
        "dns_failure_refresh_rate must have max_interval greater than or equal to the base_interval",
    ),
    "resolver by name": (
        cluster(type="STRICT_DNS", dns_resolvers=[{"socket_address": {"address": "foo", "port_value": 53}}]),
        "malformed IP address: foo",
    ),
    "transport socket without config": (
        cluster(transport_socket={"name": "foo"}),
        "Didn't find a registered implementation for 'foo' with type URL: ''",
    ),
    "bind to a name": (
        cluster(upstream_bind_config={"source_address": {"address": "foo", "port_value": 0}}),
        "malformed IP address: foo",
    ),
    "two overloads": (
        cluster(
            load_assignment={
                "cluster_name": "c",
                "policy": {"drop_overloads": [{"category": "x"}, {"category": "y"}]},
            }
        ),
        "Cluster drop_overloads config has 2 categories. Envoy only support one.",
    ),
    "limits per host": (
        cluster(circuit_breakers={"per_host_thresholds": [{"max_requests": 1}]}),
        "Unsupported field in per_host_thresholds",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_envoys_words(case: str) -> None:
    fields, message = REFUSED[case]
    with pytest.raises(ConfigError) as caught:
        compiled(fields)
    assert caught.value.message == message


ACCEPTED: dict[str, dict[str, Any]] = {
    "no assignment": {"name": "c", "type": "STATIC"},
    "strict without assignment": {"name": "c", "type": "STRICT_DNS"},
    "another name in the assignment": cluster(load_assignment={**assignment(endpoint()), "cluster_name": "other"}),
    "v6": cluster(load_assignment=assignment(endpoint("::1"))),
    "duplicate endpoints": cluster(load_assignment=assignment(endpoint(), endpoint())),
    "pipe": cluster(load_assignment=assignment(PIPE_ENDPOINT)),
    "strict pipe": cluster(type="STRICT_DNS", load_assignment=assignment(PIPE_ENDPOINT)),
    "logical pipe": cluster(type="LOGICAL_DNS", load_assignment=assignment(PIPE_ENDPOINT)),
    "second policy": cluster(load_balancing_policy={"policies": [UNKNOWN, RANDOM]}),
    "policy with panic threshold": cluster(
        common_lb_config={"healthy_panic_threshold": {"value": 10}}, load_balancing_policy={"policies": [RANDOM]}
    ),
    "config of another policy": cluster(least_request_lb_config={"choice_count": 3}),
    "http1": cluster(**http_options(explicit_http_config={"http_protocol_options": {}})),
    "legacy and typed": cluster(
        http_protocol_options={}, **http_options(explicit_http_config={"http_protocol_options": {}})
    ),
    "priority gap": cluster(load_assignment=assignment(endpoint(), priority=2)),
    "empty bind": cluster(upstream_bind_config={}),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted_as_by_envoy(case: str) -> None:
    assert compiled(ACCEPTED[case]).info.name == "c"


@pytest.mark.parametrize(
    "fields",
    [
        cluster(**http_options(explicit_http_config={"http3_protocol_options": {}})),
        cluster(**http_options(use_downstream_protocol_config={"http3_protocol_options": {}})),
    ],
)
def test_what_is_not_served_yet_is_refused_by_name(fields: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedFieldError):
        compiled(fields)


def test_static_hosts_carry_everything() -> None:
    config = compiled(
        cluster(
            load_assignment=assignment(
                endpoint("::1", 81, load_balancing_weight=7, health_status="UNHEALTHY"),
                {"endpoint": {**PIPE_ENDPOINT["endpoint"], "hostname": "h"}},
                priority=1,
                locality={"region": "r", "zone": "z", "sub_zone": "s"},
            )
        )
    )
    first, second = config.hosts
    assert (first.address, first.port, first.weight, first.priority) == ("::1", 81, 7, 1)
    assert first.health_flags == FAILED_EDS_HEALTH
    assert (first.region, first.zone, first.sub_zone) == ("r", "z", "s")
    assert (second.address, second.port, second.hostname, second.stat_index) == ("/tmp/x", PIPE, "h", 1)


def test_canary_metadata() -> None:
    metadata = {"filter_metadata": {"envoy.lb": {"canary": True}}}
    config = compiled(cluster(load_assignment=assignment(endpoint(metadata=metadata))))
    assert config.hosts[0].canary


def test_defaults_and_sharing() -> None:
    first, second = compiled(cluster()), compiled(cluster())
    info = first.info
    assert (info.connect_timeout_ms, info.per_connection_buffer_limit) == (5000, 1048576)
    assert (info.http.idle_timeout_ms, info.http.max_headers_count) == (3_600_000, 100)
    assert info.thresholds[0].max_connections == 1024
    assert info.thresholds[1].max_retries == 3
    assert first.info.http is second.info.http
    assert first.lb_policy is second.lb_policy


def test_http_options() -> None:
    config = compiled(
        cluster(
            **http_options(
                common_http_protocol_options={
                    "idle_timeout": "0s",
                    "max_requests_per_connection": 4,
                    "max_connection_duration": "2s",
                    "max_headers_count": 7,
                },
                explicit_http_config={"http_protocol_options": {"enable_trailers": True}},
            )
        )
    )
    http = config.info.http
    assert http.idle_timeout_ms is None
    assert http.max_connection_duration_ms == 2000
    assert (http.max_requests_per_connection, http.max_headers_count, http.enable_trailers) == (4, 7, True)


def test_legacy_max_requests() -> None:
    assert compiled(cluster(max_requests_per_connection=3)).info.http.max_requests_per_connection == 3


def test_thresholds_first_of_a_priority_counts() -> None:
    config = compiled(
        cluster(
            circuit_breakers={
                "thresholds": [
                    {"max_requests": 5, "track_remaining": True},
                    {"max_requests": 6},
                    {"priority": "HIGH", "max_retries": 0, "retry_budget": {}},
                ]
            }
        )
    )
    default, high = config.info.thresholds
    assert (default.max_requests, default.track_remaining) == (5, True)
    assert (high.max_retries, high.budget_percent, high.min_retry_concurrency) == (0, 20.0, 3)
    assert config.info.remaining_block(0) is not None
    assert config.info.remaining_block(1) is None


def test_alt_stat_name() -> None:
    store = MainStore()
    proto = json_format.ParseDict(cluster(alt_stat_name="other"), cluster_pb2.Cluster())
    info = cluster_config.compile(proto, FactoryContext(role="main", stats=store)).info
    assert info.observability_name == "other"
    assert ("cluster", "cluster.other.") in store.entries


def test_dns_options() -> None:
    config = compiled(
        cluster(
            type="STRICT_DNS",
            load_assignment=assignment(endpoint("a.b", 81)),
            dns_refresh_rate="3s",
            dns_failure_refresh_rate={"base_interval": "0.5s"},
            respect_dns_ttl=True,
            dns_jitter="0.1s",
            dns_lookup_family="V4_PREFERRED",
            dns_resolvers=[{"socket_address": {"address": "127.0.0.1", "port_value": 5353}}],
            use_tcp_for_dns_lookups=True,
        )
    )
    dns = config.options.dns
    assert dns is not None
    assert (dns.refresh_ms, dns.failure_base_ms, dns.failure_max_ms, dns.jitter_ms) == (3000, 500, 5000, 100)
    assert (dns.respect_ttl, dns.family) == (True, dns_options.V4_PREFERRED)
    assert dns.resolver == CaresOptions(servers=("127.0.0.1:5353",), use_tcp=True)
    target = config.options.targets[0]
    assert isinstance(target, DnsTarget)
    assert (target.name, target.port, target.template.hostname) == ("a.b", 81, "a.b")


@pytest.mark.parametrize(
    ("name", "single", "expected"),
    [
        ("envoy.cluster.dns", False, ClusterType.STRICT_DNS),
        ("envoy.cluster.dns", True, ClusterType.LOGICAL_DNS),
        ("envoy.cluster.logical_dns", False, ClusterType.STRICT_DNS),
        ("any name", True, ClusterType.LOGICAL_DNS),
    ],
)
def test_dns_cluster_extension(name: str, single: bool, expected: ClusterType) -> None:
    config = compiled(
        {
            "name": "c",
            "cluster_type": {
                "name": name,
                "typed_config": {
                    "@type": TYPE + "envoy.extensions.clusters.dns.v3.DnsCluster",
                    "dns_refresh_rate": "3s",
                    "dns_lookup_family": "V4_ONLY",
                    "all_addresses_in_single_endpoint": single,
                },
            },
            "load_assignment": assignment(endpoint("localhost")),
        }
    )
    assert config.type is expected
    assert (config.options.dns.refresh_ms, config.options.dns.family) == (3000, dns_options.V4_ONLY)
