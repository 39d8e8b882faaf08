"""``envoy.tls.cert_validator.spiffe``: a peer is verified against the bundle of its own trust domain.

(SPIFFE X.509-SVID, section 5.) The domain is that of the certificate's first URI name, ``spiffe://<domain>/...``.
"""

from __future__ import annotations

import base64
import json
from typing import Any, Final

from proxeny.config.errors import ConfigError
from proxeny.extensions.transport_sockets.tls import data_sources
from proxeny.extensions.transport_sockets.tls.data_sources import ReadFile
from proxeny.extensions.transport_sockets.tls.san_matcher import URI
from proxeny.kernel.tls_certificate import Certificate
from proxeny.kernel.tls_reasons import refused_chain
from proxeny.kernel.tls_store import TrustStore, read_pem

_SCHEME: Final = "spiffe://"


class TrustDomains:
    """Bundles by trust domain."""

    __slots__ = ("_stores", "authorities", "path")

    def __init__(self) -> None:
        self._stores: dict[str, TrustStore] = {}
        self.authorities: list[bytes] = []
        """All trusted certificates (DER), in the order of the configuration."""
        self.path = ""
        """What the first of them is called: its domain and file."""

    def add(self, domain: str, certificates: list[bytes], path: str, revocations: bytes = b"") -> None:
        """Take the bundle of a domain."""
        self._stores[domain] = TrustStore(certificates, revocations)
        if certificates:
            self.path = f"{domain}: {path}"
        self.authorities += certificates

    def __contains__(self, domain: str) -> bool:
        return domain in self._stores

    def verify(self, certificate: Certificate, chain: list[bytes], purpose: bytes, allow_expired: bool) -> str:
        """Why a peer's certificate is not to be trusted, in Envoy's words; empty: it is."""
        if certificate.may_issue:
            return "verify cert failed: cert precheck"
        store = self._stores.get(trust_domain_of(certificate))
        if store is None:
            return "verify cert failed: no trust bundle store"
        failure = store.verify(chain, purpose, allow_expired)
        if failure is None:
            return ""
        return refused_chain(*failure)


def trust_domain_of(certificate: Certificate) -> str:
    """The trust domain of a certificate's first URI name; empty: it has none."""
    uri = next((text for kind, text, _ in certificate.alternative_names if kind == URI), "")
    if not uri.startswith(_SCHEME):
        return ""
    domain, slash, _ = uri[len(_SCHEME) :].partition("/")
    return domain if slash else ""


def compile_trust_domains(config: Any, read_file: ReadFile) -> TrustDomains:
    """Compile a ``SPIFFECertValidatorConfig``; ConfigError in Envoy's words."""
    found = TrustDomains()
    if config.HasField("trust_bundles"):
        _add_bundle_map(found, data_sources.read_filled(config.trust_bundles, read_file).data)
        return found
    for domain in config.trust_domains:
        if domain.name in found:
            raise ConfigError(f"Multiple trust bundles are given for one trust domain for {domain.name}, workload: ")
        source = data_sources.NOTHING
        if domain.HasField("trust_bundle"):
            source = data_sources.read_present(domain.trust_bundle, read_file)
        try:
            certificates, revocations = read_pem(source.data)
        except ValueError:
            certificates, revocations = [], 0
        if not certificates and not revocations:
            raise ConfigError(f"Failed to load trusted CA certificate for {domain.name}")
        found.add(domain.name, certificates, source.path, source.data if revocations else b"")
    return found


def _add_bundle_map(found: TrustDomains, text: bytes) -> None:
    """Bundles by domain, as JSON: ``{"trust_domains": {"a.test": {"keys": [{"use": "x509-svid", "x5c": [...]}]}}}``."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        raise ConfigError("Invalid JSON found in SPIFFE bundle") from None
    domains = parsed.get("trust_domains") if isinstance(parsed, dict) else None
    if not isinstance(domains, dict) or not domains:
        raise ConfigError("No trust domains found in SPIFFE bundle")
    for domain, bundle in domains.items():
        keys = bundle.get("keys") if isinstance(bundle, dict) else None
        if not isinstance(keys, list) or not keys:
            raise ConfigError(f"No keys found in SPIFFE bundle for domain '{domain}'")
        certificates = [one for key in keys for one in _certificates_of(domain, key)]
        found.add(domain, certificates, "<inline>")


def _certificates_of(domain: str, key: Any) -> list[bytes]:
    if not isinstance(key, dict) or key.get("use") != "x509-svid":
        raise ConfigError(f"missing or invalid 'use' field found in cert for domain '{domain}'")
    texts = key.get("x5c")
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise ConfigError(f"missing or empty 'x5c' field found in keys for domain: '{domain}'")
    found = []
    for text in texts:
        try:
            der = base64.b64decode(text, validate=True)
        except ValueError:
            der = b""
        if not der:
            raise ConfigError(f"Failed to create x509 object while loading certs in domain '{domain}'")
        try:
            found.append(Certificate(der).der)
        except ValueError:
            raise ConfigError(f"Invalid x509 object in certs for domain '{domain}'") from None
    return found
