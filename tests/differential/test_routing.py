"""Virtual hosts, matches, redirects, direct responses, rewrites, weighted clusters and header mutations."""

import pytest
from tests.differential.harness import Case, Pairs, case_id, request
from tests.differential.wire import End


def to(
    name: str,
    path: str,
    *headers: str,
    host: str = "any.test",
    method: str = "GET",
    status: int = 200,
    body: bytes | None = None,
    contains: tuple[str, ...] = (),
    listener: str = "main",
    forwarded: int | None = None,
) -> Case:
    """One request through the routing configuration."""
    lines = "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, "", ""])
    return Case(
        name,
        request(lines.encode()),
        config="routing",
        listener=listener,
        status=status,
        body=body,
        end=End.OPEN,
        contains=contains,
        forwarded=forwarded,
    )


DOMAINS = [
    to("domain_exact", "/", host="exact.test", body=b"exact"),
    to("domain_exact_case", "/", host="EXACT.Test", body=b"exact"),
    to("domain_exact_port", "/", host="exact.test:8080", body=b"exact"),
    to("domain_other_port", "/", host="exact.test:9999", status=404),
    to("domain_suffix", "/", host="a.suffix.test", body=b"suffix"),
    to("domain_suffix_deep", "/", host="a.b.suffix.test", body=b"suffix"),
    to("domain_longest_suffix", "/", host="a.long.suffix.test", body=b"long suffix"),
    to("domain_suffix_needs_a_label", "/", host=".suffix.test", status=404),
    to("domain_prefix", "/", host="prefix.anything", body=b"prefix"),
    to("domain_prefix_port", "/", host="prefix.anything:81", body=b"prefix"),
    to("domain_without_routes", "/", host="empty.test", status=404),
    to("domain_default", "/nothing/here", status=404),
    to("tls_required", "/a?b=c", host="strict.test", status=301, contains=(r"location: https://strict.test/a\?b=c",)),
    to("tls_required_satisfied", "/a", "X-Forwarded-Proto: https", host="strict.test", forwarded=1),
    Case(
        "two_hosts_match_only_star",
        request(b"GET /path HTTP/1.1\r\nHost: exact.test\r\nHost: b.test\r\n\r\n"),
        config="routing",
        stricter="RFC 9112: two Host fields are an error",
    ),
]

MATCHES = [
    to("path", "/path", forwarded=1),
    to("path_query", "/path?a=b", forwarded=1),
    to("path_longer", "/path/", status=404),
    to("path_case", "/PATH", status=404),
    to("path_nocase", "/nocase", forwarded=1),
    to("path_encoded", "/%70ath", status=404),
    to(
        "prefix_rewritten",
        "/prefix/a/b?c=d",
        contains=(r"GET /rewritten/a/b\?c=d", r"x-envoy-original-path: /prefix/a/b\?c=d"),
    ),
    to("prefix_itself", "/prefix/", contains=(r"GET /rewritten/ ",)),
    to("prefix_without_slash", "/prefix", status=404),
    to("prefix_nocase", "/ncpxyz", forwarded=1),
    to("separated_itself", "/sep", forwarded=1),
    to("separated_below", "/sep/x", forwarded=1),
    to("separated_query", "/sep?x", forwarded=1),
    to("separated_longer", "/separate", status=404),
    to("regex", "/rx/123", forwarded=1),
    to("regex_query_outside", "/rx/123?x=y", forwarded=1),
    to("regex_full_match", "/rx/123/x", status=404),
    to("regex_rewrite", "/rr/one/two?q=1", contains=(r"GET /two/by/one\?q=1",)),
    to("regex_rewrite_no_match", "/rr/one", forwarded=1),
    to("header_exact", "/header", "X-Exact: one", status=201),
    to("header_exact_two_values", "/header", "X-Exact: one", "X-Exact: one", status=201),
    to("header_exact_joined", "/header", "X-Exact: one,one", status=404),
    to("header_exact_case", "/header", "X-Exact: One", status=404),
    to("header_prefix", "/header", "X-Prefix: abc", status=202),
    to("header_suffix_nocase", "/header", "X-Suffix: wxYZ", status=203),
    to("header_contains", "/header", "X-Contains: amidst", status=206),
    to("header_regex", "/header", "X-Regex: abcabc", status=207),
    to("header_regex_partial", "/header", "X-Regex: abcd", status=404),
    to("header_range_start", "/header", "X-Range: 10", status=208),
    to("header_range_end_excluded", "/header", "X-Range: 20", status=404),
    to("header_range_letters", "/header", "X-Range: 10a", status=404),
    to("header_range_plus", "/header", "X-Range: +11", status=208),
    to("header_range_underscore", "/header", "X-Range: 1_1", status=404),
    to("header_present", "/header", "X-Present:", status=209),
    to("header_absent", "/header/absent", status=210),
    to("header_inverted", "/header/inverted", "X-Absent: 1", "X-Inv: yes", status=211),
    to("header_inverted_missing", "/header/inverted", "X-Absent: 1", status=404),
    to("header_method", "/method", method="POST", status=212),
    to("query_exact", "/query?a=0&q=1", status=213),
    to("query_exact_other", "/query?q=11", status=404),
    to("query_present_empty", "/query?p", status=214),
    to("query_regex", "/query?r=42", status=215),
    to("query_first_of_two", "/query?q=2&q=1", status=404),
    to("query_encoded", "/query?q=%31", status=404),
    to("fraction_zero", "/fraction", body=b"rest"),
]

