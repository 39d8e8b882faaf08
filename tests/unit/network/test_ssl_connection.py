"""What is told of a TLS session, before, during and after its handshake."""

from urllib.parse import unquote

from proxeny.network.ssl_connection import SslConnectionInfo, certificate_of
from proxeny.testing.certificates import Authority, Certificate

ROOT = Authority("root")
BELOW = ROOT.intermediate("below")
PEER = BELOW.issue("peer", "DNS:a.test", "URI:spiffe://a/b", "IP:10.0.0.1", "email:a@b", "otherName:1.2.3;UTF8:me")
LOCAL = ROOT.issue("local", "DNS:us.test", "URI:spiffe://us", "IP:::1", "email:us@b", "otherName:1.2.3;UTF8:us")


class Session:
    """A session as a transport socket tells it."""

    def __init__(
        self,
        *peer: Certificate,
        local: Certificate | None = LOCAL,
        issuer: Certificate | None = None,
        verified: bool = True,
    ) -> None:
        self.peer_certificates = tuple([one.der for one in peer])
        self.local_certificate = b"" if local is None else local.der
        self.validated_issuer = b"" if issuer is None else issuer.der
        self.verified = bool(peer) and verified
        self.cipher = "TLS_AES_128_GCM_SHA256"
        self.version = "TLSv1.3"
        self.group = "X25519"
        self.alpn = "h2"
        self.server_name = "a.test"
        self.session_id = b"\x01\xab"
        self.handshake_done_ns = 7


def test_the_session() -> None:
    info = SslConnectionInfo(Session())
    assert (info.cipher, info.version, info.group) == ("TLS_AES_128_GCM_SHA256", "TLSv1.3", "X25519")
    assert (info.alpn, info.server_name, info.session_id) == ("h2", "a.test", "")
    session = Session()
    session.version = "TLSv1.2"
    assert SslConnectionInfo(session).session_id == "01ab"
    assert info.handshake_done_ns == 7


def test_the_peer() -> None:
    info = SslConnectionInfo(Session(PEER, BELOW, issuer=BELOW))
    assert info.peer_certificate_presented
    assert info.peer_certificate_validated
    assert info.dns_sans_peer_certificate == ("a.test",)
    assert info.uri_sans_peer_certificate == ("spiffe://a/b",)
    assert info.ip_sans_peer_certificate == ("10.0.0.1",)
    assert info.email_sans_peer_certificate == ("a@b",)
    assert info.othername_sans_peer_certificate == ("me",)
    assert info.subject_peer_certificate == "CN=peer,O=Proxeny tests"
    assert info.issuer_peer_certificate == "CN=below,O=Proxeny tests"
    assert int(info.serial_number_peer_certificate, 16) == PEER.x509.serial_number
    assert [int(one, 16) for one in info.serial_numbers_peer_certificates][1] == BELOW.x509.serial_number
    assert info.sha256_peer_certificate_digest == PEER.fingerprint
    assert info.sha256_peer_certificate_chain_digests == [PEER.fingerprint, BELOW.fingerprint]
    assert len(info.sha1_peer_certificate_digest) == 40
    assert len(info.sha1_peer_certificate_chain_digests) == 2
    assert info.sha256_peer_certificate_issuer_digest == BELOW.fingerprint
    assert int(info.serial_number_peer_certificate_issuer, 16) == BELOW.x509.serial_number
    assert unquote(info.url_encoded_pem_peer_certificate) == PEER.pem
    assert unquote(info.url_encoded_pem_peer_certificate_chain) == PEER.pem + BELOW.pem
    assert info.valid_from_peer_certificate == PEER.x509.not_valid_before_utc.timestamp()
    assert info.expiration_peer_certificate == PEER.x509.not_valid_after_utc.timestamp()
    assert "2.5.29.17" in info.oids_peer_certificate


def test_we() -> None:
    info = SslConnectionInfo(Session())
    assert info.dns_sans_local_certificate == ("us.test",)
    assert info.uri_sans_local_certificate == ("spiffe://us",)
    assert info.ip_sans_local_certificate == ("::1",)
    assert info.email_sans_local_certificate == ("us@b",)
    assert info.othername_sans_local_certificate == ("us",)
    assert info.subject_local_certificate == "CN=local,O=Proxeny tests"


def test_nobody() -> None:
    info = SslConnectionInfo(Session(local=None))
    facts = {name: getattr(info, name) for name in dir(SslConnectionInfo) if not name.startswith("_")}
    told = {"cipher", "version", "group", "alpn", "server_name", "handshake_done_ns"}
    assert {name for name, fact in facts.items() if fact} == told


def test_a_certificate_is_parsed_once() -> None:
    assert certificate_of(PEER.der) is certificate_of(bytes(bytearray(PEER.der)))
    assert certificate_of(b"nonsense") is None
