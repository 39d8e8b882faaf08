"""TLS contexts compiled to plain values, and the kernel's contexts that are made of them."""

from __future__ import annotations

import contextlib
import math
import random
import ssl
import warnings
from pathlib import Path
from typing import Any

import pytest
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_pb2
from google.protobuf.json_format import ParseDict

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.extensions.transport_sockets.tls.context_builder import fill_client_context, fill_server_context
from proxeny.extensions.transport_sockets.tls.settings import (
    DownstreamSettings,
    UpstreamSettings,
    compile_downstream_settings,
    compile_upstream_settings,
)
from proxeny.extensions.transport_sockets.tls.stats import SSL
from proxeny.kernel.tls_context import TlsContext
from proxeny.stats.store import MainStore
from proxeny.testing.certificates import Authority, Certificate, private_key

ROOT = Authority("root")
LEAF = ROOT.issue("leaf", "DNS:a.test")
STAPLED = ROOT.issue("stapled", must_staple=True)


class Secrets:
    """Secrets by name: None for those that have not come."""

    def __init__(self, **named: Any) -> None:
        self.named = named

    def read(self, path: str) -> bytes:
        return Path(path).read_bytes()

    def find(self, kind: str, config: Any) -> Any:
        if config.name not in self.named:
            raise ConfigError(f"Unknown {kind}: {config.name}")
        return self.named[config.name]


def text(value: str) -> dict[str, str]:
    return {"inline_string": value}


def pair(certificate: Certificate = LEAF, **more: Any) -> dict[str, Any]:
    return {"certificate_chain": text(certificate.chain_pem), "private_key": text(certificate.key_pem), **more}


def down(common: dict[str, Any] | None = None, secrets: Secrets | None = None, **fields: Any) -> DownstreamSettings:
    message = {"common_tls_context": {"tls_certificates": [pair()], **(common or {})}, **fields}
    return compile_downstream_settings(ParseDict(message, tls_pb2.DownstreamTlsContext()), secrets or Secrets())


def up(common: dict[str, Any] | None = None, **fields: Any) -> UpstreamSettings:
    message = {"common_tls_context": common or {}, **fields}
    return compile_upstream_settings(ParseDict(message, tls_pb2.UpstreamTlsContext()), Secrets())


def filled(settings: DownstreamSettings | UpstreamSettings) -> Any:
    store = MainStore()
    server = isinstance(settings, DownstreamSettings)
    context = TlsContext(server, store.block(SSL, "a.ssl."), store.dynamic("a.ssl."))
    if isinstance(settings, DownstreamSettings):
        return fill_server_context(context, settings, "a.")
    return fill_client_context(context, settings, "a.")


def test_defaults_of_a_server() -> None:
    made = down()
    assert made.is_complete
    assert made.ticket_keys == ()
    assert made.stateless_resumption
    assert made.stateful_resumption
    assert made.session_timeout_s is None
    assert not made.require_client_certificate
    assert made.common.validation is None
    assert filled(made).own[0].certificate == LEAF.x509


def test_defaults_of_a_client() -> None:
    made = up()
    assert made.is_complete
    assert made.max_session_keys == 1
    assert made.common.certificates == ()
    shown = filled(made)
    assert list(shown.all()) == []


def test_what_is_made_of_is_shown() -> None:
    made = down({"validation_context": {"trusted_ca": text(ROOT.pem)}})
    shown = filled(made)
    assert [one.certificate for one in shown.all()] == [ROOT.x509, LEAF.x509]
    assert shown.own[0].path == "<inline>"
    assert shown.own[0].name == "unnamed_cert_e3b0c442"
    assert shown.authorities[0].name == "unnamed_ca_cert_e3b0c442"


def test_secrets_that_have_not_come_leave_it_incomplete() -> None:
    certificate = ParseDict(pair(), common_pb2.TlsCertificate())
    validation = ParseDict({"trusted_ca": text(ROOT.pem)}, common_pb2.CertificateValidationContext())
    keys = ParseDict({"keys": [text("k" * 80)]}, common_pb2.TlsSessionTicketKeys())
    message = {
        "common_tls_context": {
            "tls_certificate_sds_secret_configs": [{"name": "c"}],
            "combined_validation_context": {
                "default_validation_context": {"allow_expired_certificate": True},
                "validation_context_sds_secret_config": {"name": "v"},
            },
        },
        "session_ticket_keys_sds_secret_config": {"name": "k"},
    }

    def compiled(**named: Any) -> DownstreamSettings:
        secrets = Secrets(**{"c": certificate, "v": validation, "k": keys, **named})
        return compile_downstream_settings(ParseDict(message, tls_pb2.DownstreamTlsContext()), secrets)

    for missing in ("c", "v", "k"):
        assert not compiled(**{missing: None}).is_complete
    whole = compiled()
    assert whole.is_complete
    assert whole.ticket_keys == (b"k" * 80,)
    assert whole.common.validation is not None
    assert whole.common.validation.allow_expired
    assert whole.common.validation.authorities == (ROOT.der,)
    assert whole.common.certificates[0].name == "c"


def test_protocols_may_stand_in_one_name() -> None:
    assert down({"alpn_protocols": ["h2,http/1.1", "", "x"]}).common.alpn == (b"h2", b"http/1.1", b"x")
    for names in (["a" * 256], ["a" * 255] * 256):
        with pytest.raises(ConfigError, match="Invalid ALPN protocol string"):
            down({"alpn_protocols": names})


