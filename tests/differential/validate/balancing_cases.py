"""Load balancing policies by hash, by subset, by host: ``lb_policy`` with its older fields, ``load_balancing_policy``."""
# ruff: noqa: E501 - a case is a line

from tests.differential.validate.corpus import TYPE, Verdict, cluster, listener

_LB = f"{TYPE}/envoy.extensions.load_balancing_policies"


def _typed(name: str, fields: str = "") -> str:
    message = "".join(part.capitalize() for part in name.split("_"))
    return f'{{name: envoy.load_balancing_policies.{name}, typed_config: {{"@type": {_LB}.{name}.v3.{message}, {fields}}}}}'


def _policies(*typed: str) -> str:
    return "{policies: [" + ", ".join(f"{{typed_extension_config: {one}}}" for one in typed) + "]}"


_RANDOM = _policies(_typed("random"))


def _policy(name: str, kind: str, fields: str = "", stricter: str = "", more: str = "") -> Verdict:
    return cluster(f"{kind}-{name}", f"load_balancing_policy: {_policies(_typed(kind, fields))}{more}", stricter)


def _subset(name: str, fields: str, more: str = "") -> Verdict:
    return cluster(f"lb-subset-{name}", f"lb_subset_config: {{{fields}}}{more}")


def _new_subset(name: str, fields: str, child: str = _RANDOM, stricter: str = "") -> Verdict:
    return _policy(name, "subset", f"subset_lb_policy: {child}, {fields}", stricter)


def _legacy(name: str, fields: str) -> Verdict:
    return cluster(f"lb-{name}", fields)


def _tcp(name: str, fields: str) -> Verdict:
    typed = f'{{"@type": {TYPE}/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: a, cluster: one, {fields}}}'
    return listener(
        f"tcp-{name}",
        f"filter_chains: [{{filters: [{{name: envoy.filters.network.tcp_proxy, typed_config: {typed}}}]}}]",
    )


_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def _options(name: str, policy: str) -> Verdict:
    typed = f'{{"@type": {TYPE}/{_OPTIONS}, explicit_http_config: {{http_protocol_options: {{}}}}, hash_policy: [{policy}]}}'
    return cluster(f"options-{name}", f"typed_extension_protocol_options: {{{_OPTIONS}: {typed}}}")


_SKIPPED = "Envoy skips the constraints of load balancing policies"
_SELECTOR = "subset_selectors: [{keys: [a, b], %s}]"
_SOURCES = "override_host_sources: [{header: x-a}]"

