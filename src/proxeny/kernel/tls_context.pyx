"""TlsContext: what all connections of one TLS configuration share, over libssl's SSL_CTX.

It is built from plain values, by its setters in any order, and does not change once it serves:
a new secret makes a new context, and connections keep the one that they began with. There is one SSL_CTX per
certificate, alike in all but that; a connection begins with the first one and is given another one when its ClientHello
asks for it.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from proxeny.kernel.stats cimport Block
from proxeny.kernel.tls cimport count_message, log_key, select_alpn, verify_chain
from proxeny.kernel.tls_lib cimport *
from proxeny.kernel.tls_selection cimport client_hello, describe, staple
from proxeny.kernel.tls_tickets cimport keep_session, ticket_key

COUNTERS = (
    "connection_error",
    "fail_verify_cert_hash",
    "fail_verify_error",
    "fail_verify_no_cert",
    "fail_verify_san",
    "handshake",
    "no_certificate",
    "ocsp_staple_failed",
    "ocsp_staple_omitted",
    "ocsp_staple_requests",
    "ocsp_staple_responses",
    "session_reused",
)
"""What a context counts, in the order of the slots of its block (``ssl.*``)."""


class TlsError(ValueError):
    """libssl refused a setting or a certificate; `reason` is what it said, empty when it said nothing."""

    def __init__(self, what, reason=""):
        super().__init__(f"{what}: {reason}" if reason else what)
        self.reason = reason


cdef object failed(str what):
    cdef unsigned long error = ERR_peek_last_error()
    cdef const char* text = ERR_reason_error_string(error) if error else NULL
    ERR_clear_error()
    return TlsError(what, (<bytes> text).decode() if text != NULL else "")


cdef int give_password(char* target, int size, int encrypting, void* password) noexcept:
    cdef bytes given = b"" if password == NULL else <bytes> password
    cdef Py_ssize_t n = min(PyBytes_GET_SIZE(given), size)
    cdef Py_ssize_t i
    for i in range(n):
        target[i] = PyBytes_AS_STRING(given)[i]
    return <int> n


cdef BIO* memory_of(bytes data) except NULL:
    cdef BIO* bio = BIO_new_mem_buf(PyBytes_AS_STRING(data), <int> PyBytes_GET_SIZE(data))
    if bio == NULL:
        raise MemoryError()
    return bio


cdef class Certificate:
    """One of our certificates with its key."""

    def __dealloc__(self):
        SSL_CTX_free(self.ctx)


cdef class Session:
    """A session that a client may resume."""

    def __dealloc__(self):
        SSL_SESSION_free(self.session)


cdef class TlsContext:
    """See the module. `stats` is a block of COUNTERS, `names` takes counts by name (``ciphers.``, ``versions.``...)."""

    def __cinit__(self, bint server, Block stats not None, names not None):
        self.is_server = server
        self.stats = stats
        self.names = names
        self.certificates = []
        self.issuers = []
        self.sessions = []
        self.ticket_keys = []
        self.ecdsa_ciphers = set()
        self.equal_ciphers = []
        self.cipher_names = {}
        self.names_of_certificates = {}
        self.stateless = self.stateful = True
        self.alpn = b""
        # libssl resumes nothing where clients are verified without one.
        self.session_id_context = b"proxeny"
        self.verify_mode = SSL_VERIFY_NONE
        self.store = X509_STORE_new()
        if self.store == NULL:
            raise MemoryError()
        self.ctx = self.make()
        self.note_ciphers()

    def __dealloc__(self):
        SSL_CTX_free(self.ctx)
        X509_STORE_free(self.store)

    # Settings

    def set_protocols(self, int minimum, int maximum):
        """The lowest and the highest version: 0x0301 for TLS 1.0 to 0x0304 for TLS 1.3."""
        self.minimum, self.maximum = minimum, maximum
        self.apply_to_all()

    def set_ciphers(self, bytes names, equal=()):
        """Ciphers of TLS 1.2 and below, as OpenSSL writes lists of them; those of TLS 1.3 are not configurable.

        `equal`: groups of them (lists of names) of equal preference: a server takes the one that its client prefers.
        """
        self.ciphers = names
        self.equal_ciphers = [list(group) for group in equal if len(group) > 1]
        self.apply_to_all()

    def set_groups(self, bytes names):
        """Groups ("curves") for the key exchange, separated by colons, the preferred one first."""
        self.groups = names
        self.apply_to_all()

    def set_signature_algorithms(self, bytes names):
        """Signature algorithms, separated by colons."""
        self.signature_algorithms = names
        self.apply_to_all()

    def set_alpn(self, protocols):
        """Application protocols (bytes), the preferred one first: a client offers them, a server selects one."""
        self.alpn = alpn_wire(protocols)
        self.apply_to_all()

    def set_session_id_context(self, bytes value):
        """Up to 32 bytes: sessions are resumed only where they are the same."""
        self.session_id_context = value
        self.apply_to_all()

    def prefer_clients_order(self):
        """The client's order of ciphers counts, not ours."""
        self.prefers_clients_order = True
        self.apply_to_all()

    def log_keys(self):
        """Secrets go to the `key_log` of transports that have one."""
        self.logs_keys = True
        self.apply_to_all()

    # Resumption

    def set_resumption(self, bint stateless, bint stateful, long timeout_s=0, keys=None, bytes secret=None):
        """What a server offers: tickets (`stateless`), a cache of its own (`stateful`, up to TLS 1.2), for how long.

        Tickets are sealed by the first of `keys`, of 80 bytes each, and opened by all; or by keys made from `secret`,
        which all workers know.
        """
        self.stateless = stateless
        self.stateful = stateful
        self.session_timeout = timeout_s
        self.ticket_keys = list(keys or ())
        self.ticket_secret = None if self.ticket_keys else secret
        self.ticket_period = -1
        self.apply_to_all()

    def keep_sessions(self, Py_ssize_t most):
        """How many sessions a client keeps to resume."""
        self.most_sessions = most
        self.apply_to_all()

    # OCSP, the choice of a certificate

    def set_staple(self, Py_ssize_t position, bytes response, double expires):
        """The OCSP response of a certificate, and until when it holds (seconds since the epoch)."""
        cdef Certificate certificate = self.certificates[position]
        certificate.staple = response
        certificate.staple_expires = expires

    def set_staple_policy(self, int policy):
        """`DownstreamTlsContext.OcspStaplePolicy`."""
        self.staple_policy = policy

    def set_full_scan(self, bint full_scan):
        """Whether all certificates are looked at where none has the server name that is asked for."""
        self.full_scan = full_scan

    # Verification of the peer

    def trust(self, bytes pem, bint tell_clients=True):
        """Trust the certificates in `pem`; how many there were. `tell_clients`: name them in certificate requests."""
        cdef BIO* bio = memory_of(pem)
        cdef X509* certificate
        cdef int count = 0
        try:
            while True:
                certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL)
                if certificate == NULL:
                    break
                X509_STORE_add_cert(self.store, certificate)
                if tell_clients:
                    self.issuers.append(subject_of(certificate))
                X509_free(certificate)
                count += 1
            end_of_pem("the trusted certificates")
        finally:
            BIO_free(bio)
        self.apply_to_all()
        return count

    def tell_clients(self, bytes der):
        """Name a certificate (DER) when asking clients for theirs."""
        cdef const unsigned char* data = der
        cdef X509* certificate = d2i_X509(NULL, &data, len(der))
        if certificate == NULL:
            raise failed("the certificate to tell clients of")
        try:
            self.issuers.append(subject_of(certificate))
        finally:
            X509_free(certificate)
        self.apply_to_all()

    def revoke(self, bytes pem):
        """Take the revocation lists in `pem`; how many there were."""
        cdef BIO* bio = memory_of(pem)
        cdef X509_CRL* crl
        cdef int count = 0
        try:
            while True:
                crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)
                if crl == NULL:
                    break
                X509_STORE_add_crl(self.store, crl)
                X509_CRL_free(crl)
                count += 1
            end_of_pem("the revocation list")
        finally:
            BIO_free(bio)
        return count

    def set_verification(self, bint ask, bint require, bint chain, validator=None, bint accept_untrusted=False,
                         unsigned long flags=0, int depth=100):
        """How peers are verified.

        `ask` for a certificate (servers), `require` one. With `chain` it has to lead to a trusted certificate, unless
        `accept_untrusted`; X509_V_FLAG_* in `flags`. Then `validator.verify(transport, certificates)` is asked, with
        the peer's certificates as DER, its own first: None, or the slot to count and what to say of the failure.
        """
        self.verifies_chain = chain
        self.accepts_untrusted = accept_untrusted
        self.validator = validator
        self.verify_mode = SSL_VERIFY_PEER if ask or require or chain or validator is not None else SSL_VERIFY_NONE
        if require:
            self.verify_mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT
        X509_STORE_set_flags(self.store, flags)
        SSL_CTX_set_verify_depth(self.ctx, depth)
        self.apply_to_all()

    # Our own certificates

    def add_certificate(self, bytes chain, bytes key, bytes password=None):
        """A certificate, with those that lead from it to its root, and its private key, all as PEM."""
        cdef Certificate made = self.next_certificate()
        cdef BIO* bio = memory_of(chain)
        cdef X509* certificate = NULL
        cdef STACK_OF_X509* others = NULL
        cdef EVP_PKEY* private_key = NULL
        try:
            certificate = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL)
            if certificate == NULL:
                raise failed("the certificate chain")
            others = sk_X509_new_null()
            read_chain(bio, others)
            private_key = read_key(key, password)
            use(made.ctx, certificate, private_key, &others)
            self.added(made, certificate)
        finally:
            BIO_free(bio)
            X509_free(certificate)
            free_chain(others)
            EVP_PKEY_free(private_key)

    def add_pkcs12(self, bytes data, bytes password=None):
        """A certificate, its key and what leads to its root, as PKCS #12."""
        cdef Certificate made = self.next_certificate()
        cdef BIO* bio = memory_of(data)
        cdef PKCS12* bag = NULL
        cdef X509* certificate = NULL
        cdef STACK_OF_X509* others = NULL
        cdef EVP_PKEY* private_key = NULL
        try:
            bag = d2i_PKCS12_bio(bio, NULL)
            if bag == NULL or not PKCS12_parse(
                bag, PyBytes_AS_STRING(password or b""), &private_key, &certificate, &others
            ):
                raise failed("the pkcs12")
            if certificate == NULL or private_key == NULL:
                raise TlsError("the pkcs12 has no certificate, or no key")
            use(made.ctx, certificate, private_key, &others)
            self.added(made, certificate)
        finally:
            BIO_free(bio)
            PKCS12_free(bag)
            X509_free(certificate)
            free_chain(others)
            EVP_PKEY_free(private_key)

    cdef int added(self, Certificate made, X509* x509) except -1:
        """Known from now on; of those with the same name and kind of key the first one counts."""
        cdef list others
        describe(made, x509)
        self.certificates.append(made)
        for name in made.names:
            others = self.names_of_certificates.setdefault(name, [])
            if made.kind not in [(<Certificate> other).kind for other in others]:
                others.append(made)
        return 0

    cdef Certificate next_certificate(self):
        """Room for one more: the SSL_CTX that connections begin with is the first one's."""
        cdef Certificate made = Certificate()
        if self.certificates:
            made.ctx = self.make()
        else:
            SSL_CTX_up_ref(self.ctx)
            made.ctx = self.ctx
        return made

    # For connections

    cdef SSL_CTX* make(self) except NULL:
        cdef SSL_CTX* ctx = SSL_CTX_new(TLS_method())
        if ctx == NULL:
            raise failed("SSL_CTX_new")
        SSL_CTX_set_options(
            ctx,
            SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE
            | SSL_OP_NO_COMPRESSION,
        )
        if self.is_server:
            SSL_CTX_set_client_hello_cb(ctx, client_hello, <void*> self)
            SSL_CTX_set_tlsext_status_cb(ctx, staple)
        SSL_CTX_set_mode(
            ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN
        )
        SSL_CTX_set_read_ahead(ctx, 1)
        # As BoringSSL, which has no levels: what is too weak is not among the ciphers and versions.
        SSL_CTX_set_security_level(ctx, 0)
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF)
        # BoringSSL sends two; each costs a tenth of a handshake here.
        SSL_CTX_set_num_tickets(ctx, 1)
        SSL_CTX_set_cert_verify_callback(ctx, verify_chain, <void*> self)
        SSL_CTX_set_msg_callback(ctx, count_message)
        try:
            self.apply(ctx)
        except BaseException:
            SSL_CTX_free(ctx)
            raise
        return ctx

    cdef int apply_to_all(self) except -1:
        cdef Certificate certificate
        self.apply(self.ctx)
        for certificate in self.certificates:
            if certificate.ctx != self.ctx:
                self.apply(certificate.ctx)
        return 0

    cdef int apply(self, SSL_CTX* ctx) except -1:
        if self.minimum and not SSL_CTX_set_min_proto_version(ctx, self.minimum):
            raise failed("the minimum protocol version")
        if self.maximum and not SSL_CTX_set_max_proto_version(ctx, self.maximum):
            raise failed("the maximum protocol version")
        if self.ciphers is not None and not SSL_CTX_set_cipher_list(ctx, self.ciphers):
            raise failed("the ciphers")
        if self.prefers_clients_order:
            SSL_CTX_clear_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE)
        if self.logs_keys:
            SSL_CTX_set_keylog_callback(ctx, log_key)
        if self.groups is not None and not SSL_CTX_set1_groups_list(ctx, self.groups):
            raise failed("the groups")
        if self.signature_algorithms is not None and not (
            SSL_CTX_set1_sigalgs_list(ctx, self.signature_algorithms)
            and SSL_CTX_set1_client_sigalgs_list(ctx, self.signature_algorithms)
        ):
            raise failed("the signature algorithms")
        if self.alpn:
            if self.is_server:
                SSL_CTX_set_alpn_select_cb(ctx, select_alpn, <void*> self)
            elif SSL_CTX_set_alpn_protos(ctx, self.alpn, <unsigned int> len(self.alpn)):
                raise failed("the application protocols")
        if self.session_id_context is not None:
            SSL_CTX_set_session_id_context(ctx, self.session_id_context, <unsigned int> len(self.session_id_context))
        self.apply_verification(ctx)
        self.apply_resumption(ctx)
        if ctx == self.ctx:
            self.note_ciphers()
        return 0

    cdef int note_ciphers(self) except -1:
        """What the choice of a certificate, and of a cipher among equal ones, goes by."""
        cdef STACK_OF_CIPHERS* ciphers = SSL_CTX_get_ciphers(self.ctx)
        cdef const SSL_CIPHER* cipher
        cdef int i
        self.ecdsa_ciphers.clear()
        self.cipher_names.clear()
        for i in range(sk_SSL_CIPHER_num(ciphers)):
            cipher = sk_SSL_CIPHER_value(ciphers, i)
            if SSL_CIPHER_get_kx_nid(cipher) != NID_kx_any:
                self.cipher_names[SSL_CIPHER_get_protocol_id(cipher)] = <bytes> SSL_CIPHER_get_name(cipher)
            if SSL_CIPHER_get_auth_nid(cipher) == NID_auth_ecdsa:
                self.ecdsa_ciphers.add(SSL_CIPHER_get_protocol_id(cipher))
        return 0

    cdef int apply_resumption(self, SSL_CTX* ctx) except -1:
        if not self.is_server:
            if self.most_sessions:
                SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL)
                SSL_CTX_sess_set_new_cb(ctx, keep_session)
            return 0
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER if self.stateful else SSL_SESS_CACHE_OFF)
        if self.session_timeout:
            SSL_CTX_set_timeout(ctx, self.session_timeout)
        if not self.stateless:
            # libssl would seal references to its cache instead; BoringSSL resumes TLS 1.3 by tickets only.
            SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET)
            SSL_CTX_set_num_tickets(ctx, 0)
        elif self.ticket_keys or self.ticket_secret is not None:
            SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ticket_key)
        return 0

    cdef int apply_verification(self, SSL_CTX* ctx) except -1:
        cdef STACK_OF_NAMES* names
        SSL_CTX_set1_cert_store(ctx, self.store)
        SSL_CTX_set_verify(ctx, self.verify_mode, NULL)
        if self.is_server and self.issuers:
            names = sk_X509_NAME_new_null()
            for der in self.issuers:
                push_name(names, der)
            SSL_CTX_set_client_CA_list(ctx, names)
        return 0

    cdef SSL* new_ssl(self) except NULL:
        cdef SSL* ssl = SSL_new(self.ctx)
        if ssl == NULL:
            raise failed("SSL_new")
        if self.is_server:
            SSL_set_accept_state(ssl)
        else:
            SSL_set_connect_state(ssl)
        return ssl


