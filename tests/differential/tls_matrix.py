"""Good and bad certificates: who shows them, and contexts that judge them, as one configuration for a pair of proxies.

Every context is a listener (clients show certificates to it) or a cluster (servers do); what becomes of a handshake is
a list of lines: what the peer saw, the access log, the counters that moved.
"""

from __future__ import annotations

import datetime
import functools
import http.client
import json
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cryptography import x509
from tests.differential.proxies import ENVOY, POLL_SECONDS, PROXENY, Proxy
from tests.differential.tls_peers import TlsServer, client_context, close_all, exchange
from tests.differential.validate.corpus import HCM, ROUTER_FILTER, TYPE
from tests.differential.wire import STALL_SECONDS

from proxeny.testing.certificates import Authority, Certificate, expired, make, not_yet_valid

_TLS = f"{TYPE}/envoy.extensions.transport_sockets.tls.v3"
_LOG = f"{TYPE}/envoy.extensions.access_loggers.file.v3.FileAccessLog"
UPN = "1.3.6.1.4.1.311.20.2.3"

ROOT = Authority("root")
OTHER = Authority("other")
MIDDLE = ROOT.intermediate("middle")
DEEP = MIDDLE.intermediate("deep")
OLD_AUTHORITY = ROOT.intermediate("old authority", **expired())
NO_AUTHORITY = ROOT.issue("no authority")

_NAMES = ("DNS:peer.test", "URI:spiffe://a.test/x", "email:me@a.test", "IP:10.1.2.3", f"otherName:{UPN};UTF8:me")
_UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0")

CERTIFICATES: dict[str, Certificate] = {
    made.name: made
    for made in (
        ROOT.issue("good", *_NAMES),
        ROOT.issue("rsa", "DNS:peer.test", key="rsa2048"),
        ROOT.issue("p384", "DNS:peer.test", key="p384"),
        ROOT.issue("expired", "DNS:peer.test", **expired()),
        ROOT.issue("future", "DNS:peer.test", **not_yet_valid()),
        ROOT.issue("revoked", "DNS:peer.test"),
        OTHER.issue("stranger", "DNS:peer.test"),
        make("self-signed", "DNS:peer.test"),
        OTHER,
        MIDDLE.issue("one-between", "DNS:peer.test"),
        DEEP.issue("two-between", "DNS:peer.test"),
        OLD_AUTHORITY.issue("old-between", "DNS:peer.test"),
        make("by-a-leaf", "DNS:peer.test", issuer=NO_AUTHORITY),  # type: ignore[arg-type]
        ROOT.issue("server-only", "DNS:peer.test", extended=("server",)),
        ROOT.issue("client-only", "DNS:peer.test", extended=("client",)),
        ROOT.issue("any-use", "DNS:peer.test", extended=(), usages=None),
        ROOT.issue("critical", "DNS:peer.test", extensions=((_UNKNOWN, True),)),
        ROOT.issue("wild", "DNS:*.wild.test"),
        ROOT.issue("wild-part", "DNS:a*b.wild.test"),
        ROOT.issue("nul", "DNS:peer.test\0.evil.test"),
        ROOT.issue("nameless"),
        ROOT.issue("six", "IP:2001:db8::1"),
        ROOT.issue("workload", "URI:spiffe://a.test/x"),
        OTHER.issue("workload-b", "URI:spiffe://b.test/x"),
        OTHER.issue("workload-false", "URI:spiffe://a.test/x"),
        ROOT.issue("workload-old", "URI:spiffe://a.test/x", **expired()),
        ROOT.issue("workload-issuing", "URI:spiffe://a.test/x", usages=("digital_signature", "key_cert_sign")),
    )
}  # fmt: skip
GOOD = CERTIFICATES["good"]


def _text(value: str) -> str:
    return f"{{inline_string: {json.dumps(value)}}}"


CA = f"trusted_ca: {_text(ROOT.pem)}"
_REVOKED = ROOT.crl([CERTIFICATES["revoked"]])
_LATE = ROOT.crl(not_before=datetime.timedelta(days=-3), not_after=datetime.timedelta(days=-1))
_UNTRUSTED = "trust_chain_verification: ACCEPT_UNTRUSTED"


