"""Equivalent configurations for the four proxies, one worker each, and for the nginx that serves as upstream.

Every builder takes a `Shape` (what the scenario needs) and gives a command. Envoy and Proxeny get the same YAML, apart
from the Python filter, which only Proxeny has.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import BenchmarkError, Peer
from proxeny.testing.certificates import Authority

ROOT = Path(__file__).resolve().parents[1]
TYPES = "type.googleapis.com/envoy.extensions"
SMALL_BODY = "hello world\n"


@dataclass(frozen=True, slots=True)
class Shape:
    """What a scenario asks of a proxy's configuration."""

    mode: str = "http"
    """http, tcp or echo."""
    workers: int = 1
    balance: str = "reuse_port"
    """How new connections get to the workers: reuse_port, shared (one socket) or exact."""
    routes: int = 0
    """That many prefix routes /r0/ ... in front; the last one is hit."""
    clusters: int = 1
    access_log: bool = False
    python_filter: str = ""
    """A class of benchmarks.filters, for Proxeny."""
    retries: bool = False
    """Retries of failed requests, of which there are none."""
    tls: bool = False
    """Clients come over TLS 1.3."""
    http2: bool = False
    """Clients speak HTTP/2."""
    upstream: str = "http1"
    """http1, http2 or grpc: the two latter over HTTP/2 without TLS."""


def envoy_yaml(shape: Shape, port: int, upstream: int, folder: Path, *, python: bool) -> str:
    """A bootstrap for Envoy and Proxeny."""
    filters = _filters(shape, folder, python=python)
    clusters = "".join(_cluster(number, upstream, shape) for number in range(shape.clusters))
    return f"""
admin:
  address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
static_resources:
  listeners:
  - name: bench
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
{_BALANCE[shape.balance]}    filter_chains:
    - filters:
{filters}{_tls_socket(shape, folder) if shape.tls else ""}
  clusters:
{clusters}"""


_BALANCE = {
    "reuse_port": "",
    "shared": "    enable_reuse_port: false\n",
    "exact": "    connection_balance_config: {exact_balance: {}}\n",
}


def _filters(shape: Shape, folder: Path, *, python: bool) -> str:
    if shape.mode == "echo":
        return f"""      - name: envoy.filters.network.echo
        typed_config: {{"@type": {TYPES}.filters.network.echo.v3.Echo}}"""
    return _tcp_filter() if shape.mode == "tcp" else _http_filter(shape, folder, python=python)


def _tls_socket(shape: Shape, folder: Path) -> str:
    protocols = "[h2]" if shape.http2 else "['http/1.1']"
    return f"""
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": {TYPES}.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: {protocols}
            tls_params: {{tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}}
            tls_certificates:
            - certificate_chain: {{filename: "{folder}/bench.crt"}}
              private_key: {{filename: "{folder}/bench.key"}}"""


def write_certificate(folder: Path) -> None:
    """An authority and an ECDSA P-256 certificate: bench.crt, .key, .ca, and .pem for HAProxy."""
    files = Authority("bench root").issue("bench", "DNS:bench").write(folder, "bench")
    texts = [Path(name).read_text() for name in (files.certificate_chain, files.private_key)]
    (folder / "bench.pem").write_text("".join(texts))


_HTTP2_CLUSTER = f"""    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": {TYPES}.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{{{http2_protocol_options: {{{{}}}}}}}}
""".replace("{{", "{").replace("}}", "}")


def _cluster(number: int, upstream: int, shape: Shape) -> str:
    return f"""  - name: c{number}
    type: STATIC
{"" if shape.upstream == "http1" else _HTTP2_CLUSTER}    connect_timeout: 5s
    circuit_breakers: {{thresholds: [{{max_connections: 10000, max_pending_requests: 10000, max_requests: 10000}}]}}
    load_assignment:
      cluster_name: c{number}
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {upstream}}}}}}}}}]}}]
"""  # noqa: E501


def _tcp_filter() -> str:
    return f"""      - name: envoy.filters.network.tcp_proxy
        typed_config: {{"@type": {TYPES}.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: bench, cluster: c0}}"""


