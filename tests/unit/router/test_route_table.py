"""Route tables: domains, first match, actions, header mutations, refusals; verdicts asked of Envoy 1.40."""

import time
from typing import Any

import pytest
from envoy.config.route.v3 import route_pb2
from google.protobuf import text_format

from proxeny.config.errors import ConfigError
from proxeny.kernel.headers import HeaderMap
from proxeny.network.factory_context import FactoryContext
from proxeny.router.direct_response import DirectResponseEntry
from proxeny.router.route import Route, RouteEntry
from proxeny.router.route_table import RouteTable

CLUSTERS = frozenset({"c", "d"})


def table(text: str, clusters: frozenset[str] | None = CLUSTERS) -> RouteTable:
    config = text_format.Parse('name: "r" ' + text, route_pb2.RouteConfiguration())
    context = FactoryContext(role="worker", stats=None, cluster_names=clusters)  # type: ignore[arg-type]
    return RouteTable.compile(config, context)


def one_host(routes: str, host: str = "", top: str = "") -> RouteTable:
    return table(f'{top} virtual_hosts {{ name: "v" domains: "*" {host} {routes} }}')


def request(path: str = "/", host: str = "h", **headers: str) -> HeaderMap:
    pairs = [(b":method", b"GET"), (b":path", path.encode()), (b":authority", host.encode()), (b":scheme", b"http")]
    pairs.append((b"x-forwarded-proto", b"http"))
    return HeaderMap(pairs + [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()])


def cluster(routes: RouteTable, headers: HeaderMap, random: int = 0) -> str | None:
    route = routes.route(headers, None, random)
    return None if route is None else entry(route).cluster_name(headers)


def entry(route: Route | None) -> Any:
    assert route is not None
    return route.entry


def hosts(*domains: str) -> RouteTable:
    clusters = frozenset(domains)
    text = 'virtual_hosts { name: "%s" domains: "%s" routes { match { prefix: "/" } route { cluster: "%s" } } }'
    return table("".join(text % (d, d, d) for d in domains), clusters)


def test_domains() -> None:
    routes = hosts("a.b", "*.b", "*a.b", "*-c.b", "x.*", "x.y.*", "*")
    assert cluster(routes, request(host="A.b")) == "a.b"
    assert cluster(routes, request(host="z.b")) == "*.b"
    assert cluster(routes, request(host="za.b")) == "*a.b"
    assert cluster(routes, request(host="z-c.b")) == "*-c.b"
    assert cluster(routes, request(host="x.com")) == "x.*"
    assert cluster(routes, request(host="x.y.com")) == "x.y.*"
    assert cluster(routes, request(host=".b")) == "*"
    assert cluster(routes, request(host="a.b:80")) == "*"


def test_ports_are_ignored_on_request() -> None:
    routes = table(
        'ignore_port_in_host_matching: true virtual_hosts { name: "v" domains: "a.b" domains: "[::1]" '
        'routes { match { prefix: "/" } route { cluster: "c" } } }'
    )
    assert cluster(routes, request(host="a.b:80")) == "c"
    assert cluster(routes, request(host="[::1]:80")) == "c"
    assert cluster(routes, request(host="[::1]")) == "c"
    assert cluster(routes, request(host="other")) is None


