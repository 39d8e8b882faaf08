"""TLS to upstreams: what Envoy and Proxeny offer, which sessions they resume, what they count."""

from __future__ import annotations

import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.differential.proxies import CONFIGS, ENVOY, PROXENY, Proxy
from tests.differential.tls_upstream import TlsUpstream

from proxeny.testing.certificates import Authority

ROOT = Authority("root")
SERVER = ROOT.issue("server", "DNS:server.test")
NO_SIGNATURES = ROOT.issue("rsa", "DNS:server.test", key="rsa2048", usages=("key_encipherment",))
DEADLINE_S = 15.0
TLS_1_3 = "tls_params: {tls_maximum_protocol_version: TLSv1_3}"

CLUSTERS = {
    "plain": ("new", "common_tls_context: {}"),
    "new": ("new", f"common_tls_context: {{{TLS_1_3}}}"),
    "old": ("old", f"common_tls_context: {{{TLS_1_3}}}"),
    "named": ("new", f"sni: server.test, common_tls_context: {{{TLS_1_3}}}"),
    "alpn": ("new", f'common_tls_context: {{{TLS_1_3}, alpn_protocols: ["custom", "http/1.1"]}}'),
    "unknown_alpn": ("new", f'common_tls_context: {{{TLS_1_3}, alpn_protocols: ["unknown"]}}'),
    "no_sessions": ("new", f"max_session_keys: 0, common_tls_context: {{{TLS_1_3}}}"),
    "some_sessions": ("new", f"max_session_keys: 3, common_tls_context: {{{TLS_1_3}}}"),
    "no_sessions_of_old": ("old", "max_session_keys: 0, common_tls_context: {}"),
    "trusting": ("new", "common_tls_context: {validation_context: {trusted_ca: {filename: @/root.pem}}}"),
    "distrusting": ("new", "common_tls_context: {validation_context: {trusted_ca: {filename: @/other.pem}}}"),
    "misused": ("misused", f"common_tls_context: {{{TLS_1_3}}}"),
    "misused_old": ("misused", "common_tls_context: {}"),
    "misused_allowed": ("misused", f"enforce_rsa_key_usage: false, common_tls_context: {{{TLS_1_3}}}"),
}
"""By cluster: the upstream, and fields of UpstreamTlsContext."""


class Side:
    """One proxy with its upstreams."""

    def __init__(self, kind: str, folder: Path) -> None:
        certificates = folder / f"{kind}-certificates"
        certificates.mkdir(parents=True)
        (certificates / "root.pem").write_text(ROOT.pem)
        (certificates / "other.pem").write_text(Authority("other").pem)
        self.upstreams = {
            "new": TlsUpstream(certificates, SERVER),
            "old": TlsUpstream(certificates, SERVER, ssl.TLSVersion.TLSv1_2),
            "misused": TlsUpstream(certificates, NO_SIGNATURES),
        }
        one = (CONFIGS / "tls_upstreams.yaml").read_text()
        head, cluster = one.split("# A cluster:\n")
        text = head
        for name, (upstream, context) in CLUSTERS.items():
            filled = cluster.replace("@NAME@", name).replace("@PORT@", str(self.upstreams[upstream].port))
            text += filled.replace("@TLS@", context.replace("@", str(certificates)))
        self.proxy = Proxy(kind, text, folder / kind)

    def counters(self, cluster: str) -> dict[str, int]:
        found = self.proxy.stats(f"^cluster%5C.{cluster}%5C.ssl%5C.")
        return {re.sub(r".*\.ssl\.", "", name): value for name, value in found.items() if value and "expir" not in name}

    def request(self, cluster: str) -> str:
        host, port = self.proxy.address_of("main")[:2]
        request = urllib.request.Request(f"http://{host}:{port}/", headers={"x-cluster": cluster})
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
                return f"{answer.status} {answer.read().decode()}"
        except urllib.error.HTTPError as error:
            return f"{error.code} {error.read().decode()}"

    def run(self, cluster: str, requests: int) -> list[str]:
        """Answers, what the upstream saw, and the counters once as many handshakes are counted as were made."""
        upstream = self.upstreams[CLUSTERS[cluster][0]]
        upstream.seen.clear()
        answers = [self.request(cluster) for _ in range(requests)]
        _await(lambda: len(upstream.seen) >= requests)
        counted = ("handshake", "connection_error", "fail_verify_error")
        _await(lambda: sum(self.counters(cluster).get(name, 0) for name in counted) >= requests)
        return [
            *[re.sub(r"127\.0\.0\.1:\d+", "<upstream>", answer) for answer in answers],
            *upstream.seen,
            *[f"{name} {value}" for name, value in sorted(self.counters(cluster).items())],
        ]

    def close(self) -> None:
        self.proxy.close()
        for upstream in self.upstreams.values():
            upstream.close()


def _await(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.005)


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Side]]:
    folder = tmp_path_factory.mktemp("upstreams")
    with ThreadPoolExecutor(2) as pool:
        starts = [pool.submit(Side, kind, folder / kind) for kind in (ENVOY, PROXENY)]
        made = [start.result() for start in starts]
    yield made
    for side in made:
        side.close()


def compare(sides: list[Side], cluster: str, requests: int, anyhow: bool = False) -> list[str]:
    """`anyhow`: by which alert upstreams are refused is not compared."""
    envoy, proxeny = [side.run(cluster, requests) for side in sides]
    if anyhow:
        envoy, proxeny = [[re.sub("^failed: .*", "failed", line) for line in lines] for lines in (envoy, proxeny)]
    assert proxeny == envoy
    return envoy


@pytest.mark.parametrize(
    ("cluster", "saw"),
    [
        ("plain", "TLSv1.2 http/1.1 - new"),
        ("new", "TLSv1.3 http/1.1 - new"),
        ("old", "TLSv1.2 http/1.1 - new"),
        ("named", "TLSv1.3 http/1.1 server.test new"),
        ("alpn", "TLSv1.3 http/1.1 - new"),
        ("unknown_alpn", "TLSv1.3 None - new"),
        ("trusting", "TLSv1.2 http/1.1 - new"),
    ],
)
def test_what_is_offered(sides: list[Side], cluster: str, saw: str) -> None:
    outcome = compare(sides, cluster, 1)
    assert "200 ok" in outcome
    assert saw in outcome


@pytest.mark.parametrize("cluster", ["distrusting", "misused", "misused_old", "misused_allowed"])
def test_what_is_refused(sides: list[Side], cluster: str) -> None:
    outcome = compare(sides, cluster, 1, anyhow="misused" in cluster)
    assert outcome[0].startswith("503 upstream connect error")


@pytest.mark.parametrize(
    ("cluster", "resumed"),
    [("named", 2), ("no_sessions", 0), ("some_sessions", 2), ("no_sessions_of_old", 0), ("old", 3)],
)
def test_sessions(sides: list[Side], cluster: str, resumed: int) -> None:
    """Every request is a connection of its own; the cluster may have had one before."""
    outcome = compare(sides, cluster, 3)
    assert sum(line.endswith("resumed") for line in outcome) >= min(resumed, 2)