def san(kind: str, matcher: str, more: str = "") -> str:
    """A validation context with a matcher of names."""
    return f"{CA}, match_typed_subject_alt_names: [{{san_type: {kind}, matcher: {{{matcher}}}{more}}}]"


_BUNDLES = ", ".join(
    f"{{name: {domain}, trust_bundle: {_text(authority.pem)}}}"
    for domain, authority in (("a.test", ROOT), ("b.test", OTHER))
)
_SPIFFE = (
    "custom_validator_config: {name: envoy.tls.cert_validator.spiffe, typed_config: "
    f'{{"@type": {_TLS}.SPIFFECertValidatorConfig, trust_domains: [{_BUNDLES}]}}}}'
)

CONTEXTS: dict[str, str] = {
    "none": "",
    "ca": CA,
    "untrusted": f"{CA}, {_UNTRUSTED}",
    "untrusted-nothing": _UNTRUSTED,
    "untrusted-san": f"{san('DNS', 'exact: nobody')}, {_UNTRUSTED}",
    "expired-too": f"{CA}, allow_expired_certificate: true",
    "crl": f"{CA}, crl: {_text(_REVOKED)}",
    "crl-of-all": f"{CA}, crl: {_text(_REVOKED + MIDDLE.crl() + DEEP.crl())}",
    "crl-of-leaf": f"{CA}, crl: {_text(_REVOKED + MIDDLE.crl())}, only_verify_leaf_cert_crl: true",
    "crl-in-ca": f"trusted_ca: {_text(ROOT.pem + _REVOKED)}",
    "crl-late": f"{CA}, crl: {_text(_LATE)}",
    "crl-junk": f"{CA}, crl: {{inline_string: junk}}",
    "depth-0": f"{CA}, max_verify_depth: 0",
    "depth-1": f"{CA}, max_verify_depth: 1",
    "depth-2": f"{CA}, max_verify_depth: 2",
    "middle": f"trusted_ca: {_text(MIDDLE.pem)}",
    "itself": f"trusted_ca: {_text(GOOD.pem)}",
    "hash": f"verify_certificate_hash: ['{GOOD.fingerprint}']",
    "hash-and-ca": f"{CA}, verify_certificate_hash: ['{GOOD.fingerprint}']",
    "hash-or-key": f"verify_certificate_hash: ['{'0' * 64}'], verify_certificate_spki: ['{GOOD.spki_pin}']",
    "dns": san("DNS", "exact: Peer.test"),
    "dns-prefix": san("DNS", "prefix: peer"),
    "dns-wild": san("DNS", "exact: a.wild.test"),
    "dns-wild-itself": san("DNS", "exact: '*.wild.test'"),
    "dns-wild-part": san("DNS", "exact: acb.wild.test"),
    "dns-nul": san("DNS", "suffix: evil.test"),
    "uri": san("URI", "prefix: 'spiffe://a.test/'"),
    "email": san("EMAIL", "safe_regex: {regex: '.*@a\\.test'}"),
    "ip": san("IP_ADDRESS", "exact: 10.1.2.3"),
    "six": san("IP_ADDRESS", "exact: '2001:db8::1'"),
    "other-name": san("OTHER_NAME", "exact: me", f", oid: {UPN}"),
    "other-name-oid": san("OTHER_NAME", "exact: me", ", oid: 1.2.3"),
    "san-older": f"{CA}, match_subject_alt_names: [{{exact: peer.test}}]",
    "spiffe": _SPIFFE,
    "spiffe-uri": f"{_SPIFFE}, match_typed_subject_alt_names: [{{san_type: URI, matcher: {{suffix: /y}}}}]",
    "spiffe-expired": f"{_SPIFFE}, allow_expired_certificate: true",
}
"""Validation contexts by name."""


def validation(context: str) -> str:
    return f"validation_context: {{{CONTEXTS[context]}}}" if CONTEXTS[context] else ""


def _indented(text: str, depth: int) -> str:
    return "".join(" " * depth + line + "\n" for line in text.splitlines())


def _access_log(name: str, text: str) -> str:
    line = json.dumps(text + "\n")
    return (
        f'{{name: log, typed_config: {{"@type": {_LOG}, path: "{{{{log:{name}}}}}", '
        f"log_format: {{text_format_source: {{inline_string: {line}}}}}}}}}"
    )


