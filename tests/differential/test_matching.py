"""Every kind of route condition, URI templates, matcher trees of virtual hosts, scoped routes, ``vhost_header``."""

import pytest
from tests.differential.harness import Case, Pairs, case_id, request
from tests.differential.wire import End


def to(
    name: str,
    path: str,
    *headers: str,
    listener: str = "main",
    host: str = "any.test",
    method: str = "GET",
    body: bytes | None = None,
    status: int | None = None,
    contains: tuple[str, ...] = (),
    forwarded: int | None = None,
) -> Case:
    """One request; a body is the name of the route that answers, without one there is none."""
    # Where a header leads to the routes, the request that would ask whether the connection lives finds none.
    close = ["Connection: close"] if listener in ("scoped", "named") else []
    lines = "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, *close, "", ""])
    return Case(
        name,
        request(lines.encode()),
        config="matching",
        listener=listener,
        status=status or (404 if body is None and forwarded is None else 200),
        body=body,
        end=End.CLOSED if close else End.OPEN,
        ignore=("delayed_close_timeout",),
        contains=contains,
        forwarded=forwarded,
    )


def cookie(name: str, path: str, *cookies: str, body: bytes | None = None) -> Case:
    return to(f"cookie_{name}", f"/cookie/{path}", *[f"Cookie: {one}" for one in cookies], body=body)


COOKIES = [
    cookie("exact", "exact", "a=b; k=v", body=b"cookie_exact"),
    cookie("quoted", "exact", 'k="v"', body=b"cookie_exact"),
    cookie("first_counts", "exact", "k=w; k=v"),
    cookie("first_header_counts", "exact", "k=v", "k=w", body=b"cookie_exact"),
    cookie("blank_before_the_value", "exact", "k= v"),
    cookie("blank_behind_the_value", "exact", "k=v ; a=b"),
    cookie("name_has_a_case", "exact", "K=v"),
    cookie("bare_name_is_none", "exact", "k; k=v", body=b"cookie_exact"),
    cookie("missing", "exact"),
    cookie("not_missing", "not", body=b"cookie_not"),
    cookie("not_the_value", "not", "k=v"),
    cookie("empty", "empty", "k=", body=b"cookie_empty"),
    cookie("empty_quotes", "empty", 'k=""', body=b"cookie_empty"),
    cookie("empty_without_equals", "empty", "k"),
    cookie("regex", "regex", "k=123", body=b"cookie_regex"),
    cookie("regex_is_whole", "regex", "k=123a"),
    cookie("two", "two", "a=xyz; b=HOWHY", body=b"cookie_two"),
    cookie("two_of_one", "two", "a=xyz"),
]

STATE = [
    to("tls_presented", "/tls/presented"),
    to("tls_not_presented", "/tls/not_presented", body=b"tls_not_presented"),
    to("tls_validated", "/tls/validated"),
    to("tls_nothing", "/tls/nothing", body=b"tls_nothing"),
    to("metadata_exact", "/metadata/exact"),
    to("metadata_not", "/metadata/not", body=b"metadata_not"),
    to("metadata_absent", "/metadata/absent", body=b"metadata_absent"),
    to("metadata_null", "/metadata/null"),
    to("metadata_false", "/metadata/false"),
    to("state_exact", "/exact", listener="state", body=b"state_exact"),
    to("state_other", "/other", listener="state"),
    to("state_absent", "/absent", listener="state"),
    to("state_text_is_no_address", "/address", listener="state"),
    to("state_both", "/both", listener="state", body=b"state_both"),
    to("state_set_by_a_filter", "/exact", "X-Tenant: gold", listener="cleared", body=b"state_exact"),
    to("state_set_to_another", "/exact", "X-Tenant: silver", listener="cleared"),
    to("state_not_set", "/exact", listener="cleared"),
]

