"""Where dynamic configuration comes from."""

from typing import Final

from proxeny.config.support.table import Table, extension, fields

_CORE: Final = "envoy.config.core.v3"

TABLE: Final[Table] = {
    "envoy.config.bootstrap.v3.Bootstrap.DynamicResources": fields(
        done="lds_config cds_config ads_config lds_resources_locator cds_resources_locator"
    ),
    f"{_CORE}.ConfigSource": fields(
        done="path path_config_source api_config_source ads self initial_fetch_timeout resource_api_version"
    ),
    f"{_CORE}.ApiConfigSource": fields(
        done="""api_type transport_api_version grpc_services set_node_on_first_message_only rate_limit_settings
            cluster_names config_validators refresh_delay request_timeout"""
    ),
    "envoy.extensions.config.validators.minimum_clusters.v3.MinimumClustersValidator": extension(
        done="min_clusters_num"
    ),
    f"{_CORE}.RateLimitSettings": fields(done="max_tokens fill_rate"),
    f"{_CORE}.ExtensionConfigSource": fields(
        done="config_source default_config apply_default_config_without_warming type_urls"
    ),
    f"{_CORE}.PathConfigSource": fields(done="path watched_directory"),
    f"{_CORE}.WatchedDirectory": fields(done="path"),
}
