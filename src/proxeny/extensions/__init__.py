"""Built-in extensions, one module or folder each, and the table of their names.

The modules are imported when a configuration first names them. Third parties register through the entry-point group
``proxeny.extensions``: each entry names an ``Extension``, or an iterable of them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from importlib import import_module
from pathlib import Path
from typing import Final

from proxeny.config.errors import ConfigError
from proxeny.registry import REGISTRY, Extension, Registry

ENTRY_POINT_GROUP: Final = "proxeny.extensions"

_LISTENER: Final = "envoy.extensions.filters.listener"
_NETWORK: Final = "envoy.extensions.filters.network"
_UDP: Final = "envoy.extensions.filters.udp"
_HTTP: Final = "envoy.extensions.filters.http"
_HTTP_KINDS: Final = "envoy.extensions.http"
_LOG: Final = "envoy.extensions.access_loggers"
_MATCHING: Final = "envoy.extensions.matching"
_SPECIFIERS: Final = "envoy.extensions.router.cluster_specifiers"
_REDIRECT: Final = "envoy.extensions.internal_redirect"
_UPSTREAMS: Final = "envoy.extensions.upstreams"
_BALANCING: Final = "envoy.extensions.load_balancing_policies"
_RETRY: Final = "envoy.extensions.retry"
_HEALTH_SINKS: Final = "envoy.extensions.health_check.event_sinks"
_CLUSTERS: Final = "envoy.extensions.clusters"
_TYPE: Final = "envoy.type.matcher.v3"
_SOCKETS: Final = "envoy.extensions.transport_sockets"
_PATH: Final = "envoy.extensions.path"


def _datagram_inputs() -> Iterator[Extension]:
    """Those facts of a connection that a datagram has as well."""
    for name, message in (
        ("destination_ip", "DestinationIPInput"),
        ("destination_port", "DestinationPortInput"),
        ("source_ip", "SourceIPInput"),
        ("source_port", "SourcePortInput"),
    ):
        like = _network_input(name, message)
        yield Extension("udp_input", like.name, like.target, like.config_types)


def _http_inputs() -> Iterator[Extension]:
    """Facts of a request and its connection, as the unified matcher reads them."""
    for name, message in (
        ("destination_ip", "DestinationIPInput"),
        ("destination_port", "DestinationPortInput"),
        ("source_ip", "SourceIPInput"),
        ("source_port", "SourcePortInput"),
        ("direct_source_ip", "DirectSourceIPInput"),
        ("source_type", "SourceTypeInput"),
        ("server_name", "ServerNameInput"),
        ("network_namespace", "NetworkNamespaceInput"),
        ("filter_state", "FilterStateInput"),
    ):
        like = _network_input(name, message)
        yield Extension("http_input", like.name, like.target, like.config_types)
    for like in _ssl_inputs():
        yield Extension("http_input", like.name, like.target, like.config_types)
    for name, target, config_type in (
        ("request-headers", "REQUEST_HEADER", f"{_TYPE}.HttpRequestHeaderMatchInput"),
        ("request-trailers", "REQUEST_TRAILER", f"{_TYPE}.HttpRequestTrailerMatchInput"),
        ("response-headers", "RESPONSE_HEADER", f"{_TYPE}.HttpResponseHeaderMatchInput"),
        ("response-trailers", "RESPONSE_TRAILER", f"{_TYPE}.HttpResponseTrailerMatchInput"),
        ("query-params", "QUERY_PARAMETER", f"{_TYPE}.HttpRequestQueryParamMatchInput"),
        ("status-code-input", "STATUS_CODE", f"{_TYPE}.HttpResponseStatusCodeMatchInput"),
        ("status-code-class-input", "STATUS_CODE_CLASS", f"{_TYPE}.HttpResponseStatusCodeClassMatchInput"),
        (
            "envoy.matching.inputs.dynamic_metadata",
            "DYNAMIC_METADATA",
            f"{_MATCHING}.common_inputs.network.v3.DynamicMetadataInput",
        ),
    ):
        yield Extension("http_input", name, f"proxeny.extensions.matching.inputs.http:{target}", (config_type,))


def _network_input(name: str, message: str) -> Extension:
    """A fact of a connection, as the unified matcher reads it."""
    return Extension(
        "network_input",
        f"envoy.matching.inputs.{name}",
        f"proxeny.extensions.matching.inputs.network:{name.upper()}",
        (f"{_MATCHING}.common_inputs.network.v3.{message}",),
    )


def _ssl_inputs() -> Iterator[Extension]:
    """Facts of the peer's certificate, likewise."""
    for name, message in (("uri_san", "UriSanInput"), ("dns_san", "DnsSanInput"), ("subject", "SubjectInput")):
        yield Extension(
            "network_input",
            f"envoy.matching.inputs.{name}",
            f"proxeny.extensions.matching.inputs.ssl:{name.upper()}",
            (f"{_MATCHING}.common_inputs.ssl.v3.{message}",),
        )


