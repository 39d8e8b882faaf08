"""What is known of a connection's TLS session (Envoy: ``Ssl::ConnectionInfo``).

A transport socket gives the bytes (``TlsSession``), this module what they mean. Nothing is read before somebody asks,
and a certificate is parsed once, however many connections show it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol
from urllib.parse import quote

from proxeny.kernel.tls_certificate import DNS, EMAIL, IP, OTHERNAME, URI, Certificate


class TlsSession(Protocol):
    """What a transport socket knows of its session; to be asked also when the connection is closed.

    Before the handshake is done, and where there is nothing to tell, everything is empty.
    """

    @property
    def peer_certificates(self) -> tuple[bytes, ...]:
        """The peer's certificates as DER, its own first, as it sent them."""

    @property
    def verified(self) -> bool:
        """Whether the peer's certificate was verified."""

    @property
    def validated_issuer(self) -> bytes:
        """The certificate, DER, by which the peer's own one was verified."""

    @property
    def local_certificate(self) -> bytes:
        """Our certificate, DER."""

    @property
    def cipher(self) -> str:
        """The cipher suite, in OpenSSL's words."""

    @property
    def version(self) -> str:
        """``TLSv1.2``, ``TLSv1.3``..."""

    @property
    def group(self) -> str:
        """The group of the key exchange, in BoringSSL's words: ``X25519``, ``P-256``..."""

    @property
    def alpn(self) -> str:
        """The protocol that was agreed on."""

    @property
    def server_name(self) -> str:
        """The server name that was asked for."""

    @property
    def session_id(self) -> bytes:
        """The session's ID."""

    @property
    def handshake_done_ns(self) -> int:
        """When the handshake was done (``time.monotonic_ns``); 0: it was not."""


@lru_cache(maxsize=256)
def certificate_of(der: bytes) -> Certificate | None:
    """A parsed certificate; None of what is none."""
    try:
        return Certificate(der)
    except ValueError:
        return None


def url_encoded(pem: str) -> str:
    """PEM as headers and logs show it (Envoy: ``PercentEncoding::urlEncode``)."""
    return quote(pem, safe="")


