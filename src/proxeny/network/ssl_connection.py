"""What is known of a connection's TLS session (Envoy: ``Ssl::ConnectionInfo``)."""

from __future__ import annotations

from typing import Protocol


class SslConnectionInfo(Protocol):
    """Facts of one established session; certificates as PEM are URL-encoded, as headers and logs show them."""

    @property
    def peer_certificate_presented(self) -> bool:
        """Whether the peer gave a certificate."""

    @property
    def uri_sans_local_certificate(self) -> tuple[str, ...]:
        """URI alternative names of our certificate."""

    @property
    def uri_sans_peer_certificate(self) -> tuple[str, ...]:
        """URI alternative names of the peer's."""

    @property
    def dns_sans_peer_certificate(self) -> tuple[str, ...]:
        """DNS alternative names of the peer's."""

    @property
    def subject_peer_certificate(self) -> str:
        """Its subject (RFC 2253)."""

    @property
    def sha256_peer_certificate_digest(self) -> str:
        """Its digest, hex."""

    @property
    def url_encoded_pem_peer_certificate(self) -> str:
        """The certificate itself."""

    @property
    def url_encoded_pem_peer_certificate_chain(self) -> str:
        """The peer's whole chain."""
