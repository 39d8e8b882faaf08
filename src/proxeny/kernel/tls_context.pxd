"""Map of TlsContext: what all connections of one TLS configuration share."""
from proxeny.kernel.stats cimport Block
from proxeny.kernel.tls_lib cimport SSL, SSL_CTX, SSL_SESSION, X509, X509_STORE

cdef enum:
    # Slots of COUNTERS.
    CONNECTION_ERROR = 0
    FAIL_VERIFY_CERT_HASH = 1
    FAIL_VERIFY_ERROR = 2
    FAIL_VERIFY_NO_CERT = 3
    FAIL_VERIFY_SAN = 4
    HANDSHAKE = 5
    NO_CERTIFICATE = 6
    OCSP_STAPLE_FAILED = 7
    OCSP_STAPLE_OMITTED = 8
    OCSP_STAPLE_REQUESTS = 9
    OCSP_STAPLE_RESPONSES = 10
    SESSION_REUSED = 11


cdef class Certificate:
    cdef SSL_CTX* ctx
    cdef int kind                   # EVP_PKEY_...
    cdef int curve                  # of an ECDSA key, as tls_selection numbers them; 0: another key
    cdef bint must_staple
    cdef list names                 # of servers: DNS names, or the common name; wildcards without their asterisk
    cdef bytes staple               # an OCSP response
    cdef double staple_expires      # seconds since the epoch


cdef class Session:
    cdef SSL_SESSION* session
    cdef object about               # what the connection was for: only its like may resume it
    cdef str signature              # the algorithm by which the server proved its certificate


cdef class TlsContext:
    cdef readonly list certificates     # Certificate objects, in the order of the configuration
    cdef SSL_CTX* ctx                   # connections begin with it; the first certificate's
    cdef X509_STORE* store
    cdef readonly bint is_server
    cdef readonly Block stats
    cdef readonly object names          # DynamicStats of ``ssl.``
    cdef readonly object validator
    cdef bint verifies_chain, accepts_untrusted
    cdef int verify_mode, minimum, maximum
    cdef readonly bytes alpn            # as on the wire
    cdef bytes ciphers, groups, signature_algorithms, session_id_context
    cdef list issuers                   # DER subjects that clients are told
    cdef bint full_scan, prefers_clients_order, stateless, stateful, logs_keys
    cdef int staple_policy
    cdef long session_timeout           # seconds; 0: as libssl has it
    cdef dict names_of_certificates     # server name -> certificates
    cdef set ecdsa_ciphers              # numbers of the enabled ones
    cdef list equal_ciphers             # groups of names (bytes) among which the client chooses
    cdef dict cipher_names              # number -> name (bytes), up to TLS 1.2, in our order
    cdef list ticket_keys               # the first one seals
    cdef bytes ticket_secret            # of which they are made, unless they are given
    cdef long long ticket_period
    cdef list sessions                  # Session objects of a client, the newest first
    cdef Py_ssize_t most_sessions

    cdef Certificate next_certificate(self)
    cdef int added(self, Certificate made, X509* x509) except -1
    cdef int note_ciphers(self) except -1
    cdef int apply_resumption(self, SSL_CTX* ctx) except -1
    cdef SSL_CTX* make(self) except NULL
    cdef int apply_to_all(self) except -1
    cdef int apply(self, SSL_CTX* ctx) except -1
    cdef int apply_verification(self, SSL_CTX* ctx) except -1
    cdef SSL* new_ssl(self) except NULL