def _http_filter(shape: Shape, folder: Path, *, python: bool) -> str:
    routes = "".join(
        f"              - {{match: {{prefix: /r{number}/}}, route: {{cluster: c{number % shape.clusters}}}}}\n"
        for number in range(shape.routes)
    )
    log = ""
    if shape.access_log:
        path = folder / ("proxeny.access" if python else "envoy.access")
        log = f"""          access_log:
          - name: envoy.access_loggers.file
            typed_config: {{"@type": {TYPES}.access_loggers.file.v3.FileAccessLog, path: "{path}"}}
"""
    user = _python_filter(shape.python_filter) if shape.python_filter and python else ""
    retries = ", retry_policy: {retry_on: '5xx,reset,connect-failure', num_retries: 2}" if shape.retries else ""
    return f"""      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
{"          codec_type: HTTP2" + chr(10) if shape.http2 else ""}{log}          http_filters:
{user}          - name: envoy.filters.http.router
            typed_config: {{"@type": {TYPES}.filters.http.router.v3.Router}}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
{routes}              - {{match: {{prefix: /}}, route: {{cluster: c0{retries}}}}}"""


def _python_filter(name: str) -> str:
    return f"""          - name: proxeny.filters.http.python
            typed_config:
              "@type": type.googleapis.com/proxeny.filters.http.python.v3.Python
              filter: "benchmarks.filters:{name}"
              python_path: ["{ROOT}"]
"""


def nginx_conf(shape: Shape, port: int, upstream: int, folder: Path) -> str:
    """nginx as a proxy: one worker, keep-alive to the upstream, log off unless the scenario wants it."""
    head = f"""{_nginx_head(folder, "nginx", stream=shape.mode == "tcp")}
"""
    if shape.mode == "tcp":
        return head + f"stream {{ server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{upstream}; }} }}\n"
    upstreams = "".join(
        f"upstream c{number} {{ server 127.0.0.1:{upstream}; keepalive 128; }}\n" for number in range(shape.clusters)
    )
    routes = "".join(
        f"location /r{number}/ {{ proxy_pass http://c{number % shape.clusters}; }}\n" for number in range(shape.routes)
    )
    log = f"access_log {folder}/nginx.access combined buffer=64k flush=1s;" if shape.access_log else "access_log off;"
    retries = "proxy_next_upstream error timeout http_502 http_503 http_504; " if shape.retries else ""
    return f"""{head}http {{
{log}
{_nginx_temporary(folder, "nginx")}
keepalive_requests 100000000;
client_max_body_size 8m;
proxy_http_version 1.1;
proxy_set_header Connection "";
{upstreams}
server {{
listen 127.0.0.1:{port} backlog=4096{" ssl" if shape.tls else ""}{" http2" if shape.http2 else ""};
{_nginx_tls(folder) if shape.tls else ""}
{routes}
location / {{ proxy_pass http://c0; {retries}}}
}} }}
"""


def _nginx_tls(folder: Path) -> str:
    return (
        f"ssl_certificate {folder}/bench.crt; ssl_certificate_key {folder}/bench.key; ssl_protocols TLSv1.3; "
        "ssl_session_tickets on;"
    )


def upstream_conf(port: int, folder: Path, *, http2: bool = False) -> str:
    """nginx as the upstream: 12 bytes from memory, 10 KB and 1 MB from files."""
    root = folder / "www"
    root.mkdir(exist_ok=True)
    (root / "10k").write_bytes(b"x" * 10240)
    (root / "1m").write_bytes(b"x" * 1048576)
    return f"""{_nginx_head(folder, "upstream", stream=False)}
http {{
access_log off;
{_nginx_temporary(folder, "upstream")}
keepalive_requests 100000000;
keepalive_timeout 600s;
client_max_body_size 8m;
client_body_buffer_size 2m;
sendfile on;
tcp_nopush on;
open_file_cache max=16;
server {{
listen 127.0.0.1:{port} backlog=4096{" http2" if http2 else ""};
root {root};
location / {{ return 200 "{SMALL_BODY[:-1]}\\n"; }}
location = /10k {{ }}
location = /1m {{ }}
}} }}
"""


