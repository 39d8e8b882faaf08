"""`filter_chain_matcher`: the unified matcher over the facts of connections."""

from tests.differential.validate.corpus import ECHO, TYPE, Verdict, listener

_MATCHING = f"{TYPE}/envoy.extensions.matching"
_STRING = f"{TYPE}/google.protobuf.StringValue"
_CHAIN = f"{{name: a, filters: [{ECHO}]}}"


def _matcher(name: str, matcher: str, chains: str = _CHAIN, stricter: str = "") -> Verdict:
    return listener(f"matcher-{name}", f"filter_chains: [{chains}]\nfilter_chain_matcher: {matcher}", stricter)


def _input(kind: str, fields: str = "") -> str:
    return f'{{name: i, typed_config: {{"@type": {_MATCHING}.common_inputs.network.v3.{kind}{fields}}}}}'


def _config(full_name: str, fields: str = "") -> str:
    return f'{{name: x, typed_config: {{"@type": {TYPE}/{full_name}{fields}}}}}'


_TO_A = f'{{action: {{name: act, typed_config: {{"@type": {_STRING}, value: a}}}}}}'
_PORT = _input("DestinationPortInput")
_IP = _input("SourceIPInput")


def _map(name: str, data_input: str, kind: str = "exact_match_map", then: str = _TO_A, stricter: str = "") -> Verdict:
    tree = f'{{matcher_tree: {{input: {data_input}, {kind}: {{map: {{"80": {then}}}}}}}}}'
    return _matcher(name, tree, stricter=stricter)


def _single(name: str, judged: str, data_input: str = _IP) -> Verdict:
    predicate = f"{{single_predicate: {{input: {data_input}, {judged}}}}}"
    matcher = f"{{matcher_list: {{matchers: [{{predicate: {predicate}, on_match: {_TO_A}}}]}}}}"
    return _matcher(name, matcher)


def _custom(name: str, full_name: str, fields: str, data_input: str = _IP) -> Verdict:
    config = _config(full_name, ", " + fields)
    return _matcher(name, f"{{matcher_tree: {{input: {data_input}, custom_match: {config}}}}}")


def _ranges(name: str, address: str, length: int) -> Verdict:
    cidr = f"{{address_prefix: '{address}', prefix_len: {length}}}"
    return _custom(
        f"ranges-{name}", "xds.type.matcher.v3.IPMatcher", f"range_matchers: [{{ranges: [{cidr}], on_match: {_TO_A}}}]"
    )


def _domains(name: str, domains: str) -> Verdict:
    fields = f"domain_matchers: [{{domains: [{domains}], on_match: {_TO_A}}}]"
    return _custom(f"domains-{name}", "xds.type.matcher.v3.ServerNameMatcher", fields)


def _judge(name: str, kind: str, fields: str) -> Verdict:
    full_name = f"envoy.extensions.matching.input_matchers.{kind}"
    return _single(name, f"custom_match: {_config(full_name, ', ' + fields)}")