def alpn_wire(protocols):
    """Names of protocols (bytes) as they are on the wire."""
    for name in protocols:
        if not 0 < len(name) < 256:
            raise TlsError("Invalid ALPN protocol string")
    return b"".join([bytes((len(name),)) + name for name in protocols])


cdef int end_of_pem(str what) except -1:
    """A reader found nothing more: fine where the text ended, else an error."""
    cdef unsigned long error = ERR_peek_last_error()
    if error and not (ERR_GET_LIB(error) == ERR_LIB_PEM and ERR_GET_REASON(error) == PEM_R_NO_START_LINE):
        raise failed(what)
    ERR_clear_error()
    return 0


cdef int read_chain(BIO* bio, STACK_OF_X509* chain) except -1:
    cdef X509* certificate
    while True:
        certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL)
        if certificate == NULL:
            break
        sk_X509_push(chain, certificate)
    return end_of_pem("the certificate chain")


cdef EVP_PKEY* read_key(bytes pem, bytes password) except NULL:
    cdef BIO* bio = memory_of(pem)
    cdef EVP_PKEY* key = PEM_read_bio_PrivateKey(bio, NULL, give_password, <void*> password if password else NULL)
    BIO_free(bio)
    if key == NULL:
        raise failed("the private key")
    return key


