"""Good and bad certificates, shown by clients and by servers: who is let in, what is said, logged and counted.

Every case is a handshake on both proxies; the lines of both are equal, and one of them holds what the case expects.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.differential.tls_matrix import (
    CA,
    CERTIFICATES,
    CONTEXTS,
    GOOD,
    STATE_FILTER,
    Matrix,
    http_listener,
    listener,
    validating,
    validation,
)

TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
HELLO = "client: hello"


@dataclass(frozen=True, slots=True)
class Shown:
    """A client shows ``certificate`` ("" for none) to a listener with ``context``."""

    context: str
    certificate: str
    expect: str
    required: bool = False
    version: ssl.TLSVersion = TLS_1_3

    @property
    def listener(self) -> str:
        """Its listener."""
        return f"{self.context}{'-required' if self.required else ''}".replace("-", "_")

    def __str__(self) -> str:
        return f"{self.listener}_{self.certificate or 'no-certificate'}{'_tls12' if self.version is TLS_1_2 else ''}"


@dataclass(frozen=True, slots=True)
class Asked:
    """A server shows ``certificate`` to a cluster with ``context`` and further fields."""

    context: str
    certificate: str
    expect: str
    name: str = ""
    tls: str = ""
    more: str = ""
    host: str = "peer.test"
    listener: str = "http"

    @property
    def cluster(self) -> str:
        """Its cluster."""
        return f"{self.context}_{self.certificate}{self.name and '_' + self.name}".replace("-", "_")

    def __str__(self) -> str:
        return self.cluster


def let_in(context: str, *certificates: str, **options: bool) -> list[Shown]:
    """These are."""
    return [Shown(context, certificate, HELLO, **options) for certificate in certificates]


def refused(context: str, reason: str, *certificates: str, **options: bool) -> list[Shown]:
    """These are not, and the log says why."""
    return [Shown(context, certificate, reason, **options) for certificate in certificates]


UNKNOWN_ISSUER = "unable_to_get_local_issuer_certificate"
EXPIRED = "certificate_has_expired"
NO_CRL = "unable_to_get_certificate_CRL"
NO_MATCH = "SAN_matcher,_certificate_SANs_are_"
NO_PIN = "cert_hash_and_spki"
NO_BUNDLE = "no_trust_bundle_store"

SHOWN = [
    *let_in("none", "", "good"),
    *let_in("none", "", required=True),
    *let_in("ca", "", "good", "rsa", "p384", "one-between", "two-between", "any-use", "client-only", "nameless"),
    *refused("ca", UNKNOWN_ISSUER, "stranger", "self-signed", "by-a-leaf"),
    *refused("ca", "self_signed_certificate", "other"),
    *refused("ca", EXPIRED, "expired", "old-between"),
    *refused("ca", "certificate_is_not_yet_valid", "future"),
    *refused("ca", "unsupported_certificate_purpose", "server-only"),
    *refused("ca", "unhandled_critical_extension", "critical"),
    *refused("ca", "peer_did_not_provide_required_client_certificate", "", required=True),
    *let_in("ca", "good", required=True),
    Shown("ca", "stranger", UNKNOWN_ISSUER, version=TLS_1_2),
    Shown("ca", "good", HELLO, version=TLS_1_2),
    *let_in("untrusted", "", "good", "stranger", "expired"),
    *refused("untrusted", "peer_did_not_provide", "", required=True),
    *let_in("untrusted-nothing", "", "stranger"),
    *let_in("untrusted-san", "good", "stranger"),
    *let_in("expired-too", "expired", "future", "old-between"),
    *refused("expired-too", UNKNOWN_ISSUER, "stranger"),
    *let_in("crl", "good"),
    *refused("crl", "certificate_revoked", "revoked"),
    *refused("crl", NO_CRL, "one-between"),
    *let_in("crl-of-all", "one-between", "two-between"),
    *let_in("crl-of-leaf", "one-between"),
    *refused("crl-of-leaf", NO_CRL, "two-between"),
    *refused("crl-in-ca", "certificate_revoked", "revoked"),
    *refused("crl-late", "CRL_has_expired", "good"),
    *refused("crl-junk", NO_CRL, "good"),
    *let_in("depth-0", "good"),
    *refused("depth-0", UNKNOWN_ISSUER, "one-between"),
    *refused("depth-1", UNKNOWN_ISSUER, "one-between"),
    *let_in("depth-2", "one-between"),
    *refused("depth-2", UNKNOWN_ISSUER, "two-between"),
    *let_in("middle", "one-between", "two-between"),
    *refused("middle", UNKNOWN_ISSUER, "good"),
    *let_in("itself", "good"),
    *let_in("hash", "good"),
    *refused("hash", NO_PIN, "stranger"),
    *refused("hash", "peer_did_not_provide", ""),
    *let_in("hash-and-ca", "good"),
    *refused("hash-and-ca", UNKNOWN_ISSUER, "stranger"),
    *let_in("hash-or-key", "good"),
    *let_in("dns", "good"),
    *refused("dns", NO_MATCH, "wild", "nul", "nameless", "workload"),
    *refused("dns", "peer_did_not_provide", ""),
    *let_in("dns-prefix", "good", "nul"),
    *refused("dns-prefix", NO_MATCH, "wild"),
    *let_in("dns-wild", "wild"),
    *refused("dns-wild", NO_MATCH, "wild-part"),
    *let_in("dns-wild-itself", "wild"),
    *let_in("dns-wild-part", "wild-part", "wild"),
    *let_in("dns-nul", "nul"),
    *let_in("uri", "good"),
    *refused("uri", NO_MATCH, "six"),
    *let_in("email", "good"),
    *let_in("ip", "good"),
    *let_in("six", "six"),
    *let_in("other-name", "good"),
    *refused("other-name-oid", NO_MATCH, "good"),
    *let_in("san-older", "good"),
    *let_in("spiffe", "workload", "workload-b", "good"),
    *refused("spiffe", UNKNOWN_ISSUER, "workload-false"),
    *refused("spiffe", NO_BUNDLE, "nameless"),
    *refused("spiffe", "cert_precheck", "workload-issuing"),
    *refused("spiffe", EXPIRED, "workload-old"),
    *refused("spiffe", "peer_did_not_provide", ""),
    *refused("spiffe-uri", "SAN_match", "workload"),
    *let_in("spiffe-expired", "workload-old"),
]

OK = "200 ok"


def http_options(fields: str) -> str:
    """Protocol options of a cluster."""
    return (
        "typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: "
        '{"@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, '
        f"upstream_http_protocol_options: {{{fields}}}, explicit_http_config: {{http_protocol_options: {{}}}}}}}}"
    )


AUTO_SNI = http_options("auto_sni: true")
AUTO_BOTH = http_options("auto_sni: true, auto_san_validation: true")
AUTO_SAN = http_options("auto_san_validation: true")
BY_HEADER = http_options("auto_sni: true, auto_san_validation: true, override_auto_sni_header: x-name")

ASKED = [
    Asked("none", "stranger", OK),
    Asked("ca", "good", OK),
    Asked("ca", "rsa", OK),
    Asked("ca", "one-between", OK),
    Asked("ca", "stranger", UNKNOWN_ISSUER),
    Asked("ca", "self-signed", UNKNOWN_ISSUER),
    Asked("ca", "expired", EXPIRED),
    Asked("ca", "future", "certificate_is_not_yet_valid"),
    Asked("ca", "client-only", "unsupported_certificate_purpose"),
    Asked("ca", "server-only", OK),
    Asked("ca", "critical", "unhandled_critical_extension"),
    Asked("ca", "good", OK, "name", "sni: nobody.test"),
    Asked("untrusted", "stranger", OK),
    Asked("expired-too", "expired", OK),
    Asked("crl", "revoked", "certificate_revoked"),
    Asked("depth-0", "two-between", OK),
    Asked("hash", "stranger", NO_PIN),
    Asked("hash", "good", OK),
    Asked("dns", "good", OK),
    Asked("dns", "wild", NO_MATCH),
    Asked("dns-wild", "wild", OK),
    Asked("spiffe", "workload", OK),
    Asked("spiffe", "workload-false", UNKNOWN_ISSUER),
    Asked("ca", "good", OK, "auto", more=AUTO_SNI),
    Asked("ca", "good", OK, "both", more=AUTO_BOTH),
    Asked(
        "ca", "good", "verify_SAN_list,_expected_SANs:_[other.test]", "both-wrong", more=AUTO_BOTH, host="other.test"
    ),
    Asked("ca", "wild", OK, "both-wild", more=AUTO_BOTH, host="x.wild.test:443"),
    Asked("ca", "wild", "verify_SAN_list", "both-wild-deep", more=AUTO_BOTH, host="y.x.wild.test"),
    Asked("ca", "good", OK, "both-address", more=AUTO_BOTH, host="10.1.2.3"),
    Asked("ca", "good", OK, "san", more=AUTO_SAN),
    Asked("ca", "stranger", UNKNOWN_ISSUER, "both", more=AUTO_BOTH),
    Asked("dns", "wild", NO_MATCH, "both", more=AUTO_BOTH, host="x.wild.test"),
    Asked("ca", "good", "verify_SAN_list,_expected_SANs:_[named.test]", "header", more=BY_HEADER),
    Asked("ca", "good", OK, "sni-san", "sni: peer.test\nauto_sni_san_validation: true"),
    Asked("ca", "good", NO_MATCH, "sni-san-wrong", "sni: other.test\nauto_sni_san_validation: true"),
    Asked("ca", "good", OK, "sni-san-none", "auto_sni_san_validation: true"),
    Asked("ca", "wild", OK, "auto-and-sni-san", "auto_sni_san_validation: true", AUTO_SNI, "q.wild.test"),
    Asked("dns", "good", "good: named.test custom", "state", listener="http_state"),
    Asked("ca", "wild", "expected_SANs:_[nobody.test,_peer.test]", "state", listener="http_state"),
    Asked("ca", "good", "good: named.test custom", "state-both", more=AUTO_BOTH, listener="http_state"),
    Asked("none", "good", OK, "offers", "common_tls_context: {alpn_protocols: [custom, http/1.1]}"),
]


@dataclass(frozen=True, slots=True)
class Negotiated:
    """A client with ciphers and versions of its own meets a listener with parameters."""

    name: str
    expect: str
    params: str = ""
    tls: str = ""
    own: str = "good"
    ciphers: str = ""
    versions: tuple[ssl.TLSVersion, ssl.TLSVersion] = (TLS_1_2, TLS_1_2)
    curve: str = ""

    @property
    def listener(self) -> str:
        """Its listener."""
        return f"params_{self.name}".replace("-", "_")

    @property
    def common(self) -> str:
        """Fields of its CommonTlsContext."""
        return self.params and f"tls_params: {{{self.params}}}"

    def client(self) -> ssl.SSLContext:
        """The client."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
        made.minimum_version, made.maximum_version = self.versions
        if self.ciphers:
            made.set_ciphers(self.ciphers)
        if self.curve:
            made.set_ecdh_curve(self.curve)
        return made

    def __str__(self) -> str:
        return self.name


