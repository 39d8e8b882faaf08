"""Chains verified outside of a handshake."""

from __future__ import annotations

import pytest

from proxeny.kernel.tls_store import TrustStore, read_pem
from proxeny.testing.certificates import Authority, Certificate, expired

ROOT, OTHER = Authority("root"), Authority("other")


def chain(certificate: Certificate) -> list[bytes]:
    return [certificate.der, *[one.der for one in certificate.issuers()[:-1]]]


def test_chains_lead_to_a_trusted_certificate() -> None:
    store = TrustStore([ROOT.der])
    assert store.verify(chain(ROOT.issue("a")), b"ssl_client") is None
    assert store.verify(chain(ROOT.intermediate().issue("a")), b"ssl_server") is None
    assert store.verify(chain(OTHER.issue("a")), b"") == (0, "unable to get local issuer certificate")
    assert TrustStore([OTHER.der, ROOT.der]).verify(chain(OTHER.issue("a")), b"") is None


def test_purpose_and_times() -> None:
    store = TrustStore([ROOT.der])
    server = chain(ROOT.issue("a", extended=("server",)))
    assert store.verify(server, b"ssl_server") is None
    assert store.verify(server, b"ssl_client") == (0, "unsuitable certificate purpose")
    assert store.verify(server, b"") is None
    old = chain(ROOT.issue("a", **expired()))
    assert store.verify(old, b"") == (0, "certificate has expired")
    assert store.verify(old, b"", True) is None


def test_depth() -> None:
    deep = chain(ROOT.intermediate("a").intermediate("b").issue("c"))
    assert TrustStore([ROOT.der]).verify(deep, b"", depth=2) is None
    assert TrustStore([ROOT.der]).verify(deep, b"", depth=1) is not None


def test_revocation() -> None:
    good, bad = ROOT.issue("good"), ROOT.issue("bad")
    store = TrustStore([ROOT.der], ROOT.crl([bad]).encode())
    assert store.verify(chain(good), b"") is None
    assert store.verify(chain(bad), b"") == (0, "certificate revoked")


def test_text_is_read_whole_or_not_at_all() -> None:
    leaf = ROOT.issue("leaf")
    assert read_pem((ROOT.pem + ROOT.crl() + leaf.key_pem + leaf.pem).encode()) == ([ROOT.der, leaf.der], 1)
    assert read_pem(b"junk") == ([], 0)
    broken = ROOT.pem + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    with pytest.raises(ValueError, match="not PEM"):
        read_pem(broken.encode())
    with pytest.raises(ValueError, match="not a certificate"):
        TrustStore([b"junk"])
    with pytest.raises(ValueError, match="not a certificate"):
        TrustStore([ROOT.der]).verify([b"junk"], b"")
