"""Map of the choice of a server's certificate."""
from proxeny.kernel.tls_context cimport Certificate
from proxeny.kernel.tls_lib cimport SSL, X509

cdef int client_hello(SSL* ssl, int* alert, void* context) noexcept
cdef int staple(SSL* ssl, void* context) noexcept
cdef int describe(Certificate certificate, X509* x509) except -1
