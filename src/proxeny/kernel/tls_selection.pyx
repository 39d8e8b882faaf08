"""Which certificate a client gets, and whether an OCSP response goes along (Envoy: `DefaultTlsCertificateSelector`).

By server name: the certificates that have it, else those that have its wildcard; among them one with an ECDSA key for a
client that can verify it, else the first with an RSA key. Without a server name, or where none has it and
`full_scan_certs_on_sni_mismatch` is set, all certificates are looked at in the same way; when nothing fits, the first
one is taken. What may not be stapled as the policy demands is not taken.
"""
from time import time

from proxeny.kernel.tls cimport TlsTransport
from proxeny.kernel.tls_certificate import DNS
from proxeny.kernel.tls_certificate import Certificate as Parsed
from proxeny.kernel.tls_context cimport (
    OCSP_STAPLE_FAILED,
    OCSP_STAPLE_OMITTED,
    OCSP_STAPLE_REQUESTS,
    OCSP_STAPLE_RESPONSES,
    Certificate,
    TlsContext,
)
from proxeny.kernel.tls_lib cimport *

from libc.string cimport memcpy, strcmp

cdef enum:
    P256 = 1
    P384 = 2
    P521 = 4
    UNKNOWN_CURVE = 8

cdef enum Staple:
    STAPLE
    NO_STAPLE
    FAIL
    NOT_CAPABLE

cdef enum Policy:
    LENIENT_STAPLING
    STRICT_STAPLING
    MUST_STAPLE

cdef extern from *:
    """
    #include <openssl/x509v3.h>
    static int px_must_staple(X509 *x) {
        /* RFC 7633: the TLS feature extension names status_request. */
        static const unsigned char wanted[] = {0x30, 0x03, 0x02, 0x01, 0x05};
        int at = X509_get_ext_by_NID(x, NID_tlsfeature, -1);
        ASN1_OCTET_STRING *data = at < 0 ? NULL : X509_EXTENSION_get_data(X509_get_ext(x, at));
        return data != NULL && ASN1_STRING_length(data) == sizeof wanted
            && memcmp(ASN1_STRING_get0_data(data), wanted, sizeof wanted) == 0;
    }
    """
    bint must_staple "px_must_staple" (X509* x509)
    int X509_get_ext_by_NID(const X509* x509, int nid, int last)
    int X509_NAME_get_text_by_NID(X509_NAME* name, int nid, char* target, int n)
    int NID_subject_alt_name, NID_commonName


cdef int describe(Certificate certificate, X509* x509) except -1:
    """Note what the choice needs to know of a certificate."""
    cdef char[80] text
    cdef char[256] common_name
    cdef size_t n = 0
    cdef EVP_PKEY* key = X509_get0_pubkey(x509)
    cdef unsigned char* der = NULL
    cdef int size
    certificate.must_staple = must_staple(x509)
    certificate.kind = EVP_PKEY_get_base_id(key)
    if certificate.kind == EVP_PKEY_EC:
        certificate.curve = UNKNOWN_CURVE
        if EVP_PKEY_get_group_name(key, text, sizeof(text), &n):
            if strcmp(text, "prime256v1") == 0:
                certificate.curve = P256
            elif strcmp(text, "secp384r1") == 0:
                certificate.curve = P384
            elif strcmp(text, "secp521r1") == 0:
                certificate.curve = P521
    names = ()
    if X509_get_ext_by_NID(x509, NID_subject_alt_name, -1) >= 0:
        size = i2d_X509(x509, &der)
        if size < 0:
            raise MemoryError()
        try:
            names = Parsed(der[:size]).names(DNS)
        finally:
            OPENSSL_free(der)
    else:
        size = X509_NAME_get_text_by_NID(X509_get_subject_name(x509), NID_commonName, common_name, sizeof(common_name))
        if size > 0:
            names = ((<bytes> common_name[:size]).decode("utf-8", "surrogateescape"),)
    certificate.names = [name[1:] if name.startswith("*.") else name for name in names]
    return 0


cdef int u16(const unsigned char* data) noexcept:
    return data[0] << 8 | data[1]


