"""``TlsCertificate``: one of our own certificates, read and looked at; the kernel loads it."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509 import ocsp

from proxeny.config.errors import ConfigError
from proxeny.extensions.transport_sockets.tls import data_sources
from proxeny.extensions.transport_sockets.tls.data_sources import ReadFile, Source
from proxeny.kernel.tls_context import TlsContext, TlsError
from proxeny.kernel.tls_store import read_pem

SMALLEST_RSA_BITS: Final = 2048

_CAUSES: Final = {
    "key values mismatch": "error:0b000074:X.509 certificate routines:OPENSSL_internal:KEY_VALUES_MISMATCH",
    "key type mismatch": "error:0b000073:X.509 certificate routines:OPENSSL_internal:KEY_TYPE_MISMATCH",
    "no start line": "error:0900006e:PEM routines:OPENSSL_internal:NO_START_LINE",
    "unsupported": "error:0900006e:PEM routines:OPENSSL_internal:NO_START_LINE",
    "bad decrypt": "error:1e000065:Cipher functions:OPENSSL_internal:BAD_DECRYPT",
    "bad password read": "error:09000068:PEM routines:OPENSSL_internal:BAD_PASSWORD_READ",
}
"""OpenSSL's reasons in BoringSSL's words."""
_UNREADABLE: Final = (ValueError, x509.DuplicateExtension, x509.InvalidVersion)
"""What reading the fields of a certificate may raise where libssl is content."""
_BAD_PASSWORD: Final = frozenset({"bad decrypt", "bad password read", "pkcs12 cipherfinal error"})

_CURVE_SIGNATURES: Final = {
    "secp256r1": "ecdsa_secp256r1_sha256",
    "secp384r1": "ecdsa_secp384r1_sha384",
    "secp521r1": "ecdsa_secp521r1_sha512",
}


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """One of our certificates, as configured."""

    chain: Source
    key: Source
    pkcs12: Source
    password: bytes
    ocsp_staple: bytes
    name: str = ""
    """What statistics call it."""

    @property
    def path(self) -> str:
        """What errors and ``/certs`` call it."""
        return self.pkcs12.path if self.pkcs12.data else self.chain.path


def compile_certificate(config: Any, read_file: ReadFile, name: str = "") -> OwnCertificate:
    """Read a ``TlsCertificate``; ConfigError in Envoy's words."""
    chain = data_sources.read(config.certificate_chain, read_file)
    key = data_sources.read(config.private_key, read_file)
    pkcs12 = data_sources.read(config.pkcs12, read_file)
    password = data_sources.read(config.password, read_file)
    if config.ocsp_staple.WhichOneof("specifier") == "inline_string":
        raise ConfigError("OCSP staple cannot be provided via inline_string")
    staple = data_sources.read(config.ocsp_staple, read_file)
    made = OwnCertificate(chain, key, pkcs12, password.data, staple.data, name)
    if config.HasField("pkcs12"):
        for other in ("private_key", "certificate_chain", "private_key_provider"):
            if config.HasField(other):
                raise ConfigError(f"Certificate configuration can't have both pkcs12 and {other}")
        if not pkcs12.data:
            raise ConfigError(f"Failed to load certificate chain from {chain.path}")
        return made
    if config.HasField("private_key_provider"):
        raise ConfigError(f"Failed to load private key provider: {config.private_key_provider.provider_name}")
    if not key.data:
        raise ConfigError(f"Failed to load incomplete private key from path: {key.path}")
    if not chain.data:
        raise ConfigError(f"Failed to load incomplete certificate from {chain.path}: certificate chain not set")
    return made


def load_certificate(context: TlsContext, own: OwnCertificate) -> x509.Certificate:
    """Give a certificate to a context, and parse it; ConfigError in Envoy's words."""
    password = own.password or None
    try:
        if own.pkcs12.data:
            context.add_pkcs12(own.pkcs12.data, password)
        else:
            context.add_certificate(own.chain.data, own.key.data, password)
    except TlsError as error:
        raise _refusal(own, error) from None
    certificate = _parse(own)
    key = _public_key(certificate)
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < SMALLEST_RSA_BITS:
        raise ConfigError(
            f"Failed to load certificate chain from {own.path}, only RSA certificates with 2048-bit or larger keys are "
            "supported"
        )
    return certificate


def _parse(own: OwnCertificate) -> x509.Certificate:
    try:
        if not own.pkcs12.data:
            return _load(read_pem(own.chain.data)[0][0])
        found = pkcs12.load_key_and_certificates(own.pkcs12.data, own.password or None)[1]
    except (IndexError, *_UNREADABLE):
        found = None
    if found is None:
        raise ConfigError(f"Failed to load certificate chain from {own.path}")
    return found


def _refusal(own: OwnCertificate, error: TlsError) -> ConfigError:
    if own.pkcs12.data:
        return ConfigError(f"Failed to load pkcs12 from {own.path}")
    if str(error).startswith("the private key"):
        reason = error.reason
        if reason in _BAD_PASSWORD:
            reason = "bad decrypt" if own.password else "bad password read"
        cause = _CAUSES.get(reason, reason or "unknown")
        return ConfigError(f"Failed to load private key from {own.key.path}, Cause: {cause}")
    return ConfigError(f"Failed to load certificate chain from {own.path}")


def readable(certificates: Iterable[bytes]) -> list[x509.Certificate]:
    """Those of trusted certificates (DER) that can be shown: libssl is more lenient than who reads their fields."""
    found = []
    for der in certificates:
        with contextlib.suppress(*_UNREADABLE):
            found.append(_load(der))
    return found


def _load(der: bytes) -> x509.Certificate:
    """A certificate whose times can be read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old authorities have odd serial numbers
        certificate = x509.load_der_x509_certificate(der)
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return certificate


def _public_key(certificate: x509.Certificate) -> Any:
    """None where only libssl knows what kind it is."""
    try:
        return certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
        return None


def signature_algorithm_of(certificate: x509.Certificate) -> str:
    """What a certificate's key signs with besides what every peer is asked for; empty: nothing."""
    key = _public_key(certificate)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _CURVE_SIGNATURES.get(key.curve.name, "")
    return ""


def must_staple(certificate: x509.Certificate) -> bool:
    """Whether a certificate promises an OCSP response (RFC 7633)."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.TLSFeature).value
    except (x509.ExtensionNotFound, *_UNREADABLE):
        return False
    return list(found) == [x509.TLSFeatureType.status_request]


def check_staple(certificate: x509.Certificate, own: OwnCertificate, required: bool) -> float:
    """Judge the OCSP response that goes along with a server's certificate: until when it holds, since the epoch.

    ``required``: whether the policy wants one for every certificate. ConfigError in Envoy's words.
    """
    if not own.ocsp_staple:
        if must_staple(certificate):
            raise ConfigError("OCSP response is required for must-staple certificate")
        if required:
            raise ConfigError("Required OCSP response is missing from TLS context")
        return 0.0
    response = _parse_staple(own.ocsp_staple)
    if response.serial_number != certificate.serial_number:
        raise ConfigError("OCSP response does not match its TLS certificate")
    until = response.next_update_utc
    return math.inf if until is None else until.timestamp()


def _parse_staple(data: bytes) -> ocsp.OCSPSingleResponse:
    try:
        response = ocsp.load_der_ocsp_response(data)
        successful = response.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
        responses = list(response.responses) if successful else []
    except ValueError:
        raise ConfigError("Data contained more than a single OCSP response") from None
    if not successful:
        raise ConfigError("OCSP response has no body")
    if len(responses) != 1:
        raise ConfigError("OCSP Response must be for one certificate only")
    return responses[0]