_DOWNSTREAM_LOG = (
    "%DOWNSTREAM_TRANSPORT_FAILURE_REASON% %DOWNSTREAM_PEER_SUBJECT% %DOWNSTREAM_TLS_VERSION% %RESPONSE_FLAGS% "
    "%CONNECTION_TERMINATION_DETAILS%"
)


def listener(name: str, own: Certificate, tls: str = "", common: str = "") -> str:
    """A listener that greets whoever it lets in; further fields of its contexts, each on one line."""
    return f"""
- name: {name}
  stat_prefix: {name}
  address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
  access_log: [{_access_log(name, _DOWNSTREAM_LOG)}]
  filter_chains:
  - filters:
    - name: proxy
      typed_config:
        "@type": {TYPE}/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
        stat_prefix: tcp
        cluster: greeter
    transport_socket:
      name: tls
      typed_config:
        "@type": {_TLS}.DownstreamTlsContext
        {tls}
        disable_stateless_session_resumption: true
        disable_stateful_session_resumption: true
        common_tls_context:
          tls_certificates: [{{certificate_chain: {_text(own.chain_pem)}, private_key: {_text(own.key_pem)}}}]
          {common}
"""


def validating(name: str, context: str, required: bool, own: Certificate) -> str:
    """A listener with a validation context."""
    return listener(name, own, f"require_client_certificate: {str(required).lower()}", validation(context))


_UPSTREAM_LOG = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %UPSTREAM_TRANSPORT_FAILURE_REASON%"


def _state(key: str, value: str) -> str:
    return f"{{object_key: {key}, format_string: {{text_format_source: {{inline_string: {json.dumps(value)}}}}}}}"


_STATE = f'{{name: state, typed_config: {{"@type": {TYPE}/envoy.extensions.filters.http.set_filter_state.v3.Config, '
STATE_FILTER = (
    _STATE
    + "on_request_headers: ["
    + ", ".join(
        (
            _state("envoy.network.upstream_server_name", "%REQ(x-name)%"),
            _state("envoy.network.upstream_subject_alt_names", "nobody.test,peer.test"),
            _state("envoy.network.application_protocols", "other,custom"),
        )
    )
    + "]}}, "
)
"""An HTTP filter that says what upstream connections ask for and expect."""


def http_listener(name: str = "http", filters: str = "") -> str:
    """Requests go to the cluster that they name; ``filters`` go before the router."""
    return f"""
- name: {name}
  address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
  filter_chains:
  - filters:
    - name: http
      typed_config:
        "@type": {TYPE}/{HCM}
        stat_prefix: http
        access_log: [{_access_log(name, _UPSTREAM_LOG)}]
        http_filters: [{filters}{ROUTER_FILTER}]
        route_config:
          virtual_hosts:
          - name: all
            domains: ["*"]
            routes: [{{match: {{prefix: /}}, route: {{cluster_header: x-cluster}}}}]
"""


def cluster(name: str, port: int, tls: str, more: str = "") -> str:
    """A cluster with one host; ``tls``: fields of its UpstreamTlsContext."""
    return f"""
- name: {name}
  type: STATIC
  load_assignment:
    cluster_name: {name}
    endpoints:
    - lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}]
{_indented(more, 2)}  transport_socket:
    name: tls
    typed_config:
      "@type": {_TLS}.UpstreamTlsContext
      max_session_keys: 0
{_indented(tls, 6)}"""


