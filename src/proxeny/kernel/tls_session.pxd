"""Map of the facts of a TLS session."""
from proxeny.kernel.stream cimport Transport
from proxeny.kernel.tls_lib cimport SSL, SSL_CIPHER, STACK_OF_X509, X509

cdef enum State:
    NEW                 # nothing was sent or received
    HANDSHAKING
    ESTABLISHED
    FAILED              # of no further use


cdef class TlsSession(Transport):
    cdef SSL* ssl
    cdef State state
    cdef list refused               # certificates (DER) that were not accepted: libssl forgets them
    cdef str resumed_signature      # of the handshake whose session was offered


cdef const SSL_CIPHER* current_cipher(SSL* ssl) noexcept
cdef bytes der_of(X509* certificate)
cdef list ders_of(X509* own, STACK_OF_X509* chain)