REDIRECTS = [
    to(
        "redirect_host", "/redirect/host?a=b", status=301, contains=(r"location: http://other.test/redirect/host\?a=b",)
    ),
    to("redirect_path", "/redirect/path?a=b", status=301, contains=(r"location: http://any.test/new\?a=b",)),
    to(
        "redirect_path_with_query",
        "/redirect/path_query?a=b",
        status=301,
        contains=(r"location: http://any.test/new\?z=1$",),
    ),
    to("redirect_https", "/redirect/https", host="any.test:80", status=301),
    to("redirect_https_other_port", "/redirect/https", host="any.test:8080", status=301),
    to("redirect_scheme", "/redirect/scheme", status=301, contains=(r"location: ftp://any.test/",)),
    to(
        "redirect_port", "/redirect/port", host="any.test:1", status=301, contains=(r"location: http://any.test:8443/",)
    ),
    to(
        "redirect_port_ipv6",
        "/redirect/port",
        host="[::1]:1",
        status=301,
        contains=(r"location: http://\[::1\]:8443/",),
    ),
    to(
        "redirect_prefix", "/redirect/prefix/rest?x", status=301, contains=(r"location: http://any.test/moved/rest\?x",)
    ),
    to("redirect_regex", "/redirect/regex/abc?x", status=301, contains=(r"location: http://any.test/r/abc\?x",)),
    to("redirect_strip_query", "/redirect/strip?a=b", status=301, contains=(r"location: http://any.test/new$",)),
    *[to(f"redirect_{code}", f"/redirect/{code}", status=code) for code in (301, 302, 303, 307, 308)],
    to("redirect_all", "/redirect/all", status=301, contains=(r"location: https://o.test:1/p",)),
    to("redirect_post", "/redirect/302", "Content-Length: 0", method="POST", status=302),
]

RESPONSES = [
    to("direct_empty", "/direct/empty", status=418, body=b""),
    to("direct_204", "/direct/204", status=204),
    to("direct_body", "/direct/body", status=503, body=b"busy\n"),
    to("direct_headers", "/direct/headers", contains=(r"content-type: text/x",)),
    Case(
        "direct_head",
        request(b"HEAD /direct/body HTTP/1.1\r\nHost: any.test\r\n\r\n", head_only=True),
        config="routing",
        status=503,
        end=End.OPEN,
    ),
    Case(
        "direct_post_with_body",
        request(b"POST /direct/body HTTP/1.1\r\nHost: any.test\r\nContent-Length: 3\r\n\r\nabc"),
        config="routing",
        status=503,
        end=End.CLOSED,
    ),
]

CLUSTERS = [
    to("weighted_one", "/weighted/one", contains=(r"^upstream second",)),
    to("weighted_headers", "/weighted/headers", contains=(r"x-chosen: second", r"x-chose: second")),
    to("weighted_zero_never", "/weighted/none", contains=(r"^upstream up",)),
    to("cluster_header", "/cluster_header", "X-Cluster: second", contains=(r"^upstream second",)),
    to("cluster_header_missing", "/cluster_header", status=503, forwarded=0),
    to("cluster_header_unknown", "/cluster_header", "X-Cluster: nowhere", status=503, forwarded=0),
    to("no_endpoints", "/no_endpoints", status=503, forwarded=0),
    to("host_rewrite", "/host_rewrite", contains=(r"host: rewritten.test",)),
    to("host_rewrite_appends_xfh", "/host_rewrite_xfh", contains=(r"x-forwarded-host: any.test",)),
    to("host_rewrite_header", "/host_header", "X-Host: from.header", contains=(r"host: from.header",)),
    to("host_rewrite_header_missing", "/host_header", contains=(r"host: any.test",)),
    to("host_rewrite_regex", "/host_regex/abc", contains=(r"host: abc.test",)),
    to("auto_host_rewrite", "/auto_host", contains=(r"host: localhost",)),
]

MUTATIONS = [
    to("mutations", "/mutations", "X-Source: original", "X-Remove: 1", "X-Vhost-Remove: 1", forwarded=1),
    to(
        "mutations_existing",
        "/mutations",
        "X-Append: mine",
        "X-Overwrite: mine",
        "X-Only-Existing: mine",
        "X-If-Absent: mine",
        forwarded=1,
        contains=(r"x-only-existing: new", r"x-if-absent: mine"),
    ),
    to(
        "mutations_repeated",
        "/mutations",
        "X-Overwrite: 1",
        "X-Overwrite: 2",
        "X-Remove: 1",
        "X-Remove: 2",
        forwarded=1,
    ),
    Case(
        "mutations_response",
        request(b"GET /mutations HTTP/1.1\r\nHost: any.test\r\nX-Source: s\r\n\r\n"),
        config="routing",
        status=200,
        answers=[
            (b"HTTP/1.1 200 OK\r\nx-theirs: t\r\nx-theirs-too: first\r\nx-secret: 1\r\ncontent-length: 0\r\n\r\n",)
        ],
        contains=(r"x-from-response: t", r"x-from-request: s"),
    ),
    to("mutations_local_reply", "/nothing/here", status=404),
    to("mutations_order", "/x", listener="most_specific", contains=(r"x-l: route", r"x-l: vhost")),
]


@pytest.mark.parametrize("case", [*DOMAINS, *MATCHES, *REDIRECTS, *RESPONSES, *CLUSTERS, *MUTATIONS], ids=case_id)
def test_routing(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
