"""``POST /explain?url=...`` on a running proxy and ``proxeny explain request``: what they foretell is what happens."""

import http.client
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from proxeny.testing import RunningProxy
from proxeny.testing.upstream import FakeUpstream

Start = Callable[..., RunningProxy]
StartUpstream = Callable[..., FakeUpstream]
TYPE = "type.googleapis.com/envoy.extensions"

CONFIG = """
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
static_resources:
  listeners:
  - name: web
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - name: only
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": TYPE.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          use_remote_address: true
          normalize_path: true
          merge_slashes: true
          path_with_escaped_slashes_action: REJECT_REQUEST
          internal_address_config: {cidr_ranges: [{address_prefix: 10.0.0.0, prefix_len: 8}]}
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": TYPE.access_loggers.file.v3.FileAccessLog
              path: LOG
              log_format: {text_format_source: {inline_string: "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %ROUTE_NAME% %UPSTREAM_CLUSTER%\\n"}}
          http_filters:
          - name: envoy.filters.http.set_filter_state
            typed_config: {"@type": TYPE.filters.http.set_filter_state.v3.Config}
          - {name: envoy.filters.http.router, typed_config: {"@type": TYPE.filters.http.router.v3.Router}}
          route_config:
            name: routes
            internal_only_headers: [x-secret]
            virtual_hosts:
            - name: api
              domains: [api.test, "api.test:*"]
              request_headers_to_add: [{header: {key: x-host, value: api}}]
              response_headers_to_add: [{header: {key: x-served, value: api}}]
              retry_policy: {retry_on: "5xx,reset", num_retries: 3}
              routes:
              - {name: exact, match: {path: /exact}, route: {cluster: service}}
              - {name: v2, match: {prefix: /v1/, headers: [{name: x-version, string_match: {exact: "2"}}]}, route: {cluster: service, prefix_rewrite: /v2/}}
              - {name: post, match: {prefix: /v1/, headers: [{name: ":method", string_match: {exact: POST}}]}, direct_response: {status: 201}}
              - {name: query, match: {prefix: /v1/, query_parameters: [{name: q, string_match: {prefix: a}}]}, direct_response: {status: 202}}
              - {name: v1, match: {prefix: /v1/}, route: {cluster: service, timeout: 3s, host_rewrite_literal: inner.test}}
              - {name: moved, match: {prefix: /old}, redirect: {path_redirect: /new}}
              - {name: nocluster, match: {prefix: /nocluster}, route: {cluster_header: x-cluster}}
              - {name: nocluster404, match: {prefix: /no404}, route: {cluster_header: x-cluster, cluster_not_found_response_code: NOT_FOUND}}
              - {name: nohosts, match: {prefix: /nohosts}, route: {cluster: empty}}
              - {name: sick, match: {prefix: /sick}, route: {cluster: sick}}
              - {name: panic, match: {prefix: /panic}, route: {cluster: panicking}}
              - {name: weighted, match: {prefix: /weighted}, route: {weighted_clusters: {clusters: [{name: service, weight: 0}, {name: empty, weight: 10}]}}}
              - {name: regex, match: {safe_regex: {regex: "/re/[0-9]+"}}, direct_response: {status: 207, body: {inline_string: seven}}}
              - {name: never, match: {prefix: /fraction, runtime_fraction: {default_value: {numerator: 0}}}, direct_response: {status: 500}}
              - {name: grpc, match: {prefix: /grpc, grpc: {}}, direct_response: {status: 208}}
              - name: unfiltered
                match: {prefix: /unfiltered}
                direct_response: {status: 209}
                typed_per_filter_config:
                  envoy.filters.http.set_filter_state:
                    "@type": type.googleapis.com/envoy.config.route.v3.FilterConfig
                    disabled: true
            - {name: secure, domains: [secure.test], require_tls: ALL, routes: [{match: {prefix: /}, route: {cluster: service}}]}
            - {name: wild, domains: ["*.test"], routes: [{name: wild, match: {prefix: /}, direct_response: {status: 299}}]}
  clusters:
  - name: service
    load_assignment: {cluster_name: service, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: PORT}}}}]}]}
  - {name: empty}
  - name: sick
    common_lb_config: {healthy_panic_threshold: {value: 0}}
    load_assignment:
      cluster_name: sick
      endpoints: [{lb_endpoints: [{health_status: UNHEALTHY, endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: PORT}}}}]}]
  - name: panicking
    load_assignment:
      cluster_name: panicking
      endpoints: [{lb_endpoints: [{health_status: UNHEALTHY, endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: PORT}}}}]}]
"""  # noqa: E501


