"""Real clients of HTTP/2: curl, nghttp and h2load, with prior knowledge."""

import re
import subprocess
from pathlib import Path

from tests.integration.configs import http
from tests.integration.test_http import Start, StartUpstream, wait_until
from tests.peers import peer

from proxeny.testing.certificates import Authority


def run(name: str, *arguments: str) -> str:
    done = subprocess.run([peer(name), *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_curl(proxy: Start, upstream: StartUpstream, tmp_path: Path) -> None:
    running = proxy(http(upstream(name="service").port))
    url = f"http://127.0.0.1:{running.port('web')}"
    shown = run("curl", "-s", "--http2-prior-knowledge", "-w", " %{http_version} %{http_code}", f"{url}/a")
    assert shown == "service: GET /a\n 2 200"
    body = tmp_path / "body"
    body.write_bytes(bytes(range(256)) * 20000)
    shown = run("curl", "-s", "--http2-prior-knowledge", "-T", str(body), "-w", "%{http_code}", f"{url}/b")
    assert shown.endswith("200")
    # An upgrade to h2c is not taken, as in Envoy: the answer is HTTP/1's.
    shown = run("curl", "-s", "--http2", "-w", " %{http_version}", f"{url}/c")
    assert shown == "service: GET /c\n 1.1"
    assert running.stat("http.web.downstream_cx_http2_total") == 2
    assert running.stat("http.web.downstream_rq_http2_total") == 2
    wait_until(lambda: running.stat("http2.streams_active") == 0, "streams are over")


def test_nghttp(proxy: Start, upstream: StartUpstream) -> None:
    running = proxy(http(upstream(name="service").port))
    url = f"http://127.0.0.1:{running.port('web')}"
    shown = run("nghttp", "-nv", "-m", "3", f"{url}/a", f"{url}/b")
    assert len(re.findall(r":status: 200", shown)) == 6


def test_h2load(proxy: Start, upstream: StartUpstream) -> None:
    running = proxy(http(upstream().port), concurrency=2)
    shown = run("h2load", "-c", "5", "-m", "20", "-n", "2000", f"http://127.0.0.1:{running.port('web')}/")
    assert "2000 succeeded, 0 failed" in shown
    assert running.stat("http.web.downstream_rq_2xx") == 2000
    wait_until(lambda: running.stat("http.web.downstream_cx_active") == 0, "connections are closed")
    assert running.stat("http2.streams_active") == running.stat("http2.pending_send_bytes") == 0


def test_alpn(proxy: Start, upstream: StartUpstream, tmp_path: Path) -> None:
    files = Authority("root").issue("localhost").write(tmp_path)
    tls = f"""
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_certificates:
            - certificate_chain: {{filename: {files.certificate_chain}}}
              private_key: {{filename: {files.private_key}}}
  clusters:"""
    running = proxy(http(upstream(name="service").port).replace("\n  clusters:", tls))
    url = f"https://127.0.0.1:{running.port('web')}"
    for option, version in (("--http2", "2"), ("--http1.1", "1.1"), ("--no-alpn", "1.1")):
        shown = run("curl", "-sk", option, "-w", " %{http_version}", f"{url}/a")
        assert shown == f"service: GET /a\n {version}"
    assert running.stat("http.web.downstream_cx_http2_total") == 1