TEMPLATES = [
    to("template_variable", "/users/me?q=/", body=b"template_users"),
    to("template_variable_empty", "/users/"),
    to("template_variable_one_segment", "/users/me/too"),
    to("template_parameters", "/users/me;a=b", body=b"template_users"),
    to("template_bad_character", '/users/m"e'),
    to("template_percent", "/users/%22", body=b"template_users"),
    to("template_text_glob", "/files/a/b//c", body=b"template_files"),
    to("template_text_glob_empty", "/files/", body=b"template_files"),
    to("template_text_glob_nothing", "/files"),
    to("template_glob", "/any/x/end", body=b"template_any"),
    to("template_suffix", "/suffix/a.js", body=b"template_suffix"),
    to("template_suffix_needs_a_name", "/suffix/.js"),
    to("template_mixed", "/mixed/v12x/end", body=b"template_mixed"),
    to("template_star_in_a_literal", "/sttttr", body=b"template_star"),
    to("template_star_is_no_text", "/st*r"),
    to("template_literal", "/lit.c+d($)", body=b"template_literal"),
    to("template_dot_is_a_dot", "/litxc+d($)"),
    to("template_slash", "/slash/", body=b"template_slash"),
    to("template_nested", "/nested/a/b/c/d", body=b"template_nested"),
    to("template_has_a_case", "/Users/me"),
    to("template_header", "/th/x", "X-A: 1", body=b"template_header"),
    to("template_header_missing", "/th/x"),
    to("rewrite_swap", "/swap/1/2?q=3", forwarded=1, contains=(r"GET /swapped/2/1\?q=3 ",)),
    to("rewrite_rest", "/rest/a/b", forwarded=1, contains=(r"GET /moveda/b ",)),
    to("rewrite_rest_empty", "/rest/", forwarded=1, contains=(r"GET /moved ",)),
    to("rewrite_fixed", "/fixed/a", forwarded=1, contains=(r"GET /constant ", r"x-envoy-original-path: /fixed/a")),
    to("rewrite_twice", "/twice/a", forwarded=1, contains=(r"GET /a-a ",)),
    to("template_regex_rewrite", "/tr/a", forwarded=1, contains=(r"GET /regex/a ",)),
    to("parameters_template_sees_all", "/t/a;b", listener="params", body=b"template"),
    to("parameters_exact", "/e;a=b", listener="params", body=b"exact"),
    to("parameters_separated", "/s;a/b", listener="params", body=b"separated"),
    to("parameters_regex", "/r/abc;1", listener="params", body=b"regex"),
    to("parameters_of_each_segment", "/p;a;b=c/q;d/r", listener="params", body=b"prefix"),
    to("parameters_may_be_empty", "/p;/q", listener="params", body=b"prefix"),
    to("parameters_template_needs_its_literal", "/t;a/b", listener="params"),
    to("parameters_of_the_query_stay", "/e?;a/b", listener="params", body=b"exact"),
]

HEADERS = [
    to("header_missing_is_empty", "/h/missing_empty", body=b"h_missing_empty"),
    to("header_missing_is_not", "/h/missing_not", body=b"h_missing_not"),
    to("header_not_needs_one", "/h/not"),
    to("header_not", "/h/not", "X-H: b", body=b"h_not"),
    to("header_not_of_two", "/h/not", "X-H: b", "X-H: a"),
    to("header_range_negative", "/h/range", "X-H: -5", body=b"h_range"),
    to("header_range_plus", "/h/range", "X-H: +4", body=b"h_range"),
    to("header_range_end", "/h/range", "X-H: 5"),
    to("header_range_not_a_number", "/h/rnot", "X-H: five", body=b"h_range_not"),
    to("header_contains_any_case", "/h/contains", "X-H: aMidb", body=b"h_contains_case"),
    to("header_absent", "/h/absent", body=b"h_present_not"),
    to("many_by_value", "/many", "X-M: 11", "X-N: 1", body=b"many_11"),
    to("many_needs_both", "/many", "X-M: 11", body=b"many_rest"),
    to("many_of_two_values_the_first_route", "/many", "X-M: 7", "X-M: 3", "X-N: 1", body=b"many_3"),
    to("many_by_query", "/many?a=b&q=v10-x", body=b"many_q10"),
    to("many_by_query_first_counts", "/many?q=v1-&q=v0-", body=b"many_q1"),
    to("many_rest", "/many?q=v12-", body=b"many_rest"),
    to("filter_action", "/filter_action", status=503, contains=("NC cluster_not_found",)),
    to("non_forwarding_action", "/non_forwarding", status=503, contains=("NC cluster_not_found",)),
]


def tree(name: str, host: str, path: str, *headers: str, body: bytes | None = None, status: int | None = None) -> Case:
    return to(f"tree_{name}", path, *headers, listener="tree", host=f"{host}.test", body=body, status=status)