cdef str asked_name(SSL* ssl):
    """The server name of a ClientHello; empty where there is none."""
    cdef const unsigned char* data = NULL
    cdef size_t n = 0
    cdef size_t size
    if not SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &data, &n):
        return ""
    # A list of one name: length, type 0, length, name. libssl refuses what is malformed afterwards.
    if n < 5 or data[2] != 0:
        return ""
    size = <size_t> u16(data + 3)
    if size > n - 5:
        return ""
    return (<bytes> data[5:5 + size]).decode("latin-1")


cdef int curves_among(const unsigned char* data, size_t n) noexcept:
    """Of a list of signature algorithms, or groups, with its length in front."""
    cdef int found = 0
    cdef size_t at = 2
    cdef int one
    if n < 2 or <size_t> u16(data) != n - 2:
        return 0
    while at + 1 < n:
        one = u16(data + at)
        if one == 0x0403 or one == 23:
            found |= P256
        elif one == 0x0503 or one == 24:
            found |= P384
        elif one == 0x0603 or one == 25:
            found |= P521
        at += 2
    return found


cdef int ecdsa_curves(SSL* ssl, TlsContext context) except -1:
    """Keys on which curves the client can verify; 0: no ECDSA."""
    cdef const unsigned char* data = NULL
    cdef size_t n = 0
    cdef size_t at = 0
    cdef int curves
    cdef unsigned int version = SSL_client_hello_get0_legacy_version(ssl)
    if version == <unsigned int> TLS1_2_VERSION and context.maximum in (0, TLS1_3_VERSION):
        if SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_supported_versions, &data, &n):
            if SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_signature_algorithms, &data, &n):
                return curves_among(data, n)
            return 0
    if not SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_supported_groups, &data, &n):
        return 0
    curves = curves_among(data, n)
    if curves == 0:
        return 0
    n = SSL_client_hello_get0_ciphers(ssl, &data)
    while at + 1 < n:
        if u16(data + at) in context.ecdsa_ciphers:
            return curves
        at += 2
    return 0


cdef class Choice:
    """One choice, while it is made."""

    cdef TlsContext context
    cdef int curves             # that the client can verify
    cdef bint wants_staple
    cdef Certificate found, candidate
    cdef Staple action

    cdef Staple stapling(self, Certificate certificate) except *:
        cdef int policy
        cdef bint valid
        if not self.wants_staple:
            return NOT_CAPABLE
        policy = MUST_STAPLE if certificate.must_staple else self.context.staple_policy
        valid = certificate.staple is not None and time() < certificate.staple_expires
        if valid:
            return STAPLE
        if policy == MUST_STAPLE or (policy == STRICT_STAPLING and certificate.staple is not None):
            return FAIL
        return NO_STAPLE

    cdef bint take(self, Certificate certificate) except *:
        """Whether it is the one; it may become the candidate."""
        cdef Staple action = self.stapling(certificate)
        if action == FAIL:
            return False
        if certificate.curve & self.curves if certificate.curve else self.curves == 0:
            self.found = certificate
            self.action = action
            return True
        if certificate.curve == 0 and self.candidate is None:
            self.candidate = certificate
            self.action = action
        return False

    cdef int look(self, list certificates) except -1:
        """At some certificates; `found` is set when one of them will do."""
        if certificates is None:
            return 0
        for certificate in certificates:
            if self.take(certificate):
                return 0
        if self.found is None:
            self.found = self.candidate
        return 0

    cdef int choose(self, str name) except -1:
        cdef dict names = self.context.names_of_certificates
        cdef Py_ssize_t dot
        if name:
            self.look(names.get(name))
            if self.found is None:
                dot = name.find(".", 1)
                if 0 < dot < len(name) - 1:
                    self.look(names.get(name[dot:]))
        if self.found is None and (not name or self.context.full_scan):
            self.candidate = None
            self.look(self.context.certificates)
        if self.found is None:
            self.found = self.context.certificates[0]
            self.action = self.stapling(self.found)
        return 0


