"""What a peer's own certificate has to satisfy besides its chain (Envoy: ``CertValidator``).

The kernel verifies the chain and then asks ``verify``: None, or which counter and which words a refusal deserves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from proxeny.extensions.transport_sockets.tls.san_matcher import (
    URI,
    AlternativeName,
    DnsSanMatcher,
    SanMatcher,
    is_in_list,
    matches_any,
)
from proxeny.kernel.tls_context import COUNTERS
from proxeny.network.ssl_connection import certificate_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxeny.extensions.transport_sockets.tls.spiffe import TrustDomains
    from proxeny.extensions.transport_sockets.tls.validation import Validation
    from proxeny.kernel.tls import TlsTransport
    from proxeny.kernel.tls_certificate import Certificate

Refusal: TypeAlias = tuple[int, str]
"""The slot of ``COUNTERS`` and what the transport failure reason says."""

_FAIL_VERIFY_CERT_HASH: Final = COUNTERS.index("fail_verify_cert_hash")
_FAIL_VERIFY_ERROR: Final = COUNTERS.index("fail_verify_error")
_FAIL_VERIFY_SAN: Final = COUNTERS.index("fail_verify_san")


def names_of(certificate: Certificate) -> list[AlternativeName]:
    """The alternative names of a certificate."""
    return [AlternativeName(*one) for one in certificate.alternative_names]


def sans_for_logging(names: Sequence[AlternativeName]) -> str:
    """Names as failure reasons show them."""
    return ", ".join([name.text for name in names])


class DefaultCertValidator:
    """Alternative names and pins."""

    __slots__ = ("_auto_sni_san", "_hashes", "_keys", "_matchers", "_trusts_nobody")

    def __init__(self, config: Validation) -> None:
        self._matchers = config.matchers
        self._hashes = config.hashes
        self._keys = config.keys
        self._auto_sni_san = config.auto_sni_san
        self._trusts_nobody = not config.asks_for_certificate

    def verify(self, transport: TlsTransport, chain: list[bytes]) -> Refusal | None:
        """Judge a peer by its certificates (DER, its own first)."""
        options = transport.options
        expected = () if options is None else options.verify_san_list_override
        matchers: Sequence[SanMatcher] = self._matchers
        if not expected and self._auto_sni_san:
            server_name = transport.server_name
            if server_name:
                matchers = (DnsSanMatcher(server_name.encode("latin-1")),)
        if not expected and not matchers and not self._hashes and not self._keys:
            return None
        certificate = certificate_of(chain[0])
        if certificate is None:
            return _FAIL_VERIFY_ERROR, "verify cert failed: empty cert chain"
        if expected:
            if self._trusts_nobody:
                # Whoever likes can have a name in a certificate of his own.
                return _FAIL_VERIFY_ERROR, "verify cert failed: a name is expected of a certificate without trusted CA"
            names = names_of(certificate)
            if not is_in_list(names, [one.encode("utf-8", "surrogateescape") for one in expected]):
                return _FAIL_VERIFY_SAN, (
                    f"verify cert failed: verify SAN list, expected SANs: [{', '.join(expected)}], "
                    f"certificate SANs: [{sans_for_logging(names)}]"
                )
        return self._check_names(matchers, certificate) or self._check_pins(certificate)

    def _check_names(self, matchers: Sequence[SanMatcher], certificate: Certificate) -> Refusal | None:
        if not matchers:
            return None
        names = names_of(certificate)
        if matches_any(matchers, names):
            return None
        return _FAIL_VERIFY_SAN, (f"verify cert failed: SAN matcher, certificate SANs are [{sans_for_logging(names)}]")

    def _check_pins(self, certificate: Certificate) -> Refusal | None:
        if not self._hashes and not self._keys:
            return None
        if bytes.fromhex(certificate.sha256) in self._hashes or certificate.public_key_sha256 in self._keys:
            return None
        return _FAIL_VERIFY_CERT_HASH, "verify cert failed: cert hash and spki"


class SpiffeCertValidator:
    """The chain, against the bundle of the peer's trust domain, and its URI name."""

    __slots__ = ("_allow_expired", "_domains", "_matchers", "_purpose")

    def __init__(self, config: Validation, domains: TrustDomains) -> None:
        self._domains = domains
        self._allow_expired = config.allow_expired
        self._matchers = tuple(one for one in config.matchers if one.kind == URI)

    def verify(self, transport: TlsTransport, chain: list[bytes]) -> Refusal | None:
        """Judge a peer by its certificates (DER, its own first)."""
        certificate = certificate_of(chain[0])
        if certificate is None:
            return _FAIL_VERIFY_ERROR, "verify cert failed: empty cert chain"
        failure = self._domains.verify(certificate, chain, b"", self._allow_expired)
        if failure:
            return _FAIL_VERIFY_ERROR, failure
        if self._matchers and not matches_any(self._matchers, names_of(certificate)):
            return _FAIL_VERIFY_SAN, "verify cert failed: SAN match"
        return None
