"""CertificateValidationContext compiled, and the validators that are made of it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_spiffe_validator_config_pb2
from google.protobuf.any_pb2 import Any as AnyMessage

from proxeny.config.errors import ConfigError
from proxeny.extensions.transport_sockets.tls.cert_validator import DefaultCertValidator, SpiffeCertValidator
from proxeny.extensions.transport_sockets.tls.validation import SPIFFE, Validation, compile_validation
from proxeny.kernel.tls_context import COUNTERS
from proxeny.network.transport_socket import TransportSocketOptions
from proxeny.testing.certificates import Authority, Certificate, expired

ROOT, OTHER = Authority("root"), Authority("other")
LEAF = ROOT.issue("leaf", "DNS:*.a.test", "URI:spiffe://a.test/x", "IP:10.0.0.1")
SAN_SLOT, HASH_SLOT, ERROR_SLOT = (COUNTERS.index(f"fail_verify_{name}") for name in ("san", "cert_hash", "error"))


class Peer:
    """What a validator asks of a transport."""

    def __init__(self, server_name: str = "", options: TransportSocketOptions | None = None) -> None:
        self.server_name = server_name
        self.options = options


def compiled(auto_sni_san: bool = False, ca: str = ROOT.pem, **fields: Any) -> Validation:
    config = common_pb2.CertificateValidationContext(**fields)
    if ca:
        config.trusted_ca.inline_string = ca
    return compile_validation(config, lambda path: Path(path).read_bytes(), "name", auto_sni_san)


def judged(validation: Validation, certificate: Certificate = LEAF, peer: Peer | None = None) -> Any:
    made = DefaultCertValidator(validation)
    return made.verify(peer or Peer(), [certificate.der])  # type: ignore[arg-type]


def exact(name: str, kind: int = 2) -> common_pb2.SubjectAltNameMatcher:
    return common_pb2.SubjectAltNameMatcher(san_type=kind, matcher={"exact": name})


def test_what_is_verified() -> None:
    nothing = compiled(ca="")
    assert not nothing.verifies_chain
    assert not nothing.asks_for_certificate
    chain = compiled()
    assert chain.verifies_chain
    assert chain.asks_for_certificate
    assert not chain.requires_certificate
    assert chain.authorities == (ROOT.der,)
    assert compiled(match_typed_subject_alt_names=[exact("a")]).requires_certificate
    untrusted = compiled(match_typed_subject_alt_names=[exact("a")], trust_chain_verification=1)
    assert not untrusted.requires_certificate
    assert untrusted.accept_untrusted


def test_revocation_is_checked_with_lists_beside_or_among_the_authorities() -> None:
    assert not compiled().checks_revocation
    assert compiled(ca=ROOT.pem + ROOT.crl()).checks_revocation
    assert compiled(crl={"inline_string": "junk"}).checks_revocation


def test_names() -> None:
    assert judged(compiled(match_typed_subject_alt_names=[exact("x.a.test")])) is None
    assert judged(compiled(match_typed_subject_alt_names=[exact("x.b.test")])) == (
        SAN_SLOT,
        "verify cert failed: SAN matcher, certificate SANs are [*.a.test, spiffe://a.test/x, 10.0.0.1]",
    )
    assert judged(compiled()) is None


def expecting(*names: str) -> Peer:
    return Peer(options=TransportSocketOptions(verify_san_list_override=names))


def test_names_that_a_request_expects_count_beside_the_matchers() -> None:
    assert judged(compiled(), peer=expecting("q", "x.a.test")) is None
    assert judged(compiled(), peer=expecting("q", "r")) == (
        SAN_SLOT,
        "verify cert failed: verify SAN list, expected SANs: [q, r], "
        "certificate SANs: [*.a.test, spiffe://a.test/x, 10.0.0.1]",
    )
    assert judged(compiled(match_typed_subject_alt_names=[exact("nobody")]), peer=expecting("x.a.test")) is not None
    assert judged(compiled(True), peer=expecting("x.a.test")) is None, "then the name that was asked for does not count"


def test_names_mean_nothing_where_nobody_is_trusted() -> None:
    refusal = judged(compiled(ca=""), peer=expecting("x.a.test"))
    assert refusal is not None
    assert refusal[0] == ERROR_SLOT


def test_the_name_that_was_asked_for_takes_the_place_of_the_matchers() -> None:
    validation = compiled(True, match_typed_subject_alt_names=[exact("x.a.test")])
    assert judged(validation, peer=Peer("y.a.test")) is None
    assert judged(validation, peer=Peer("y.b.test")) is not None
    assert judged(validation, peer=Peer("10.0.0.1")) is not None
    assert judged(validation) is None


def test_pins_are_of_the_certificate_or_its_key() -> None:
    other = ROOT.issue("other")
    by_hash = compiled(ca="", verify_certificate_hash=[LEAF.fingerprint.upper()])
    assert judged(by_hash) is None
    assert judged(by_hash, other) == (HASH_SLOT, "verify cert failed: cert hash and spki")
    by_either = compiled(ca="", verify_certificate_hash=["0" * 64], verify_certificate_spki=[LEAF.spki_pin])
    assert judged(by_either) is None
    again = ROOT.issue("again", key=LEAF.key)
    assert judged(by_either, again) is None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"crl": {"inline_string": "x"}}, "Failed to load CRL from <inline> without trusted CA"),
        ({"match_typed_subject_alt_names": [exact("a")]}, "SAN-based verification of peer certificates without"),
        ({"allow_expired_certificate": True}, "Certificate validity period is always ignored without trusted CA"),
        ({"verify_certificate_hash": ["z" * 64]}, f"Invalid hex-encoded SHA-256 {'z' * 64}"),
        ({"verify_certificate_hash": [f"{LEAF.fingerprint}aa"]}, "Invalid hex-encoded SHA-256"),
        ({"verify_certificate_spki": ["a" * 43 + "="]}, "Invalid base64-encoded SHA-256"),
        ({"trusted_ca": {"filename": "/nonexistent/ca"}}, "Invalid path: /nonexistent/ca"),
        ({"trusted_ca": {"inline_string": ""}}, "DataSource cannot be empty"),
        ({"trusted_ca": {"inline_string": "junk"}}, "Failed to load trusted CA certificates from <inline>"),
        ({"trusted_ca": {"inline_string": ROOT.crl()}}, "Failed to load trusted CA certificates from <inline>"),
        ({"custom_validator_config": {"name": "x"}}, "Failed to get certificate validator factory for x"),
    ],
)
def test_refusals_are_envoys(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        compiled(ca="", **fields)
    assert str(refused.value).startswith(reason)


def test_auto_sni_san_validation_needs_an_authority() -> None:
    with pytest.raises(ConfigError, match="without configuring a trusted CA"):
        compiled(True, ca="")


def test_system_roots_are_a_bundle_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "bundle"
    bundle.write_text(OTHER.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert compiled(ca="", system_root_certs={}).authorities == (OTHER.der,)
    assert compiled(system_root_certs={}).authorities == (ROOT.der,)


# SPIFFE


def spiffe(sans: tuple[str, ...] = (), allow_expired: bool = False, **fields: Any) -> SpiffeCertValidator:
    typed = AnyMessage()
    typed.Pack(tls_spiffe_validator_config_pb2.SPIFFECertValidatorConfig(**fields))
    matchers = [common_pb2.SubjectAltNameMatcher(san_type=3, matcher={"prefix": san}) for san in sans]
    validation = compiled(
        ca="",
        custom_validator_config={"name": SPIFFE, "typed_config": typed},
        match_typed_subject_alt_names=matchers,
        allow_expired_certificate=allow_expired,
    )
    assert validation.requires_certificate
    assert not validation.verifies_chain
    assert validation.trust_domains is not None
    return SpiffeCertValidator(validation, validation.trust_domains)


def bundle(domain: str, pem: str) -> dict[str, Any]:
    return {"name": domain, "trust_bundle": {"inline_string": pem}}


def verdict(validator: SpiffeCertValidator, certificate: Certificate) -> Any:
    chain = [certificate.der, *[one.der for one in certificate.issuers()[:-1]]]
    return validator.verify(Peer(), chain)  # type: ignore[arg-type]


def test_a_peer_is_verified_by_the_bundle_of_its_domain() -> None:
    validator = spiffe(trust_domains=[bundle("a.test", ROOT.pem), bundle("b.test", OTHER.pem)])
    assert verdict(validator, ROOT.issue("x", "URI:spiffe://a.test/x")) is None
    assert verdict(validator, ROOT.intermediate().issue("x", "URI:spiffe://a.test/x")) is None
    assert verdict(validator, OTHER.issue("x", "DNS:a.test", "URI:spiffe://b.test/")) is None
    assert verdict(validator, OTHER.issue("x", "URI:spiffe://a.test/x")) == (
        ERROR_SLOT,
        "verify cert failed: X509_verify_cert: certificate verification error at depth 0: "
        "unable to get local issuer certificate",
    )
    for san in ("URI:spiffe://c.test/x", "URI:spiffe://a.test", "URI:http://a.test/x", "DNS:a.test"):
        assert verdict(validator, ROOT.issue("x", san)) == (ERROR_SLOT, "verify cert failed: no trust bundle store")


def test_who_may_issue_certificates_is_no_workload() -> None:
    validator = spiffe(trust_domains=[bundle("a.test", ROOT.pem)])
    precheck = (ERROR_SLOT, "verify cert failed: cert precheck")
    assert verdict(validator, ROOT.issue("x", "URI:spiffe://a.test/x", ca=True)) == precheck
    assert verdict(validator, ROOT.issue("x", "URI:spiffe://a.test/x", usages=("crl_sign",))) == precheck
    assert verdict(validator, ROOT.issue("x", "URI:spiffe://a.test/x", usages=None)) == precheck


def test_uri_names_and_expired_certificates_of_workloads() -> None:
    old = ROOT.issue("x", "URI:spiffe://a.test/x", **expired())
    domains = [bundle("a.test", ROOT.pem)]
    assert "certificate has expired" in verdict(spiffe(trust_domains=domains), old)[1]
    assert verdict(spiffe(allow_expired=True, trust_domains=domains), old) is None
    named = spiffe(("spiffe://a.test/y",), True, trust_domains=domains)
    assert verdict(named, old) == (SAN_SLOT, "verify cert failed: SAN match")


def test_revoked_workloads() -> None:
    bad = ROOT.issue("x", "URI:spiffe://a.test/x")
    validator = spiffe(trust_domains=[bundle("a.test", ROOT.pem + ROOT.crl([bad]))])
    assert "certificate revoked" in verdict(validator, bad)[1]
    assert verdict(validator, ROOT.issue("y", "URI:spiffe://a.test/y")) is None


def bundle_map(keys: Any) -> dict[str, Any]:
    return {"trust_bundles": {"inline_string": json.dumps({"trust_domains": {"a.test": {"keys": keys}}})}}


def test_bundles_may_come_as_a_map() -> None:
    key = {"use": "x509-svid", "x5c": [base64.b64encode(ROOT.der).decode()]}
    assert verdict(spiffe(**bundle_map([key])), ROOT.issue("x", "URI:spiffe://a.test/x")) is None
    for keys, reason in (
        ([], "No keys found in SPIFFE bundle for domain 'a.test'"),
        ([{"kty": "EC"}], "missing or invalid 'use' field found in cert for domain 'a.test'"),
        ([{**key, "x5c": []}], "missing or empty 'x5c' field found in keys for domain: 'a.test'"),
        ([{**key, "x5c": ["?"]}], "Failed to create x509 object while loading certs in domain 'a.test'"),
        ([{**key, "x5c": ["AAAA"]}], "Invalid x509 object in certs for domain 'a.test'"),
    ):
        with pytest.raises(ConfigError) as refused:
            spiffe(**bundle_map(keys))
        assert str(refused.value) == reason


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"trust_bundles": {"inline_string": "x"}}, "Invalid JSON found in SPIFFE bundle"),
        ({"trust_bundles": {"inline_string": "[]"}}, "No trust domains found in SPIFFE bundle"),
        ({"trust_domains": [{"name": "a"}]}, "Failed to load trusted CA certificate for a"),
        ({"trust_domains": [bundle("a", "junk")]}, "Failed to load trusted CA certificate for a"),
        (
            {"trust_domains": [bundle("a", ROOT.pem), bundle("a", ROOT.pem)]},
            "Multiple trust bundles are given for one trust domain for a, workload: ",
        ),
    ],
)
def test_refusals_of_bundles_are_envoys(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        spiffe(**fields)
    assert str(refused.value) == reason