def test_key_logs() -> None:
    ranges = [{"address_prefix": "10.1.2.3", "prefix_len": 8}, {"address_prefix": "::1", "prefix_len": 200}]
    log = down({"key_log": {"path": "/x", "local_address_range": ranges}}).common.key_log
    assert log is not None
    assert [str(one) for one in log.local] == ["10.0.0.0/8", "::1/128"]
    with pytest.raises(ConfigError, match="invalid ip/mask combo 'x/1'"):
        down({"key_log": {"path": "/x", "remote_address_range": [{"address_prefix": "x", "prefix_len": 1}]}})


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        ({}, "Server TlsCertificates must have a certificate specified"),
        ({**pair(), "pkcs12": text("x")}, "Certificate configuration can't have both pkcs12 and private_key"),
        ({"private_key": text("x")}, "Failed to load incomplete certificate from : certificate chain not set"),
        ({"certificate_chain": text("x")}, "Failed to load incomplete private key from path: "),
        (pair(ocsp_staple=text("x")), "OCSP staple cannot be provided via inline_string"),
        (pair(private_key_provider={"provider_name": "p"}), "Failed to load private key provider: p"),
        (pair(certificate_chain=text("junk")), "Failed to load certificate chain from <inline>"),
        (
            pair(private_key=text(ROOT.key_pem)),
            "Failed to load private key from <inline>, "
            "Cause: error:0b000074:X.509 certificate routines:OPENSSL_internal:KEY_VALUES_MISMATCH",
        ),
        (
            pair(private_key=text(LEAF.encrypted_key_pem("word"))),
            "Failed to load private key from <inline>, Cause: error:09000068:PEM routines:OPENSSL_internal:"
            "BAD_PASSWORD_READ",
        ),
        (
            pair(private_key=text(LEAF.encrypted_key_pem("word")), password=text("bad")),
            "Failed to load private key from <inline>, Cause: error:1e000065:Cipher functions:OPENSSL_internal:"
            "BAD_DECRYPT",
        ),
        ({"pkcs12": text("junk")}, "Failed to load pkcs12 from <inline>"),
        (pair(STAPLED), "OCSP response is required for must-staple certificate"),
        (
            pair(ROOT.issue("small", key="rsa1024")),
            "Failed to load certificate chain from <inline>, only RSA certificates with 2048-bit or larger keys are "
            "supported",
        ),
    ],
)
def test_certificates_are_refused_in_envoys_words(certificate: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        filled(down({"tls_certificates": [certificate]}))
    assert str(refused.value) == reason


def test_a_client_staples_nothing() -> None:
    filled(up({"tls_certificates": [pair(STAPLED)]}))


def test_bundles_passwords_and_keys_of_all_kinds(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.write_bytes(LEAF.pkcs12("word"))
    whole = {"pkcs12": {"filename": str(bundle)}, "password": text("word")}
    shown = filled(down({"tls_certificates": [whole]}))
    assert shown.own[0].certificate == LEAF.x509
    assert shown.own[0].path == str(bundle)
    for kind in ("p384", "p521", "ed25519"):
        filled(down({"tls_certificates": [pair(ROOT.issue(kind, key=private_key(kind)))]}))


def test_staples_have_an_end(tmp_path: Path) -> None:
    from proxeny.extensions.transport_sockets.tls.certificates import check_staple

    def ends(response: bytes) -> float:
        staple = tmp_path / "staple"
        staple.write_bytes(response)
        settings = down({"tls_certificates": [pair(ocsp_staple={"filename": str(staple)})]})
        return check_staple(LEAF.x509, settings.common.certificates[0], True)

    assert math.isfinite(ends(ROOT.ocsp_response(LEAF)))
    assert ends(ROOT.ocsp_response(LEAF, not_after=None)) == math.inf
    with pytest.raises(ConfigError, match="OCSP response does not match its TLS certificate"):
        ends(ROOT.ocsp_response(STAPLED))
    with pytest.raises(ConfigError, match="Data contained more than a single OCSP response"):
        ends(b"junk")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"allow_renegotiation": True}, "allow_renegotiation is not supported"),
        ({"sni": "a\0b"}, "SNI names containing NULL-byte are not allowed"),
        ({"auto_sni_san_validation": True}, "'auto_sni_san_validation' was configured without a validation context"),
    ],
)
def test_clients_are_refused_in_envoys_words(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        up(**fields)
    with pytest.raises(ConfigError, match="Multiple TLS certificates are not supported for client contexts"):
        up({"tls_certificates": [pair(), pair()]})


def test_renegotiation_is_named() -> None:
    with pytest.raises(UnsupportedFieldError):
        up(allow_renegotiation=True)


def test_bytes_at_random_are_accepted_or_refused_and_nothing_else() -> None:
    chance = random.Random(6)

    def mutated(data: bytes) -> bytes:
        changed = bytearray(data)
        for _ in range(chance.randint(0, 3)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        return bytes(changed)

    for _ in range(300):
        chain = ssl.DER_cert_to_PEM_cert(mutated(STAPLED.der))
        authority = ssl.DER_cert_to_PEM_cert(mutated(ROOT.der)) + mutated(ROOT.crl().encode()).decode("latin-1")
        message = tls_pb2.DownstreamTlsContext()
        certificate = message.common_tls_context.tls_certificates.add()
        certificate.certificate_chain.inline_string = chain
        certificate.private_key.inline_string = STAPLED.key_pem
        certificate.ocsp_staple.inline_bytes = mutated(ROOT.ocsp_response(STAPLED))
        message.common_tls_context.validation_context.trusted_ca.inline_string = authority
        with contextlib.suppress(ConfigError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            filled(compile_downstream_settings(message, Secrets()))
