"""What logs, headers, routes and matchers tell of TLS sessions and certificates, downstream and upstream."""

import ssl
from collections.abc import Iterator

import pytest
from tests.differential.tls_facts_config import MODES, PARTS
from tests.differential.tls_facts_pair import Exchange, FactsPair, exchanges_of

SHOWN = ("plain", "spiffe", "many", "below", "rsa", "p384", "odd", "two", "nobody", "kinds", "large")
OLD_XFCC = 'x-forwarded-client-cert: By=spiffe://old;Hash=00;URI=spiffe://first,Hash=11;Subject="CN=a,\\"b\\""'
ASKED = ("presented", "absent", "validated", "invalid", "any")
TLS12 = ssl.TLSVersion.TLSv1_2

CERTIFICATES = [
    *exchanges_of("main", ("", *SHOWN)),
    *exchanges_of("untrusted", ("", "self", "stranger", "many")),
]
SESSIONS = [
    Exchange("tls12", maximum=TLS12, certificate="many", contains=("DOWNSTREAM_TLS_VERSION=TLSv1.2",)),
    Exchange("tls12_chacha", maximum=TLS12, ciphers="ECDHE-ECDSA-CHACHA20-POLY1305"),
    Exchange("tls12_cbc", maximum=TLS12, ciphers="ECDHE-ECDSA-AES128-SHA"),
    Exchange("resuming", "resuming"),
    Exchange("resuming_tls12", "resuming", maximum=TLS12),
    Exchange("no_server_name", server_name=None, contains=(r"SNI=-",)),
    Exchange("odd_server_name", server_name="A_b.TEST"),
    Exchange("no_alpn", alpn=()),
    Exchange("other_alpn", alpn=("custom",)),
    Exchange("several_alpn", alpn=("h3", "http/1.1")),
    Exchange("plain_text", "plain", plain=True, headers=(OLD_XFCC,), contains=("DOWNSTREAM_TLS_CIPHER=-",)),
    Exchange("tcp", "tcp", "many", contains=("DOWNSTREAM_PEER_DNS_SAN=a.test",)),
    Exchange("tcp_tls12", "tcp", "spiffe", maximum=TLS12),
    Exchange("names_of_ours", "many_names", "spiffe", contains=(r"DOWNSTREAM_LOCAL_IP_SAN=10.0.0.1,2001:db8::1",)),
    Exchange("names_of_ours_without_certificate", "many_names"),
]
FORWARDED = [
    Exchange(f"{mode.lower()}_{name or 'none'}_{bool(headers)}", mode.lower(), name, headers=headers)
    for mode in (*MODES, "main")
    for name in ("", "many")
    for headers in ((), (OLD_XFCC,))
]
DETAILS = [Exchange(f"only_{part}_{name}", f"only_{part}", name) for part in PARTS for name in ("many", "odd", "plain")]
ROUTES = [
    Exchange(f"route_{asked}_{listener}_{name or 'none'}", listener, name, path="/route", headers=(f"ask: {asked}",))
    for asked in ASKED
    for listener, name in (("main", ""), ("main", "plain"), ("untrusted", "self"))
]
MATCHERS = [
    Exchange(f"matches_{fact}_{name or 'none'}", f"by_{fact}", name, headers=(OLD_XFCC,), contains=(found,))
    for fact, matching, other in (("uri_san", "spiffe", "plain"), ("dns_san", "many", ""), ("subject", "plain", "odd"))
    for name, found in (
        (matching, "client-cert: By=spiffe://mesh.test/server"),
        (other, "client-cert: By=spiffe://old"),
    )
]
UPSTREAM = [
    Exchange(
        "to_tls", "to_tls", plain=True, contains=("UPSTREAM_PEER_SUBJECT=CN=server", "UPSTREAM_SERVER_NAME=up.test")
    ),
    Exchange("to_mutual", "to_mutual", plain=True, contains=("UPSTREAM_LOCAL_DNS_SAN=a.test",)),
    Exchange("to_tls12", "to_tls12", plain=True, contains=("UPSTREAM_TLS_VERSION=TLSv1.2",)),
    Exchange("to_tcp", "to_tcp", plain=True, contains=("UPSTREAM_LOCAL_URI_SAN=spiffe",)),
    Exchange("to_inside", "to_inside", plain=True, contains=("UPSTREAM_PEER_SUBJECT=CN=server",)),
    Exchange("to_many", "to_many", plain=True, contains=("UPSTREAM_PEER_IP_SAN=10.0.0.1,2001:db8::1",)),
]
ALL = [*CERTIFICATES, *SESSIONS, *FORWARDED, *DETAILS, *ROUTES, *MATCHERS, *UPSTREAM]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FactsPair]:
    started = FactsPair(tmp_path_factory.mktemp("tls_facts"))
    yield started
    started.close()


def test_connections_are_counted(pair: FactsPair) -> None:
    """What was exchanged before counts alike."""
    pair.check(Exchange("one", certificate="plain"))
    envoy, proxeny = (side.stats(r"^http\.[a-z_]*\.downstream_cx_ssl_total$") for side in pair.sides)
    assert envoy == proxeny and envoy["http.main.downstream_cx_ssl_total"]


HELLO = (
    bytes.fromhex("160301003b010000370303") + bytes(32) + bytes.fromhex("000002130101") + b"\x00\x00\x0c" + bytes(12)
)
BROKEN = {
    "nothing": (b"", True),
    "http": (b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n", False),
    "connect": (b"CONNECT a.test:443 HTTP/1.1\r\n\r\n", False),
    "garbage": (b"\x00" * 64, False),
    "half_a_record": (b"\x16\x03\x01\x02\x00\x01", True),
    "long_record": (b"\x16\x03\x01\xff\xff" + bytes(64), False),
    "alert": (b"\x15\x03\x01\x00\x02\x02\x28", False),
    "warning": (b"\x15\x03\x01\x00\x02\x01\x00", True),
    "data": (b"\x17\x03\x03\x00\x04abcd", False),
    "no_key_share": (HELLO, False),
}


DIFFERING = ("alert", "warning", "data", "no_key_share")
"""Where OpenSSL says something else than BoringSSL, or says it to the client (docs/transport_sockets.md)."""


@pytest.mark.parametrize("name", BROKEN)
def test_handshakes_that_fail(pair: FactsPair, name: str) -> None:
    pair.check_bytes("handshakes", *BROKEN[name], "^client.*|DOWN=.*" if name in DIFFERING else "^$")


def test_a_handshake_that_takes_too_long(pair: FactsPair) -> None:
    pair.check_bytes("timed", b"", False, "^$")
    for side in pair.sides:
        found = side.stats("transport_socket_connect_timeout$")
        assert sum(found.values()) == 1, side.kind


@pytest.mark.parametrize("exchange", ALL, ids=lambda exchange: exchange.name)
def test_facts(pair: FactsPair, exchange: Exchange) -> None:
    pair.check(exchange)
