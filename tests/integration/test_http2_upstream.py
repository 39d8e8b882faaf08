"""A real HTTP/2 server as upstream (nginx), in the clear and with TLS, from clients of HTTP/1 and HTTP/2 (curl)."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.configs import ADMIN
from tests.peers import peer

from proxeny.testing import RunningProxy
from proxeny.testing.certificates import Authority

Start = Callable[..., RunningProxy]

NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/bodies; proxy_temp_path {folder}/proxied; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  client_max_body_size 100m;
  server {{
    listen unix:{folder}/plain.sock http2;
    listen unix:{folder}/h2.sock ssl http2;
    listen unix:{folder}/h1.sock ssl;
    ssl_certificate {chain}; ssl_certificate_key {key};
    root {folder}/files;
    location /echo {{ return 200 "$server_protocol $ssl_alpn_protocol $request_method\\n"; }}
    location /files/ {{ alias {folder}/files/; dav_methods PUT; }}
  }}
}}
"""
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
TLS = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
EXPLICIT = "explicit_http_config: {http2_protocol_options: {}}"
AS_DOWNSTREAM = "use_downstream_protocol_config: {http2_protocol_options: {}}"


def cluster(folder: Path, name: str, socket: str, options: str) -> str:
    tls = socket != "plain"
    context = f'{{name: tls, typed_config: {{"@type": type.googleapis.com/{TLS}, sni: a.test}}}}'
    return f"""
  - name: {name}
    typed_extension_protocol_options: {{{HTTP_OPTIONS}: {{"@type": type.googleapis.com/{HTTP_OPTIONS}, {options}}}}}
    {"transport_socket: " + context if tls else ""}
    load_assignment:
      cluster_name: {name}
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{pipe: {{path: "{folder}/{socket}.sock"}}}}}}}}]}}]
"""


def config(folder: Path) -> str:
    clusters = "".join(
        [
            cluster(folder, "plain", "plain", EXPLICIT),
            cluster(folder, "tls", "h2", EXPLICIT),
            cluster(folder, "auto_h2", "h2", "auto_config: {}"),
            cluster(folder, "auto_h1", "h1", "auto_config: {}"),
            cluster(folder, "as_downstream", "h2", AS_DOWNSTREAM),
        ]
    )
    return (
        ADMIN
        + f"""
static_resources:
  listeners:
  - name: web
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          route_config:
            virtual_hosts:
            - {{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster_header: x-cluster}}}}]}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:{clusters}"""
    )


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder with its sockets."""
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "files").mkdir()
    (folder / "files" / "large").write_bytes(bytes(range(256)) * 20_000)
    files = Authority("root").issue("server", "DNS:a.test").write(folder)
    text = "user root;" if os.geteuid() == 0 else ""
    text += NGINX.format(folder=folder, chain=files.certificate_chain, key=files.private_key)
    (folder / "nginx.conf").write_text(text)
    process = subprocess.Popen([peer("nginx"), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")])
    try:
        # Written once all sockets listen.
        until(lambda: (folder / "nginx.pid").exists())
        yield folder
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def running(nginx: Path) -> Iterator[RunningProxy]:
    proxy = RunningProxy(config(nginx), ())
    yield proxy
    proxy.close()


def curl(proxy: RunningProxy, name: str, path: str, *args: str) -> bytes:
    url = f"http://127.0.0.1:{proxy.port('web')}{path}"
    return subprocess.run(
        [
            "curl",
            "-sS",
            "-H",
            f"x-cluster: {name}",
            *args,
            url,
        ],
        check=True,
        capture_output=True,
        timeout=60,
    ).stdout


CLIENTS = {"http1": "--http1.1", "http2": "--http2-prior-knowledge"}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("name", "spoken"),
    [
        ("plain", b"HTTP/2.0  GET"),
        ("tls", b"HTTP/2.0 h2 GET"),
        ("auto_h2", b"HTTP/2.0 h2 GET"),
        ("auto_h1", b"HTTP/1.1 http/1.1 GET"),
    ],
)
def test_what_is_spoken(running: RunningProxy, client: str, name: str, spoken: bytes) -> None:
    assert curl(running, name, "/echo", CLIENTS[client]).strip() == spoken


def test_what_the_client_speaks(running: RunningProxy) -> None:
    assert curl(running, "as_downstream", "/echo", "--http1.1").strip() == b"HTTP/1.1 http/1.1 GET"
    assert curl(running, "as_downstream", "/echo", "--http2-prior-knowledge").strip() == b"HTTP/2.0 h2 GET"


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", ["plain", "auto_h2", "auto_h1"])
def test_large_bodies(running: RunningProxy, nginx: Path, client: str, name: str) -> None:
    expected = (nginx / "files" / "large").read_bytes()
    assert curl(running, name, "/files/large", CLIENTS[client]) == expected
    curl(running, name, f"/files/{name}_{client}", CLIENTS[client], "-T", f"{nginx}/files/large", "-H", "Expect:")
    assert (nginx / "files" / f"{name}_{client}").read_bytes() == expected


def test_many_at_a_time_share_a_connection(running: RunningProxy) -> None:
    before = running.stat("cluster.plain.upstream_cx_total")
    url = f"http://127.0.0.1:{running.port('web')}/echo"
    load = [peer("h2load"), "-n", "500", "-c", "5", "-m", "10", "-H", "x-cluster: plain", url]
    result = subprocess.run(load, check=True, capture_output=True, timeout=60).stdout
    assert b"500 succeeded" in result
    assert running.stat("cluster.plain.upstream_cx_total") == max(before, 1)