def config(port: int, log: Path) -> str:
    return CONFIG.replace("TYPE", TYPE).replace("PORT", str(port)).replace("LOG", str(log))


@pytest.fixture
def running(proxy: Start, upstream: StartUpstream, tmp_path: Path) -> tuple[RunningProxy, Path]:
    log = tmp_path / "access.log"
    return proxy(config(upstream().port, log), ("--file-flush-interval-msec", "5")), log


def explain(one: RunningProxy, url: str, method: str = "GET", headers: tuple[str, ...] = (), **more: str) -> Any:
    parameters = [("url", url), ("method", method), ("listener", "web"), ("format", "json"), *more.items()]
    parameters += [("header", text) for text in headers]
    return json.loads(one.admin("/explain?" + "&".join([f"{key}={quote(value)}" for key, value in parameters]), "POST"))


def ask(port: int, url: str, method: str, headers: tuple[str, ...]) -> http.client.HTTPResponse:
    host, slash, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.putrequest(method, slash + path, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", host)
    for text in headers:
        name, _, value = text.partition(": ")
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


A = "http://api.test"
CASES: list[tuple[str, str, tuple[str, ...]]] = [
    (f"{A}/exact", "GET", ()),
    (f"{A}/exact?x=y", "GET", ()),
    (f"{A}/exact/", "GET", ()),
    (f"{A}/v1/users", "GET", ()),
    (f"{A}/v1/users", "GET", ("x-version: 2",)),
    (f"{A}/v1/users", "GET", ("x-version: 22",)),
    (f"{A}/v1/users", "POST", ("content-length: 0",)),
    (f"{A}/v1/users?q=abc", "GET", ()),
    (f"{A}/v1/users?q=bc", "GET", ()),
    (f"{A}/v1/../v1//users", "GET", ()),
    (f"{A}/v1%2fusers", "GET", ()),
    (f"{A}/v1/%00", "GET", ()),
    (f"{A}/old/place?x=1", "GET", ()),
    (f"{A}/nocluster", "GET", ()),
    (f"{A}/nocluster", "GET", ("x-cluster: nowhere",)),
    (f"{A}/nocluster", "GET", ("x-cluster: service",)),
    (f"{A}/no404", "GET", ("x-cluster: nowhere",)),
    (f"{A}/nohosts", "GET", ()),
    (f"{A}/sick", "GET", ()),
    (f"{A}/panic", "GET", ()),
    (f"{A}/weighted", "GET", ()),
    (f"{A}/re/17", "GET", ()),
    (f"{A}/re/x", "GET", ()),
    (f"{A}/fraction", "GET", ()),
    (f"{A}/grpc", "GET", ()),
    (f"{A}/grpc", "GET", ("content-type: application/grpc",)),
    (f"{A}/unfiltered", "GET", ()),
    (f"{A}/exact", "GET", ("upgrade: websocket", "connection: upgrade")),
    (f"{A}:8080/exact", "GET", ()),
    ("http://API.test/exact", "GET", ()),
    ("http://other.test/x", "GET", ()),
    ("http://secure.test/x?y", "GET", ()),
    ("http://elsewhere.example/x", "GET", ()),
    (f"{A}/exact", "GET", ("x-envoy-upstream-rq-timeout-ms: 7", "x-secret: s", "te: gzip", "x-forwarded-for: 1.2.3.4")),
    (f"{A}/exact", "HEAD", ()),
    (f"{A}/re/17", "HEAD", ()),
]


@pytest.mark.parametrize(("url", "method", "headers"), CASES, ids=lambda value: str(value)[:40])
def test_the_running_proxy_does_what_it_foretells(
    running: tuple[RunningProxy, Path], url: str, method: str, headers: tuple[str, ...]
) -> None:
    one, log = running
    value = explain(one, url, method, headers)
    before = one.stat("http.web.downstream_rq_total")
    response = ask(one.port("web"), url, method, headers)
    foretold = value["answer"]
    one.wait_for_stat("http.web.downstream_rq_completed", before + 1)
    line = _line(log)
    if foretold["kind"] == "forwarded":
        assert line == f"{response.status} - via_upstream {foretold['route_name'] or '-'} {foretold['cluster']}"
        return
    assert response.status == foretold["code"]
    assert response.getheader("location") == foretold["location"]
    assert line == " ".join(
        [
            str(foretold["code"]),
            foretold["response_flags"],
            foretold["response_code_details"],
            foretold["route_name"] or "-",
            foretold["cluster"] or "-",
        ]
    )


def _line(log: Path) -> str:
    """The only line, once it is written."""
    from time import monotonic, sleep

    deadline = monotonic() + 10
    while monotonic() < deadline:
        if log.exists() and (text := log.read_text()).endswith("\n"):
            return text.strip()
        sleep(0.005)
    raise AssertionError("no access-log line")


def test_nothing_is_counted_and_nobody_is_asked(running: tuple[RunningProxy, Path]) -> None:
    one, log = running
    for _ in range(3):
        assert explain(one, f"{A}/exact")["answer"]["kind"] == "forwarded"
        assert explain(one, f"{A}/sick")["answer"]["code"] == 503
    for name in ("http.web.downstream_rq_total", "cluster.service.upstream_rq_total", "http.web.no_route"):
        assert one.stat(name) == 0
    assert not log.exists() or log.read_text() == ""


def test_what_it_tells_of_hosts_and_headers(running: tuple[RunningProxy, Path]) -> None:
    one, _ = running
    value = explain(one, f"{A}/panic")
    assert value["cluster"]["priorities"] == [
        {"priority": 0, "hosts": 1, "healthy": 0, "degraded": 0, "load": 100, "panic": True}
    ]
    assert value["cluster"]["hosts"][0]["health"] == "/failed_eds_health"
    value = explain(one, f"{A}/v1/users", headers=("x-secret: s",))
    assert {"name": "x-secret", "how": "removed", "before": "s", "after": ""}.items() <= value["sanitized"][0].items()
    assert value["router"]["timeout_ms"] == 3000
    assert value["router"]["retries"]["retries"] == 3
    assert [one["why_not"] for one in value["routes"]["asked"]] == [
        "path is '/v1/users', not '/exact'",
        "header x-version is absent, not '2'",
        "header :method is 'GET', not 'POST'",
        "query parameter q is absent, not prefix 'a'",
        None,
    ]
    mutated = {change["name"]: change["why"] for change in value["mutated"]}
    assert mutated[":authority"] == "host_rewrite_literal"
    assert mutated["x-host"] == "request_headers_to_add of virtual host 'api'"
    off = explain(one, f"{A}/unfiltered")["http_filters"]
    assert [one["runs"] for one in off] == [False, True]


def command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "proxeny", "explain", *arguments],
        capture_output=True, text=True, timeout=60, cwd=cwd, check=False,
    )  # fmt: skip


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(config(9, tmp_path / "log"))
    done = command("request", "--url", f"{A}/v1/users", "-H", "x-version: 2", "-c", "one.yaml", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "no listener has port 80: 'web' is taken, the only one for HTTP" in done.stdout
    assert "virtual host 'api' of 'routes': domain api.test" in done.stdout
    assert "not 'wild': it matches too, but api.test is more specific" in done.stdout
    assert "route 'v2' (1): prefix '/v1/', header x-version" in done.stdout
    assert "not 'exact' (0): path is '/v1/users', not '/exact'" in done.stdout
    assert ":path becomes '/v2/users' (prefix_rewrite)" in done.stdout
    assert "answer: forwarded to cluster 'service', for example to 127.0.0.1:9" in done.stdout
    done = command("request", "--json", "--url", f"{A}/v1/users", "-X", "POST", "-c", "one.yaml", cwd=tmp_path)
    assert json.loads(done.stdout)["answer"]["text"] == "201 to http://api.test/v1/users (direct_response)"
    done = command("request", "--url", f"{A}/", "--src", "10.1.1.1", "--body-size", "5", "-c", "one.yaml", cwd=tmp_path)
    assert "request POST http://api.test/ from 10.1.1.1:40000" in done.stdout
    assert "x-envoy-internal is added: 'true' (the client's address is an internal one)" in done.stdout
    assert "answer: 404 (NR, route_not_found)" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--url", "ftp://x"), "url: 'ftp://x' is no http:// or https:// URL"),
        ((), "url: '' is no http:// or https:// URL"),
        (("--url", "http:///x"), "names no host"),
        (("--url", "http://a/ b"), "blanks and control characters"),
        (("--url", "http://a/", "-H", "x"), "header: 'x' is not 'name: value'"),
        (("--url", "http://a/", "-H"), "-H: a value is missing"),
        (("--url", "http://a/", "--port", "99999"), "port: '99999' is no number up to 65535"),
        (("--url", "http://a/", "--src", "nobody"), "src: 'nobody' is not IP or IP:PORT"),
    ],
)
def test_wrong_command_lines(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    done = command("request", "-c", "x.yaml", *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert words in done.stderr


MATCHED = """
static_resources:
  listeners:
  - name: web
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": TYPE.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          http_filters:
          - {name: envoy.filters.http.router, typed_config: {"@type": TYPE.filters.http.router.v3.Router}}
          scoped_routes:
            name: scopes
            scope_key_builder: {fragments: [{header_value_extractor: {name: x-tenant, index: 0}}]}
            scoped_route_configurations_list:
              scoped_route_configurations:
              - name: one
                key: {fragments: [{string_key: one}]}
                route_configuration:
                  name: of_one
                  virtual_hosts:
                  - name: tree
                    domains: ["*"]
                    matcher:
                      matcher_tree:
                        input:
                          name: path
                          typed_config:
                            "@type": type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput
                            header_name: ":path"
                        prefix_match_map:
                          map:
                            "/a":
                              action:
                                name: route
                                typed_config:
                                  "@type": type.googleapis.com/envoy.config.route.v3.Route
                                  name: under_a
                                  match: {prefix: /a/}
                                  direct_response: {status: 204}
              - name: two
                key: {fragments: [{string_key: two}]}
                route_configuration: {name: of_two, virtual_hosts: [{name: none, domains: [b.test]}]}
"""


def test_scopes_and_trees(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(MATCHED.replace("TYPE", TYPE))

    def told(path: str, *more: str) -> str:
        done = command("request", "--url", f"http://a.test{path}", "-c", "one.yaml", *more, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    text = told("/a/x", "-H", "x-tenant: one")
    assert "virtual host 'tree' of 'of_one': domain *" in text
    assert "it fits '/a'" in text
    assert "route 'under_a' (0): a route of the matcher" in text
    assert "answer: 204 (direct_response)" in text
    text = told("/ax", "-H", "x-tenant: one")
    assert "not 'under_a' (0): its path does not match" in text
    assert "no virtual host of 'of_two': no domain matches" in told("/", "-H", "x-tenant: two")
    text = told("/")
    assert "no route table of 'scopes'" in text
    assert "no scope has the key of this request" in text
