"""libssl's errors in BoringSSL's words."""

from __future__ import annotations

import pytest

from proxeny.kernel.tls_reasons import boringssl_reason, refused_chain

SSL = 20


@pytest.mark.parametrize(
    ("reason", "text", "told"),
    [
        (134, "certificate verify failed", "|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED"),
        (1048, "tlsv1 alert unknown ca", "|268436504:SSL routines:OPENSSL_internal:TLSV1_ALERT_UNKNOWN_CA"),
        (234, "callback failed", "|268435589:SSL routines:OPENSSL_internal:CONNECTION_REJECTED"),
        (
            1116,
            "tlsv13 alert certificate required",
            "|268436572:SSL routines:OPENSSL_internal:TLSV1_ALERT_CERTIFICATE_REQUIRED",
        ),
        (77, "something new", "|268435533:SSL routines:OPENSSL_internal:SOMETHING_NEW"),
    ],
)
def test_reasons_of_libssl(reason: int, text: str, told: str) -> None:
    assert boringssl_reason(SSL, reason, text) == told


def test_other_libraries_keep_their_numbers() -> None:
    assert boringssl_reason(4, 2, "bad thing") == "|67108866:library 4:OPENSSL_internal:BAD_THING"


@pytest.mark.parametrize(
    ("depth", "text", "told"),
    [
        (0, "certificate has expired", "0: certificate has expired"),
        (0, "self-signed certificate", "0: self signed certificate"),
        (1, "invalid CA certificate", "0: unable to get local issuer certificate"),
        (0, "certificate revoked", "0: certificate revocation check against provided CRLs failed: certificate revoked"),
    ],
)
def test_words_of_verification(depth: int, text: str, told: str) -> None:
    said = refused_chain(depth, text)
    assert said == f"verify cert failed: X509_verify_cert: certificate verification error at depth {told}"
