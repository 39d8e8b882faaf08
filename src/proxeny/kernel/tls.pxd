"""Map of the TLS transport."""
from proxeny.kernel.stream cimport Stream, Transport
from proxeny.kernel.tls_context cimport TlsContext
from proxeny.kernel.tls_lib cimport SSL, X509_STORE_CTX
from proxeny.kernel.tls_session cimport TlsSession

cdef class TlsTransport(TlsSession):
    cdef readonly TlsContext context
    cdef readonly object options            # of the upstream request that it was opened for (TransportSocketOptions)
    cdef public object verification_error   # what to say besides, where the peer's certificate was refused
    cdef readonly bint verified             # the peer's certificate was accepted
    cdef public object key_log              # called with lines of secrets, None: nobody
    cdef object about                       # what the connection is for: sessions of others are not resumed
    cdef bytes staple                       # the OCSP response that goes along
    cdef bint misused_key                   # the server's RSA key is not for what it is used for
    cdef readonly long long handshake_done_ns   # 0: it was not
    cdef int fd, io_error
    cdef bint dry, ended, hang_up           # the socket has no more now, or ever; its end is behind what it has
    cdef bint sent_shutdown, shutdown_wanted
    cdef char* wire                         # made by libssl, not taken by the socket yet
    cdef size_t wire_start, wire_end, wire_size
    cdef Py_ssize_t encrypted               # at the front of the write buffer, and in `wire`
    cdef int late_messages                  # of the handshake's kind, after it, since the last byte of data
    cdef Py_ssize_t late_result             # of a read that had bytes to deliver first; 0: none

    cdef Py_ssize_t advance(self, Stream stream) except? -2000000
    cdef int established(self, Stream stream) except -1
    cdef Py_ssize_t fail(self, Stream stream, int rc) except? -2000000
    cdef int explain(self) except -1
    cdef int speak_before_hello(self) except -1
    cdef Py_ssize_t read_result(self, Stream stream, int rc) except? -2000000
    cdef Py_ssize_t send_wire(self, int fd) except? -2000000
    cdef int encrypt(self, const char* data, size_t n) except -1
    cdef int end_session(self) except -1
    cdef int put_on_wire(self, const char* data, size_t n) noexcept


cdef class NotReadyTransport(Transport):
    pass


cdef void count_message(int sent, int version, int kind, const void* data, size_t n, SSL* ssl, void* given) noexcept
cdef void log_key(const SSL* ssl, const char* line) noexcept
cdef int verify_chain(X509_STORE_CTX* store, void* context) noexcept
cdef int select_alpn(SSL* ssl, const unsigned char** out, unsigned char* n, const unsigned char* offered,
                     unsigned int offered_n, void* context) noexcept