def _nginx_head(folder: Path, name: str, *, stream: bool) -> str:
    module = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n" if stream else ""
    return f"""{module}daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/{name}.pid;
error_log {folder}/{name}.error crit;
events {{ worker_connections 16384; }}"""


def _nginx_temporary(folder: Path, name: str) -> str:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return "\n".join(f"{kind}_temp_path {folder}/{name}_{kind};" for kind in kinds)


def haproxy_cfg(shape: Shape, port: int, upstream: int, folder: Path) -> str:
    """HAProxy: one thread, connections to the upstream reused; routes through a prefix map."""
    log = "log stdout format raw local0\n" if shape.access_log else ""
    option = "option httplog\nlog global\n" if shape.access_log else ""
    use = ""
    if shape.routes:
        table = folder / "haproxy.map"
        table.write_text("".join(f"/r{number}/ c{number % shape.clusters}\n" for number in range(shape.routes)))
        use = f"use_backend %[path,map_beg({table},c0)]\n"
    backends = "".join(
        f"backend c{number}\nserver up 127.0.0.1:{upstream} maxconn 8000\n" for number in range(shape.clusters)
    )
    reuse = "http-reuse always\n" if shape.mode == "http" else ""
    retries = "retries 2\nretry-on all-retryable-errors\n" if shape.retries else ""
    return f"""global
maxconn 8000
nbthread 1
{log}defaults
mode {shape.mode}
timeout connect 5s
timeout client 600s
timeout server 600s
{reuse}{retries}{option}
frontend bench
bind 127.0.0.1:{port} backlog 4096{_haproxy_bind(shape, folder)}
{use}default_backend c0
{backends}
"""


def _haproxy_bind(shape: Shape, folder: Path) -> str:
    if shape.tls:
        return f" ssl crt {folder}/bench.pem ssl-min-ver TLSv1.3 alpn {'h2' if shape.http2 else 'http/1.1'}"
    return " proto h2" if shape.http2 else ""


def make_peer(name: str, shape: Shape, port: int, upstream: int, folder: Path) -> Peer:
    """Write the configuration and give the peer, not yet started."""
    if name in ("envoy", "proxeny"):
        path = folder / f"{name}.yaml"
        path.write_text(envoy_yaml(shape, port, upstream, folder, python=name == "proxeny"))
        binary = _envoy() if name == "envoy" else Path(sys.executable).parent / "proxeny"
        options = ["--concurrency", str(shape.workers), "--disable-hot-restart", "-l", "error"]
        options += ["--admin-address-path", str(folder / f"{name}.admin")]
        return Peer(name, [str(binary), "-c", str(path), *options], port, folder)
    path = folder / f"{name}.conf"
    if name == "haproxy":
        path.write_text(haproxy_cfg(shape, port, upstream, folder))
        return Peer(name, ["haproxy", "-db", "-f", str(path)], port, folder)
    path.write_text(nginx_conf(shape, port, upstream, folder))
    return Peer(name, ["nginx", "-p", str(folder), "-c", str(path)], port, folder)


def make_upstream(port: int, folder: Path, kind: str = "http1") -> Peer:
    """nginx, or for grpc an nghttpd that sends every request's body back, with the trailers of a success."""
    if kind == "grpc":
        options = ["--no-tls", "--echo-upload", "--trailer", "grpc-status: 0", "--address", "127.0.0.1"]
        return Peer("upstream", ["nghttpd", *options, "-d", str(folder), str(port)], port, folder)
    path = folder / "upstream.conf"
    path.write_text(upstream_conf(port, folder, http2=kind == "http2"))
    return Peer("upstream", ["nginx", "-p", str(folder), "-c", str(path)], port, folder)


def _envoy() -> Path:
    found = sorted((ROOT / ".venv-envoy").glob("lib/python*/site-packages/envoy/_bin/envoy"))
    if not found:
        raise BenchmarkError("no Envoy binary: run tools/setup-peers.sh")
    return found[-1]
