"""Where dynamic configuration comes from."""

from typing import Final

from proxeny.config.support.table import Table, fields

_CORE: Final = "envoy.config.core.v3"

TABLE: Final[Table] = {
    "envoy.config.bootstrap.v3.Bootstrap.DynamicResources": fields(done="lds_config cds_config"),
    f"{_CORE}.ConfigSource": fields(
        done="path path_config_source resource_api_version", accepted="initial_fetch_timeout"
    ),
    f"{_CORE}.PathConfigSource": fields(done="path watched_directory"),
    f"{_CORE}.WatchedDirectory": fields(done="path"),
}