_AES128, _AES256, _CHACHA = (
    f"ECDHE-ECDSA-{name}" for name in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
)
OLDER, EITHER, NEWER = (TLS_1_2, TLS_1_2), (TLS_1_2, TLS_1_3), (TLS_1_3, TLS_1_3)
_WITHOUT_GROUP = f"cipher_suites: [{_AES128}, {_CHACHA}]"
_CLIENTS_FIRST = "prefer_client_ciphers: true"
_ONE_OF_RSA = "cipher_suites: ['RSA+SHA1', '-AES256']"
NEGOTIATED = [
    Negotiated("ours-first", f"ciphers.{_AES128}", ciphers=f"{_AES256}:{_AES128}"),
    Negotiated("chacha", f"ciphers.{_CHACHA}", ciphers=f"{_CHACHA}:{_AES128}"),
    Negotiated("no-group", f"ciphers.{_AES128}", _WITHOUT_GROUP, ciphers=f"{_CHACHA}:{_AES128}"),
    Negotiated("clients-first", f"ciphers.{_AES256}", tls=_CLIENTS_FIRST, ciphers=f"{_AES256}:{_AES128}"),
    Negotiated("no-common-cipher", "NO_SHARED_CIPHER", f"cipher_suites: [{_AES256}]", ciphers=_AES128),
    Negotiated("alias", "ciphers.AES128-SHA", _ONE_OF_RSA, own="rsa", ciphers="AES128-SHA:AES256-SHA"),
    Negotiated("too-old", "UNSUPPORTED_PROTOCOL", "tls_minimum_protocol_version: TLSv1_3"),
    Negotiated("newest-by-default", "versions.TLSv1.3", versions=EITHER),
    Negotiated("older-at-most", "versions.TLSv1.2", "tls_maximum_protocol_version: TLSv1_2", versions=EITHER),
    Negotiated("curve", "curves.P-384", "ecdh_curves: [P-521, P-384]", own="rsa", curve="secp384r1"),
    Negotiated("no-common-curve", "NO_SHARED_CIPHER", own="rsa", curve="secp521r1"),
    Negotiated("newer-curve", "curves.P-384", "ecdh_curves: [P-384]", curve="secp384r1", versions=NEWER),
]  # fmt: skip


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    shown = {case.listener: case for case in SHOWN}
    listeners = [validating(name, case.context, case.required, GOOD) for name, case in shown.items()]
    listeners.append(listener("unsaid", GOOD, common=validation("ca")))
    listeners += [listener(case.listener, CERTIFICATES[case.own], case.tls, case.common) for case in NEGOTIATED]
    made = Matrix(
        tmp_path_factory.mktemp("tls"),
        "".join([*listeners, http_listener(), http_listener("http_state", STATE_FILTER)]),
        ((case.cluster, case.certificate, tls_fields(case), case.more) for case in ASKED),
    )
    yield made
    made.close()