class SslConnectionInfo:
    """Facts of one session; every one is empty while the handshake goes on, and where there is no certificate."""

    __slots__ = ("_chain", "_session")

    def __init__(self, session: TlsSession) -> None:
        self._session = session
        self._chain: tuple[bytes, ...] = ()

    @property
    def _peer_certificates(self) -> tuple[bytes, ...]:
        """Those of the session, once it has any."""
        chain = self._chain
        if not chain:
            chain = self._chain = self._session.peer_certificates
        return chain

    # The session

    @property
    def cipher(self) -> str:
        """The cipher suite."""
        return self._session.cipher

    @property
    def version(self) -> str:
        """The version of TLS."""
        return self._session.version

    @property
    def group(self) -> str:
        """The group of the key exchange."""
        return self._session.group

    @property
    def alpn(self) -> str:
        """The protocol that was agreed on."""
        return self._session.alpn

    @property
    def server_name(self) -> str:
        """The server name that was asked for."""
        return self._session.server_name

    @property
    def session_id(self) -> str:
        """The session's ID, hex. TLS 1.3 has none, whatever libssl calls its sessions."""
        session = self._session
        return "" if session.version == "TLSv1.3" else session.session_id.hex()

    @property
    def handshake_done_ns(self) -> int:
        """When the handshake was done (``time.monotonic_ns``); 0: it was not."""
        return self._session.handshake_done_ns

    # Our certificate

    @property
    def local(self) -> Certificate | None:
        """Our certificate."""
        der = self._session.local_certificate
        return certificate_of(der) if der else None

    def _local_names(self, kind: int) -> tuple[str, ...]:
        certificate = self.local
        return () if certificate is None else certificate.names(kind)

    @property
    def uri_sans_local_certificate(self) -> tuple[str, ...]:
        """URI alternative names of our certificate."""
        return self._local_names(URI)

    @property
    def dns_sans_local_certificate(self) -> tuple[str, ...]:
        """Its DNS names."""
        return self._local_names(DNS)

    @property
    def ip_sans_local_certificate(self) -> tuple[str, ...]:
        """Its addresses."""
        return self._local_names(IP)

    @property
    def email_sans_local_certificate(self) -> tuple[str, ...]:
        """Its mail addresses."""
        return self._local_names(EMAIL)

    @property
    def othername_sans_local_certificate(self) -> tuple[str, ...]:
        """The values of its other names."""
        return self._local_names(OTHERNAME)

    @property
    def subject_local_certificate(self) -> str:
        """Its subject (RFC 2253)."""
        certificate = self.local
        return "" if certificate is None else certificate.subject

    # The peer's certificate

    @property
    def peer_certificate_presented(self) -> bool:
        """Whether the peer gave a certificate."""
        return bool(self._peer_certificates)

    @property
    def peer_certificate_validated(self) -> bool:
        """Whether it was verified."""
        return self._session.verified

    @property
    def peer(self) -> Certificate | None:
        """The peer's certificate."""
        chain = self._peer_certificates
        return certificate_of(chain[0]) if chain else None

    @property
    def peer_chain(self) -> list[Certificate]:
        """All that the peer sent, its own first."""
        parsed = [certificate_of(der) for der in self._peer_certificates]
        return [certificate for certificate in parsed if certificate is not None]

    @property
    def issuer(self) -> Certificate | None:
        """The certificate by which the peer's was verified."""
        der = self._session.validated_issuer
        return certificate_of(der) if der else None

    def _peer_names(self, kind: int) -> tuple[str, ...]:
        certificate = self.peer
        return () if certificate is None else certificate.names(kind)

    @property
    def uri_sans_peer_certificate(self) -> tuple[str, ...]:
        """URI alternative names of the peer's."""
        return self._peer_names(URI)

    @property
    def dns_sans_peer_certificate(self) -> tuple[str, ...]:
        """DNS alternative names of the peer's."""
        return self._peer_names(DNS)

    @property
    def ip_sans_peer_certificate(self) -> tuple[str, ...]:
        """Its addresses."""
        return self._peer_names(IP)

    @property
    def email_sans_peer_certificate(self) -> tuple[str, ...]:
        """Its mail addresses."""
        return self._peer_names(EMAIL)

    @property
    def othername_sans_peer_certificate(self) -> tuple[str, ...]:
        """The values of its other names."""
        return self._peer_names(OTHERNAME)

    @property
    def oids_peer_certificate(self) -> tuple[str, ...]:
        """The numbers of its extensions."""
        certificate = self.peer
        return () if certificate is None else certificate.extension_oids

    @property
    def subject_peer_certificate(self) -> str:
        """Its subject (RFC 2253)."""
        certificate = self.peer
        return "" if certificate is None else certificate.subject

    @property
    def issuer_peer_certificate(self) -> str:
        """Its issuer, likewise."""
        certificate = self.peer
        return "" if certificate is None else certificate.issuer

    @property
    def serial_number_peer_certificate(self) -> str:
        """Its serial number, hex."""
        certificate = self.peer
        return "" if certificate is None else certificate.serial

    @property
    def serial_numbers_peer_certificates(self) -> list[str]:
        """Those of the whole chain."""
        return [certificate.serial for certificate in self.peer_chain]

    @property
    def sha256_peer_certificate_digest(self) -> str:
        """Its digest, hex."""
        certificate = self.peer
        return "" if certificate is None else certificate.sha256

    @property
    def sha256_peer_certificate_chain_digests(self) -> list[str]:
        """Those of the whole chain."""
        return [certificate.sha256 for certificate in self.peer_chain]

    @property
    def sha1_peer_certificate_digest(self) -> str:
        """Its digest, hex."""
        certificate = self.peer
        return "" if certificate is None else certificate.sha1

    @property
    def sha1_peer_certificate_chain_digests(self) -> list[str]:
        """Those of the whole chain."""
        return [certificate.sha1 for certificate in self.peer_chain]

    @property
    def sha256_peer_certificate_issuer_digest(self) -> str:
        """The digest of the certificate by which the peer's was verified."""
        certificate = self.issuer
        return "" if certificate is None else certificate.sha256

    @property
    def serial_number_peer_certificate_issuer(self) -> str:
        """That one's serial number."""
        certificate = self.issuer
        return "" if certificate is None else certificate.serial

    @property
    def url_encoded_pem_peer_certificate(self) -> str:
        """The certificate itself."""
        certificate = self.peer
        return "" if certificate is None else url_encoded(certificate.pem)

    @property
    def url_encoded_pem_peer_certificate_chain(self) -> str:
        """The peer's whole chain."""
        return "".join([url_encoded(certificate.pem) for certificate in self.peer_chain])

    @property
    def valid_from_peer_certificate(self) -> int | None:
        """From when on it is valid: seconds since the epoch."""
        certificate = self.peer
        return None if certificate is None else certificate.not_before

    @property
    def expiration_peer_certificate(self) -> int | None:
        """Until when it is valid: seconds since the epoch."""
        certificate = self.peer
        return None if certificate is None else certificate.not_after
