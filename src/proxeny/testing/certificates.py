"""Certificates for tests: authorities, intermediates, leaves of every kind, revocation lists, OCSP responses.

>>> root = Authority("root")
>>> leaf = root.issue("server", "DNS:server.test", "IP:127.0.0.1")
>>> leaf.write(folder).certificate_chain
'.../server.crt'

Keys are ECDSA P-256 unless told; RSA keys are made once per process, size and name. Validity is given from now.
"""

from __future__ import annotations

import base64
import datetime
import functools
import hashlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs12,
)
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
Extension: TypeAlias = tuple[x509.ExtensionType, bool]

_CURVES: Final[dict[str, ec.EllipticCurve]] = {
    "p256": ec.SECP256R1(),
    "p384": ec.SECP384R1(),
    "p521": ec.SECP521R1(),
}
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_EXTENDED: Final = {
    "server": ExtendedKeyUsageOID.SERVER_AUTH,
    "client": ExtendedKeyUsageOID.CLIENT_AUTH,
    "email": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "code": ExtendedKeyUsageOID.CODE_SIGNING,
    "ocsp": ExtendedKeyUsageOID.OCSP_SIGNING,
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
}
_USAGES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
LEAF_USAGES: Final = ("digital_signature", "key_encipherment")
CA_USAGES: Final = ("digital_signature", "key_cert_sign", "crl_sign")


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where ``Certificate.write`` put things: chain and key as PEM, both in one PKCS#12 bundle (no password)."""

    certificate_chain: str
    private_key: str
    pkcs12: str
    authority: str


