"""Dynamic forward proxies: names from a name server of the test's own, and what comes of them."""

from dataclasses import replace
from typing import Any

import pytest
from tests.differential.harness import (
    Asked,
    Case,
    Do,
    Expect,
    Names,
    Pairs,
    Release,
    Reply,
    Send,
    StatIs,
    UpstreamSaw,
    case_id,
    request,
)
from tests.differential.test_filter_chains import hello
from tests.differential.upstream import READ_END, Hold, Read
from tests.differential.wire import End
from tests.name_server import Fault

STATS = r"^(http\.LISTENER\.|tcp\.LISTENER\.|cluster\.|dns_cache\.|listener\.[^a])"
REFRESHED = (
    r"^stat \S+ dns_cache\.(plain|preresolved|one_waits)\.dns_query_\w+",
    r"^asked for \S*(wait|moving|silent|left|flaky)",
)
"""Names whose addresses have no TTL are resolved every 5 s, those that are not answered by c-ares once more."""
UP = "{{upstream:up}}"
HERE = ("127.0.0.1",)
TUNNEL_SAYS = b"HTTP/1.1 200 OK\r\n"


def get(host: str, path: str = "/", *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode()


def case(name: str, *steps: Any, listener: str = "main", ignore: tuple[str, ...] = (), **options: Any) -> Case:
    return Case(
        name,
        [one for step in steps for one in (step if isinstance(step, tuple) else (step,))],
        config="dynamic_forward_proxy",
        listener=listener,
        stats=STATS,
        ignore=(*REFRESHED, "x-dynamic-port", *ignore),
        **options,
    )


def served(
    name: str, host: str, listener: str = "main", path: str = "/", headers: tuple[str, ...] = (), **o: Any
) -> Case:
    """One request for a name that is resolved, and forwarded."""
    bare = host.partition(":")[0]
    options = {"names": {bare: HERE}, "status": 200, "forwarded": 1, **o}
    return case(name, request(get(host, path, *headers)), listener=listener, **options)


def refused(name: str, host: str, log: str, listener: str = "main", status: int = 503, **o: Any) -> Case:
    """One request that is answered here."""
    return case(name, request(get(host)), listener=listener, status=status, forwarded=0, log=log, **o)


HTTP_CASES = [
    served(
        "resolved", f"first.test:{UP}", contains=(r"^stat \+1 dns_cache.plain.host_added", r"^asked for first.test A$")
    ),
    case("hit", request(get(f"hit.test:{UP}")) * 3, names={"hit.test": HERE}, status=(200,) * 3, forwarded=3),
    served("upper_case", f"Upper.TEST:{UP}", names={"upper.test": HERE}),
    served("address", f"127.0.0.1:{UP}", names={}),
    refused("ipv6_address_of_other_family", f"[::1]:{UP}", "503 DF dns_resolution_failure{"),
    served("first_of_several", f"several.test:{UP}", names={"several.test": ("127.0.0.1", "127.0.0.9")}),
    served("with_body", f"body.test:{UP}", names={"body.test": HERE}),
    case(
        "post_waits",
        b"POST /p HTTP/1.1\r\nHost: post.test:{{upstream:up}}\r\nContent-Length: 5\r\n\r\n",
        Asked("post.test"),
        b"hello",
        Reply(),
        names={"post.test": HERE},
        status=200,
        forwarded=1,
    ),
    case(
        "second_request_is_held",
        get("held.test:{{upstream:up}}") + get("held.test:{{upstream:up}}", "/second"),
        Reply(),
        Reply(),
        names={"held.test": HERE},
        status=(200, 200),
        forwarded=2,
    ),
    refused("no_such_name", "nx.test", "503 DF dns_resolution_failure{cares_norecords:Domain_name_not_found}"),
    case(
        "no_such_name_is_kept",
        request(get("kept.test")) * 2,
        status=(503, 503),
        forwarded=0,
        contains=(r"^stat \+1 dns_cache.plain.host_added",),
    ),
    refused("other_family_only", "six.test", "503 DF dns_resolution_failure{", names={"six.test": ("::1",)}),
    refused(
        "server_failure",
        "broken.test",
        "503 DF dns_resolution_failure{cares_failure:",
        names={"broken.test": Fault.SERVFAIL},
    ),
    refused("server_refuses", "unwilling.test", "503 DF", names={"unwilling.test": Fault.REFUSED}),
    refused("garbage", "garbage.test", "503 DF", names={"garbage.test": Fault.GARBAGE}),
    refused(
        "timeout",
        "silent.test",
        "503 DF dns_resolution_failure{resolve_timeout}",
        listener="impatient",
        names={"silent.test": Fault.SILENCE},
    ),
    refused("empty_host", "", "400 - empty_host_header", status=400),
    refused("bad_name", "a..b:80", "503 DF"),
    refused("port_too_large", "big.test:99999", "503 DF"),
    refused("port_is_none", "none.test:x", "503 DF"),
    served("literal", "ignored.test", path="/literal", names={"literal.test": HERE}),
    served(
        "header", "ignored.test", path="/header", headers=(f"x-host: header.test:{UP}",), names={"header.test": HERE}
    ),
    served(
        "first_of_two_headers",
        "ignored.test",
        path="/header",
        names={"one.test": HERE, "two.test": HERE},
        headers=(f"x-host: one.test:{UP}", f"x-host: two.test:{UP}"),
    ),
    served("without_the_header", f"without.test:{UP}", path="/header"),
    served("static_cluster", "static.test", path="/static", names={}, contains=(r"^upstream second >",)),
    case("no_cluster", request(get("gone.test", "/missing", "x-cluster: gone")), status=503, forwarded=0, log="503 NC"),
    served("filter_off", f"off.test:{UP}", path="/off", names={"off.test": HERE}),
    case(
        "retried",
        request(get(f"retried.test:{UP}", "/retried")),
        names={"retried.test": HERE},
        status=200,
        forwarded=2,
        answers=[(b"HTTP/1.1 500 Sorry\r\ncontent-length: 0\r\n\r\n",)],
    ),
    served(
        "host_rewritten_by_the_route",
        f"before.test:{UP}",
        path="/rewritten",
        names={"before.test": HERE, "moved.test": HERE},
    ),
    case(
        "nobody_listens",
        request(get("nobody.test:1")),
        names={"nobody.test": HERE},
        status=503,
        forwarded=0,
        log="503 UF",
    ),
    case(
        "two_ports_of_a_name",
        request(
            get(f"ports.test:{UP}"),
        )
        + request(get("ports.test:{{upstream:second}}")),
        names={"ports.test": HERE},
        status=(200, 200),
        forwarded=2,
    ),
]

CLUSTER_CASES = [
    served("resolved_by_the_cluster", f"alone.test:{UP}", listener="alone"),
    case(
        "cluster_waits_with_body",
        b"POST /p HTTP/1.1\r\nHost: alone-post.test:{{upstream:up}}\r\nContent-Length: 5\r\n\r\n",
        Asked("alone-post.test"),
        b"hello",
        Reply(),
        listener="alone",
        names={"alone-post.test": HERE},
        status=200,
        forwarded=1,
    ),
    refused(
        "unknown_to_the_cluster", "alone-nx.test", "503 UH dns_resolution_failure{cares_norecords", listener="alone"
    ),
    case(
        "known_to_fail",
        request(get("alone-kept.test")) * 2,
        listener="alone",
        status=(503, 503),
        forwarded=0,
        contains=(r"^stat \+1 cluster.alone.upstream_cx_none_healthy",),
    ),
    refused("empty_host_of_the_cluster", "", "503 UH empty_host_header", listener="alone"),
    served(
        "another_cache_in_the_filter",
        f"two-caches.test:{UP}",
        listener="other_cache",
        contains=(r"^stat \+1 dns_cache.other.host_added", r"^stat \+1 dns_cache.alone.host_added"),
    ),
    case(
        "mirrored",
        request(get(f"mirrored.test:{UP}", "/mirrored")),
        UpstreamSaw(),
        names={"mirrored.test-shadow": HERE},
        status=200,
        forwarded=2,
    ),
    case(
        "mirror_of_an_unknown_host",
        request(get("mirrored-nx.test", "/mirrored")),
        Asked("mirrored-nx.test-shadow"),
        status=200,
        forwarded=1,
    ),
    case(
        "response_timeout_begins_with_the_host",
        request(get("timed-silent.test", "/timed")),
        listener="impatient",
        names={"timed-silent.test": Fault.SILENCE},
        status=503,
        forwarded=0,
        log="503 UH dns_resolution_failure{resolve_timeout}",
    ),
    case(
        "response_timeout",
        request(get(f"timed.test:{UP}", "/timed")),
        Release(),
        names={"timed.test": HERE},
        answers=[(Hold(),)],
        status=504,
        forwarded=1,
        log="504 UT",
    ),
    case(
        "client_leaves",
        get("left.test"),
        Asked("left.test"),
        Do("close"),
        Send(get("left.test"), on=1),
        Reply(on=1),
        listener="impatient",
        names={"left.test": Fault.SILENCE},
        forwarded=0,
        ignore=(r"downstream_cx_[rt]x_bytes",),
        logged=2,
    ),
]

LIMIT_CASES = [
    case(
        "cache_is_full",
        request(get(f"fits.test:{UP}")) + request(get(f"fits.test:{UP}")) + request(get("more.test")),
        listener="full",
        names={"fits.test": HERE},
        status=(200, 200, 503),
        forwarded=2,
        log="503 - dns_cache_overflow",
    ),
    refused("nobody_may_wait", "a.test", "503 - dynamic_forward_proxy_pending_request_overflow", listener="none_waits"),
    case(
        "one_may_wait",
        get("wait.test"),
        Asked("wait.test"),
        StatIs("dns_cache.one_waits.circuit_breakers.rq_pending_open", 1),
        Send(get("more.test"), on=1),
        Reply(on=1),
        Do("close"),
        StatIs("dns_cache.one_waits.circuit_breakers.rq_pending_open", 0),
        listener="one_waits",
        names={"wait.test": Fault.SILENCE},
        status=503,
        forwarded=0,
        logged=2,
        ignore=(r"downstream_cx_[rt]x_bytes",),
    ),
    case(
        "asked_again_after_a_failure",
        request(get(f"again.test:{UP}")),
        Names({"again.test": HERE}),
        request(get(f"again.test:{UP}")),
        listener="again",
        names={"again.test": Fault.SERVFAIL},
        status=(503, 200),
        forwarded=1,
    ),
    case(
        "name_appears",
        request(get(f"flaky.test:{UP}")),
        Names({"flaky.test": HERE}),
        StatIs("dns_cache.flaky.host_address_changed", 1),
        request(get(f"flaky.test:{UP}")),
        listener="flaky",
        status=(503, 200),
        forwarded=1,
        ignore=(r"dns_query_",),
    ),
    case(
        "address_moves",
        Names({"moving.test": ("127.0.0.3",)}, ttl=1),
        request(get(f"moving.test:{UP}")),
        Names({"moving.test": HERE}),
        StatIs("dns_cache.moving.host_address_changed", 2),
        request(get(f"moving.test:{UP}")),
        listener="moving",
        status=(503, 200),
        forwarded=1,
        ignore=(r"dns_query_",),
    ),
    case(
        "unused_host_goes",
        Names({"brief.test": HERE}, ttl=1),
        request(get(f"brief.test:{UP}")),
        StatIs("dns_cache.brief.host_removed", 1),
        StatIs("cluster.brief.membership_total", 0),
        Names({}),
        request(get("brief.test:1")),
        listener="brief",
        status=(200, 503),
        forwarded=1,
        ignore=(r"dns_query_", r"127.0.0.1_1\b"),
    ),
    served("resolved_at_the_start", f"localhost:{UP}", listener="preresolved", names={}),
]

STATE_CASES = [
    served(
        "by_filter_state",
        "nobody.test",
        listener="state",
        headers=(f"x-dynamic-host: by-state.test:{UP}",),
        names={"by-state.test": HERE},
    ),
    served(
        "port_by_filter_state",
        "nobody.test",
        listener="state",
        headers=("x-dynamic-host: port-state.test", f"x-dynamic-port: {UP}"),
        names={"port-state.test": HERE},
    ),
    served("host_has_a_port_already", f"has-port.test:{UP}", listener="state", headers=("x-dynamic-port: 1",)),
    served("port_only", "port-only.test", listener="state", headers=(f"x-dynamic-port: {UP}",)),
    served("no_state", f"no-state.test:{UP}", listener="state"),
    served(
        "state_not_allowed_in_the_filter",
        "own.test:1",
        listener="state_ignored",
        headers=(f"x-dynamic-host: other.test:{UP}",),
        names={"own.test": HERE, "other.test": HERE},
    ),
    case(
        "port_too_large_in_state",
        request(get("wide.test", "/", "x-dynamic-port: 65536")),
        listener="state",
        status=503,
        forwarded=0,
    ),
]


def tunnel(name: str, host: str, listener: str = "connect", **options: Any) -> Case:
    return case(
        name,
        f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(),
        Reply(head_only=True),
        b"ping",
        Expect(b"pong"),
        Do("fin"),
        Do("end"),
        listener=listener,
        raw=(Read(4), b"pong", READ_END),
        **options,
    )


CONNECT_CASES = [
    tunnel("connect", f"tunnel.test:{UP}", names={"tunnel.test": HERE}),
    tunnel(
        "connect_by_the_cluster", f"tunnel-alone.test:{UP}", listener="connect_alone", names={"tunnel-alone.test": HERE}
    ),
    case(
        "connect_unknown",
        b"CONNECT tunnel-nx.test:1 HTTP/1.1\r\nHost: tunnel-nx.test:1\r\n\r\n",
        Reply(),
        listener="connect",
        status=503,
        forwarded=0,
    ),
    case(
        "connect_unknown_to_the_cluster",
        b"CONNECT tunnel-nx.test:1 HTTP/1.1\r\nHost: tunnel-nx.test:1\r\n\r\n",
        Reply(),
        listener="connect_alone",
        status=503,
        forwarded=0,
    ),
]


def by_name(name: str, server: str, answer: bytes = b"pong", listener: str = "sni", **options: Any) -> Case:
    sent = hello(server)
    return case(name, sent, Expect(answer), listener=listener, raw=(Read(len(sent)), answer), **options)


def closed(name: str, server: str, listener: str = "sni", **options: Any) -> Case:
    return case(name, hello(server), Do("end"), listener=listener, end=End.CLOSED, forwarded=0, **options)


SNI_CASES = [
    by_name("server_name", "sni.test", names={"sni.test": HERE}),
    by_name("server_name_again", "sni.test"),
    by_name(
        "named_by_state",
        "ignored.test",
        listener="sni_state",
        names={"named.test": HERE},
        contains=(r"upstream second >",),
    ),
    closed("server_unknown", "sni-nx.test"),
    closed(
        "server_name_times_out", "sni-silent.test", listener="sni_impatient", names={"sni-silent.test": Fault.SILENCE}
    ),
    closed("no_server_name", ""),
    closed("nobody_may_wait_for_a_server", "sni-a.test", listener="sni_none_waits"),
    case(
        "cache_of_servers_is_full",
        hello("sni-fits.test"),
        Expect(b"pong"),
        Send(hello("sni-more.test"), on=1),
        Do("end", on=1),
        listener="sni_full",
        names={"sni-fits.test": HERE},
        raw=(Read(len(hello("sni-fits.test"))), b"pong"),
        logged=2,
    ),
    case(
        "client_of_a_server_leaves",
        hello("sni-left.test"),
        Asked("sni-left.test"),
        Do("close"),
        Send(hello("sni-left.test"), on=1),
        Do("end", on=1),
        listener="sni_impatient",
        names={"sni-left.test": Fault.SILENCE},
        forwarded=0,
        ignore=(r"_bytes",),
        logged=2,
    ),
    closed("connections_do_not_wait", "tcp-alone.test", listener="tcp_alone", names={"tcp-alone.test": HERE}),
]

SUB_CLUSTERS = r"^(http\.LISTENER\.|cluster\.LISTENER\.|cluster\.DFPCluster_.*(upstream_rq_|membership_))"

SUB_CLUSTER_CASES = [
    served("sub_cluster", f"sub.test:{UP}", listener="sub", contains=(r"^stat \+1 cluster.DFPCluster_sub",)),
    case(
        "sub_cluster_again",
        request(get(f"sub-again.test:{UP}")) * 3,
        listener="sub",
        names={"sub-again.test": HERE},
        status=(200,) * 3,
        forwarded=3,
    ),
    served("sub_cluster_of_an_address", f"127.0.0.1:{UP}", listener="sub", names={}),
    refused("sub_cluster_without_hosts", "sub-nx.test", "503 UH no_healthy_upstream", listener="sub"),
    refused(
        "sub_cluster_does_not_warm",
        "sub-silent.test",
        "503 - sub_cluster_warming_timeout",
        listener="sub_slow",
        names={"sub-silent.test": Fault.SILENCE},
    ),
    case(
        "sub_cluster_waits_with_body",
        b"POST /p HTTP/1.1\r\nHost: sub-post.test:{{upstream:up}}\r\nContent-Length: 5\r\n\r\n",
        Asked("sub-post.test"),
        b"hello",
        Reply(),
        listener="sub",
        names={"sub-post.test": HERE},
        status=200,
        forwarded=1,
    ),
    case(
        "too_many_sub_clusters",
        request(get(f"sub-fits.test:{UP}")) + request(get("sub-more.test")) + request(get(f"sub-fits.test:{UP}")),
        listener="sub_few",
        names={"sub-fits.test": HERE},
        status=(200, 503, 200),
        forwarded=2,
        log="503 - sub_cluster_overflow",
    ),
    case(
        "unused_sub_cluster_goes",
        request(get(f"sub-brief.test:{UP}")),
        StatIs("cluster_manager.cluster_removed", 1),
        request(get(f"sub-brief.test:{UP}")),
        listener="sub_brief",
        names={"sub-brief.test": HERE},
        status=(200, 200),
        forwarded=2,
        ignore=(r"DFPCluster",),
    ),
]
SUB_CLUSTER_CASES = [replace(case, stats=SUB_CLUSTERS) for case in SUB_CLUSTER_CASES]

CASES = [*HTTP_CASES, *CLUSTER_CASES, *LIMIT_CASES, *STATE_CASES, *CONNECT_CASES, *SNI_CASES, *SUB_CLUSTER_CASES]


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_dynamic_forward_proxy(case: Case, pairs: Pairs) -> None:
    pairs.check(case)