class Greeter:
    """An upstream that says ``hello`` to everybody, and closes when the other side does."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._selector.register(self._socket, selectors.EVENT_READ)
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    return
                if key.fileobj is self._socket:
                    accepted, _ = self._socket.accept()
                    accepted.sendall(b"hello")
                    self._selector.register(accepted, selectors.EVENT_READ)
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    self._selector.unregister(key.fileobj)
                    key.fileobj.close()

    def close(self) -> None:
        """Stop."""
        self._wake.send(b"x")
        self._thread.join(STALL_SECONDS)
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._wake.close()
        self._selector.close()


class Side:
    """One proxy of the pair."""

    def __init__(self, proxy: Proxy, servers: dict[str, TlsServer], folder: Path) -> None:
        self.proxy = proxy
        self._servers = servers
        self._folder = folder

    def show(self, listener: str, certificate: str, version: ssl.TLSVersion) -> list[str]:
        """A client shows a certificate ("" for none) to a listener."""
        return self.greet(listener, _client_context(self._folder, certificate, version))

    def greet(self, listener: str, client: ssl.SSLContext) -> list[str]:
        """A client connects to a listener."""
        before = self._before(listener, rf"^listener\.{listener}\.ssl\.")
        address = self.proxy.address_of(listener)
        assert isinstance(address, tuple)
        seen = exchange(address, client)
        return [f"client: {seen}", *self._after(listener, rf"^listener\.{listener}\.ssl\.", before)]

    def ask(self, listener: str, cluster: str, server: str, host: str) -> list[str]:
        """A request goes to a cluster, whose host shows a certificate."""
        pattern = rf"^cluster\.{cluster}\.(ssl\.|upstream_cx_(connect_fail|total)|client_ssl)"
        before = self._before(listener, pattern)
        asked = len(self._servers[server].seen)
        status, body = self._request(listener, cluster, host)
        lines = self._after(listener, pattern, before)
        deadline = time.monotonic() + STALL_SECONDS
        while len(self._servers[server].seen) == asked and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return [f"{status} {body}", *lines, *self._servers[server].seen[asked:]]

    def _request(self, listener: str, cluster: str, host: str) -> tuple[int, str]:
        address = self.proxy.address_of(listener)
        assert isinstance(address, tuple)
        connection = http.client.HTTPConnection(*address, timeout=STALL_SECONDS)
        try:
            connection.putrequest("GET", "/", skip_host=True, skip_accept_encoding=True)
            for name, value in (("host", host), ("x-cluster", cluster), ("x-name", "named.test")):
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def _before(self, listener: str, pattern: str) -> tuple[int, dict[str, int]]:
        log = self.proxy.log_path(listener)
        return log.stat().st_size if log.exists() else 0, self.proxy.stats(pattern)

    def _after(self, listener: str, pattern: str, before: tuple[int, dict[str, int]]) -> list[str]:
        """The line of the access log, which is written last, and the counters that moved."""
        log = self.proxy.log_path(listener)
        deadline = time.monotonic() + STALL_SECONDS
        while not (log.exists() and log.stat().st_size > before[0]) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        text = log.read_bytes()[before[0] :].decode() if log.exists() else ""
        moved = {name: value - before[1].get(name, 0) for name, value in self.proxy.stats(pattern).items()}
        return [f"log: {text.strip()}", *[f"{name} +{value}" for name, value in sorted(moved.items()) if value > 0]]


@functools.cache
def _client_context(folder: Path, certificate: str, version: ssl.TLSVersion) -> ssl.SSLContext:
    return client_context(folder, CERTIFICATES.get(certificate), version)


class Matrix:
    """The pair: Envoy and Proxeny on one configuration, and the peers of both."""

    def __init__(self, folder: Path, listeners: str, clusters: Iterator[tuple[str, str, str, str]]) -> None:
        """``clusters``: name, whose certificate its host shows, its TLS fields, its other fields."""
        self._pool = ThreadPoolExecutor(2)
        peers = folder / "peers"
        self.servers: dict[str, TlsServer] = {}
        parts = []
        for name, certificate, tls, more in clusters:
            if certificate not in self.servers:
                self.servers[certificate] = TlsServer(peers, CERTIFICATES[certificate])
            parts.append(cluster(name, self.servers[certificate].port, tls, more))
        self._greeter = Greeter()
        parts.append(_PLAIN.format(port=self._greeter.port))
        text = (
            f"{_ADMIN}static_resources:\n  listeners:{_indented(listeners, 2)}  clusters:{_indented(''.join(parts), 2)}"
        )
        starts = [self._pool.submit(Proxy, kind, text, folder / kind) for kind in (ENVOY, PROXENY)]
        self.sides = [Side(start.result(), self.servers, peers) for start in starts]

    def close(self) -> None:
        """Stop everything."""
        for side in self.sides:
            side.proxy.close()
        close_all(self.servers.values())
        self._greeter.close()
        self._pool.shutdown()


_ADMIN = "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\n"
_PLAIN = """
- name: greeter
  type: STATIC
  load_assignment:
    cluster_name: greeter
    endpoints:
    - lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}]
"""