cdef int use(SSL_CTX* ctx, X509* certificate, EVP_PKEY* key, STACK_OF_X509** chain) except -1:
    """The chain becomes the context's."""
    if not SSL_CTX_use_certificate(ctx, certificate):
        raise failed("the certificate")
    # A key of another kind than the certificate's would go beside it, for certificates of its own kind.
    if not X509_check_private_key(certificate, key) or not SSL_CTX_use_PrivateKey(ctx, key):
        raise failed("the private key")
    if chain[0] != NULL and SSL_CTX_set0_chain(ctx, chain[0]):
        chain[0] = NULL
    ERR_clear_error()
    return 0


cdef bytes subject_of(X509* certificate):
    cdef unsigned char* der = NULL
    cdef int n = i2d_X509_NAME(X509_get_subject_name(certificate), &der)
    if n < 0:
        raise MemoryError()
    try:
        return der[:n]
    finally:
        OPENSSL_free(der)


cdef int push_name(STACK_OF_NAMES* names, bytes der) except -1:
    cdef const unsigned char* data = der
    cdef X509_NAME* name = d2i_X509_NAME(NULL, &data, len(der))
    if name == NULL or not sk_X509_NAME_push(names, name):
        X509_NAME_free(name)
        raise MemoryError()
    return 0