class Certificate:
    """A certificate, its key, and who issued it (None: itself)."""

    __slots__ = ("issuer", "key", "name", "x509")

    def __init__(self, name: str, certificate: x509.Certificate, key: PrivateKey, issuer: Authority | None) -> None:
        self.name = name
        self.x509 = certificate
        self.key = key
        self.issuer = issuer

    @property
    def pem(self) -> str:
        """The certificate alone."""
        return self.x509.public_bytes(Encoding.PEM).decode()

    @property
    def der(self) -> bytes:
        """The certificate alone."""
        return self.x509.public_bytes(Encoding.DER)

    @property
    def chain_pem(self) -> str:
        """The certificate and its intermediates, without the root: what a server shows."""
        return self.pem + "".join(one.pem for one in self.issuers() if one.issuer is not None)

    @property
    def full_chain_pem(self) -> str:
        """The certificate and all above it, root included."""
        return self.pem + "".join(one.pem for one in self.issuers())

    def issuers(self) -> list[Authority]:
        """From the issuer up to the root; empty for a self-signed one."""
        found: list[Authority] = []
        above = self.issuer
        while above is not None:
            found.append(above)
            above = above.issuer
        return found

    @property
    def key_pem(self) -> str:
        """The private key, PKCS#8, not encrypted."""
        return self._key_pem(NoEncryption())

    def encrypted_key_pem(self, password: str) -> str:
        """The private key, PKCS#8, under a password."""
        return self._key_pem(BestAvailableEncryption(password.encode()))

    def _key_pem(self, encryption: Any) -> str:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()

    def pkcs12(self, password: str = "") -> bytes:
        """Key, certificate and intermediates in one bundle."""
        encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
        above = [one.x509 for one in self.issuers() if one.issuer is not None]
        return pkcs12.serialize_key_and_certificates(self.name.encode(), self.key, self.x509, above, encryption)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, hex: ``verify_certificate_hash``."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def spki_pin(self) -> str:
        """SHA-256 of the public key, base64: ``verify_certificate_spki``."""
        spki = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(hashlib.sha256(spki).digest()).decode()

    @property
    def serial_number(self) -> str:
        """Hex in lower case without leading zeros, as ``/certs`` and logs show it."""
        return f"{self.x509.serial_number:x}"

    def write(self, folder: Path, name: str = "") -> CertificateFiles:
        """Write chain, key, bundle and root as ``name.crt``, ``.key``, ``.p12``, ``.ca`` in ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        base = folder / (name or self.name)
        roots = self.issuers()[-1:]
        texts = {
            ".crt": self.chain_pem.encode(),
            ".key": self.key_pem.encode(),
            ".p12": self.pkcs12(),
            ".ca": (roots[0].pem if roots else self.pem).encode(),
        }
        for suffix, content in texts.items():
            Path(f"{base}{suffix}").write_bytes(content)
        return CertificateFiles(f"{base}.crt", f"{base}.key", f"{base}.p12", f"{base}.ca")


class Authority(Certificate):
    """A certificate that signs others; made without ``issuer`` it is a root."""

    __slots__ = ()

    def __init__(self, name: str = "root", *, issuer: Authority | None = None, **options: Any) -> None:
        """``options`` are those of ``make``; ``path_length`` limits the authorities below."""
        options.setdefault("usages", CA_USAGES)
        options.setdefault("extended", ())
        made = make(name, issuer=issuer, ca=options.pop("ca", True), **options)
        super().__init__(name, made.x509, made.key, issuer)

    def issue(self, name: str, *sans: str, **options: Any) -> Certificate:
        """A leaf signed by this authority: ``make`` with its ``options``."""
        return make(name, *sans, issuer=self, **options)

    def intermediate(self, name: str = "intermediate", **options: Any) -> Authority:
        """An authority signed by this one."""
        return Authority(name, issuer=self, **options)

    def crl(
        self,
        revoked: Iterable[Certificate] = (),
        *,
        not_before: datetime.timedelta = datetime.timedelta(hours=-1),
        not_after: datetime.timedelta = datetime.timedelta(days=30),
    ) -> str:
        """A revocation list as PEM that names ``revoked``."""
        now = _now()
        builder = x509.CertificateRevocationListBuilder(
            self.x509.subject, last_update=now + not_before, next_update=now + not_after
        ).add_extension(x509.CRLNumber(1), critical=False)
        for one in revoked:
            entry = x509.RevokedCertificateBuilder(one.x509.serial_number, now + not_before)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.key, _hash_for(self.key, "sha256")).public_bytes(Encoding.PEM).decode()

    def ocsp_response(
        self,
        leaf: Certificate,
        status: str = "good",
        *,
        not_before: datetime.timedelta = datetime.timedelta(hours=-1),
        not_after: datetime.timedelta | None = datetime.timedelta(days=7),
    ) -> bytes:
        """A response as DER that says ``good``, ``revoked`` or ``unknown`` of a leaf; None: without nextUpdate."""
        now = _now()
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=leaf.x509,
            issuer=self.x509,
            algorithm=hashes.SHA256(),
            cert_status=getattr(ocsp.OCSPCertStatus, status.upper()),
            this_update=now + not_before,
            next_update=None if not_after is None else now + not_after,
            revocation_time=now + not_before if status == "revoked" else None,
            revocation_reason=None,
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, self.x509)
        return builder.sign(self.key, _hash_for(self.key, "sha256")).public_bytes(Encoding.DER)


def make(
    name: str,
    *sans: str | x509.GeneralName,
    issuer: Authority | None = None,
    key: str | PrivateKey = "p256",
    subject: x509.Name | None = None,
    not_before: datetime.timedelta = datetime.timedelta(hours=-1),
    not_after: datetime.timedelta = datetime.timedelta(days=30),
    usages: Iterable[str] | None = LEAF_USAGES,
    extended: Iterable[str] = ("server", "client"),
    ca: bool = False,
    path_length: int | None = None,
    must_staple: bool = False,
    extensions: Iterable[Extension] = (),
    digest: str = "sha256",
    serial_number: int | None = None,
) -> Certificate:
    """A certificate; without ``issuer`` it signs itself.

    ``sans``: texts of ``alternative_name``, or names of the library's own. ``key``: ``p256``, ``p384``, ``p521``,
    ``ed25519``, ``rsa2048`` (any size), or a key. ``usages``: None leaves the extension out. ``extended``:
    ``server client email code ocsp any``. ``extensions``: further ones with whether they are critical.
    """
    own = private_key(key, name) if isinstance(key, str) else key
    signer = own if issuer is None else issuer.key
    own_name = subject or _name(name)
    now = _now()
    builder = (
        x509.CertificateBuilder()
        .subject_name(own_name)
        .issuer_name(own_name if issuer is None else issuer.x509.subject)
        .public_key(own.public_key())
        .serial_number(serial_number or x509.random_serial_number())
        .not_valid_before(now + not_before)
        .not_valid_after(now + not_after)
    )
    for extension, critical in (
        *_standard(own, signer, sans, usages, extended, x509.BasicConstraints(ca, path_length), must_staple),
        *extensions,
    ):
        builder = builder.add_extension(extension, critical)
    return Certificate(name, builder.sign(signer, _hash_for(signer, digest)), own, issuer)


def expired(**options: Any) -> dict[str, Any]:
    """Options of ``make`` for a certificate that ended an hour ago."""
    return {"not_before": datetime.timedelta(days=-2), "not_after": datetime.timedelta(hours=-1), **options}


def not_yet_valid(**options: Any) -> dict[str, Any]:
    """Options of ``make`` for a certificate that begins in a day."""
    return {"not_before": datetime.timedelta(days=1), "not_after": datetime.timedelta(days=2), **options}


def alternative_name(text: str) -> x509.GeneralName:
    """The name that a text says, written as OpenSSL does.

    ``DNS:a.test``, ``IP:::1``, ``URI:spiffe://a/b``, ``email:a@b``, ``RID:1.2.3``, ``dirName:common name``,
    ``otherName:1.2.3;UTF8:text``. NUL bytes are written as they are.
    """
    kind, _, value = text.partition(":")
    if kind == "DNS":
        return x509.DNSName(value)
    if kind == "IP":
        return x509.IPAddress(ipaddress.ip_address(value))
    if kind == "URI":
        return x509.UniformResourceIdentifier(value)
    if kind == "email":
        return x509.RFC822Name(value)
    if kind == "RID":
        return x509.RegisteredID(x509.ObjectIdentifier(value))
    if kind == "dirName":
        return x509.DirectoryName(_name(value))
    if kind == "otherName":
        oid, _, typed = value.partition(";UTF8:")
        return x509.OtherName(x509.ObjectIdentifier(oid), der_string(0x0C, typed.encode()))
    raise ValueError(f"not a kind of alternative name: {text!r}")


def der_string(tag: int, content: bytes) -> bytes:
    """A primitive DER value: ``0x0C`` is UTF8String, ``0x16`` IA5String, ``0x04`` OCTET STRING."""
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def private_key(kind: str, name: str = "") -> PrivateKey:
    """A new key; RSA keys are made once per size and name."""
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind])
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind.startswith("rsa"):
        return _rsa_key(int(kind[3:]), name)
    raise ValueError(f"not a kind of key: {kind!r}")


@functools.cache
def _rsa_key(size: int, name: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=size)


def _standard(
    own: PrivateKey,
    signer: PrivateKey,
    sans: tuple[str | x509.GeneralName, ...],
    usages: Iterable[str] | None,
    extended: Iterable[str],
    constraints: x509.BasicConstraints,
    must_staple: bool,
) -> Iterable[Extension]:
    yield constraints, True
    yield x509.SubjectKeyIdentifier.from_public_key(own.public_key()), False
    yield x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False
    if sans:
        names = [alternative_name(one) if isinstance(one, str) else one for one in sans]
        yield x509.SubjectAlternativeName(names), False
    if usages is not None:
        told = set(usages)
        yield x509.KeyUsage(**{one: one in told for one in _USAGES}), True
    purposes = [_EXTENDED[one] for one in extended]
    if purposes:
        yield x509.ExtendedKeyUsage(purposes), False
    if must_staple:
        yield x509.TLSFeature([x509.TLSFeatureType.status_request]), False


def _hash_for(signer: PrivateKey, digest: str) -> Any:
    """Ed25519 hashes by itself."""
    return None if isinstance(signer, ed25519.Ed25519PrivateKey) else _HASHES[digest]


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Proxeny tests"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)