TREES = [
    tree("exact", "exact", "/", "x-t: one", body=b"one"),
    tree("exact_has_a_case", "exact", "/", "x-t: One"),
    tree("values_are_joined", "exact", "/", "x-t: one", "x-t: two"),
    tree("list_first", "exact", "/a/x", "x-t: two", body=b"two_a"),
    tree("list_second", "exact", "/b", "x-t: two", body=b"two_b"),
    tree("list_none", "exact", "/c", "x-t: two"),
    tree("list_none_is_the_end", "exact", "/otherwise", "x-t: two"),
    tree("otherwise", "exact", "/otherwise", "x-t: three", body=b"otherwise"),
    tree("otherwise_without_header", "exact", "/otherwise", body=b"otherwise"),
    tree("nested_longest_prefix", "exact", "/a/b/c", "x-t: nested", body=b"under_ab"),
    tree("nested_prefix", "exact", "/a/c", "x-t: nested", body=b"under_a"),
    tree("nested_none", "exact", "/otherwise", "x-t: nested", body=b"otherwise"),
    tree("and_not", "list", "/", "x-l: abc", body=b"a_not_z"),
    tree("and_not_fails", "list", "/", "x-l: abz"),
    tree("regex", "list", "/", "x-l: 42", body=b"digits"),
    tree("ip", "list", "/", "x-l: 10.9.8.7", body=b"ten"),
    tree("none", "list", "/", "x-l: 11.0.0.1"),
    tree("filter_state", "state", "/", body=b"gold"),
    tree("domain", "names", "/", "x-d: a.test", body=b"name"),
    tree("domain_wildcard", "names", "/", "x-d: b.a.test", body=b"wildcard"),
    tree("domain_star", "names", "/", "x-d: other", body=b"star"),
    tree("range_longest", "ranges", "/", "x-ip: 10.1.2.3", body=b"narrow"),
    tree("range", "ranges", "/", "x-ip: 10.2.2.3", body=b"wide"),
    tree("tls_first", "strict", "/a", status=301),
    tree("tls_satisfied", "strict", "/a", "x-forwarded-proto: https", body=b"strict"),
    tree("tls_internal_is_not_believed", "strict", "/a", "x-envoy-internal: true", status=301),
    tree("empty", "empty", "/"),
]


def scoped(
    name: str, *headers: str, path: str = "/", body: bytes | None = None, host: str = "any.test", **more: object
) -> Case:
    return to(f"scoped_{name}", path, *headers, listener="scoped", host=host, body=body, **more)  # type: ignore[arg-type]


SCOPES = [
    scoped("element", "x-scope: a=b;k=one", "x-two: q,x,y", body=b"one"),
    scoped("blank_counts", "x-scope: a=b; k=one", "x-two: q,x"),
    scoped("no_second_part", "x-scope: k=one", "x-two: q"),
    scoped("no_second_header", "x-scope: k=one"),
    scoped("no_header"),
    scoped("unknown", "x-scope: k=nothing", "x-two: q,x"),
    scoped("same_name_replaces", "x-scope: k=two", "x-two: q,x"),
    scoped("same_name_is_replaced", "x-scope: k=three", "x-two: q,x", body=b"three"),
    scoped("same_key_the_last", "x-scope: k=dup", "x-two: q,x", body=b"d2"),
    scoped("shorter_key", "x-scope: k=short", "x-two: q,"),
    scoped("empty_value", "x-scope: k=", "x-two: q,x", body=b"empty"),
    scoped("bare_key", "x-scope: k", "x-two: q,x", body=b"empty"),
    scoped("first_element", "x-scope: k=one;k=dup", "x-two: q,x", body=b"one"),
    scoped("first_value", "x-scope: k=one", "x-scope: k=dup", "x-two: q,x", body=b"one"),
    scoped("rest_of_the_element", "x-scope: k=one=1", "x-two: q,x"),
    scoped("host_matches_too", "x-scope: k=host", "x-two: q,x", host="h.test", body=b"host"),
    scoped("host_does_not", "x-scope: k=host", "x-two: q,x"),
    scoped("internal_only", "x-scope: k=one", "x-two: q,x", "x-inner: 1", path="/up", forwarded=1),
    scoped("internal_only_of_another", "x-scope: k=three", "x-two: q,x", "x-inner: 1", path="/up", forwarded=1),
]


def named(name: str, *headers: str, body: bytes | None = None, host: str = "any.test") -> Case:
    return to(f"named_{name}", "/", *headers, listener="named", host=host, body=body)


NAMED = [
    named("exact", "x-vhost: A.test", body=b"exact"),
    named("host_is_not_asked", "x-vhost: other", host="a.test", body=b"default"),
    named("missing", host="a.test"),
    named("empty", "x-vhost:", body=b"default"),
    named("suffix", "x-vhost: x.b", body=b"suffix"),
    named("suffix_alone", "x-vhost: .b", body=b"default"),
    named("prefix", "x-vhost: c.x", body=b"prefix"),
    named("port", "x-vhost: a.test:80", body=b"exact"),
    named("first_value", "x-vhost: a.test", "x-vhost: x.b", body=b"exact"),
]


@pytest.mark.parametrize("case", [*COOKIES, *STATE, *TEMPLATES, *HEADERS, *TREES, *SCOPES, *NAMED], ids=case_id)
def test_matching(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