def tls_fields(case: Asked) -> str:
    """What the cluster's UpstreamTlsContext says."""
    if "common_tls_context" in case.tls:
        return case.tls
    return f"common_tls_context: {{{validation(case.context)}}}\n{case.tls}"


PIN_ALERT = ("TLSV1_BAD_CERTIFICATE_HASH_VALUE", "SSLV3_ALERT_CERTIFICATE_UNKNOWN")
"""Envoy's alert about pins, which OpenSSL cannot send, and ours."""


def check(case: Shown | Asked | Negotiated, envoy: list[str], proxeny: list[str]) -> None:
    """Both as expected, and alike but for the alert about pins."""
    envoy = [line.replace(*PIN_ALERT) for line in envoy]
    table = "\n".join(["Envoy:", *envoy, "Proxeny:", *proxeny])
    for side in (envoy, proxeny):
        assert any(case.expect in line for line in side), f"{case.expect!r} is missing\n{table}"
    assert envoy == proxeny, table


@pytest.mark.parametrize("case", SHOWN, ids=str)
def test_a_client_shows(case: Shown, matrix: Matrix) -> None:
    check(case, *[side.show(case.listener, case.certificate, case.version) for side in matrix.sides])


@pytest.mark.parametrize("case", NEGOTIATED, ids=str)
def test_parameters(case: Negotiated, matrix: Matrix) -> None:
    client = case.client()
    check(case, *[side.greet(case.listener, client) for side in matrix.sides])


@pytest.mark.parametrize("case", ASKED, ids=str)
def test_a_server_shows(case: Asked, matrix: Matrix) -> None:
    check(case, *[side.ask(case.listener, case.cluster, case.certificate, case.host) for side in matrix.sides])


def test_deprecated_uses_are_counted(matrix: Matrix) -> None:
    """An older field, and a validation context without a word about requiring certificates."""
    envoy, proxeny = (side.proxy.stats("^runtime.deprecated_feature_use$") for side in matrix.sides)
    assert envoy == proxeny == {"runtime.deprecated_feature_use": 2}


def test_the_matrix_has_what_the_issue_asks_for() -> None:
    assert len(SHOWN) + len(ASKED) + len(NEGOTIATED) >= 60
    assert {case.context for case in SHOWN} == set(CONTEXTS)
    assert CA
    assert {case.certificate for case in (*SHOWN, *ASKED)} - {""} == set(CERTIFICATES)
