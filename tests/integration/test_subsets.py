"""Subsets and sessions of two workers while a file says where the hosts are."""

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.integration.configs import ADMIN

from proxeny.testing import FakeUpstream, RunningProxy

Start = Callable[..., RunningProxy]
StartUpstream = Callable[..., FakeUpstream]

CONFIG = """
node: {id: node, cluster: mesh}
static_resources:
  listeners:
  - name: web
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    connection_balance_config: {exact_balance: {}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          http_filters:
          - name: envoy.filters.http.stateful_session
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.stateful_session.v3.StatefulSession
              session_state:
                name: envoy.http.stateful_session.cookie
                typed_config:
                  "@type": type.googleapis.com/envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState
                  cookie: {name: session, path: /session}
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - {match: {prefix: /prod}, route: {cluster: hosts, metadata_match: {filter_metadata: {envoy.lb: {stage: prod}}}}}
              - {match: {prefix: /}, route: {cluster: hosts}}
  clusters:
  - name: hosts
    type: EDS
    lb_policy: RING_HASH
    eds_cluster_config: {eds_config: {path_config_source: {path: PATH}}}
    lb_subset_config: {fallback_policy: ANY_ENDPOINT, subset_selectors: [{keys: [stage], fallback_policy: NO_FALLBACK}]}
"""  # noqa: E501 - YAML


class Hosts:
    """The file that names them."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "eds.yaml"

    def are(self, **stages: tuple[FakeUpstream, str]) -> None:
        """By name, each host and its stage."""
        endpoints = "".join(
            f"    - {{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {host.port}}}}}}}, "
            f"metadata: {{filter_metadata: {{envoy.lb: {{stage: {stage}}}}}}}}}\n"
            for host, stage in stages.values()
        )
        text = (
            'resources:\n- "@type": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment\n'
            f"  cluster_name: hosts\n  endpoints:\n  - lb_endpoints:\n{endpoints}"
        )
        fresh = self.path.with_suffix(".new.yaml")
        fresh.write_text(text)
        os.rename(fresh, self.path)


def ask(running: RunningProxy, path: str, cookie: str = "") -> tuple[int, str, str]:
    """On a connection of its own: status, who answered, the cookie that was set."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port("web"), timeout=20)
    try:
        connection.request("GET", path, headers={"cookie": cookie} if cookie else {})
        response = connection.getresponse()
        body = response.read().decode()
        return response.status, body.partition(":")[0], (response.getheader("set-cookie") or "").partition(";")[0]
    finally:
        connection.close()


def both(running: RunningProxy, path: str, cookie: str = "") -> set[tuple[int, str]]:
    """What both workers answer: connections go to them in turn."""
    return {ask(running, path, cookie)[:2] for _ in range(8)}


def wait_for(running: RunningProxy, path: str, expected: set[tuple[int, str]], cookie: str = "") -> None:
    deadline = time.monotonic() + 20
    while (found := both(running, path, cookie)) != expected:
        assert time.monotonic() < deadline, f"{path}: {found} never became {expected}"
        time.sleep(0.005)


def test_subsets_and_sessions_follow_the_hosts(proxy: Start, upstream: StartUpstream, tmp_path: Path) -> None:
    one, two = upstream(name="one"), upstream(name="two")
    hosts = Hosts(tmp_path)
    hosts.are(one=(one, "prod"), two=(two, "dev"))
    running = proxy(ADMIN + CONFIG.replace("PATH", str(hosts.path)), concurrency=2)
    assert both(running, "/prod") == {(200, "one")}
    # The session's host is asked for, whatever its subset.
    _, first, cookie = ask(running, "/session")
    assert both(running, "/session", cookie) == {(200, first)}
    # Nothing but metadata changes.
    hosts.are(one=(one, "dev"), two=(two, "prod"))
    wait_for(running, "/prod", {(200, "two")})
    assert both(running, "/session", cookie) == {(200, first)}
    # The session's host goes, and with it perhaps the subset.
    other, name = (two, "two") if first == "one" else (one, "one")
    hosts.are(other=(other, "dev"))
    wait_for(running, "/session", {(200, name)}, cookie)
    wait_for(running, "/prod", {(503, "no healthy upstream")})
    assert running.stat("cluster.hosts.lb_subsets_active") == 3
    assert running.stat("cluster.hosts.lb_subsets_removed") == 3


def test_explanations_know_what_a_request_asks_for(upstream: StartUpstream, tmp_path: Path) -> None:
    one = upstream(name="one")
    address = f"{{socket_address: {{address: 127.0.0.1, port_value: {one.port}}}}}"
    metadata = "{filter_metadata: {envoy.lb: {stage: STAGE}}}"
    endpoint = f"{{endpoint: {{address: {address}}}, metadata: {metadata}}}"
    hosts = f"{{cluster_name: hosts, endpoints: [{{lb_endpoints: [{endpoint}]}}]}}"
    static = CONFIG.replace("type: EDS", "type: STATIC")
    for stage, words in (("prod", f"127.0.0.1:{one.port}"), ("dev", "no host")):
        lines = [
            f"    load_assignment: {hosts.replace('STAGE', stage)}" if "eds_cluster_config" in line else line
            for line in (ADMIN + static).splitlines()
        ]
        path = tmp_path / f"{stage}.yaml"
        path.write_text("\n".join(lines))
        command = [sys.executable, "-m", "proxeny", "explain", "request", "-c", str(path), "--url", "http://a/prod"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert f"subset by what the request asks for: {words}" in done.stdout, done.stdout + done.stderr