CASES = [
    _tcp("hash-source-ip", "hash_policy: [{source_ip: {}}]"),
    _tcp("hash-state", "hash_policy: [{filter_state: {key: a}}]"),
    _tcp("hash-state-without-key", "hash_policy: [{filter_state: {}}]"),
    _tcp("hash-empty", "hash_policy: [{}]"),
    _tcp("hash-two", "hash_policy: [{source_ip: {}}, {filter_state: {key: a}}]"),
    _tcp("metadata-match", "metadata_match: {filter_metadata: {envoy.lb: {a: [1, {b: null}]}, other: {}}}"),
    _options("hash-policy", "{header: {header_name: a}}"),
    _options("hash-policy-empty", "{}"),
    _options(
        "hash-policy-bad-regex", "{header: {header_name: a, regex_rewrite: {pattern: {regex: '('}, substitution: b}}}"
    ),
    _subset("without-selectors", ""),
    _subset("selector-without-keys", "subset_selectors: [{}]"),
    _subset("selector-with-empty-key", "subset_selectors: [{keys: ['']}]"),
    _subset("same-keys-twice", "subset_selectors: [{keys: [a]}, {keys: [a, a]}]"),
    _subset("keys-subset", _SELECTOR % "fallback_policy: KEYS_SUBSET, fallback_keys_subset: [a]"),
    _subset("keys-subset-missing", _SELECTOR % "fallback_policy: KEYS_SUBSET"),
    _subset("keys-subset-other", _SELECTOR % "fallback_policy: KEYS_SUBSET, fallback_keys_subset: [c]"),
    _subset("keys-subset-equal", _SELECTOR % "fallback_policy: KEYS_SUBSET, fallback_keys_subset: [b, a]"),
    _subset("keys-without-policy", _SELECTOR % "fallback_keys_subset: [a]"),
    _subset("keys-for-any", _SELECTOR % "fallback_policy: ANY_ENDPOINT, fallback_keys_subset: [a]"),
    _subset("fallback-unknown", "fallback_policy: SOMETIMES, subset_selectors: [{keys: [a]}]"),
    _subset("fallback-number", "fallback_policy: 9, subset_selectors: [{keys: [a]}]"),
    _subset("selector-fallback-number", _SELECTOR % "fallback_policy: 9"),
    _subset("metadata-fallback-number", "metadata_fallback_policy: 9, subset_selectors: [{keys: [a]}]"),
    _subset(
        "default-subset",
        "fallback_policy: DEFAULT_SUBSET, default_subset: {a: [1, {b: null}]}, subset_selectors: [{keys: [a]}]",
    ),
    _subset("single-host", _SELECTOR % "single_host_per_subset: true"),
    _subset("aware-without-weights", "locality_weight_aware: true, subset_selectors: [{keys: [a]}]"),
    _subset(
        "aware",
        "locality_weight_aware: true, scale_locality_weight: true, subset_selectors: [{keys: [a]}]",
        "\ncommon_lb_config: {locality_weighted_lb_config: {}}",
    ),
    _subset("scale-alone", "scale_locality_weight: true, subset_selectors: [{keys: [a]}]"),
    _subset("redundant-keys", "allow_redundant_keys: true, subset_selectors: [{keys: [a]}]"),
    _subset(
        "over-maglev", "panic_mode_any: true, list_as_any: true, subset_selectors: [{keys: [a]}]", "\nlb_policy: MAGLEV"
    ),
    _subset("over-provided", "subset_selectors: [{keys: [a]}]", "\nlb_policy: CLUSTER_PROVIDED"),
    _subset("beside-a-policy", "subset_selectors: [{keys: [a]}]", f"\nload_balancing_policy: {_RANDOM}"),
    _new_subset("plain", "subset_selectors: [{keys: [a]}]"),
    _new_subset("without-selectors", "fallback_policy: ANY_ENDPOINT"),
    _new_subset("redundant-keys", "allow_redundant_keys: true, subset_selectors: [{keys: [a]}]"),
    _new_subset("aware", "locality_weight_aware: true, scale_locality_weight: true, subset_selectors: [{keys: [a]}]"),
    _new_subset("keys-subset-equal", _SELECTOR % "fallback_policy: KEYS_SUBSET, fallback_keys_subset: [b, a]"),
    _new_subset("fallback-number", "fallback_policy: 9, subset_selectors: [{keys: [a]}]", stricter=_SKIPPED),
    _new_subset("child-without-policies", "subset_selectors: [{keys: [a]}]", "{}"),
    _new_subset(
        "child-unknown",
        "subset_selectors: [{keys: [a]}]",
        _policies("{name: none, typed_config: {'@type': type.googleapis.com/google.protobuf.Struct}}"),
    ),
    _new_subset(
        "child-refused",
        "subset_selectors: [{keys: [a]}]",
        _policies(_typed("maglev", "table_size: 250")),
        "Envoy checks a child when it uses it",
    ),
    _new_subset(
        "child-subset",
        "subset_selectors: [{keys: [a]}]",
        _policies(_typed("subset", f"subset_lb_policy: {_RANDOM}, subset_selectors: [{{keys: [b]}}]")),
    ),
    _policy("without-child", "subset", "subset_selectors: [{keys: [a]}]"),
    _policy("plain", "override_host", f"{_SOURCES}, fallback_policy: {_RANDOM}"),
    _policy("without-sources", "override_host", f"fallback_policy: {_RANDOM}"),
    _policy("without-fallback", "override_host", _SOURCES),
    _policy("fallback-without-policies", "override_host", f"{_SOURCES}, fallback_policy: {{}}"),
    _policy("empty-source", "override_host", f"override_host_sources: [{{}}], fallback_policy: {_RANDOM}"),
    _policy(
        "two-sources-in-one",
        "override_host",
        f"override_host_sources: [{{header: a, metadata: {{key: b, path: [{{key: c}}]}}}}], fallback_policy: {_RANDOM}",
    ),
    _policy(
        "metadata",
        "override_host",
        f"override_host_sources: [{{metadata: {{key: b, path: [{{key: c}}]}}}}], fallback_policy: {_RANDOM}",
    ),
    _policy(
        "metadata-without-path",
        "override_host",
        f"override_host_sources: [{{metadata: {{key: b}}}}], fallback_policy: {_RANDOM}",
    ),
    _policy(
        "header-with-blank", "override_host", f"override_host_sources: [{{header: 'a b'}}], fallback_policy: {_RANDOM}"
    ),
    _policy("fallback-unknown", "override_host", f"{_SOURCES}, fallback_policy: {_policies('{name: none}')}"),
    _policy("locality-weights", "ring_hash", "locality_weighted_lb_config: {}"),
    _policy("locality-weights", "maglev", "locality_weighted_lb_config: {}"),
    _policy("balance-factor-low", "maglev", "consistent_hashing_lb_config: {hash_balance_factor: 99}", _SKIPPED),
    _policy("balance-factor-old-place", "ring_hash", "hash_balance_factor: 120, use_hostname_for_hashing: true"),
    _policy("ring-too-large", "ring_hash", "minimum_ring_size: 8388609"),
    _policy("ring-empty", "ring_hash", "minimum_ring_size: 0", _SKIPPED),
    _policy("hash-policy", "maglev", "consistent_hashing_lb_config: {hash_policy: [{header: {header_name: a}}]}"),
    _policy("hash-policy-empty", "maglev", "consistent_hashing_lb_config: {hash_policy: [{}]}"),
    _policy("table-too-large", "maglev", "table_size: 5000012"),
    _legacy("locality-weights", "lb_policy: RING_HASH\ncommon_lb_config: {locality_weighted_lb_config: {}}"),
    _legacy("override-status", "common_lb_config: {override_host_status: {statuses: [HEALTHY, TIMEOUT]}}"),
    _legacy("override-status-unknown", "common_lb_config: {override_host_status: {statuses: [9]}}"),
]
