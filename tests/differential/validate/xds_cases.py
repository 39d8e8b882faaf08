"""Where listeners come from at run time: what --mode validate says of it (the source itself is not read)."""

from tests.differential.validate.corpus import Verdict, bootstrap


def _lds(name: str, fields: str, stricter: str = "") -> Verdict:
    return bootstrap(f"lds-{name}", f"dynamic_resources: {{lds_config: {{{fields}}}}}", stricter)


_FILE = "path_config_source: {path: /no/such/file}"
_REST = "{api_type: REST, transport_api_version: V3, cluster_names: [a], refresh_delay: 1s}"

CASES = [
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
