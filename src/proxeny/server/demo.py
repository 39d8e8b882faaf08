"""``proxeny demo``: the real proxy on free ports before embedded upstreams, and what to try with it."""

from __future__ import annotations

import http.client
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from types import FrameType

from proxeny.testing.proxy import ProxyFailed, RunningProxy
from proxeny.testing.upstream import FakeUpstream

USAGE = "usage: proxeny demo [--seconds N] [--check]\n"

CONFIG = """
admin:
  address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
static_resources:
  listeners:
  - name: web
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {access_log}
          route_config:
            name: demo
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{path: /hello}}
                direct_response: {{status: 200, body: {{inline_string: "hello from proxeny\\n"}}}}
              - match: {{prefix: /old/}}
                redirect: {{prefix_rewrite: /new/}}
              - match: {{prefix: /red/}}
                route: {{cluster: red, prefix_rewrite: /}}
              - match: {{prefix: /}}
                route: {{cluster: both}}
                response_headers_to_add: [{{header: {{key: x-served-by, value: "%UPSTREAM_CLUSTER%"}}}}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  - name: tcp
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: tcp
          cluster: red
  clusters:
  - name: both
    connect_timeout: 1s
    load_assignment:
      cluster_name: both
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {red}}}}}}}
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {blue}}}}}}}
  - name: red
    connect_timeout: 1s
    load_assignment:
      cluster_name: red
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {red}}}}}}}
"""


def main(arguments: Sequence[str]) -> int:
    """Run the demo until a signal, for ``--seconds N``, or for its own requests (``--check``); the exit status."""
    seconds: float | None = None
    check = False
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--check":
            check = True
        elif argument == "--seconds" and rest and rest[0].isascii() and rest[0].isdecimal():
            seconds = float(rest.pop(0))
        else:
            sys.stderr.write(USAGE)
            return 0 if argument in ("-h", "--help") else 1
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    with FakeUpstream(name="red") as red, FakeUpstream(name="blue") as blue:
        return _run(red, blue, stop, seconds, check)


def _run(red: FakeUpstream, blue: FakeUpstream, stop: threading.Event, seconds: float | None, check: bool) -> int:
    config = CONFIG.format(red=red.port, blue=blue.port, access_log="/dev/null" if check else "/dev/stdout")
    try:
        running = RunningProxy(config)
    except ProxyFailed as error:
        sys.stderr.write(f"{error}\n")
        return 1
    with running:
        web, tcp = running.port("web"), running.port("tcp")
        _print_what_to_try(running, web, tcp)
        if check:
            failures = _checked(running, web, tcp)
            for failure in failures:
                sys.stderr.write(f"demo check failed: {failure}\n")
            return 1 if failures or running.stop() else 0
        stop.wait(seconds)
        sys.stdout.write("stopping\n")
        return 0 if running.stop() == 0 else 1


def _print_what_to_try(running: RunningProxy, web: int, tcp: int) -> None:
    host, port = running.admin_address
    sys.stdout.write(
        f"""proxeny serves on port {web} (HTTP) and {tcp} (TCP), before two upstreams, red and blue. Try:

  curl -i http://127.0.0.1:{web}/              # round robin over red and blue
  curl -i http://127.0.0.1:{web}/red/apple     # red only, prefix rewritten
  curl -i http://127.0.0.1:{web}/hello         # answered by the proxy itself
  curl -i http://127.0.0.1:{web}/old/page      # redirected
  curl -i http://127.0.0.1:{tcp}/              # the same upstream through tcp_proxy

  curl http://{host}:{port}/stats?usedonly    # admin interface: http://{host}:{port}/help
  curl http://{host}:{port}/clusters

log: {running.folder / "proxy.log"}
config: {running.config_path}
Ctrl-C stops it.
"""
    )
    sys.stdout.flush()


def _get(port: int, path: str) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read(), {name.lower(): value for name, value in response.getheaders()}
    finally:
        connection.close()


def _checked(running: RunningProxy, web: int, tcp: int) -> list[str]:
    try:
        return _check(running, web, tcp)
    except (OSError, http.client.HTTPException) as error:
        return [f"{type(error).__name__}: {error}\n{running.log()}"]


def _check(running: RunningProxy, web: int, tcp: int) -> list[str]:
    failures = []

    def expect(what: str, seen: object, wanted: object) -> None:
        if seen != wanted:
            failures.append(f"{what}: {seen!r} instead of {wanted!r}")

    served = {_get(web, "/x")[1] for _ in range(4)}
    expect("round robin", served, {b"red: GET /x\n", b"blue: GET /x\n"})
    expect("added header", _get(web, "/x")[2].get("x-served-by"), "both")
    expect("prefix rewrite", _get(web, "/red/apple")[:2], (200, b"red: GET /apple\n"))
    expect("direct response", _get(web, "/hello")[:2], (200, b"hello from proxeny\n"))
    expect("redirect", _get(web, "/old/page")[0], 301)
    expect("tcp_proxy", _get(tcp, "/y")[1], b"red: GET /y\n")
    expect("ready", running.admin("/ready"), "LIVE\n")
    with socket.create_connection(("127.0.0.1", web), timeout=10) as raw:
        raw.sendall(b"NOT HTTP\r\n\r\n")
        expect("bad request", raw.recv(12), b"HTTP/1.1 400")
    return failures
