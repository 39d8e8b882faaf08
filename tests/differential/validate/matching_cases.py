"""Route conditions, URI templates, matcher trees of virtual hosts, scoped routes, ``vhost_header``."""
# ruff: noqa: E501 - a case is a line

from tests.differential.validate.corpus import TYPE, Verdict, hosts, manager, route

_MATCH = f"{TYPE}/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig"
_REWRITE = f"{TYPE}/envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig"
_ROUTE = f"{TYPE}/envoy.config.route.v3.Route"
_LIST = f"{TYPE}/envoy.config.route.v3.RouteList"
_NETWORK = "envoy.extensions.matching.common_inputs.network.v3"
_HTTP = "envoy.type.matcher.v3"


def _policy(template: str, name: str = "envoy.path.match.uri_template.uri_template_matcher") -> str:
    return f"path_match_policy: {{name: {name}, typed_config: {{'@type': {_MATCH}, path_template: '{template}'}}}}"


def _rewriter(template: str) -> str:
    return (
        "path_rewrite_policy: {name: envoy.path.rewrite.uri_template.uri_template_rewriter, typed_config: "
        f"{{'@type': {_REWRITE}, path_template_rewrite: '{template}'}}}}"
    )


def _template(name: str, template: str) -> Verdict:
    return route(f"template-{name}", f"match: {{{_policy(template)}}}")


def _rewrite(name: str, match: str, action: str) -> Verdict:
    return route(f"template-rewrite-{name}", f"match: {{{match}}}\nroute: {{cluster: one, {action}}}")


def _action(fields: str = "match: {prefix: /}, route: {cluster: one}", kind: str = _ROUTE) -> str:
    return f"{{action: {{name: act, typed_config: {{'@type': {kind}, {fields}}}}}}}"


def _input(full_name: str, fields: str = "") -> str:
    return f"{{name: i, typed_config: {{'@type': {TYPE}/{full_name}{', ' if fields else ''}{fields}}}}}"


_HEADER = _input(f"{_HTTP}.HttpRequestHeaderMatchInput", "header_name: x")


def _tree(name: str, matcher: str, more: str = "", stricter: str = "") -> Verdict:
    return hosts(f"tree-{name}", f"- name: v\n  domains: ['*']\n  matcher: {matcher}\n{more}", stricter)


def _map(
    name: str, data_input: str = _HEADER, then: str = _action(), kind: str = "exact_match_map", stricter: str = ""
) -> Verdict:
    return _tree(name, f"{{matcher_tree: {{input: {data_input}, {kind}: {{map: {{a: {then}}}}}}}}}", stricter=stricter)


def _judge(name: str, judged: str, keep: str = "") -> Verdict:
    predicate = f"{{single_predicate: {{input: {_HEADER}, {judged}}}}}"
    on_match = _action().replace("{action:", f"{{{keep}action:", 1)
    return _tree(name, f"{{matcher_list: {{matchers: [{{predicate: {predicate}, on_match: {on_match}}}]}}}}")


def _custom(name: str, full_name: str, fields: str) -> Verdict:
    return _judge(name, f"custom_match: {{name: m, typed_config: {{'@type': {TYPE}/{full_name}, {fields}}}}}")


_CONFIGURATION = (
    "route_configuration: {name: r, virtual_hosts: [{name: v, domains: ['*'], routes: "
    "[{match: {prefix: /}, route: {cluster: one}}]}]}"
)
_BY_INDEX = "{header_value_extractor: {name: x, index: 0}}"


def _scopes(
    name: str, scopes: str | None = None, fragments: str = _BY_INDEX, more: str = "  name: s\n", stricter: str = ""
) -> Verdict:
    if scopes is None:
        scopes = f"{{name: a, key: {{fragments: [{{string_key: k}}]}}, {_CONFIGURATION}}}"
    text = f"scoped_routes:\n{more}  scope_key_builder: {{fragments: [{fragments}]}}\n"
    text += f"  scoped_route_configurations_list: {{scoped_route_configurations: [{scopes}]}}\n"
    return manager(f"scopes-{name}", text, stricter, routed=False)


def _scope(name: str, fields: str) -> Verdict:
    return _scopes(name, f"{{{fields}}}")