CASES = [
    _matcher("unset", "{}"),
    _matcher(
        "unknown-chain", f'{{on_no_match: {{action: {{name: act, typed_config: {{"@type": {_STRING}, value: z}}}}}}}}'
    ),
    _matcher("nameless-chain", f"{{on_no_match: {_TO_A}}}", f"{{filters: [{ECHO}]}}"),
    _matcher("chains-of-one-name", f"{{on_no_match: {_TO_A}}}", f"{_CHAIN}, {_CHAIN}"),
    _matcher(
        "ignores-chain-match",
        f"{{on_no_match: {_TO_A}}}",
        f"{{name: a, filter_chain_match: {{server_names: ['*'], prefix_ranges: [{{address_prefix: x}}]}}, "
        f"filters: [{ECHO}]}}",
    ),
    _matcher(
        "suffix", f"{{on_no_match: {_TO_A}}}", f"{{name: a, filter_chain_match: {{suffix_len: 1}}, filters: [{ECHO}]}}"
    ),
    listener("matcher-default-only", f"filter_chains: []\ndefault_filter_chain: {_CHAIN}\nfilter_chain_matcher: {{}}"),
    _matcher("keep-matching", _TO_A.replace("{action", "{on_no_match: {keep_matching: true, action", 1) + "}"),
    _matcher("nested", f"{{on_no_match: {{matcher: {{on_no_match: {_TO_A}}}}}}}"),
    _matcher("action-empty", "{on_no_match: {action: {name: filter-chain-name}}}"),
    _matcher("action-of-another-type", f"{{on_no_match: {{action: {_config('google.protobuf.BoolValue')}}}}}"),
    _matcher(
        "action-format-string",
        "{on_no_match: {action: "
        + _config("envoy.config.core.v3.SubstitutionFormatString", ", text_format_source: {inline_string: a}")
        + "}}",
    ),
    _matcher("list-empty", "{matcher_list: {}}"),
    _matcher("tree-empty", f"{{matcher_tree: {{input: {_PORT}}}}}"),
    _matcher("map-empty", f"{{matcher_tree: {{input: {_PORT}, exact_match_map: {{}}}}}}"),
    _map("map-without-action", _PORT, then="{}"),
    *[
        _map(f"input-{kind}", _input(kind))
        for kind in (
            "DestinationIPInput",
            "DestinationPortInput",
            "SourceIPInput",
            "SourcePortInput",
            "DirectSourceIPInput",
            "SourceTypeInput",
            "ServerNameInput",
            "TransportProtocolInput",
            "ApplicationProtocolInput",
            "NetworkNamespaceInput",
        )
    ],
    _map("input-filter-state", _input("FilterStateInput", ", key: k")),
    _map("input-filter-state-without-key", _input("FilterStateInput")),
    _map("input-metadata", _input("DynamicMetadataInput", ", filter: f, path: [{key: k}]")),
    _map("input-http", _config("envoy.type.matcher.v3.HttpRequestHeaderMatchInput", ", header_name: a")),
    _map("input-unknown", _config("google.protobuf.Struct")),
    _map(
        "input-environment",
        _config("envoy.extensions.matching.common_inputs.environment_variable.v3.Config", ", name: HOME"),
    ),
    _map("prefix-map", _PORT, "prefix_match_map"),
    _single("value-empty", "value_match: {}"),
    _single("value-prefix-empty", "value_match: {prefix: ''}"),
    _single("value-regex", "value_match: {safe_regex: {google_re2: {}, regex: '8.*'}}"),
    _single("value-regex-bad", "value_match: {safe_regex: {google_re2: {}, regex: '8('}}"),
    _single("value-regex-without-engine", "value_match: {safe_regex: {regex: '8.*'}}"),
    _single("value-regex-any-case", "value_match: {ignore_case: true, safe_regex: {google_re2: {}, regex: a}}"),
    _single("matcher-unknown", f"custom_match: {_config('google.protobuf.Struct')}"),
    _judge("ip", "ip.v3.Ip", "stat_prefix: s, cidr_ranges: [{address_prefix: 10.0.0.0, prefix_len: 33}]"),
    _judge("ip-bad", "ip.v3.Ip", "stat_prefix: s, cidr_ranges: [{address_prefix: 10.0.0, prefix_len: 8}]"),
    _judge("ip-without-prefix", "ip.v3.Ip", "cidr_ranges: [{address_prefix: 10.0.0.0, prefix_len: 8}]"),
    _judge("hashing", "consistent_hashing.v3.ConsistentHashing", "threshold: 3, modulo: 3"),
    _judge("hashing-threshold", "consistent_hashing.v3.ConsistentHashing", "threshold: 5, modulo: 3"),
    _judge("hashing-without-modulo", "consistent_hashing.v3.ConsistentHashing", "threshold: 0"),
    _judge("fraction", "runtime_fraction.v3.RuntimeFraction", "runtime_fraction: {default_value: {numerator: 1}}"),
    _judge("fraction-empty", "runtime_fraction.v3.RuntimeFraction", "seed: 1"),
    _judge("metadata-of-text", "metadata.v3.Metadata", "value: {present_match: true}"),
    _ranges("plain", "10.0.0.0", 8),
    _ranges("long", "10.0.0.0", 33),
    _ranges("bad", "10.0.0", 8),
    _custom("ranges-none", "xds.type.matcher.v3.IPMatcher", "range_matchers: []"),
    _domains("plain", "a.test, '*.test', '*', A.test"),
    _domains("twice", "a.test, a.test"),
    _domains("empty", "''"),
    _domains("star-dot", "'*.'"),
    _domains("star-late", "'a*'"),
    _domains("star-partial", "'*a'"),
    _domains("stars", "'*.*.test'"),
    _matcher(
        "or-of-one",
        f"{{matcher_list: {{matchers: [{{predicate: {{or_matcher: {{predicate: [{{single_predicate: {{input: {_PORT}, "
        f"value_match: {{exact: a}}}}}}]}}}}, on_match: {_TO_A}}}]}}}}",
    ),
    _map(
        "input-ssl",
        _config("envoy.extensions.matching.common_inputs.ssl.v3.SubjectInput"),
    ),
]
