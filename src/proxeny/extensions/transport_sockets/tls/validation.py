"""``CertificateValidationContext``: how peers are verified, compiled to plain values (and validators made of them)."""

from __future__ import annotations

import base64
import binascii
import os
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.anys import open_any
from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.extensions.transport_sockets.tls import data_sources
from proxeny.extensions.transport_sockets.tls.data_sources import NOTHING, ReadFile, Source
from proxeny.extensions.transport_sockets.tls.san_matcher import SanMatcher, compile_san_matchers
from proxeny.extensions.transport_sockets.tls.spiffe import TrustDomains, compile_trust_domains
from proxeny.kernel.tls_store import read_pem

if TYPE_CHECKING:
    from collections.abc import Sequence

SPIFFE: Final = "envoy.tls.cert_validator.spiffe"
_SPIFFE_TYPE: Final = "envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig"
_SHA256_BYTES: Final = 32
_FINGERPRINT_WITH_COLONS: Final = 95
_SYSTEM_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


@dataclass(frozen=True, slots=True)
class Validation:
    """How peers are verified."""

    authorities: tuple[bytes, ...] = ()
    """Trusted certificates, DER; empty: chains are not verified."""
    authorities_pem: bytes = b""
    """Where they are from, with the revocation lists among them."""
    authorities_path: str = ""
    name: str = ""
    """What statistics call them."""
    crl: bytes = b""
    """PEM."""
    crl_path: str = ""
    checks_revocation: bool = False
    only_leaf_revocation: bool = False
    allow_expired: bool = False
    accept_untrusted: bool = False
    max_depth: int | None = None
    """Certificates between the peer's own and the trusted one, and the latter."""
    suppress_client_ca_list: bool = False
    matchers: tuple[SanMatcher, ...] = ()
    hashes: frozenset[bytes] = frozenset()
    """SHA-256 of certificates."""
    keys: frozenset[bytes] = frozenset()
    """SHA-256 of public keys."""
    trust_domains: TrustDomains | None = None
    """The SPIFFE validator's; it takes the place of the rest."""
    auto_sni_san: bool = False
    """Whether the peer's certificate has to have the name that was asked for (``auto_sni_san_validation``)."""

    @property
    def verifies_chain(self) -> bool:
        """Whether a chain has to lead to a trusted certificate."""
        return bool(self.authorities) and self.trust_domains is None

    @property
    def checks_certificate(self) -> bool:
        """Whether a peer's own certificate has to satisfy something."""
        return bool(self.matchers or self.hashes or self.keys or self.trust_domains is not None)

    @property
    def requires_certificate(self) -> bool:
        """Whether a client without certificate is refused whatever ``require_client_certificate`` says."""
        return self.trust_domains is not None or (self.checks_certificate and not self.accept_untrusted)

    @property
    def asks_for_certificate(self) -> bool:
        """Whether clients are asked for certificates."""
        return self.checks_certificate or self.verifies_chain or self.accept_untrusted


NO_VALIDATION: Final = Validation()


def compile_validation(config: Any, read_file: ReadFile, name: str = "", auto_sni_san: bool = False) -> Validation:
    """Compile a ``CertificateValidationContext``; ConfigError in Envoy's words."""
    authority, crl = _read(config, read_file)
    if not authority.data:
        _check_without_authority(config, crl)
    domains = _custom_validator(config, read_file)
    authorities, revocations = _authorities(authority) if domains is None else ((), 0)
    if auto_sni_san and not authorities and domains is None:
        raise ConfigError("'auto_sni_san_validation' was configured without configuring a trusted CA")
    return Validation(
        authorities=authorities,
        authorities_pem=authority.data,
        authorities_path=authority.path,
        name=name,
        crl=crl.data,
        crl_path=crl.path,
        checks_revocation=bool(crl.data or revocations),
        only_leaf_revocation=config.only_verify_leaf_cert_crl,
        allow_expired=config.allow_expired_certificate,
        accept_untrusted=config.trust_chain_verification == config.ACCEPT_UNTRUSTED,
        max_depth=config.max_verify_depth.value if config.HasField("max_verify_depth") else None,
        suppress_client_ca_list=config.suppress_client_ca_list,
        matchers=compile_san_matchers(config),
        hashes=_hashes(config.verify_certificate_hash),
        keys=_keys(config.verify_certificate_spki),
        trust_domains=domains,
        auto_sni_san=auto_sni_san,
    )


