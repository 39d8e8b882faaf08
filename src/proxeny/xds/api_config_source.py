"""What an ApiConfigSource must be like (Envoy: ``Config::Utility``)."""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Final

from envoy.config.core.v3 import config_source_pb2

from proxeny.config.debug_string import debug_string
from proxeny.config.errors import ConfigError
from proxeny.xds import backoff, rate_limit
from proxeny.xds.config_validators import compile_validators
from proxeny.xds.rest import check_rest

_Api: Final = config_source_pb2.ApiConfigSource
_NAME: Final = "envoy.config.core.v3.ApiConfigSource"
_SECRET: Final = "envoy.extensions.transport_sockets.tls.v3.Secret"
_GRPC: Final = frozenset((_Api.GRPC, _Api.DELTA_GRPC))
_AGGREGATED: Final = frozenset((_Api.AGGREGATED_GRPC, _Api.AGGREGATED_DELTA_GRPC))
_V2: Final = 1
_PATHS: Final = frozenset(("path", "path_config_source"))


def is_delta(source: Any) -> bool:
    """Whether its streams speak the delta protocol."""
    return source.api_type in (_Api.DELTA_GRPC, _Api.AGGREGATED_DELTA_GRPC)


def primary_clusters(bootstrap: Any) -> frozenset[str]:
    """The static clusters whose endpoints come from no control plane."""
    return frozenset(
        cluster.name
        for cluster in bootstrap.static_resources.clusters
        if cluster.type != cluster.EDS
        or cluster.eds_cluster_config.eds_config.WhichOneof("config_source_specifier") in _PATHS
    )


def check_subscription(source: Any, type_name: str, primaries: frozenset[str]) -> None:
    """ConfigError for an ``api_config_source`` that a subscription to ``type_name`` cannot use."""
    api = source.api_config_source
    if api.api_type not in _AGGREGATED:
        _check_names(api)
        # A secret may come from a cluster that is not there yet: it is found out when the stream is opened.
        if type_name != _SECRET:
            _check_backing_cluster(api, primaries)
    check_version(api)
    if api.api_type in _AGGREGATED:
        raise ConfigError(f"Unsupported config source {_Api.ApiType.Name(api.api_type)}")
    if api.api_type == _Api.DEPRECATED_AND_UNAVAILABLE_DO_NOT_USE:
        raise ConfigError(
            "REST_LEGACY no longer a supported ApiConfigSource. Please specify an explicit supported api_type in the "
            f"following config:\n{debug_string(source)}"
        )
    _check_served(api)


def check_ads(api: Any, primaries: frozenset[str]) -> None:
    """ConfigError for an ``ads_config`` that no stream can be opened for."""
    check_stream(api, primaries)
    _check_served(api)


def check_stream(api: Any, clusters: Container[str]) -> None:
    """ConfigError for a source that is not one gRPC service, reached through one of ``clusters`` or by itself."""
    check_version(api)
    _check_names(api)
    if api.api_type not in _GRPC:
        raise ConfigError(f"{_NAME} type must be of non-aggregated gRPC: {debug_string(api)}")
    service = api.grpc_services[0]
    if service.HasField("envoy_grpc") and service.envoy_grpc.cluster_name not in clusters:
        raise ConfigError(f"Unknown gRPC client cluster '{service.envoy_grpc.cluster_name}'")


def check_version(api: Any) -> None:
    """ConfigError for the transport of version 2; what is not said is version 3."""
    if api.transport_api_version == _V2:
        raise ConfigError(
            f"V2 xDS transport protocol version is deprecated in {debug_string(api)}. The v2 xDS major "
            "version has been removed and is no longer supported. See the advice in "
            "https://www.envoyproxy.io/docs/envoy/latest/faq/api/envoy_v3."
        )


def _check_served(api: Any) -> None:
    if api.api_type == _Api.REST:
        check_rest(api)
        return
    backoff.from_api_config_source(api)
    rate_limit.settings_of(api)
    compile_validators(api, frozenset)


def _check_names(api: Any) -> None:
    text = debug_string(api)
    if not api.cluster_names and not api.grpc_services:
        raise ConfigError(f"API configs must have either a gRPC service or a cluster name defined: {text}")
    if api.api_type in _GRPC or api.api_type in _AGGREGATED:
        if api.cluster_names:
            raise ConfigError(f"{_NAME}::(AGGREGATED_)(DELTA_)GRPC must not have a cluster name specified: {text}")
        if len(api.grpc_services) > 1:
            raise ConfigError(
                f"{_NAME}::(AGGREGATED_)(DELTA_)GRPC must have no more than 1 gRPC services specified: {text}"
            )
        return
    if api.grpc_services:
        raise ConfigError(f"{_NAME}, if not a gRPC type, must not have a gRPC service specified: {text}")
    if len(api.cluster_names) != 1:
        raise ConfigError(f"{_NAME} must have a singleton cluster name specified: {text}")


def _check_backing_cluster(api: Any, primaries: frozenset[str]) -> None:
    if api.cluster_names:
        name = api.cluster_names[0]
    elif api.grpc_services[0].HasField("envoy_grpc"):
        name = api.grpc_services[0].envoy_grpc.cluster_name
    else:
        return
    if name not in primaries:
        raise ConfigError(
            f"{_NAME} must have a statically defined non-EDS cluster: '{name}' does not exist, was added via api, or "
            "is an EDS cluster"
        )
