"""Where resources come from at run time: what --mode validate says of it (no source is read)."""

from tests.differential.validate.corpus import Verdict, bootstrap


def _lds(name: str, fields: str, stricter: str = "") -> Verdict:
    return bootstrap(f"lds-{name}", f"dynamic_resources: {{lds_config: {{{fields}}}}}", stricter)


_FILE = "path_config_source: {path: /no/such/file}"
_REST = "{api_type: REST, transport_api_version: V3, cluster_names: [a], refresh_delay: 1s}"

_NODE = "node: {id: a, cluster: b}"
_SERVICE = "{envoy_grpc: {cluster_name: plane}}"
_EDS = "{name: e, type: EDS, eds_cluster_config: {eds_config: {ads: {}}}}"
_STATIC = f"static_resources: {{clusters: [{{name: plane, type: STATIC}}, {_EDS}]}}"
_ADS = f"api_type: GRPC, transport_api_version: V3, grpc_services: [{_SERVICE}]"
_MINIMUM = "envoy.extensions.config.validators.minimum_clusters.v3.MinimumClustersValidator"
_VALIDATORS = f"config_validators: [{{name: x, typed_config: {{'@type': type.googleapis.com/{_MINIMUM}}}}}]"
_COLLECTION = "xdstp://auth/envoy.config.cluster.v3.Cluster/foo/*"


def _ads(name: str, fields: str, more: str = "", stricter: str = "", node: str = _NODE) -> Verdict:
    """``ads_config``, and ``more`` fields of ``dynamic_resources``."""
    dynamic = f"dynamic_resources: {{ads_config: {{{fields}}}{', ' + more if more else ''}}}"
    return bootstrap(f"ads-{name}", "\n".join([node, dynamic, _STATIC]), stricter)


def _grpc(services: str, kind: str = "GRPC", more: str = "") -> str:
    return f"api_type: {kind}, transport_api_version: V3, grpc_services: [{services}]{', ' + more if more else ''}"


def _back_off(fields: str) -> str:
    return _grpc(f"{{envoy_grpc: {{cluster_name: plane, retry_policy: {{retry_back_off: {{{fields}}}}}}}}}")


CASES = [
    _ads("sotw", _ADS),
    _ads("delta", _grpc(_SERVICE, "DELTA_GRPC", "set_node_on_first_message_only: true")),
    _ads("no-node", _ADS, node=""),
    _ads("no-version", f"api_type: GRPC, grpc_services: [{_SERVICE}]"),
    _ads("auto", _ADS.replace("V3", "AUTO")),
    _ads("version-2", _ADS.replace("V3", "V2")),
    _ads("rest", _ADS.replace("GRPC", "REST", 1)),
    _ads("aggregated", _grpc(_SERVICE, "AGGREGATED_GRPC")),
    _ads("aggregated-delta", _grpc(_SERVICE, "AGGREGATED_DELTA_GRPC")),
    _ads("legacy", _grpc(_SERVICE, "DEPRECATED_AND_UNAVAILABLE_DO_NOT_USE")),
    _ads("no-services", "api_type: GRPC, transport_api_version: V3"),
    _ads("two-services", _grpc(f"{_SERVICE}, {_SERVICE}")),
    _ads("cluster-names", "api_type: GRPC, transport_api_version: V3, cluster_names: [plane]"),
    _ads("both", _grpc(_SERVICE, more="cluster_names: [plane]")),
    _ads("unknown-cluster", _grpc("{envoy_grpc: {cluster_name: none}}")),
    _ads("eds-cluster", _grpc("{envoy_grpc: {cluster_name: e}}")),
    _ads("rate-limit", _grpc(_SERVICE, more="rate_limit_settings: {}")),
    _ads("rate-limit-zero", _grpc(_SERVICE, more="rate_limit_settings: {fill_rate: 0}")),
    _ads("rate-limit-infinite", _grpc(_SERVICE, more="rate_limit_settings: {fill_rate: Infinity}")),
    _ads("back-off", _back_off("base_interval: 1s, max_interval: 2s")),
    _ads("back-off-shrinks", _back_off("base_interval: 2s, max_interval: 1s")),
    _ads("back-off-without-base", _back_off("max_interval: 1s")),
    _ads("validators", _grpc(_SERVICE, more=_VALIDATORS)),
    _ads("validators-of-another-type", _grpc(_SERVICE, more=_VALIDATORS.replace(_MINIMUM, "google.protobuf.Struct"))),
    _ads("validators-unknown", _grpc(_SERVICE, more="config_validators: [{name: x}]")),
    _ads("collection", _ADS, f"cds_config: {{ads: {{}}}}, cds_resources_locator: '{_COLLECTION}'"),
    _ads("collection-alone", _ADS, f"cds_resources_locator: '{_COLLECTION}'"),
    _ads(
        "collection-of-another-type", _ADS, "cds_config: {ads: {}}, cds_resources_locator: 'xdstp://auth/other.Type/*'"
    ),
    _ads("collection-without-type", _ADS, "cds_config: {ads: {}}, cds_resources_locator: 'xdstp://auth'"),
    _ads("collection-fragment", _ADS, f"cds_config: {{ads: {{}}}}, cds_resources_locator: '{_COLLECTION}#a=b'"),
    _ads("collection-scheme", _ADS, "cds_config: {ads: {}}, cds_resources_locator: 'foo'"),
    _ads(
        "collection-over-grpc",
        _ADS,
        f"cds_config: {{api_config_source: {{{_ADS}}}}}, cds_resources_locator: '{_COLLECTION}'",
    ),
    bootstrap("context-params", f"{_NODE}\nnode_context_params: [id, nothing]"),
    bootstrap("dynamic-resources-empty", "dynamic_resources: {}"),
    _lds("file", f"resource_api_version: V3, {_FILE}"),
    _lds("version-unset", _FILE),
    _lds("version-auto", f"resource_api_version: AUTO, {_FILE}"),
    _lds("version-2", f"resource_api_version: V2, {_FILE}"),
    _lds("version-unknown", f"resource_api_version: V4, {_FILE}"),
    _lds("fetch-timeout", f"initial_fetch_timeout: 1s, {_FILE}"),
    _lds("fetch-timeout-negative", f"initial_fetch_timeout: -1s, {_FILE}"),
    _lds("path", "resource_api_version: V3, path: /no/such/file"),
    _lds("path-empty", "resource_api_version: V3, path: ''"),
    _lds("no-source", "resource_api_version: V3"),
    _lds("two-sources", f"path: /a, {_FILE}"),
    _lds("file-empty", "path_config_source: {path: ''}"),
    _lds("watched", "path_config_source: {path: /a/b, watched_directory: {path: /no/such/folder}}"),
    _lds("watched-empty", "path_config_source: {path: /a/b, watched_directory: {path: ''}}"),
    _lds("ads", "resource_api_version: V3, ads: {}"),
    _lds("self", "resource_api_version: V3, self: {}"),
    _lds("rest", f"resource_api_version: V3, api_config_source: {_REST}"),
    bootstrap("cds-file", f"dynamic_resources: {{cds_config: {{{_FILE}}}}}"),
]