def _matching(kind: str, name: str, target: str, config_type: str) -> Extension:
    """Another part of the unified matcher."""
    return Extension(kind, name, f"proxeny.extensions.matching.{target}", (config_type,))


BUILT_IN: Final[tuple[Extension, ...]] = (
    Extension(
        "config_validator",
        "envoy.config.validators.minimum_clusters_validator",
        "proxeny.extensions.config_validators.minimum_clusters:FACTORY",
        ("envoy.extensions.config.validators.minimum_clusters.v3.MinimumClustersValidator",),
    ),
    *(
        Extension(
            "resource_monitor",
            f"envoy.resource_monitors.{name}",
            f"proxeny.extensions.resource_monitors.{name}:FACTORY",
            (f"envoy.extensions.resource_monitors.{name}.v3.{message}",),
        )
        for name, message in (
            ("cgroup_memory", "CgroupMemoryConfig"),
            ("fixed_heap", "FixedHeapConfig"),
            ("injected_resource", "InjectedResourceConfig"),
        )
    ),
    *(
        Extension(
            "load_balancing_policy",
            f"envoy.load_balancing_policies.{name}",
            f"proxeny.extensions.load_balancing_policies.{target}",
            (f"{_BALANCING}.{name}.v3.{message}",),
        )
        for name, message, target in (
            (
                "client_side_weighted_round_robin",
                "ClientSideWeightedRoundRobin",
                "client_side_weighted_round_robin:FACTORY",
            ),
            ("cluster_provided", "ClusterProvided", "cluster_provided:FACTORY"),
            ("least_request", "LeastRequest", "least_request:FACTORY"),
            ("maglev", "Maglev", "hashing:MAGLEV_FACTORY"),
            ("override_host", "OverrideHost", "override_host:FACTORY"),
            ("random", "Random", "random:FACTORY"),
            ("ring_hash", "RingHash", "hashing:RING_HASH_FACTORY"),
            ("round_robin", "RoundRobin", "round_robin:FACTORY"),
            ("subset", "Subset", "subset:FACTORY"),
            ("wrr_locality", "WrrLocality", "wrr_locality:FACTORY"),
        )
    ),
    *(
        Extension(
            "health_checker",
            f"envoy.health_checkers.{name}",
            f"proxeny.extensions.health_checkers.{name}:FACTORY",
        )
        for name in ("http", "tcp", "grpc")
    ),
    Extension(
        "health_check_event_sink",
        "envoy.health_check.event_sink.file",
        "proxeny.extensions.health_check_event_sinks.file:FACTORY",
        (f"{_HEALTH_SINKS}.file.v3.HealthCheckEventFileSink",),
    ),
    *(
        Extension(
            "retry_host_predicate",
            f"envoy.retry_host_predicates.{name}",
            f"proxeny.extensions.retry.host_predicates:{name.upper()}",
            (f"{_RETRY}.host.{name}.v3.{message}",),
        )
        for name, message in (
            ("previous_hosts", "PreviousHostsPredicate"),
            ("omit_canary_hosts", "OmitCanaryHostsPredicate"),
            ("omit_host_metadata", "OmitHostMetadataConfig"),
        )
    ),
    Extension(
        "cluster_overrides",
        f"{_UPSTREAMS}.http.v3.HttpProtocolOptions",
        "proxeny.router.cluster_overrides:FACTORY",
    ),
    Extension(
        "retry_priority",
        "envoy.retry_priorities.previous_priorities",
        "proxeny.extensions.retry.previous_priorities:FACTORY",
        (f"{_RETRY}.priority.previous_priorities.v3.PreviousPrioritiesConfig",),
    ),
    Extension(
        "bootstrap",
        "envoy.bootstrap.internal_listener",
        "proxeny.extensions.bootstrap.internal_listener:FACTORY",
        ("envoy.extensions.bootstrap.internal_listener.v3.InternalListener",),
    ),
    Extension(
        "transport_socket",
        "envoy.transport_sockets.raw_buffer",
        "proxeny.extensions.transport_sockets.raw_buffer:FACTORY",
        (f"{_SOCKETS}.raw_buffer.v3.RawBuffer",),
        ("raw_buffer",),
    ),
    Extension(
        "transport_socket",
        "envoy.transport_sockets.tls",
        "proxeny.extensions.transport_sockets.tls.factory:FACTORY",
        (f"{_SOCKETS}.tls.v3.DownstreamTlsContext", f"{_SOCKETS}.tls.v3.UpstreamTlsContext"),
        ("tls",),
    ),
    Extension(
        "transport_socket",
        "envoy.transport_sockets.upstream_proxy_protocol",
        "proxeny.extensions.transport_sockets.upstream_proxy_protocol:FACTORY",
        (f"{_SOCKETS}.proxy_protocol.v3.ProxyProtocolUpstreamTransport",),
    ),
    Extension(
        "transport_socket",
        "envoy.transport_sockets.http_11_proxy",
        "proxeny.extensions.transport_sockets.http_11_proxy:FACTORY",
        (f"{_SOCKETS}.http_11_proxy.v3.Http11ProxyUpstreamTransport",),
    ),
    Extension(
        "transport_socket",
        "envoy.transport_sockets.starttls",
        "proxeny.extensions.transport_sockets.starttls:FACTORY",
        (f"{_SOCKETS}.starttls.v3.StartTlsConfig", f"{_SOCKETS}.starttls.v3.UpstreamStartTlsConfig"),
    ),
    Extension(
        "transport_socket",
        "envoy.transport_sockets.tcp_stats",
        "proxeny.extensions.transport_sockets.tcp_stats:FACTORY",
        (f"{_SOCKETS}.tcp_stats.v3.Config",),
    ),
    Extension(
        "listener_filter",
        "envoy.filters.listener.original_dst",
        "proxeny.extensions.listener_filters.original_dst:FACTORY",
        (f"{_LISTENER}.original_dst.v3.OriginalDst",),
        ("envoy.listener.original_dst",),
    ),
    Extension(
        "listener_filter",
        "envoy.filters.listener.tls_inspector",
        "proxeny.extensions.listener_filters.tls_inspector:FACTORY",
        (f"{_LISTENER}.tls_inspector.v3.TlsInspector",),
        ("envoy.listener.tls_inspector",),
    ),
    Extension(
        "listener_filter",
        "envoy.filters.listener.http_inspector",
        "proxeny.extensions.listener_filters.http_inspector:FACTORY",
        (f"{_LISTENER}.http_inspector.v3.HttpInspector",),
        ("envoy.listener.http_inspector",),
    ),
    Extension(
        "listener_filter",
        "envoy.filters.listener.proxy_protocol",
        "proxeny.extensions.listener_filters.proxy_protocol:FACTORY",
        (f"{_LISTENER}.proxy_protocol.v3.ProxyProtocol",),
        ("envoy.listener.proxy_protocol",),
    ),
    Extension(
        "listener_filter",
        "envoy.filters.listener.local_ratelimit",
        "proxeny.extensions.listener_filters.local_ratelimit:FACTORY",
        (f"{_LISTENER}.local_ratelimit.v3.LocalRateLimit",),
    ),
    Extension(
        "udp_listener_filter",
        "envoy.filters.udp_listener.udp_proxy",
        "proxeny.extensions.udp_filters.udp_proxy:FACTORY",
        (f"{_UDP}.udp_proxy.v3.UdpProxyConfig",),
    ),
    Extension(
        "listener_filter",
        "envoy.filters.listener.original_src",
        "proxeny.extensions.listener_filters.original_src:FACTORY",
        (f"{_LISTENER}.original_src.v3.OriginalSrc",),
        ("envoy.listener.original_src",),
    ),
    Extension(
        "udp_listener_filter",
        "envoy.filters.udp.dns_filter",
        "proxeny.extensions.udp_filters.dns_filter:FACTORY",
        (f"{_UDP}.dns_filter.v3.DnsFilterConfig",),
    ),
    Extension(
        "network_filter",
        "envoy.filters.network.http_connection_manager",
        "proxeny.extensions.network_filters.http_connection_manager:FACTORY",
        (f"{_NETWORK}.http_connection_manager.v3.HttpConnectionManager",),
        ("envoy.http_connection_manager",),
    ),
    Extension(
        "network_filter",
        "envoy.filters.network.tcp_proxy",
        "proxeny.extensions.network_filters.tcp_proxy:FACTORY",
        (f"{_NETWORK}.tcp_proxy.v3.TcpProxy",),
        ("envoy.tcp_proxy",),
    ),
    Extension(
        "network_filter",
        "envoy.filters.network.echo",
        "proxeny.extensions.network_filters.echo:FACTORY",
        (f"{_NETWORK}.echo.v3.Echo",),
        ("envoy.echo",),
    ),
    Extension(
        "network_filter",
        "envoy.filters.network.direct_response",
        "proxeny.extensions.network_filters.direct_response:FACTORY",
        (f"{_NETWORK}.direct_response.v3.Config",),
    ),
    Extension(
        "local_address_selector",
        "envoy.upstream.local_address_selector.default_local_address_selector",
        "proxeny.extensions.local_address_selectors.default:FACTORY",
        ("envoy.config.upstream.local_address_selector.v3.DefaultLocalAddressSelector",),
    ),
    *(
        Extension(
            "upstream_pool",
            f"envoy.filters.connection_pools.http.{name}",
            f"proxeny.extensions.upstreams.http.{name}:FACTORY",
            (f"envoy.extensions.upstreams.http.{name}.v3.{name.capitalize()}ConnectionPoolProto",),
        )
        for name in ("generic", "http", "tcp")
    ),
    *(
        Extension(
            "internal_redirect_predicate",
            f"envoy.internal_redirect_predicates.{name}",
            f"proxeny.extensions.internal_redirect.predicates:{name.upper()}",
            (f"{_REDIRECT}.{name}.v3.{message}",),
        )
        for name, message in (
            ("allow_listed_routes", "AllowListedRoutesConfig"),
            ("previous_routes", "PreviousRoutesConfig"),
            ("safe_cross_scheme", "SafeCrossSchemeConfig"),
        )
    ),
    Extension(
        "http_filter",
        "envoy.filters.http.cors",
        "proxeny.extensions.http_filters.cors:FACTORY",
        (f"{_HTTP}.cors.v3.Cors", f"{_HTTP}.cors.v3.CorsPolicy"),
        ("envoy.cors",),
    ),
    Extension(
        "http_filter",
        "envoy.filters.http.health_check",
        "proxeny.extensions.http_filters.health_check:FACTORY",
        (f"{_HTTP}.health_check.v3.HealthCheck",),
        ("envoy.health_check",),
    ),
    Extension(
        "http_filter",
        "envoy.filters.http.grpc_stats",
        "proxeny.extensions.http_filters.grpc_stats:FACTORY",
        (f"{_HTTP}.grpc_stats.v3.FilterConfig",),
    ),
    Extension(
        "http_filter",
        "envoy.filters.http.grpc_web",
        "proxeny.extensions.http_filters.grpc_web:FACTORY",
        (f"{_HTTP}.grpc_web.v3.GrpcWeb",),
        ("envoy.grpc_web",),
    ),
    Extension(
        "http_filter",
        "envoy.filters.http.grpc_http1_bridge",
        "proxeny.extensions.http_filters.grpc_http1_bridge:FACTORY",
        (f"{_HTTP}.grpc_http1_bridge.v3.Config",),
        ("envoy.grpc_http1_bridge",),
    ),
    Extension(
        "http_filter",
        "envoy.filters.http.grpc_http1_reverse_bridge",
        "proxeny.extensions.http_filters.grpc_http1_reverse_bridge:FACTORY",
        (
            f"{_HTTP}.grpc_http1_reverse_bridge.v3.FilterConfig",
            f"{_HTTP}.grpc_http1_reverse_bridge.v3.FilterConfigPerRoute",
        ),
    ),
    Extension(
        "http_filter",
        "envoy.filters.http.grpc_json_transcoder",
        "proxeny.extensions.http_filters.grpc_json_transcoder:FACTORY",
        (f"{_HTTP}.grpc_json_transcoder.v3.GrpcJsonTranscoder",),
        ("envoy.grpc_json_transcoder",),
    ),
    Extension(
        "http_filter",
        "envoy.filters.http.router",
        "proxeny.extensions.http_filters.router:FACTORY",
        (f"{_HTTP}.router.v3.Router",),
        ("envoy.router",),
    ),
    Extension(
        "network_filter",
        "envoy.filters.network.set_filter_state",
        "proxeny.extensions.network_filters.set_filter_state:FACTORY",
        (f"{_NETWORK}.set_filter_state.v3.Config",),
    ),
    Extension(
        "http_filter",
        "envoy.filters.http.on_demand",
        "proxeny.extensions.http_filters.on_demand:FACTORY",
        (f"{_HTTP}.on_demand.v3.OnDemand", f"{_HTTP}.on_demand.v3.PerRouteConfig"),
    ),
    *(
        Extension(
            kind,
            "envoy.filters.http.header_mutation",
            "proxeny.extensions.http_filters.header_mutation:FACTORY",
            (
                f"{_HTTP}.header_mutation.v3.HeaderMutation",
                f"{_HTTP}.header_mutation.v3.HeaderMutationPerRoute",
            ),
        )
        for kind in ("http_filter", "upstream_http_filter")
    ),
    Extension(
        "upstream_http_filter",
        "envoy.filters.http.upstream_codec",
        "proxeny.extensions.http_filters.upstream_codec:FACTORY",
        (f"{_HTTP}.upstream_codec.v3.UpstreamCodec",),
    ),
    Extension(
        "cluster",
        "envoy.clusters.aggregate",
        "proxeny.extensions.clusters.aggregate:FACTORY",
        (f"{_CLUSTERS}.aggregate.v3.ClusterConfig",),
    ),
    Extension(
        "cluster",
        "envoy.clusters.dynamic_forward_proxy",
        "proxeny.extensions.clusters.dynamic_forward_proxy:FACTORY",
        (f"{_CLUSTERS}.dynamic_forward_proxy.v3.ClusterConfig",),
    ),
    Extension(
        "http_filter",
        "envoy.filters.http.dynamic_forward_proxy",
        "proxeny.extensions.http_filters.dynamic_forward_proxy:FACTORY",
        (f"{_HTTP}.dynamic_forward_proxy.v3.FilterConfig", f"{_HTTP}.dynamic_forward_proxy.v3.PerRouteConfig"),
    ),
    Extension(
        "network_filter",
        "envoy.filters.network.sni_dynamic_forward_proxy",
        "proxeny.extensions.network_filters.sni_dynamic_forward_proxy:FACTORY",
        (f"{_NETWORK}.sni_dynamic_forward_proxy.v3.FilterConfig",),
    ),
    Extension(
        "http_filter",
        "envoy.filters.http.set_filter_state",
        "proxeny.extensions.http_filters.set_filter_state:FACTORY",
        (f"{_HTTP}.set_filter_state.v3.Config",),
    ),
    Extension(
        "http_filter",
        "envoy.filters.http.stateful_session",
        "proxeny.extensions.http_filters.stateful_session:FACTORY",
        (
            f"{_HTTP}.stateful_session.v3.StatefulSession",
            f"{_HTTP}.stateful_session.v3.StatefulSessionPerRoute",
        ),
    ),
    *(
        Extension(
            "session_state",
            f"envoy.http.stateful_session.{name}",
            f"proxeny.extensions.http.stateful_session.{name}:FACTORY",
            (f"{_HTTP_KINDS}.stateful_session.{name}.v3.{message}",),
        )
        for name, message in (
            ("cookie", "CookieBasedSessionState"),
            ("header", "HeaderBasedSessionState"),
            ("envelope", "EnvelopeSessionState"),
        )
    ),
    Extension(
        "http_filter",
        "envoy.filters.http.original_src",
        "proxeny.extensions.http_filters.original_src:FACTORY",
        (f"{_HTTP}.original_src.v3.OriginalSrc",),
    ),
    *(
        Extension(
            kind,
            "proxeny.filters.http.python",
            "proxeny.extensions.http_filters.python:FACTORY",
            ("proxeny.filters.http.python.v3.Python", "proxeny.filters.http.python.v3.PythonPerRoute"),
        )
        for kind in ("http_filter", "upstream_http_filter")
    ),
    Extension(
        "access_logger",
        "envoy.access_loggers.file",
        "proxeny.extensions.access_loggers.file:FACTORY",
        (f"{_LOG}.file.v3.FileAccessLog",),
        ("envoy.file_access_log",),
    ),
    Extension(
        "access_logger",
        "envoy.access_loggers.stdout",
        "proxeny.extensions.access_loggers.stream:STDOUT_FACTORY",
        (f"{_LOG}.stream.v3.StdoutAccessLog",),
        ("envoy.stdout_access_log",),
    ),
    Extension(
        "access_logger",
        "envoy.access_loggers.stderr",
        "proxeny.extensions.access_loggers.stream:STDERR_FACTORY",
        (f"{_LOG}.stream.v3.StderrAccessLog",),
        ("envoy.stderr_access_log",),
    ),
    Extension(
        "original_ip_detection",
        "envoy.http.original_ip_detection.xff",
        "proxeny.extensions.http.original_ip_detection.xff:FACTORY",
        (f"{_HTTP_KINDS}.original_ip_detection.xff.v3.XffConfig",),
    ),
    Extension(
        "original_ip_detection",
        "envoy.http.original_ip_detection.custom_header",
        "proxeny.extensions.http.original_ip_detection.custom_header:FACTORY",
        (f"{_HTTP_KINDS}.original_ip_detection.custom_header.v3.CustomHeaderConfig",),
    ),
    Extension(
        "early_header_mutation",
        "envoy.http.early_header_mutation.header_mutation",
        "proxeny.extensions.http.early_header_mutation.header_mutation:FACTORY",
        (f"{_HTTP_KINDS}.early_header_mutation.header_mutation.v3.HeaderMutation",),
    ),
    Extension(
        "forward_client_cert_action",
        "forward_client_cert",
        "proxeny.http.forward_client_cert:ACTION",
        (f"{_NETWORK}.http_connection_manager.v3.HttpConnectionManager.ForwardClientCertConfig",),
    ),
    Extension(
        "request_id",
        "envoy.request_id.uuid",
        "proxeny.extensions.http.request_id.uuid:FACTORY",
        ("envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",),
    ),
    *_datagram_inputs(),
    *_http_inputs(),
    Extension(
        "cluster_specifier_plugin",
        "envoy.router.cluster_specifier_plugin.matcher",
        "proxeny.extensions.cluster_specifiers.matcher:FACTORY",
        (f"{_SPECIFIERS}.matcher.v3.MatcherClusterSpecifier",),
    ),
    Extension(
        "cluster_action",
        "cluster",
        "proxeny.extensions.cluster_specifiers.matcher:CLUSTER",
        (f"{_SPECIFIERS}.matcher.v3.ClusterAction",),
    ),
    _matching("route_action", "route", "actions.route:ROUTE", "envoy.config.route.v3.Route"),
    _matching("route_action", "route_list", "actions.route:ROUTE_LIST", "envoy.config.route.v3.RouteList"),
    Extension(
        "udp_route_action",
        "route",
        "proxeny.extensions.udp_filters.udp_proxy.router:ROUTE_ACTION",
        (f"{_UDP}.udp_proxy.v3.Route",),
    ),
    _network_input("destination_ip", "DestinationIPInput"),
    _network_input("destination_port", "DestinationPortInput"),
    _network_input("source_ip", "SourceIPInput"),
    _network_input("source_port", "SourcePortInput"),
    _network_input("direct_source_ip", "DirectSourceIPInput"),
    _network_input("source_type", "SourceTypeInput"),
    _network_input("server_name", "ServerNameInput"),
    _network_input("transport_protocol", "TransportProtocolInput"),
    _network_input("application_protocol", "ApplicationProtocolInput"),
    _network_input("network_namespace", "NetworkNamespaceInput"),
    _network_input("filter_state", "FilterStateInput"),
    *_ssl_inputs(),
    _matching(
        "common_input",
        "envoy.matching.common_inputs.environment_variable",
        "inputs.environment_variable:FACTORY",
        f"{_MATCHING}.common_inputs.environment_variable.v3.Config",
    ),
    _matching(
        "input_matcher",
        "envoy.matching.matchers.ip",
        "input_matchers.ip:FACTORY",
        f"{_MATCHING}.input_matchers.ip.v3.Ip",
    ),
    _matching(
        "input_matcher",
        "envoy.matching.matchers.consistent_hashing",
        "input_matchers.hashing:CONSISTENT_HASHING",
        f"{_MATCHING}.input_matchers.consistent_hashing.v3.ConsistentHashing",
    ),
    _matching(
        "input_matcher",
        "envoy.matching.matchers.runtime_fraction",
        "input_matchers.hashing:RUNTIME_FRACTION",
        f"{_MATCHING}.input_matchers.runtime_fraction.v3.RuntimeFraction",
    ),
    _matching(
        "input_matcher",
        "envoy.matching.matchers.metadata_matcher",
        "input_matchers.metadata:FACTORY",
        f"{_MATCHING}.input_matchers.metadata.v3.Metadata",
    ),
    _matching(
        "custom_matcher",
        "envoy.matching.custom_matchers.ip_range_matcher",
        "custom_matchers.ip_range:FACTORY",
        "xds.type.matcher.v3.IPMatcher",
    ),
    _matching(
        "custom_matcher",
        "envoy.matching.custom_matchers.domain_matcher",
        "custom_matchers.domain:FACTORY",
        "xds.type.matcher.v3.ServerNameMatcher",
    ),
    Extension(
        "path_match",
        "envoy.path.match.uri_template.uri_template_matcher",
        "proxeny.extensions.path.uri_template:MATCH",
        (f"{_PATH}.match.uri_template.v3.UriTemplateMatchConfig",),
    ),
    Extension(
        "path_rewrite",
        "envoy.path.rewrite.uri_template.uri_template_rewriter",
        "proxeny.extensions.path.uri_template:REWRITE",
        (f"{_PATH}.rewrite.uri_template.v3.UriTemplateRewriteConfig",),
    ),
    _matching(
        "filter_chain_action",
        "filter-chain-name",
        "actions.filter_chain_name:FACTORY",
        "google.protobuf.StringValue",
    ),
)