CASES = [
    _template("variable", "/{x}"),
    _template("variable-twice", "/{x}/{x}"),
    _template("relative", "a"),
    _template("empty", ""),
    _template("open", "/{x"),
    _template("text-glob-inside", "/**/a"),
    _template("glob-behind-text-glob", "/**/*"),
    _template("variable-behind-text-glob", "/{x=**}/{y}"),
    _template("mixed", "/a{x}b/c"),
    _template("mixed-two-variables", "/{x}{y}"),
    _template("mixed-bad-prefix", "/a}b{c}"),
    _template("mixed-bad-suffix", "/a{b}c}"),
    _template("suffix", "/*.html"),
    _template("suffix-and-more", "/**a/b"),
    _template("five-variables", "/{a}/{b}/{c}/{d}/{e}"),
    _template("six-variables", "/{a}/{b}/{c}/{d}/{e}/{f}"),
    _template("long-name", "/{abcdefghijklmnop}"),
    _template("too-long-name", "/{abcdefghijklmnopq}"),
    _template("bad-name", "/{1a}"),
    _template("double-slash", "/a//b"),
    _template("variable-pattern", "/{x=a/*/b/**}:go"),
    _template("variable-pattern-empty", "/{x=}"),
    _template("variable-pattern-slash", "/{x=/a}"),
    _template("variable-pattern-glob-and-text", "/{x=*a}"),
    _template("question-mark", "/a?b"),
    _template("bracket", "/[a]"),
    _template("non-ascii", "/é"),
    _template("stars", "/***"),
    _template("too-long", "/" + "a" * 256),
    route("template-other-name", f"match: {{{_policy('/a', 'other')}}}"),
    route(
        "template-without-config",
        "match: {path_match_policy: {name: envoy.path.match.uri_template.uri_template_matcher}}",
    ),
    _rewrite("plain", _policy("/{x}/{y}"), _rewriter("/{y}/{x}")),
    _rewrite("constant", _policy("/{x}"), _rewriter("/*")),
    _rewrite("unknown-variable", _policy("/{x}"), _rewriter("/{y}")),
    _rewrite("relative", _policy("/{x}"), _rewriter("b/{x}")),
    _rewrite("double-slash", _policy("/{x}"), _rewriter("/b//{x}")),
    _rewrite("open", _policy("/{x}"), _rewriter("/b/{x")),
    _rewrite("pattern", _policy("/{x}"), _rewriter("/{x=a}")),
    _rewrite("query", _policy("/{x}"), _rewriter("/b?c")),
    _rewrite("of-a-prefix", "prefix: /a", _rewriter("/b")),
    _rewrite("and-prefix-rewrite", _policy("/{x}"), "prefix_rewrite: /b"),
    _rewrite("and-regex-rewrite", _policy("/{x}"), "regex_rewrite: {pattern: {regex: a}, substitution: b}"),
    _rewrite("two", _policy("/{x}"), _rewriter("/b") + ", regex_rewrite: {pattern: {regex: a}, substitution: b}"),
    route("template-redirect-prefix", f"match: {{{_policy('/{x}')}}}\nredirect: {{prefix_rewrite: /c}}"),
    route("match-tls", "match: {prefix: /, tls_context: {presented: true, validated: false}}"),
    route("match-cookie", "match: {prefix: /, cookies: [{name: a, string_match: {exact: b}, invert_match: true}]}"),
    route("match-cookie-nameless", "match: {prefix: /, cookies: [{string_match: {exact: b}}]}"),
    route("match-cookie-valueless", "match: {prefix: /, cookies: [{name: a}]}"),
    route(
        "match-cookie-long-name", f"match: {{prefix: /, cookies: [{{name: {'a' * 1025}, string_match: {{exact: b}}}}]}}"
    ),
    route("match-state", "match: {prefix: /, filter_state: [{key: a, string_match: {exact: b}}]}"),
    route("match-state-keyless", "match: {prefix: /, filter_state: [{string_match: {exact: b}}]}"),
    route("match-state-valueless", "match: {prefix: /, filter_state: [{key: a}]}"),
    route(
        "match-state-address",
        "match: {prefix: /, filter_state: [{key: a, address_match: {invert_match: true, ranges: [{address_prefix: 10.0.0.0, prefix_len: 8}]}}]}",
    ),
    route(
        "match-state-bad-address",
        "match: {prefix: /, filter_state: [{key: a, address_match: {ranges: [{address_prefix: x}]}}]}",
    ),
    route(
        "match-metadata",
        "match: {prefix: /, dynamic_metadata: [{filter: f, path: [{key: a}], value: {null_match: {}}}]}",
    ),
    route("match-metadata-pathless", "match: {prefix: /, dynamic_metadata: [{filter: f, value: {null_match: {}}}]}"),
    route("match-metadata-valueless", "match: {prefix: /, dynamic_metadata: [{filter: f, path: [{key: a}]}]}"),
    route(
        "match-metadata-empty-value", "match: {prefix: /, dynamic_metadata: [{filter: f, path: [{key: a}], value: {}}]}"
    ),
    route("filter-action", "filter_action: {}"),
    hosts("vhost-header", "- {name: a, domains: [x]}", config="vhost_header: x-a\n"),
    hosts("vhost-header-newline", "- {name: a, domains: [x]}", config='vhost_header: "x\\na"\n'),
    hosts("vhost-header-blank", "- {name: a, domains: [x]}", config='vhost_header: "x a"\n'),
    _map("header"),
    _map("prefix-map", kind="prefix_match_map"),
    _map("header-empty", _input(f"{_HTTP}.HttpRequestHeaderMatchInput")),
    _map("filter-state", _input(f"{_NETWORK}.FilterStateInput", "key: k")),
    _map("environment", _input("envoy.extensions.matching.common_inputs.environment_variable.v3.Config", "name: HOME")),
    *[
        _map(f"input-{name}", _input(f"{_HTTP}.{name}", fields))
        for name, fields in (
            ("HttpRequestTrailerMatchInput", "header_name: x"),
            ("HttpResponseHeaderMatchInput", "header_name: x"),
            ("HttpResponseTrailerMatchInput", "header_name: x"),
            ("HttpRequestQueryParamMatchInput", "query_param: x"),
            ("HttpResponseStatusCodeMatchInput", ""),
            ("HttpResponseStatusCodeClassMatchInput", ""),
        )
    ],
    _map("input-source-ip", _input(f"{_NETWORK}.SourceIPInput")),
    _map("input-transport-protocol", _input(f"{_NETWORK}.TransportProtocolInput")),
    _map("input-metadata", _input(f"{_NETWORK}.DynamicMetadataInput", "filter: f, path: [{key: a}]")),
    _map("routes", then=_action("routes: [{match: {prefix: /}, route: {cluster: one}}]", _LIST)),
    _map("unknown-cluster", then=_action("match: {prefix: /}, route: {cluster: nothing}")),
    _map("route-without-match", then=_action("route: {cluster: one}")),
    _map("route-bad-regex", then=_action("match: {safe_regex: {regex: '('}}, route: {cluster: one}")),
    _map("other-action", then=_action("value: a", f"{TYPE}/google.protobuf.StringValue")),
    _map("nested", then=f"{{matcher: {{on_no_match: {_action()}}}}}"),
    _tree("empty", "{}"),
    _tree("and-routes", f"{{on_no_match: {_action()}}}", "  routes: [{match: {prefix: /}, route: {cluster: one}}]"),
    _judge("string", "value_match: {exact: a}"),
    _judge("keep-matching", "value_match: {exact: a}", "keep_matching: true, "),
    _custom(
        "ip",
        "envoy.extensions.matching.input_matchers.ip.v3.Ip",
        "stat_prefix: a, cidr_ranges: [{address_prefix: 10.0.0.0, prefix_len: 8}]",
    ),
    _custom(
        "hashing",
        "envoy.extensions.matching.input_matchers.consistent_hashing.v3.ConsistentHashing",
        "threshold: 11, modulo: 10",
    ),
    _custom("cel", "xds.type.matcher.v3.CelMatcher", "expr_match: {cel_expr_checked: {}}"),
    _scopes("plain"),
    _scopes("nameless", more=""),
    _scopes("no-fragments", fragments=""),
    _scopes("fragment-empty", fragments="{}"),
    _scopes("no-extraction", fragments="{header_value_extractor: {name: x}}"),
    _scopes("no-header", fragments="{header_value_extractor: {index: 0}}"),
    _scopes("index-without-separator", fragments="{header_value_extractor: {name: x, index: 1}}"),
    _scopes("index", fragments="{header_value_extractor: {name: x, index: 1, element_separator: ','}}"),
    _scopes("element", fragments="{header_value_extractor: {name: x, element: {separator: '=', key: a}}}"),
    _scopes("element-without-separator", fragments="{header_value_extractor: {name: x, element: {key: a}}}"),
    _scopes("element-without-key", fragments="{header_value_extractor: {name: x, element: {separator: '='}}}"),
    _scopes("none", ""),
    _scope("scope-nameless", f"key: {{fragments: [{{string_key: k}}]}}, {_CONFIGURATION}"),
    _scope("scope-keyless", f"name: a, {_CONFIGURATION}"),
    _scope("scope-empty-key", f"name: a, key: {{}}, {_CONFIGURATION}"),
    _scope("scope-empty-string", f"name: a, key: {{fragments: [{{string_key: ''}}]}}, {_CONFIGURATION}"),
    _scope("scope-without-routes", "name: a, key: {fragments: [{string_key: k}]}"),
    _scope("scope-rds", "name: a, key: {fragments: [{string_key: k}]}, route_configuration_name: r"),
    _scope("scope-on-demand", f"name: a, on_demand: true, key: {{fragments: [{{string_key: k}}]}}, {_CONFIGURATION}"),
    _scope(
        "scope-unknown-cluster",
        f"name: a, key: {{fragments: [{{string_key: k}}]}}, {_CONFIGURATION.replace('one', 'nothing')}",
    ),
]
