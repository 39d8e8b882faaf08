"""Handshakes of the downstream: certificates by ClientHello, versions, ALPN, resumption, OCSP, what is counted."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.differential.tls_pair import Outcome, TlsPair

from proxeny.testing.certificates import Authority, Certificate

ROOT = Authority("root")
ECDSA = ROOT.issue("ecdsa", "DNS:both.test", "DNS:ecdsa.test")
RSA = ROOT.issue("rsa", "DNS:both.test", "DNS:rsa.test", key="rsa2048")
WILD = ROOT.issue("wild", "DNS:*.wild.test")
NAMED = ROOT.issue("named.test")
STAPLED = ROOT.issue("stapled", "DNS:stapled.test", must_staple=True)
CLIENT = ROOT.issue("client", "URI:spiffe://test/client")
ALL = (ECDSA, RSA, WILD, NAMED)
HOUR = datetime.timedelta(hours=1)
PAST = {"not_before": -2 * HOUR, "not_after": -HOUR}
POLICIES = ("LENIENT_STAPLING", "STRICT_STAPLING", "MUST_STAPLE")
GCM = "ECDHE-ECDSA-AES128-GCM-SHA256"


def certificates(folder: Path, *certs: Certificate, staple: str = "") -> str:
    """``tls_certificates`` of a context."""
    items = []
    for one in certs:
        files = one.write(folder)
        more = f", ocsp_staple: {{filename: {staple}}}" if staple else ""
        items.append(
            f"{{certificate_chain: {{filename: {files.certificate_chain}}}, "
            f"private_key: {{filename: {files.private_key}}}{more}}}"
        )
    return f"tls_certificates: [{', '.join(items)}]"


def contexts(folder: Path) -> dict[str, str]:
    """The listeners: fields of DownstreamTlsContext."""
    many, one = certificates(folder, *ALL), certificates(folder, ECDSA)
    (folder / "root.pem").write_text(ROOT.pem)
    (folder / "keys").write_bytes(bytes(range(80)))
    trusted = f"validation_context: {{trusted_ca: {{filename: {folder}/root.pem}}}}"
    made = {
        "many": f"common_tls_context: {{{many}}}",
        "scan": f"full_scan_certs_on_sni_mismatch: true, common_tls_context: {{{many}}}",
        "alpn": f'common_tls_context: {{{one}, alpn_protocols: ["http/1.1", "x"]}}',
        "old": f"common_tls_context: {{{one}, tls_params: {{tls_maximum_protocol_version: TLSv1_2}}}}",
        "new": f"common_tls_context: {{{one}, tls_params: {{tls_minimum_protocol_version: TLSv1_3}}}}",
        "mutual": f"require_client_certificate: true, common_tls_context: {{{one}, {trusted}}}",
        "asking": f"common_tls_context: {{{one}, {trusted}}}",
        "keys": f"session_ticket_keys: {{keys: [{{filename: {folder}/keys}}]}}, common_tls_context: {{{one}}}",
        "no_tickets": f"disable_stateless_session_resumption: true, common_tls_context: {{{one}}}",
        "no_resumption": "disable_stateless_session_resumption: true, disable_stateful_session_resumption: true, "
        f"common_tls_context: {{{one}}}",
    }
    (folder / "valid").write_bytes(ROOT.ocsp_response(ECDSA))
    (folder / "expired").write_bytes(ROOT.ocsp_response(ECDSA, **PAST))
    (folder / "stapled").write_bytes(ROOT.ocsp_response(STAPLED, **PAST))
    for policy in POLICIES:
        for staple in ("valid", "expired"):
            own = certificates(folder, ECDSA, staple=f"{folder}/{staple}")
            made[f"{policy}_{staple}"] = f"ocsp_staple_policy: {policy}, common_tls_context: {{{own}}}"
    own = certificates(folder, STAPLED, staple=f"{folder}/stapled")
    made["promised"] = f"common_tls_context: {{{own}}}"
    return made


@pytest.fixture(scope="module")
def certificate_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def pair(certificate_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsPair]:
    made = TlsPair(contexts(certificate_folder), "[]", tmp_path_factory.mktemp("tls"))
    yield made
    made.close()


def shown(outcome: Outcome) -> str:
    """The common name of the certificate that the client got."""
    return next(line.rpartition(" = ")[2] for line in outcome.client if line.startswith("0 s:"))


RSA_ONLY = ("-sigalgs", "rsa_pss_rsae_sha256:RSA+SHA256")
OLD_RSA = ("-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256")
OLD_ECDSA = ("-tls1_2", "-cipher", GCM)


@pytest.mark.parametrize(
    ("listener", "arguments", "expected"),
    [
        ("many", ("-servername", "both.test"), "ecdsa"),
        ("many", ("-servername", "ecdsa.test"), "ecdsa"),
        ("many", ("-servername", "rsa.test"), "rsa"),
        ("many", ("-servername", "a.wild.test"), "wild"),
        ("many", ("-servername", "a.b.wild.test"), "ecdsa"),
        ("many", ("-servername", "wild.test"), "ecdsa"),
        ("many", ("-servername", "named.test"), "named.test"),
        ("many", ("-servername", "NAMED.test"), "ecdsa"),
        ("many", ("-servername", "unknown.test"), "ecdsa"),
        ("many", (), "ecdsa"),
        ("many", ("-servername", "both.test", *RSA_ONLY), "rsa"),
        ("many", RSA_ONLY, "rsa"),
        ("many", ("-servername", "both.test", *OLD_RSA), "rsa"),
        ("many", ("-servername", "both.test", *OLD_ECDSA), "ecdsa"),
        ("many", OLD_RSA, "rsa"),
        ("scan", ("-servername", "unknown.test", *RSA_ONLY), "rsa"),
        ("scan", ("-servername", "unknown.test", *OLD_RSA), "rsa"),
        ("scan", ("-servername", "unknown.test"), "ecdsa"),
    ],
)
def test_which_certificate(pair: TlsPair, listener: str, arguments: tuple[str, ...], expected: str) -> None:
    outcome = pair.check(listener, *arguments)
    assert shown(outcome) == expected
    assert outcome.counters["handshake"] == 1


@pytest.mark.parametrize(
    ("listener", "arguments"),
    [
        ("many", ("-servername", "unknown.test", *RSA_ONLY)),
        ("many", ("-servername", "ecdsa.test", *OLD_RSA)),
        ("many", ("-groups", "P-521")),
        ("new", ("-tls1_2",)),
        ("old", ("-tls1_3",)),
        ("mutual", ("-tls1_2",)),
    ],
)
def test_handshakes_that_fail(pair: TlsPair, listener: str, arguments: tuple[str, ...]) -> None:
    # OpenSSL has chosen a cipher before it looks for signature algorithms, BoringSSL has not.
    mask = r" (TLS_AES_256_GCM_SHA384|-) " if RSA_ONLY[0] in arguments else ""
    outcome = pair.check(listener, *arguments, mask=mask)
    assert "handshake" not in outcome.counters
    assert "TLS_error" in outcome.log[0]


@pytest.mark.parametrize(
    ("listener", "arguments"),
    [
        ("many", ("-ciphersuites", "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384")),
        ("many", ("-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256")),
        ("many", ("-tls1_2",)),
        ("many", ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256")),
        ("many", ("-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305")),
        ("many", ("-groups", "P-256")),
        ("many", ("-groups", "P-521:P-256")),
        ("alpn", ("-alpn", "x,http/1.1")),
        ("alpn", ("-alpn", "x")),
        ("alpn", ("-alpn", "y")),
        ("alpn", ()),
        ("old", ()),
        ("new", ()),
        ("asking", ()),
    ],
)
def test_what_is_agreed_on(pair: TlsPair, listener: str, arguments: tuple[str, ...]) -> None:
    outcome = pair.check(listener, *arguments)
    assert "HTTP/1.1 200 OK" in outcome.client


@pytest.mark.parametrize("listener", ["mutual", "asking"])
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_clients_with_certificates(pair: TlsPair, certificate_folder: Path, listener: str, version: str) -> None:
    files = CLIENT.write(certificate_folder)
    outcome = pair.check(listener, version, "-cert", files.certificate_chain, "-key", files.private_key)
    assert "no_certificate" not in outcome.counters


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("listener", ["many", "keys", "no_tickets", "no_resumption", "asking"])
def test_resumption(pair: TlsPair, listener: str, version: str) -> None:
    """The second connection offers what it got in the first one."""
    pair.check(listener, version, "-sess_out", f"@/{listener}{version}")
    resumes = listener not in ("no_resumption", "no_tickets") or (listener == "no_tickets" and version == "-tls1_2")
    for side in (pair.envoy, pair.proxeny):
        assert (side.proxy.folder / f"{listener}{version}").exists() == resumes
    if resumes:
        outcome = pair.check(listener, version, "-sess_in", f"@/{listener}{version}")
        assert outcome.counters["session_reused"] == 1


@pytest.mark.parametrize("asks", [True, False], ids=["asked", "not_asked"])
@pytest.mark.parametrize("staple", ["valid", "expired"])
@pytest.mark.parametrize("policy", POLICIES)
def test_stapling(pair: TlsPair, policy: str, staple: str, asks: bool) -> None:
    outcome = pair.check(f"{policy}_{staple}", *(["-status"] if asks else []))
    assert outcome.counters.get("ocsp_staple_requests", 0) == int(asks)
    assert outcome.counters.get("ocsp_staple_responses", 0) == int(asks and staple == "valid")


@pytest.mark.parametrize("asks", [True, False], ids=["asked", "not_asked"])
def test_a_certificate_that_promises_a_staple(pair: TlsPair, asks: bool) -> None:
    outcome = pair.check("promised", *(["-status"] if asks else []))
    assert outcome.counters.get("ocsp_staple_failed", 0) == int(asks)


def test_a_certificate_that_has_none(pair: TlsPair) -> None:
    outcome = pair.check("many", "-status")
    assert outcome.counters["ocsp_staple_omitted"] == 1


RECORD = b"\x16\x03\x01"
"""The begin of a handshake record."""


@pytest.mark.parametrize("end", ["", "fin"])
@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n\r\n",
        b"\x00" * 64,
        RECORD + b"\xff\xff" + b"x" * 64,
        RECORD + b"\x00\x04" + b"\x01\xff\xff\xff" + b"x" * 64,
        RECORD + b"\x00\x04" + b"\x02\x00\x00\x00",
    ],
    ids=["http1", "http2", "connect", "zeros", "long_record", "long_hello", "server_hello"],
)
def test_no_handshake_at_all(pair: TlsPair, data: bytes, end: str) -> None:
    pair.check_bytes("many", data, end)


@pytest.mark.parametrize("end", ["fin", "rst"])
@pytest.mark.parametrize("data", [b"", RECORD, RECORD + b"\x02\x00\x01\x00\x01\xfc"], ids=["nothing", "header", "half"])
def test_a_handshake_that_ends_early(pair: TlsPair, data: bytes, end: str) -> None:
    outcome = pair.check_bytes("many", data, end)
    assert not outcome.counters
