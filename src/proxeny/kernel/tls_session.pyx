"""What is known of a TLS session, while its handshake goes on and afterwards; in BoringSSL's names."""
from proxeny.kernel.stream cimport Transport
from proxeny.kernel.tls_lib cimport *


cdef class TlsSession(Transport):
    """The facts of one session; TlsTransport moves its bytes."""

    @property
    def is_established(self):
        """Whether the handshake is done."""
        return self.state == ESTABLISHED

    @property
    def cipher(self):
        """OpenSSL's name of the cipher; empty before the handshake."""
        cdef const SSL_CIPHER* cipher = current_cipher(self.ssl)
        return "" if cipher == NULL else (<bytes> SSL_CIPHER_get_name(cipher)).decode()

    @property
    def cipher_id(self):
        """The cipher's number in the registry; 0xffff before the handshake."""
        cdef const SSL_CIPHER* cipher = current_cipher(self.ssl)
        return 0xFFFF if cipher == NULL else SSL_CIPHER_get_protocol_id(cipher)

    @property
    def version(self):
        """`TLSv1.3`; `TLSv1.2` before one is agreed on, as BoringSSL has it."""
        if self.state != ESTABLISHED and current_cipher(self.ssl) == NULL:
            return "TLSv1.2"
        return (<bytes> SSL_get_version(self.ssl)).decode()

    @property
    def group(self):
        """BoringSSL's name of the group of the key exchange; empty where there is none."""
        cdef int nid
        if SSL_get_session(self.ssl) == NULL:
            # libssl would look into it.
            return ""
        nid = SSL_get_negotiated_group(self.ssl)
        return GROUPS.get(nid, "") if nid > 0 else ""

    @property
    def peer_signature_algorithm(self):
        """What the peer signed the handshake with, or that whose session is resumed; empty where it did not."""
        cdef int kind = 0
        cdef int digest = 0
        if SSL_session_reused(self.ssl):
            return self.resumed_signature or ""
        if not SSL_get_peer_signature_type_nid(self.ssl, &kind):
            return ""
        SSL_get_peer_signature_nid(self.ssl, &digest)
        return SIGNATURES.get((kind, digest), "")

    @property
    def server_name(self):
        """The name that the client asked for; empty when it asked for none."""
        cdef const char* name = SSL_get_servername(self.ssl, TLSEXT_NAMETYPE_host_name)
        return "" if name == NULL else (<bytes> name).decode("latin-1")

    @property
    def alpn(self):
        """The application protocol that was agreed on; empty when there is none."""
        cdef const unsigned char* data = NULL
        cdef unsigned int n = 0
        SSL_get0_alpn_selected(self.ssl, &data, &n)
        return (<bytes> data[:n]).decode("latin-1") if n else ""

    @property
    def session_id(self):
        """The session's id; bytes."""
        cdef unsigned int n = 0
        cdef SSL_SESSION* session = SSL_get_session(self.ssl)
        cdef const unsigned char* data
        if session == NULL:
            return b""
        data = SSL_SESSION_get_id(session, &n)
        return <bytes> data[:n]

    @property
    def session_reused(self):
        """Whether the handshake resumed a session."""
        return bool(SSL_session_reused(self.ssl))

    @property
    def peer_certificates(self):
        """The peer's certificates as DER, its own one first."""
        if self.refused is not None:
            return tuple(self.refused)
        return tuple(ders_of(SSL_get0_peer_certificate(self.ssl), SSL_get_peer_cert_chain(self.ssl)))

    @property
    def validated_issuer(self):
        """The certificate, as DER, by which the peer's own one was verified; empty when it was not."""
        cdef STACK_OF_X509* chain = SSL_get0_verified_chain(self.ssl)
        return b"" if chain == NULL or sk_X509_num(chain) < 2 else der_of(sk_X509_value(chain, 1))

    @property
    def local_certificate(self):
        """The certificate that we have shown, or would show, as DER; empty when there is none."""
        cdef X509* certificate = SSL_get_certificate(self.ssl)
        return b"" if certificate == NULL else der_of(certificate)


cdef const SSL_CIPHER* current_cipher(SSL* ssl) noexcept:
    """Also while the handshake goes on, and after it failed."""
    cdef const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl)
    return cipher if cipher != NULL else SSL_get_pending_cipher(ssl)


cdef bytes der_of(X509* certificate):
    cdef unsigned char* der = NULL
    cdef int n = i2d_X509(certificate, &der)
    if n < 0:
        raise MemoryError()
    try:
        return der[:n]
    finally:
        OPENSSL_free(der)


cdef list ders_of(X509* own, STACK_OF_X509* chain):
    """A server has its peer's own certificate apart from the others, a client has it among them."""
    cdef list found = []
    cdef int i
    cdef bytes der
    if own != NULL:
        found.append(der_of(own))
    if chain != NULL:
        for i in range(sk_X509_num(chain)):
            der = der_of(sk_X509_value(chain, i))
            if i or der != found[0]:
                found.append(der)
    return found


# BoringSSL's names, which are those of the registry, by what OpenSSL has.
GROUPS = {
    NID_X25519: "X25519",
    NID_X448: "X448",
    NID_X9_62_prime256v1: "P-256",
    NID_secp384r1: "P-384",
    NID_secp521r1: "P-521",
}
SIGNATURES = {
    (EVP_PKEY_RSA, NID_md5_sha1): "rsa_pkcs1_md5_sha1",
    (EVP_PKEY_RSA, NID_sha1): "rsa_pkcs1_sha1",
    (EVP_PKEY_RSA, NID_sha256): "rsa_pkcs1_sha256",
    (EVP_PKEY_RSA, NID_sha384): "rsa_pkcs1_sha384",
    (EVP_PKEY_RSA, NID_sha512): "rsa_pkcs1_sha512",
    (EVP_PKEY_RSA_PSS, NID_sha256): "rsa_pss_rsae_sha256",
    (EVP_PKEY_RSA_PSS, NID_sha384): "rsa_pss_rsae_sha384",
    (EVP_PKEY_RSA_PSS, NID_sha512): "rsa_pss_rsae_sha512",
    (EVP_PKEY_EC, NID_sha1): "ecdsa_sha1",
    (EVP_PKEY_EC, NID_sha256): "ecdsa_secp256r1_sha256",
    (EVP_PKEY_EC, NID_sha384): "ecdsa_secp384r1_sha384",
    (EVP_PKEY_EC, NID_sha512): "ecdsa_secp521r1_sha512",
    (EVP_PKEY_ED25519, 0): "ed25519",
}
