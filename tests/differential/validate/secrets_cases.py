"""Secrets of the bootstrap, and where others are discovered."""
# ruff: noqa: E501 - a case is a line

from tests.differential.validate.corpus import TYPE, Verdict, bootstrap, listener

_TLS = f"{TYPE}/envoy.extensions.transport_sockets.tls.v3"
_NODE = "node: {id: a, cluster: b}"
_PATH = "path_config_source: {path: /dev/null}"


def _static(name: str, *secrets: str) -> Verdict:
    listed = ", ".join(f"{{{one}}}" for one in secrets)
    return bootstrap(f"secrets-{name}", f"static_resources: {{secrets: [{listed}]}}")


def _discovered(name: str, source: str, node: str = _NODE, stricter: str = "") -> Verdict:
    named = f"tls_certificate_sds_secret_configs: [{{name: a, sds_config: {{{source}}}}}]"
    typed = f'{{"@type": {_TLS}.DownstreamTlsContext, common_tls_context: {{{named}}}}}'
    chain = f"filter_chains: [{{filters: [], transport_socket: {{name: tls, typed_config: {typed}}}}}]"
    made = listener(f"secret-{name}", chain)
    return Verdict(made.name, f"{node}\n{made.text}", stricter)


_NO_ADS = "there is no ads_config"
_GRPC = "api_config_source: {api_type: GRPC, transport_api_version: V3, grpc_services: [{google_grpc: {target_uri: a, stat_prefix: b}}]}"

CASES = [
    _static("none"),
    _static("nothing-in-it", "name: a"),
    _static("without-name", "generic_secret: {}"),
    _static("generic", "name: a, generic_secret: {secret: {inline_string: x}}"),
    _static("two-kinds", "name: a, generic_secret: {}, tls_certificate: {}"),
    _static("twice", "name: a, generic_secret: {}", "name: a, generic_secret: {}"),
    _static("of-two-kinds", "name: a, generic_secret: {}", "name: a, tls_certificate: {}"),
    _static("certificate-twice", "name: a, tls_certificate: {}", "name: a, tls_certificate: {}"),
    _static("validation-twice", "name: a, validation_context: {}", "name: a, validation_context: {}"),
    _static(
        "tickets-twice",
        "name: a, session_ticket_keys: {keys: [{inline_string: x}]}",
        "name: a, session_ticket_keys: {keys: [{inline_string: x}]}",
    ),
    _static("tickets-without-key", "name: a, session_ticket_keys: {}"),
    # Nobody looks into a secret that nobody uses.
    _static("garbage", "name: a, tls_certificate: {certificate_chain: {inline_string: x}}"),
    _static("missing-file", "name: a, tls_certificate: {certificate_chain: {filename: /nowhere}}"),
    _static("empty-source", "name: a, tls_certificate: {certificate_chain: {filename: ''}}"),
    _discovered("path", "path: /dev/null"),
    _discovered("path-source", _PATH),
    _discovered("missing-path", "path: /nowhere/at/all"),
    _discovered("empty-path", "path_config_source: {path: ''}"),
    _discovered("watched", "path_config_source: {path: /dev/null, watched_directory: {path: /dev}}"),
    _discovered("watched-nowhere", "path_config_source: {path: /dev/null, watched_directory: {path: /nowhere}}"),
    _discovered("no-source", ""),
    _discovered("self", "self: {}"),
    _discovered("ads", "ads: {}", stricter=_NO_ADS),
    _discovered("grpc", _GRPC),
    _discovered("without-node", _PATH, node=""),
    _discovered("without-cluster", _PATH, node="node: {id: a}"),
    _discovered("timeout", f"{_PATH}, initial_fetch_timeout: 1s"),
]