def install(registry: Registry = REGISTRY) -> None:
    """Put the built-in extensions and those of installed packages into the registry."""
    for extension in (*BUILT_IN, *third_party()):
        registry.add(extension)


def third_party() -> Iterator[Extension]:
    """Extensions of installed packages; ConfigError when one cannot be imported."""
    for name, target in _entry_points():
        module, _, attribute = target.partition(":")
        try:
            found = getattr(import_module(module.strip()), attribute.strip())
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"extension '{name}' ({target}) cannot be loaded: {error}") from error
        if isinstance(found, Extension):
            yield found
        elif isinstance(found, Iterable):
            yield from found


def _entry_points() -> Iterator[tuple[str, str]]:
    # importlib.metadata would import the email package: 3 MB that every process would carry.
    marker = f"[{ENTRY_POINT_GROUP}]"
    for folder in dict.fromkeys(sys.path):
        for file in sorted(Path(folder).glob("*.dist-info/entry_points.txt")) if folder else ():
            text = file.read_text(encoding="utf-8", errors="replace")
            if marker not in text:
                continue
            parser = ConfigParser(delimiters=("=",), interpolation=None)
            try:
                parser.read_string(text)
            except ConfigParserError:
                continue
            yield from parser.items(ENTRY_POINT_GROUP)
