"""What routes do with requests and responses: rewrites, plugins, weights, mutations, direct responses, redirects."""

import pytest
from tests.differential.harness import Case, Pairs, case_id, request
from tests.differential.upstream import Answer

RESPONSE: Answer = (
    b"HTTP/1.1 200 OK\r\nx-app: up\r\nx-abs: up\r\nx-over: up\r\nx-only: up\r\nx-rm: up\r\nx-up: 1\r\n"
    b"x-nothing: up\r\nx-cleared: up\r\nContent-Length: 0\r\n\r\n",
)
SENT = ("x-app: old", "x-abs: old", "x-over: old", "x-only: old", "x-rm: old", "x-nothing: old", "x-cleared: old")


def to(name: str, path: str, *headers: str, host: str = "any.test", method: str = "GET", **more: object) -> Case:
    lines = "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, "", ""])
    answers = {"answers": (RESPONSE,)} if name.startswith("m_") or name.startswith("w_") else {}
    return Case(name, request(lines.encode()), config="route_actions", **answers, **more)  # type: ignore[arg-type]


TEMPLATES = [
    to("path_template", "/t_path/x?q=1", "x-a: one", contains=(r"GET /new/one\?q=1", r"original-path: /t_path/x\?q=1")),
    to("path_template_empty_value", "/t_path?q=1", contains=(r"GET /new/\?q=1",)),
    to("path_template_empty_result", "/t_whole?q=1", contains=(r"GET /t_whole\?q=1",)),
    to("path_template_with_query", "/t_whole?old=1", "x-a: /p?new=1", contains=(r"GET /p\?new=1\?old=1",)),
    to("path_template_alternative", "/t_default", "x-b: b", contains=(r"GET /v/b/HTTP/1.1",)),
    to("templates_see_mutations", "/t_added", contains=(r"GET /added", r"host: added.test")),
    to("host_template", "/t_host", "x-a: one", contains=(r"host: one.test", r"x-envoy-original-host: any.test")),
    to("host_template_empty_value", "/t_host", contains=(r"host: -.test",)),
    to("host_template_forwarded", "/t_hostx", "x-a: one", contains=(r"x-forwarded-host: any.test",)),
    to("templates_of_the_request_itself", "/t_old?q", contains=(r"host: was-any.test",)),
]

HOSTS = [
    to("literal", "/h_literal"),
    to("literal_forwarded", "/h_literalx"),
    to("literal_forwarded_again", "/h_literalx", "x-forwarded-host: first.test"),
    to("literal_forwarded_same", "/h_literalx", "x-forwarded-host: first.test,any.test"),
    to("header", "/h_header", "x-host: theirs.test"),
    to("header_absent", "/h_header"),
    to("header_empty", "/h_header", "x-host:"),
    to("header_twice", "/h_headerx", "x-host: one.test", "x-host: two.test"),
    to("regex", "/h_regex/made.test/x?y=/z"),
    to("regex_no_match", "/h_regex/"),
    to("regex_empty", "/h_regex_empty"),
    to("auto", "/h_auto", contains=(r"host: own-name.test",)),
    to("auto_forwarded", "/h_autox", contains=(r"x-forwarded-host: any.test",)),
    to("auto_off", "/h_auto_off"),
    to("auto_unnamed", "/h_auto_unnamed"),
]

PATHS = [
    to("groups", "/rx_groups/a/b?c"),
    to("groups_one_empty", "/rx_groups/a?c"),
    to("groups_no_match", "/rx_groups/a/b/c"),
    to("all_matches", "/rx_all/banana?a"),
    to("nothing_is_left", "/rx_empty/x?q"),
    to("only_the_rest_is_left", "/rx_bare/x?q"),
    to("no_path_is_left", "/rx_bare?q"),
    to("no_match", "/rx_none/x?q", contains=(r"x-envoy-original-path: /rx_none/x\?q",)),
    to("backslash", "/rx_slash/x"),
    to("prefix_in_any_case", "/px_CASE/rest?q"),
    to("prefix_of_an_exact_path", "/px_exact?q"),
    to("prefix_of_a_separated_one", "/px_sep/a?q"),
    to("prefix_of_a_separated_one_itself", "/px_sep?q"),
    to("prefix_of_a_regex", "/px_regex/a?q"),
]

