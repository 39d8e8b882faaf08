"""Session tickets of a server, which all workers can open, and the sessions that a client keeps.

Keys are given, or made from a secret that all workers share: then a fresh one encrypts every two days, as in BoringSSL,
and the one before still opens what it has sealed.
"""
from libc.string cimport memcmp, memcpy

import hmac
from time import time

from proxeny.kernel.tls cimport TlsTransport
from proxeny.kernel.tls_context cimport Session, TlsContext
from proxeny.kernel.tls_lib cimport *

cdef enum:
    NAME = 16
    MAC_KEY = 32
    KEY_SIZE = 80           # name, key of the MAC, key of the cipher
    PERIOD_S = 172800       # SSL_DEFAULT_TICKET_KEY_ROTATION_INTERVAL

cdef extern from *:
    """
    #include <openssl/core_names.h>
    #include <openssl/params.h>
    static int px_set_mac(EVP_MAC_CTX *mac, unsigned char *key, size_t n) {
        OSSL_PARAM params[3];
        params[0] = OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key, n);
        params[1] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, "sha256", 0);
        params[2] = OSSL_PARAM_construct_end();
        return EVP_MAC_CTX_set_params(mac, params);
    }
    """
    int set_mac "px_set_mac" (EVP_MAC_CTX* mac, unsigned char* key, size_t n)


cdef bytes key_of(bytes secret, long long period):
    """The 80 bytes of one period."""
    cdef bytes about = period.to_bytes(8, "big", signed=True)
    ticket = hmac.digest(secret, b"ticket" + about, "sha512")
    return (ticket + hmac.digest(secret, b"cipher" + about, "sha256"))[:KEY_SIZE]


cdef int renew_keys(TlsContext context) except -1:
    """Those made from a secret, where a new period has begun."""
    cdef long long period
    if context.ticket_secret is None:
        return 0
    period = <long long> time() // PERIOD_S
    if period != context.ticket_period:
        context.ticket_period = period
        context.ticket_keys = [key_of(context.ticket_secret, period), key_of(context.ticket_secret, period - 1)]
    return 0


cdef int ticket_key(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
                    int sealing) noexcept:
    """libssl seals or opens a ticket: 1, 2 where it should be sealed anew, 0 where the key is unknown, -1 = failed."""
    cdef TlsContext context = (<TlsTransport> SSL_get_app_data(ssl)).context
    cdef unsigned char* key
    cdef bytes one
    cdef int position = 0
    try:
        renew_keys(context)
    except Exception:
        return -1
    for one in context.ticket_keys:
        key = one
        if sealing:
            memcpy(name, key, NAME)
            if RAND_bytes(iv, EVP_MAX_IV_LENGTH) <= 0:
                return -1
            if not EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key + NAME + MAC_KEY, iv):
                return -1
            return 1 if set_mac(mac, key + NAME, MAC_KEY) else -1
        if memcmp(name, key, NAME) == 0:
            if not set_mac(mac, key + NAME, MAC_KEY):
                return -1
            if not EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key + NAME + MAC_KEY, iv):
                return -1
            return 1 if position == 0 else 2
        position += 1
    return 0


cdef int keep_session(SSL* ssl, SSL_SESSION* session) noexcept:
    """A client got a session: keep it, the newest first; 1: it is ours now."""
    cdef TlsTransport transport = <TlsTransport> SSL_get_app_data(ssl)
    cdef TlsContext context = transport.context
    cdef Session kept = Session()
    kept.session = session
    kept.about = transport.about
    try:
        kept.signature = transport.peer_signature_algorithm
    except Exception:
        kept.signature = ""
    context.sessions.insert(0, kept)
    del context.sessions[context.most_sessions:]
    return 1


cdef str resume(TlsContext context, SSL* ssl, object about):
    """Offer the newest session of those that were made for the same; those of TLS 1.3 serve once. Its signature."""
    cdef Session kept
    cdef Py_ssize_t at
    for at in range(len(context.sessions)):
        kept = context.sessions[at]
        if kept.about == about:
            SSL_set_session(ssl, kept.session)
            if SSL_SESSION_get_protocol_version(kept.session) >= TLS1_3_VERSION:
                del context.sessions[at]
            return kept.signature
    return None