cdef bint speaks_tls13(SSL* ssl) noexcept:
    """Whether a ClientHello offers TLS 1.3."""
    cdef const unsigned char* data = NULL
    cdef size_t n = 0
    cdef size_t at = 1
    if SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_supported_versions, &data, &n):
        while at + 1 < n:
            if u16(data + at) == TLS1_3_VERSION:
                return True
            at += 2
    return False


cdef int follow_client(SSL* ssl, TlsContext context) except -1:
    """Ciphers of equal preference: in the client's order."""
    cdef const unsigned char* data = NULL
    cdef size_t n = SSL_client_hello_get0_ciphers(ssl, &data)
    cdef size_t at = 0
    cdef dict wanted = {}
    cdef list names = list(context.cipher_names.values())
    cdef list ordered = list(names)
    while at + 1 < n:
        name = context.cipher_names.get(u16(data + at))
        if name is not None:
            wanted.setdefault(name, len(wanted))
        at += 2
    for group in context.equal_ciphers:
        places = [place for place, name in enumerate(names) if name in group]
        members = sorted([names[place] for place in places], key=lambda name: wanted.get(name, 1000))
        for place, name in zip(places, members, strict=True):
            ordered[place] = name
    if ordered != names:
        SSL_set_cipher_list(ssl, <bytes> b":".join(ordered))
    return 0


cdef int client_hello(SSL* ssl, int* alert, void* given) noexcept:
    """A ClientHello arrived: choose, count, give the connection another SSL_CTX if need be."""
    cdef TlsContext context = <TlsContext> given
    cdef const unsigned char* data = NULL
    cdef size_t n = 0
    cdef Choice choice
    cdef bint wants_staple = SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_status_request, &data, &n)
    if context.maximum in (0, TLS1_3_VERSION) and speaks_tls13(ssl):
        # Of the ciphers of TLS 1.3 BoringSSL takes the client's first one.
        SSL_clear_options(ssl, SSL_OP_CIPHER_SERVER_PREFERENCE)
    elif context.equal_ciphers and not context.prefers_clients_order:
        try:
            follow_client(ssl, context)
        except Exception:
            alert[0] = SSL_AD_INTERNAL_ERROR
            return SSL_CLIENT_HELLO_ERROR
    if len(context.certificates) < 2 and not wants_staple:
        return SSL_CLIENT_HELLO_SUCCESS
    try:
        if not context.certificates:
            return SSL_CLIENT_HELLO_SUCCESS
        choice = Choice()
        choice.context = context
        choice.wants_staple = wants_staple
        choice.curves = ecdsa_curves(ssl, context)
        choice.choose(asked_name(ssl))
    except Exception:
        alert[0] = SSL_AD_INTERNAL_ERROR
        return SSL_CLIENT_HELLO_ERROR
    if wants_staple:
        context.stats.c_inc(OCSP_STAPLE_REQUESTS)
    if choice.action == STAPLE:
        context.stats.c_inc(OCSP_STAPLE_RESPONSES)
        (<TlsTransport> SSL_get_app_data(ssl)).staple = choice.found.staple
    elif choice.action == NO_STAPLE:
        context.stats.c_inc(OCSP_STAPLE_OMITTED)
    elif choice.action == FAIL:
        context.stats.c_inc(OCSP_STAPLE_FAILED)
        alert[0] = SSL_AD_HANDSHAKE_FAILURE
        return SSL_CLIENT_HELLO_ERROR
    if choice.found.ctx != context.ctx:
        SSL_set_SSL_CTX(ssl, choice.found.ctx)
    return SSL_CLIENT_HELLO_SUCCESS


cdef int staple(SSL* ssl, void* given) noexcept:
    """The client may be sent an OCSP response: the one that was chosen for it."""
    cdef bytes response = (<TlsTransport> SSL_get_app_data(ssl)).staple
    cdef void* copy
    if response is None:
        return SSL_TLSEXT_ERR_NOACK
    copy = OPENSSL_malloc(len(response))
    if copy == NULL:
        return SSL_TLSEXT_ERR_NOACK
    memcpy(copy, <const char*> response, len(response))
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, len(response))
    return SSL_TLSEXT_ERR_OK
