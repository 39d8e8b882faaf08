"""TrustStore: trusted certificates and revocation lists against which chains are verified outside of a handshake.

A context of TLS has one store of its own. Whoever chooses the store by the certificate (SPIFFE: by its trust domain)
verifies here.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from proxeny.kernel.tls_lib cimport *
from proxeny.kernel.tls_session cimport der_of

cdef extern from "openssl/x509_vfy.h" nogil:
    X509_STORE_CTX* X509_STORE_CTX_new()
    void X509_STORE_CTX_free(X509_STORE_CTX* ctx)
    int X509_STORE_CTX_init(X509_STORE_CTX* ctx, X509_STORE* store, X509* certificate, STACK_OF_X509* chain)
    int X509_STORE_CTX_set_default(X509_STORE_CTX* ctx, const char* name)
    void X509_STORE_CTX_set_depth(X509_STORE_CTX* ctx, int depth)
    void X509_STORE_CTX_set_flags(X509_STORE_CTX* ctx, unsigned long flags)

cdef extern from "openssl/pem.h" nogil:
    ctypedef struct X509_INFO:
        X509* x509
        X509_CRL* crl
    ctypedef struct STACK_OF_INFOS "STACK_OF(X509_INFO)":
        pass
    STACK_OF_INFOS* PEM_X509_INFO_read_bio(BIO* bio, STACK_OF_INFOS* found, void* callback, void* arg)
    int sk_X509_INFO_num(const STACK_OF_INFOS* found)
    X509_INFO* sk_X509_INFO_value(const STACK_OF_INFOS* found, int index)

cdef extern from * nogil:
    """
    static void px_free_infos(STACK_OF(X509_INFO) *infos) { sk_X509_INFO_pop_free(infos, X509_INFO_free); }
    """
    void free_infos "px_free_infos" (STACK_OF_INFOS* infos)


def read_pem(bytes pem not None):
    """All certificates in a text, as DER, and the number of its revocation lists; a ValueError where it is broken."""
    cdef BIO* bio = BIO_new_mem_buf(PyBytes_AS_STRING(pem), <int> PyBytes_GET_SIZE(pem))
    cdef STACK_OF_INFOS* infos
    cdef X509_INFO* info
    cdef list found = []
    cdef int revocations = 0
    cdef int index
    if bio == NULL:
        raise MemoryError
    infos = PEM_X509_INFO_read_bio(bio, NULL, NULL, NULL)
    BIO_free(bio)
    ERR_clear_error()
    if infos == NULL:
        raise ValueError("not PEM")
    try:
        for index in range(sk_X509_INFO_num(infos)):
            info = sk_X509_INFO_value(infos, index)
            if info.x509 != NULL:
                found.append(der_of(info.x509))
            if info.crl != NULL:
                revocations += 1
    finally:
        free_infos(infos)
    return found, revocations


cdef X509* parse(bytes der) except NULL:
    cdef const unsigned char* data = <const unsigned char*> PyBytes_AS_STRING(der)
    cdef X509* found = d2i_X509(NULL, &data, PyBytes_GET_SIZE(der))
    if found == NULL:
        ERR_clear_error()
        raise ValueError("not a certificate")
    return found


cdef class TrustStore:
    """Trusted certificates (DER) and what is revoked (the PEM that holds the lists); ValueError on other bytes."""
    cdef X509_STORE* store

    def __cinit__(self, certificates, bytes revocations=b""):
        cdef X509* certificate
        self.store = X509_STORE_new()
        if self.store == NULL:
            raise MemoryError
        for der in certificates:
            certificate = parse(der)
            X509_STORE_add_cert(self.store, certificate)
            X509_free(certificate)
        if revocations:
            self.revoke(revocations)

    def __dealloc__(self):
        X509_STORE_free(self.store)

    cdef int revoke(self, bytes pem) except -1:
        cdef BIO* bio = BIO_new_mem_buf(PyBytes_AS_STRING(pem), <int> PyBytes_GET_SIZE(pem))
        cdef STACK_OF_INFOS* infos
        cdef X509_INFO* info
        cdef int index
        if bio == NULL:
            raise MemoryError
        infos = PEM_X509_INFO_read_bio(bio, NULL, NULL, NULL)
        BIO_free(bio)
        ERR_clear_error()
        if infos == NULL:
            raise ValueError("not PEM")
        for index in range(sk_X509_INFO_num(infos)):
            info = sk_X509_INFO_value(infos, index)
            if info.crl != NULL:
                X509_STORE_add_crl(self.store, info.crl)
        free_infos(infos)
        X509_STORE_set_flags(self.store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL)
        return 0

    def verify(self, chain, bytes purpose not None, bint allow_expired=False, int depth=-1):
        """Why a chain (DER, the peer's own first) is not to be trusted: depth and words; None: it is.

        `purpose`: ``ssl_client``, ``ssl_server``, or empty.
        """
        cdef X509_STORE_CTX* ctx = X509_STORE_CTX_new()
        cdef STACK_OF_X509* untrusted = sk_X509_new_null()
        cdef int error
        if ctx == NULL or untrusted == NULL:
            X509_STORE_CTX_free(ctx)
            free_chain(untrusted)
            raise MemoryError
        try:
            for der in chain:
                sk_X509_push(untrusted, parse(der))
            if not X509_STORE_CTX_init(ctx, self.store, sk_X509_value(untrusted, 0), untrusted):
                raise MemoryError
            if purpose:
                X509_STORE_CTX_set_default(ctx, PyBytes_AS_STRING(purpose))
            if depth >= 0:
                X509_STORE_CTX_set_depth(ctx, depth)
            if allow_expired:
                X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_NO_CHECK_TIME)
            if X509_verify_cert(ctx) > 0:
                return None
            error = verification_error(ctx)
            ERR_clear_error()
            return (X509_STORE_CTX_get_error_depth(ctx),
                    (<bytes> X509_verify_cert_error_string(error)).decode())
        finally:
            X509_STORE_CTX_free(ctx)
            free_chain(untrusted)