def _read(config: Any, read_file: ReadFile) -> tuple[Source, Source]:
    """Trusted certificates and revocation lists."""
    authority, crl = NOTHING, NOTHING
    if config.HasField("trusted_ca"):
        authority = data_sources.read_filled(config.trusted_ca, read_file)
    elif config.HasField("system_root_certs"):
        authority = _system_roots(read_file)
    if config.HasField("crl"):
        crl = data_sources.read_filled(config.crl, read_file)
    return authority, crl


def _check_without_authority(config: Any, crl: Source) -> None:
    """What makes no sense unless chains are verified; a validator of its own may have what it takes."""
    if config.HasField("custom_validator_config"):
        return
    if crl.data:
        raise ConfigError(f"Failed to load CRL from {crl.path} without trusted CA")
    if config.match_typed_subject_alt_names or config.match_subject_alt_names:
        raise ConfigError("SAN-based verification of peer certificates without trusted CA is insecure and not allowed")
    if config.allow_expired_certificate:
        raise ConfigError("Certificate validity period is always ignored without trusted CA")


def _system_roots(read_file: ReadFile) -> Source:
    """The bundle of this system: OpenSSL's own, or where distributions have theirs."""
    default = ssl.get_default_verify_paths()
    for path in (default.cafile, default.openssl_cafile, *_SYSTEM_BUNDLES):
        if path and os.path.isfile(path):
            data = read_file(path)
            if data:
                return Source(data, path)
    raise ConfigError("system_root_certs: this system has no bundle of trusted certificates")


def _authorities(source: Source) -> tuple[tuple[bytes, ...], int]:
    """The certificates, and how many revocation lists are among them."""
    if not source.data:
        return (), 0
    try:
        certificates, revocations = read_pem(source.data)
    except ValueError:
        certificates = []
    if not certificates:
        raise ConfigError(f"Failed to load trusted CA certificates from {source.path}")
    return tuple(certificates), revocations


def _custom_validator(config: Any, read_file: ReadFile) -> TrustDomains | None:
    if not config.HasField("custom_validator_config"):
        return None
    custom = config.custom_validator_config
    if custom.name != SPIFFE:
        raise ConfigError(f"Failed to get certificate validator factory for {custom.name}")
    type_name = custom.typed_config.type_url.rpartition("/")[2]
    if type_name != _SPIFFE_TYPE:
        raise UnsupportedFieldError(f"{SPIFFE} takes a {_SPIFFE_TYPE}, not a {type_name}", "custom_validator_config")
    return compile_trust_domains(open_any(custom.typed_config), read_file)


def _hashes(texts: Sequence[str]) -> frozenset[bytes]:
    found = set()
    for text in texts:
        plain = text.replace(":", "") if len(text) == _FINGERPRINT_WITH_COLONS else text
        try:
            digest = binascii.unhexlify(plain)
        except ValueError:
            digest = b""
        if len(digest) != _SHA256_BYTES:
            raise ConfigError(f"Invalid hex-encoded SHA-256 {plain}")
        found.add(digest)
    return frozenset(found)


def _keys(texts: Sequence[str]) -> frozenset[bytes]:
    found = set()
    for text in texts:
        try:
            digest = base64.b64decode(text, validate=True)
        except ValueError:
            digest = b""
        # Bits behind the last byte have to be zero.
        if len(digest) != _SHA256_BYTES or base64.b64encode(digest).decode() != text:
            raise ConfigError(f"Invalid base64-encoded SHA-256 {text}")
        found.add(digest)
    return frozenset(found)
