"""Map of session tickets."""
from proxeny.kernel.tls_context cimport TlsContext
from proxeny.kernel.tls_lib cimport EVP_CIPHER_CTX, EVP_MAC_CTX, SSL, SSL_SESSION

cdef int ticket_key(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
                    int sealing) noexcept
cdef int keep_session(SSL* ssl, SSL_SESSION* session) noexcept
cdef str resume(TlsContext context, SSL* ssl, object about)