CLUSTERS = [
    *[to(f"plugin_{word}", "/p_inline", f"x-to: {word}") for word in ("one", "two", "none", "other")],
    to("plugin_without_header", "/p_inline"),
    *[to(f"named_plugin_{word}", "/p_named", f"x-to: {word}") for word in ("one", "two", "other")],
    to("optional_plugin", "/p_optional", status=404),
    to("plugin_policy", "/p_policy/x", "x-to: two"),
    to("plugin_policy_not_found", "/p_policy/x", "x-to: other", status=404),
    *[to(f"w_header_{value}", "/w_header", f"x-weight: {value}") for value in ("0", "29", "30", "99", "100", "129")],
    to("w_each_own", "/w_each", "x-weight: 0", "x-gone: 1"),
    to("w_each_other", "/w_each", "x-weight: 1", "x-gone: 1", answers_of={"second": (RESPONSE,)}),
    to("w_cluster_header", "/w_cluster_header", "x-weight: 0", "x-to: up"),
    to("w_cluster_header_absent", "/w_cluster_header", "x-weight: 0", status=503),
    to("w_cluster_header_unknown", "/w_cluster_header", "x-weight: 0", "x-to: what", status=503),
    to("w_zero", "/w_zero"),
    to("cluster_header", "/c_header", "x-to: second"),
    to("cluster_header_twice", "/c_header", "x-to: second", "x-to: up"),
    to("cluster_header_unknown", "/c_header", "x-to: what", status=503),
    to("cluster_header_absent", "/c_header", status=503),
    to("not_found_404", "/c_header404", status=404),
    to("not_found_500", "/c_header500", status=500),
    to("non_forwarding", "/n_forwarding"),
]

MUTATIONS = [
    to("m_request", "/m_request"),
    to("m_request_present", "/m_request", *SENT, "user-agent: me"),
    to("m_request_twice", "/m_request", *SENT, *SENT),
    to("m_response", "/m_response", "x-over: asked"),
    to("m_raw", "/m_raw"),
    to("m_formats", "/m_formats/x"),
    to("m_direct", "/m_direct", "x-over: asked"),
]

DIRECT = [
    to("format", "/d_format?q"),
    to("json", "/d_json"),
    to("content_type", "/d_type"),
    to("bytes", "/d_base64"),
    *[to(f"status_{code}", f"/d_{code}") for code in (200, 201, 301, 399, 500, 599)],
    to("status_205", "/d_205"),
    *[to(f"status_{code}", f"/d_{code}", stricter="RFC 9110 6.4.1: no content here") for code in (204, 304)],
]

REDIRECTS = [
    *[
        to(f"https_{name}", "/r_https/a?b", host=host, status=301)
        for name, host in (("plain", "a.test"), ("80", "a.test:80"), ("443", "a.test:443"), ("other", "a.test:8080"))
    ],
    to("https_forwarded", "/r_https", "x-forwarded-proto: https", host="a.test:443"),
    to("https_ipv6", "/r_https", host="[::1]:80"),
    to("https_ipv6_without_port", "/r_https", host="[::1]"),
    to("port", "/r_port", host="a.test:8080"),
    to("port_without_one", "/r_port"),
    to("https_port", "/r_https_port", host="a.test:80"),
    to("scheme_http", "/r_scheme_http", "x-forwarded-proto: https", host="a.test:443"),
    to("host_with_port", "/r_host_port"),
    to("prefix", "/r_prefix/rest?q"),
    to("prefix_strip", "/r_prefix_strip/rest?q"),
    to("regex_redirect", "/r_regex/a/b?q"),
    to("regex_redirect_no_match", "/r_regex?q"),
    to("path_with_query_strip", "/r_path_query?q"),
    to("path_with_fragment", "/r_path_fragment?q"),
    to("strip_only", "/r_strip/a?q"),
    to("redirect_headers", "/r_headers?q"),
    to("redirect_head", "/r_headers", method="POST"),
]

CASES = [*TEMPLATES, *HOSTS, *PATHS, *CLUSTERS, *MUTATIONS, *DIRECT, *REDIRECTS]


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_route_actions(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
