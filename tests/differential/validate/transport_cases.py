"""How control planes are reached: gRPC services, REST, collections in files."""

from tests.differential.validate.corpus import TYPE, Verdict, bootstrap

_API = "transport_api_version: V3"
_NODE = "node: {id: a, cluster: b}\n"
_GOOGLE = "target_uri: '127.0.0.1:1', stat_prefix: g"
_NEEDS_GOOGLE = "needs Google's services"


def _cds(name: str, api: str, stricter: str = "", more: str = "") -> Verdict:
    source = f"{{resource_api_version: V3, api_config_source: {{{_API}, {api}}}}}"
    text = f"{_NODE}dynamic_resources: {{cds_config: {source}}}\n{more}"
    return bootstrap(f"transport-{name}", text, stricter)


def _google(name: str, fields: str, stricter: str = "", service: str = "") -> Verdict:
    services = f"[{{google_grpc: {{{_GOOGLE}{', ' + fields if fields else ''}}}{', ' + service if service else ''}}}]"
    return _cds(f"google-{name}", f"api_type: GRPC, grpc_services: {services}", stricter)


_CLUSTER = "static_resources: {clusters: [{name: plane}]}"


def _envoy(name: str, fields: str = "", service: str = "") -> Verdict:
    envoy = f"{{cluster_name: plane{', ' + fields if fields else ''}}}"
    services = f"[{{envoy_grpc: {envoy}{', ' + service if service else ''}}}]"
    return _cds(f"envoy-{name}", f"api_type: GRPC, grpc_services: {services}", more=_CLUSTER)


def _rest(name: str, fields: str) -> Verdict:
    return _cds(f"rest-{name}", f"api_type: REST, {fields}", more=_CLUSTER)


def _call(name: str, credentials: str, stricter: str = "") -> Verdict:
    return _google(f"call-{name}", f"call_credentials: [{{{credentials}}}]", stricter)


def _metadata(kind: str, name: str, key: str, value: str) -> Verdict:
    service = f"initial_metadata: [{{key: '{key}', value: \"{value}\"}}]"
    if kind == "google":
        return _google(f"metadata-{name}", "", service=service)
    return _envoy(f"metadata-{name}", "", service)


_FILE_CONFIG = f'"@type": {TYPE}/envoy.config.grpc_credential.v3.FileBasedMetadataConfig'

CASES = [
    _google("plain", ""),
    _google("no-target", "target_uri: ''"),
    _google("no-prefix", "stat_prefix: ''"),
    _google("factory-unknown", "credentials_factory_name: nobody"),
    _google("factory-default", "credentials_factory_name: envoy.grpc_credentials.default"),
    _google("factory-file", "credentials_factory_name: envoy.grpc_credentials.file_based_metadata"),
    _google("factory-aws", "credentials_factory_name: envoy.grpc_credentials.aws_iam"),
    _google("roots-absent", "channel_credentials: {ssl_credentials: {root_certs: {filename: /no/such/file}}}"),
    _google("roots-junk", "channel_credentials: {ssl_credentials: {root_certs: {inline_string: junk}}}"),
    _google("roots-variable", "channel_credentials: {ssl_credentials: {root_certs: {environment_variable: NO_SUCH}}}"),
    _google("channel-none", "channel_credentials: {}"),
    _google("channel-local", "channel_credentials: {local_credentials: {}}"),
    _google("channel-google", "channel_credentials: {google_default: {}}", _NEEDS_GOOGLE),
    _google("args", "channel_args: {args: {a: {string_value: b}, c: {int_value: 1}}}"),
    _google("args-empty", "channel_args: {args: {a: {}}}"),
    _google("config", "config: {a: b}, per_stream_buffer_limit_bytes: 1"),
    _google("timeout-negative", "", service="timeout: -1s"),
    _call("token", "access_token: a"),
    _call("none", ""),
    _call("compute-engine", "google_compute_engine: {}", _NEEDS_GOOGLE),
    _call("refresh-token", "google_refresh_token: a", _NEEDS_GOOGLE),
    _call("iam", "google_iam: {authorization_token: a, authority_selector: b}", _NEEDS_GOOGLE),
    _call("file", f"from_plugin: {{name: x, typed_config: {{{_FILE_CONFIG}, secret_data: {{inline_string: a}}}}}}"),
    _metadata("google", "blank", "X A", "x"),
    _metadata("google", "tab", "x-a", "x\\ty"),
    _metadata("google", "binary", "x-bin", "x\\ty"),
    _metadata("google", "pseudo", ":path", "x"),
    _metadata("google", "host", "Host", "x"),
    _metadata("google", "operator", "x-a", "%NO_SUCH%"),
    _metadata("envoy", "blank", "X A", "x"),
    _metadata("envoy", "tab", "x-a", "x\\ty"),
    _metadata("envoy", "host", "host", "x"),
    _metadata("envoy", "empty", "", "x"),
    _metadata("envoy", "operator", "x-a", "%NO_SUCH%"),
    _metadata("envoy", "percent", "x-a", "100%"),
    _envoy("plain"),
    _envoy("authority", "authority: 'a b'"),
    _envoy("authority-newline", 'authority: "a\\nb"'),
    _envoy("limit", "max_receive_message_length: 0, skip_envoy_headers: true"),
    _envoy("retry", "", "retry_policy: {num_retries: 1, retry_on: 5xx}"),
    _envoy("retry-order", "", "retry_policy: {retry_back_off: {base_interval: 2s, max_interval: 1s}}"),
    _rest("plain", "cluster_names: [plane], refresh_delay: 1s"),
    _rest("no-delay", "cluster_names: [plane]"),
    _rest("delay-tiny", "cluster_names: [plane], refresh_delay: 0.0001s"),
    _rest("delay-zero", "cluster_names: [plane], refresh_delay: 0s"),
    _rest("timeout-zero", "cluster_names: [plane], refresh_delay: 1s, request_timeout: 0s"),
    _rest("unknown-cluster", "cluster_names: [other], refresh_delay: 1s"),
    _rest("two-clusters", "cluster_names: [plane, plane], refresh_delay: 1s"),
    _rest("no-cluster", "refresh_delay: 1s"),
    _rest("grpc-service", "refresh_delay: 1s, grpc_services: [{envoy_grpc: {cluster_name: plane}}]"),
    bootstrap("locator-file-absent", f"{_NODE}dynamic_resources: {{lds_resources_locator: 'file:///no/such/file'}}"),
    bootstrap("locator-scheme", f"{_NODE}dynamic_resources: {{lds_resources_locator: 'ftp://a/b'}}"),
    bootstrap("locator-fragment", f"{_NODE}dynamic_resources: {{lds_resources_locator: 'file:///dev/null#zz'}}"),
    bootstrap("locator-alternative", f"{_NODE}dynamic_resources: {{lds_resources_locator: 'file:///dev/null#alt=x'}}"),
    bootstrap("locator-file", f"{_NODE}dynamic_resources: {{lds_resources_locator: 'file:///dev/null'}}"),
]