@pytest.mark.parametrize(
    ("domains", "words"),
    [
        (
            ["a.b", "A.B"],
            "Only unique values for domains are permitted. Duplicate entry of domain a.b in route r",
        ),
        (["*", "*"], "Only a single wildcard domain is permitted in route r"),
    ],
)
def test_duplicate_domains(domains: list[str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        hosts(*domains)
    assert caught.value.message == words


@pytest.mark.parametrize(
    ("match", "path", "expected"),
    [
        ('prefix: "/a"', "/abc?x", True),
        ('prefix: "/q?x"', "/q?x", False),
        ('prefix: "/UP" case_sensitive { value: false }', "/up/x", True),
        ('path: "/a"', "/a?b", True),
        ('path: "/a"', "/a/", False),
        ('path_separated_prefix: "/a"', "/a", True),
        ('path_separated_prefix: "/a"', "/a/b", True),
        ('path_separated_prefix: "/a"', "/ab", False),
        ('path_separated_prefix: "/a"', "/a?b", True),
        ('safe_regex { regex: "/a\\\\d" }', "/a1?x", True),
        ('safe_regex { regex: "/a" }', "/a1", False),
        ('prefix: "/" headers { name: "x-a" string_match { exact: "1" } }', "/", False),
        ('prefix: "/" query_parameters { name: "q" }', "/?q", True),
        ("connect_matcher {}", "/", False),
        ('prefix: "/" grpc {}', "/", False),
        ('prefix: "/" runtime_fraction { default_value { numerator: 0 } }', "/", False),
        ('prefix: "/" runtime_fraction { default_value { numerator: 100 } }', "/", True),
    ],
)
def test_matches(match: str, path: str, expected: bool) -> None:
    routes = one_host(f'routes {{ match {{ {match} }} route {{ cluster: "c" }} }}')
    assert (cluster(routes, request(path)) == "c") is expected


def test_connect_without_path() -> None:
    routes = one_host(
        'routes { match { prefix: "/" } route { cluster: "c" } }'
        ' routes { match { connect_matcher {} } route { cluster: "d" } }'
    )
    assert cluster(routes, HeaderMap([(b":method", b"CONNECT"), (b":authority", b"a:1")])) == "d"


def test_first_match_wins_across_kinds() -> None:
    routes = one_host(
        'routes { match { safe_regex { regex: "/a/[0-9]+" } } route { cluster: "c" } }'
        ' routes { match { path: "/a/1" } route { cluster: "d" } }'
        ' routes { match { prefix: "/a" headers { name: "x" present_match: true } } route { cluster: "d" } }'
        ' routes { match { prefix: "/" } route { cluster: "c" } }'
    )
    assert cluster(routes, request("/a/1")) == "c"
    assert cluster(routes, request("/a/x")) == "c"
    assert cluster(routes, request("/a/x", x="1")) == "d"


def test_weighted_clusters() -> None:
    routes = one_host(
        'routes { match { prefix: "/" } route { weighted_clusters { header_name: "x-random"'
        ' clusters { name: "c" weight { value: 3 } request_headers_to_add { header { key: "w" value: "c" } } }'
        ' clusters { name: "d" weight { value: 1 } host_rewrite_literal: "d.host" } } } }'
    )
    picked = [cluster(routes, request(), random) for random in range(8)]
    assert picked == ["c", "c", "c", "d", "c", "c", "c", "d"]
    assert cluster(routes, request(x_random="3"), 0) == "d"
    assert cluster(routes, request(x_random="x"), 0) == "c"
    headers = request()
    entry(routes.route(headers, None, 3)).finalize_request_headers(headers, None, True)
    assert headers.get(b":authority") == b"d.host"


def test_a_weighted_cluster_asks_for_metadata_of_its_own() -> None:
    lb = 'filter_metadata { key: "envoy.lb" value { %s } }'
    field = 'fields { key: "%s" value { string_value: "%s" } }'
    own = "metadata_match { " + lb % (field % ("b", "2") + field % ("c", "2")) + " }"
    all_of = "metadata_match { " + lb % (field % ("a", "1") + field % ("b", "1")) + " }"
    other = 'metadata_match { filter_metadata { key: "x" value { } } }'
    routes = one_host(
        f"""routes {{ match {{ prefix: "/" }} route {{ timeout {{ seconds: 3 }} {all_of} weighted_clusters {{
            clusters {{ name: "c" weight {{ value: 1 }} {own} }}
            clusters {{ name: "d" weight {{ value: 1 }} }}
            clusters {{ name: "d" weight {{ value: 1 }} {other} }} }} }} }}"""
    )
    policies = [entry(routes.route(request(), None, number)).policy for number in range(3)]
    assert [dict(policy.metadata_match.pairs) for policy in policies] == [
        {"a": "1", "b": "2", "c": "2"},
        {"a": "1", "b": "1"},
        {"a": "1", "b": "1"},
    ]
    assert [policy.timeout_ms for policy in policies] == [3000] * 3
    assert policies[1] is policies[2]


def test_cluster_header() -> None:
    routes = one_host('routes { match { prefix: "/" } route { cluster_header: "X-Cluster" } }')
    assert cluster(routes, request(x_cluster="zz")) == "zz"
    assert cluster(routes, request()) == ""


@pytest.mark.parametrize(
    ("action", "path", "host", "location"),
    [
        ('https_redirect: true prefix_rewrite: "/new"', "/r/x?y", "h", "https://h/new/x?y"),
        ("https_redirect: true", "/r", "h:80", "https://h/r"),
        ("https_redirect: true", "/r", "h:81", "https://h:81/r"),
        ('scheme_redirect: "https" port_redirect: 8443 strip_query: true', "/r?y", "[::1]:99", "https://[::1]:8443/r"),
        ('path_redirect: "/p?x=1" strip_query: true', "/r?q", "h", "http://h/p?x=1"),
        ('path_redirect: "/p"', "/r?q", "h", "http://h/p?q"),
        (r'regex_rewrite { pattern { regex: "/r/(.)" } substitution: "/n/\\1" }', "/r/zz?x", "h", "http://h/n/zz?x"),
        ('host_redirect: "other"', "/r", "h:80", "http://other/r"),
    ],
)
def test_redirects(action: str, path: str, host: str, location: str) -> None:
    routes = one_host(f'routes {{ match {{ prefix: "/r" }} redirect {{ {action} }} }}')
    headers = request(path, host)
    redirect = entry(routes.route(headers, None, 0))
    assert isinstance(redirect, DirectResponseEntry)
    redirect.rewrite_path_header(headers, True)
    assert redirect.new_uri(headers).decode() == location
    assert redirect.response_code == 301


def test_direct_response() -> None:
    routes = one_host(
        'routes { match { prefix: "/" } direct_response { status: 201 body { inline_string: "hi" } }'
        ' response_headers_to_add { header { key: "a" value: "b" } } }'
    )
    direct = entry(routes.route(request("/x"), None, 0))
    assert (direct.response_code, direct.body, direct.has_location) == (201, b"hi", True)
    response = HeaderMap([(b":status", b"201")])
    direct.finalize_response_headers(response, None)
    assert response.get(b"a") == b"b"
    assert direct.new_uri(request("/x?y")) == b"http://h/x?y"


def test_require_tls() -> None:
    host = "require_tls: EXTERNAL_ONLY"
    routes = one_host('routes { match { prefix: "/" } route { cluster: "c" } }', host)
    assert entry(routes.route(request("/x"), None, 0)).new_uri(request("/x")) == b"https://h/x"
    assert cluster(routes, request(x_envoy_internal="true")) == "c"


@pytest.mark.parametrize(
    ("action", "headers", "expected"),
    [
        ('prefix_rewrite: "/n"', {}, {":path": "/n/x?q", "x-envoy-original-path": "/a/x?q"}),
        (r'regex_rewrite { pattern { regex: "a" } substitution: "b" }', {}, {":path": "/b/x?q"}),
        ('host_rewrite_literal: "z"', {}, {":authority": "z"}),
        ('host_rewrite_header: "X-H"', {"x_h": "w"}, {":authority": "w"}),
        ('host_rewrite_header: "X-H"', {}, {":authority": "h"}),
        (
            r'host_rewrite_path_regex { pattern { regex: "^/(.+)/.+$" } substitution: "\\1" }',
            {},
            {":authority": "a"},
        ),
        ('host_rewrite_literal: "z" append_x_forwarded_host: true', {}, {"x-forwarded-host": "h"}),
        (
            'host_rewrite_literal: "z" append_x_forwarded_host: true',
            {"x_forwarded_host": "h"},
            {"x-forwarded-host": "h"},
        ),
    ],
)
def test_rewrites(action: str, headers: dict[str, str], expected: dict[str, str]) -> None:
    routes = one_host(f'routes {{ match {{ prefix: "/a" }} route {{ cluster: "c" {action} }} }}')
    message = request("/a/x?q", **headers)
    forward = entry(routes.route(message, None, 0))
    assert isinstance(forward, RouteEntry) and not forward.plain
    forward.finalize_request_headers(message, None, True)  # type: ignore[arg-type]
    assert {name: (message.get(name.encode()) or b"").decode() for name in expected} == expected


def mutation(value: str, action: str = "") -> str:
    return f'response_headers_to_add {{ header {{ key: "x" value: "{value}" }} {action} }}'


@pytest.mark.parametrize(("top", "expected"), [("", b"top"), ("most_specific_header_mutations_wins: true", b"route")])
def test_mutation_order(top: str, expected: bytes) -> None:
    overwrite = "append_action: OVERWRITE_IF_EXISTS_OR_ADD"
    routes = one_host(
        'routes { match { prefix: "/" } route { cluster: "c" } ' + mutation("route", overwrite) + "}",
        mutation("host", overwrite),
        mutation("top", overwrite) + top,
    )
    response = HeaderMap([(b":status", b"200")])
    entry(routes.route(request(), None, 0)).finalize_response_headers(response, None)
    assert response.get_all(b"x") == [expected]


@pytest.mark.parametrize(
    ("adds", "before", "after"),
    [
        (mutation("b"), [b"a"], [b"a", b"b"]),
        (mutation("b", "append { value: false }"), [b"a"], [b"b"]),
        (mutation("b", "append_action: ADD_IF_ABSENT"), [b"a"], [b"a"]),
        (mutation("b", "append_action: ADD_IF_ABSENT"), [], [b"b"]),
        (mutation("b", "append_action: OVERWRITE_IF_EXISTS"), [], []),
        (mutation("b", "append_action: OVERWRITE_IF_EXISTS"), [b"a"], [b"b"]),
        (mutation(""), [], []),
        (mutation("", "keep_empty_value: true"), [], [b""]),
        (mutation("100%%"), [], [b"100%"]),
        (mutation("b") + 'response_headers_to_remove: "X"', [b"a"], [b"b"]),
    ],
)
def test_append_actions(adds: str, before: list[bytes], after: list[bytes]) -> None:
    routes = one_host('routes { match { prefix: "/" } route { cluster: "c" } ' + adds + "}")
    response = HeaderMap([(b"x", value) for value in before])
    entry(routes.route(request(), None, 0)).finalize_response_headers(response, None)
    assert response.get_all(b"x") == after


@pytest.mark.parametrize(
    ("route", "words"),
    [
        ('match { prefix: "/" } route { cluster: "nope" }', "route: unknown cluster 'nope'"),
        (
            'match { prefix: "/" } route { weighted_clusters { clusters { name: "nope" weight { value: 1 } } } }',
            "route: unknown weighted cluster 'nope'",
        ),
        (
            'match { prefix: "/" } route { weighted_clusters { clusters { name: "c" weight { value: 0 } } } }',
            "Sum of weights in the weighted_cluster must be greater than 0.",
        ),
        (
            'match { prefix: "/" } route { weighted_clusters { clusters { name: "c" } } }',
            "Field 'weight' is missing in: name: \"c\"",
        ),
        (
            'match { prefix: "/" } route { weighted_clusters { clusters { weight { value: 1 } } } }',
            "At least one of name or cluster_header need to be specified",
        ),
        ('match { safe_regex { regex: "/(a" } } route { cluster: "c" }', "missing ): /(a"),
        (
            'match { prefix: "/" } route { cluster: "c" } request_headers_to_add { header { key: "Host" value: "b" } }',
            ":-prefixed or host headers may not be modified",
        ),
        (
            'match { prefix: "/" } route { cluster: "c" } response_headers_to_remove: ":status"',
            ":-prefixed or host headers may not be removed",
        ),
        (
            'match { prefix: "/" } route { cluster: "c" } request_headers_to_add '
            '{ header { key: "a" value: "b" } append { value: true } append_action: ADD_IF_ABSENT }',
            "Both append and append_action are set and it's not allowed",
        ),
        (
            'match { prefix: "/" } route { cluster: "c" prefix_rewrite: "/a" '
            'regex_rewrite { pattern { regex: "a" } } }',
            "Specify only one of prefix_rewrite, regex_rewrite or path_rewrite_policy",
        ),
        (
            'match { prefix: "/" } direct_response { status: 200 body { filename: "/nope" } }',
            "file /nope does not exist",
        ),
        (
            f'match {{ prefix: "/" }} direct_response {{ status: 200 body {{ inline_string: "{"x" * 5000}" }} }}',
            "response body size is 5000 bytes; maximum is 4096",
        ),
        (
            'match { prefix: "/" } route { cluster: "c" retry_policy { retry_back_off '
            "{ base_interval { seconds: 1 } max_interval { nanos: 500000000 } } } }",
            "retry_policy.max_interval must greater than or equal to the base_interval",
        ),
        (
            'match { prefix: "/" } route { cluster: "c" upgrade_configs { upgrade_type: "a" } '
            'upgrade_configs { upgrade_type: "A" } }',
            "Duplicate upgrade A",
        ),
    ],
)
def test_refusals(route: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        one_host(f"routes {{ {route} }}")
    assert caught.value.message == words


def test_unknown_clusters_pass_unless_validated() -> None:
    route = 'routes { match { prefix: "/" } route { cluster: "nope" } }'
    assert cluster(one_host(route, top="validate_clusters { value: false }"), request()) == "nope"


def test_policies_are_shared_and_lookup_is_flat() -> None:
    config = route_pb2.RouteConfiguration(name="r")
    host = config.virtual_hosts.add(name="v", domains=["*"])
    for number in range(5000):
        route = host.routes.add()
        route.match.prefix = f"/service/{number}/"
        route.route.cluster = "c"
        route.route.timeout.seconds = 3
    context = FactoryContext(role="worker", stats=None)  # type: ignore[arg-type]
    routes = RouteTable.compile(config, context)
    first, last = request("/service/0/x"), request("/service/4999/x")
    policies = {id(entry(routes.route(headers, None, 0)).policy) for headers in (first, last)}
    assert len(policies) == 1

    def cost(headers: HeaderMap) -> float:
        rounds = []
        for _ in range(5):
            started = time.thread_time()
            for _ in range(500):
                routes.route(headers, None, 0)
            rounds.append(time.thread_time() - started)
        return min(rounds)

    assert cost(last) < 10 * cost(first)


@pytest.mark.parametrize(
    ("limits", "header", "expected"),
    [
        ("max_stream_duration { seconds: 1 }", None, 1000),
        ("max_stream_duration { seconds: 0 }", None, None),
        ("", None, 77),
        ("grpc_timeout_header_max { seconds: 2 }", b"3S", 2000),
        ("grpc_timeout_header_max { seconds: 0 } grpc_timeout_header_offset { seconds: 1 }", b"3S", 2000),
        ("grpc_timeout_header_max { seconds: 2 } grpc_timeout_header_offset { seconds: 1 }", b"1m", 0),
        ("grpc_timeout_header_max { seconds: 2 }", None, 77),
        ("grpc_timeout_header_max { seconds: 2 }", b"soon", 77),
        ("grpc_timeout_header_max { seconds: 2 }", b"0m", 0),
    ],
)
def test_stream_duration(limits: str, header: bytes | None, expected: int | None) -> None:
    routes = one_host(
        f'routes {{ match {{ prefix: "/" }} route {{ cluster: "c" max_stream_duration {{ {limits} }} }} }}'
    )
    headers = request()
    if header is not None:
        headers.set(b"grpc-timeout", header)
    route = entry(routes.route(headers, None, 0))
    assert route.limits_duration
    assert route.policy.stream_duration_ms(headers, 77) == expected


def test_where_runtime_makes_all_weights_zero_the_next_route_counts() -> None:
    class Runtime:
        weights = {"w.c": 1}

        def get_integer(self, key: str, default: int) -> int:
            return self.weights.get(key, default)

    config = route_pb2.RouteConfiguration(name="r")
    host = config.virtual_hosts.add(name="v", domains=["*"])
    first = host.routes.add(name="first")
    first.match.prefix = "/"
    first.route.weighted_clusters.runtime_key_prefix = "w"
    first.route.weighted_clusters.clusters.add(name="c").weight.value = 1
    host.routes.add(name="second").match.prefix = "/"
    runtime = Runtime()
    context = FactoryContext(role="worker", stats=None, runtime=runtime)  # type: ignore[arg-type]
    routes = RouteTable.compile(config, context, False)

    def name() -> str:
        found = routes.route(request(), None, 0)
        assert found is not None
        return found.name

    assert name() == "first"
    runtime.weights["w.c"] = 0
    assert name() == "second"
