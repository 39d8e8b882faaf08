"""TlsTransport: TLS between a stream's buffers and its socket (Envoy: `SslSocket`), over libssl.

libssl reads and writes through a BIO of our own. Its reads are reads of the socket, and remember a read that came back
short, so that a socket known to be dry is not asked again. What libssl writes (handshake messages, tickets, alerts,
records) gathers on the `wire` and leaves in one send: at the end of the handler's turn, or of up to four records. So
libssl never finds the socket full, and a handshake's last flight goes out together with the first answer.

Bytes that are encrypted but not sent stay in the stream's write buffer until the socket has taken them: watermarks and
flushing closes see them, as without TLS.
"""
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, strerror
from posix.uio cimport iovec

from proxeny.kernel.stream cimport BLOCKED, WAITING, Stream, Transport
from proxeny.kernel.tls_context cimport (
    CONNECTION_ERROR,
    FAIL_VERIFY_ERROR,
    FAIL_VERIFY_NO_CERT,
    HANDSHAKE,
    NO_CERTIFICATE,
    SESSION_REUSED,
    TlsContext,
)
from proxeny.kernel.tls_lib cimport *
from proxeny.kernel.tls_session cimport ESTABLISHED, FAILED, HANDSHAKING, TlsSession, current_cipher, ders_of
from proxeny.kernel.tls_tickets cimport resume

import logging
from time import monotonic_ns

from proxeny.kernel.tls_reasons import boringssl_reason, refused_chain

log = logging.getLogger("proxeny.connection")

cdef extern from "sys/socket.h" nogil:
    Py_ssize_t recv(int fd, void* buffer, size_t size, int flags)
    Py_ssize_t send(int fd, const void* buffer, size_t size, int flags)
    enum:
        MSG_NOSIGNAL

cdef extern from "errno.h" nogil:
    enum:
        EPROTO

cdef enum:
    RECORD = 16384              # bytes of plain text in a record, at most
    PER_SEND = 65536            # that are encrypted before they are sent
    SMALL_READ = 16384
    LARGE_READ = 65536
    FIRST_WIRE = 4096
    ALERT = 21                  # the content type
    ALERT_RECORD = 7            # bytes of a record with an alert in the clear
    VECTORS = 64
    MOST_LATE_MESSAGES = 32     # BoringSSL: kMaxKeyUpdates

# Made once and never changed: how libssl reaches our sockets.
cdef BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, b"proxeny stream")
BIO_meth_set_read(method, bio_read)
BIO_meth_set_write(method, bio_write)
BIO_meth_set_ctrl(method, bio_ctrl)


cdef int bio_read(BIO* bio, char* target, int size) noexcept:
    cdef TlsTransport transport = <TlsTransport> BIO_get_data(bio)
    cdef Py_ssize_t n
    BIO_clear_retry_flags(bio)
    if transport.late_messages > MOST_LATE_MESSAGES:
        return -1
    if transport.dry:
        BIO_set_retry_read(bio)
        return -1
    while True:
        n = recv(transport.fd, target, <size_t> size, 0)
        if n >= 0 or errno != EINTR:
            break
    if n > 0:
        transport.dry = n < size and not transport.hang_up
        return <int> n
    if n == 0:
        transport.ended = True
        return 0
    if errno == EAGAIN:
        transport.dry = True
        BIO_set_retry_read(bio)
    else:
        transport.io_error = errno
    return -1


cdef int bio_write(BIO* bio, const char* data, int size) noexcept:
    cdef TlsTransport transport = <TlsTransport> BIO_get_data(bio)
    BIO_clear_retry_flags(bio)
    if transport.late_messages > MOST_LATE_MESSAGES:
        return -1
    return transport.put_on_wire(data, <size_t> size)


cdef long bio_ctrl(BIO* bio, int command, long number, void* pointer) noexcept:
    if command == BIO_CTRL_FLUSH:
        return 1
    if command == BIO_CTRL_EOF:
        return (<TlsTransport> BIO_get_data(bio)).ended
    return 0


cdef class TlsTransport(TlsSession):
    """One session; `server_name` is for clients, so is `alpn` (as on the wire) where it is not the context's."""

    def __cinit__(self, TlsContext context not None, bytes server_name=None, bytes alpn=None, options=None):
        cdef BIO* bio
        self.context = context
        self.options = options
        self.fd = -1
        self.ssl = context.new_ssl()
        SSL_set_app_data(self.ssl, <void*> self)
        bio = BIO_new(method)
        if bio == NULL:
            raise MemoryError()
        BIO_set_data(bio, <void*> self)
        BIO_set_init(bio, 1)
        SSL_set_bio(self.ssl, bio, bio)
        if server_name:
            SSL_set_tlsext_host_name(self.ssl, server_name)
        if alpn is not None:
            SSL_set_alpn_protos(self.ssl, alpn, <unsigned int> len(alpn))
        if context.most_sessions:
            self.about = (server_name, alpn, None if options is None else options.tls_key())
            self.resumed_signature = resume(context, self.ssl, self.about)

    def __dealloc__(self):
        SSL_free(self.ssl)
        free(self.wire)

    # Handshake

    cdef int socket_connected(self, Stream stream) except -1:
        cdef Py_ssize_t result
        self.fd = stream.fd
        result = self.advance(stream)
        if result < 0 and result != BLOCKED and stream.poller is not None:
            stream.on_transport_error(<int> -result)
        return 0

    cdef Py_ssize_t advance(self, Stream stream) except? -2000000:
        """Go on with the handshake: 0 when it is done, BLOCKED, or -errno when it failed."""
        cdef int rc
        if self.state == FAILED:
            return -EPROTO
        self.state = HANDSHAKING
        ERR_clear_error()
        rc = SSL_do_handshake(self.ssl)
        if self.wire_end:
            stream.poller.c_mark_dirty(stream)
        if rc == 1:
            self.established(stream)
            return 0
        if SSL_get_error(self.ssl, rc) == SSL_ERROR_WANT_READ:
            return BLOCKED
        return self.fail(stream, rc)

    cdef int established(self, Stream stream) except -1:
        self.state = ESTABLISHED
        self.handshake_done_ns = monotonic_ns()
        self.count_handshake()
        if self.shutdown_wanted:
            self.end_session()
        if stream.write_buffer.length or self.wire_end:
            stream.poller.c_mark_dirty(stream)
        stream.on_connected()
        return 0

    def count_handshake(self):
        """Count what was agreed on."""
        cdef TlsContext context = self.context
        cdef object names = context.names
        cdef str name
        context.stats.c_inc(HANDSHAKE)
        if SSL_session_reused(self.ssl):
            context.stats.c_inc(SESSION_REUSED)
            self.verified = SSL_get0_peer_certificate(self.ssl) != NULL and (
                context.verifies_chain or context.validator is not None)
        names.inc("ciphers." + self.cipher)
        names.inc("versions." + self.version)
        name = self.group
        if name:
            names.inc("curves." + name)
        name = self.peer_signature_algorithm
        if name:
            names.inc("sigalgs." + name)
        if SSL_get0_peer_certificate(self.ssl) == NULL:
            context.stats.c_inc(NO_CERTIFICATE)

    cdef Py_ssize_t fail(self, Stream stream, int rc) except? -2000000:
        """The session is over: say why, send the alert; -errno."""
        cdef int error = self.io_error
        self.explain()
        if current_cipher(self.ssl) == NULL:
            self.speak_before_hello()
        self.state = FAILED
        self.send_wire(stream.fd)
        return -(error if error else EPROTO)

    cdef int speak_before_hello(self) except -1:
        """As BoringSSL where no version was agreed on: alerts in records of TLS 1.0, one also for what is no TLS."""
        cdef size_t at = self.wire_start
        if self.wire_end - at == ALERT_RECORD and self.wire[at] == ALERT:
            self.wire[at + 2] = 1
        elif self.wire_end == 0 and self.failure_reason is not None and "WRONG_VERSION_NUMBER" in self.failure_reason:
            self.put_on_wire(b"\x15\x03\x01\x00\x02\x02\x46", ALERT_RECORD)
        return 0

    cdef int explain(self) except -1:
        """Take down and count what libssl has to say, in Envoy's words."""
        cdef bint counted = False
        cdef bint unverified = False
        cdef bint uncertified = False
        cdef unsigned long error
        cdef list said = []
        cdef const char* text
        if self.late_messages > MOST_LATE_MESSAGES:
            said.append(boringssl_reason(ERR_LIB_SSL, 0, "too many key updates"))
        if self.io_error:
            counted = True
            said.append(f"|{33554432 + self.io_error}:system library:OPENSSL_internal:{os_error(self.io_error)}")
        while True:
            error = ERR_get_error()
            if error == 0:
                break
            if ERR_GET_LIB(error) == ERR_LIB_SSL:
                if ERR_GET_REASON(error) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
                    self.context.stats.c_inc(FAIL_VERIFY_NO_CERT)
                    counted = uncertified = True
                elif ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED:
                    counted = unverified = True
            elif ERR_GET_LIB(error) == ERR_LIB_SYS:
                if self.io_error:
                    continue
                counted = True
            text = ERR_reason_error_string(error)
            if unverified and self.misused_key:
                counted = unverified = False
                text = "key usage bit incorrect"
            said.append(boringssl_reason(ERR_GET_LIB(error), ERR_GET_REASON(error),
                                         "" if text == NULL else (<bytes> text).decode()))
        if not said:
            return 0
        if unverified and self.verification_error:
            said.append(f":{self.verification_error}")
        elif uncertified:
            said.append(":peer did not provide required client certificate")
        if not counted:
            self.context.stats.c_inc(CONNECTION_ERROR)
        self.failure_reason = f"TLS_error:{''.join(said)}:TLS_error_end"
        return 0

    # Reading

    cdef Py_ssize_t read(self, Stream stream, bint* short) except? -2000000:
        cdef size_t room
        cdef size_t n = 0
        cdef size_t total = 0
        cdef Py_ssize_t result
        cdef char* target
        cdef int rc = 1
        self.fd = stream.fd
        self.hang_up = stream.hang_up
        self.dry = False
        if self.late_result:
            return self.late_result
        if self.state != ESTABLISHED:
            result = self.advance(stream)
            if result < 0:
                return result
            if stream.poller is None or stream.read_disable_count:
                return WAITING
        target = stream.read_buffer.reserve(stream.read_size, &room)
        ERR_clear_error()
        while total < room:
            rc = SSL_read_ex(self.ssl, target + total, room - total, &n)
            if rc != 1:
                break
            total += n
            self.late_messages = 0
            if self.dry and not SSL_has_pending(self.ssl):
                short[0] = True
                break
        if total:
            stream.read_buffer.commit(total)
            stream.read_size = LARGE_READ if total >= SMALL_READ else SMALL_READ
        else:
            stream.read_buffer.release()
        if self.wire_end:
            stream.poller.c_mark_dirty(stream)
        if rc == 1:
            return <Py_ssize_t> total
        result = self.read_result(stream, rc)
        if total == 0:
            return result
        if result != BLOCKED:
            # What came before it goes first. There is no event to wait for.
            self.late_result = result
            short[0] = False
        else:
            short[0] = True
        return <Py_ssize_t> total

    cdef Py_ssize_t read_result(self, Stream stream, int rc) except? -2000000:
        """What a read that gave no bytes means."""
        cdef int error = SSL_get_error(self.ssl, rc)
        if error == SSL_ERROR_WANT_READ:
            return BLOCKED
        if error == SSL_ERROR_ZERO_RETURN:
            return 0
        return self.fail(stream, rc)

    # Writing

    cdef Py_ssize_t write(self, Stream stream) except? -2000000:
        cdef iovec[VECTORS] vector
        cdef char[RECORD] scratch
        cdef size_t left, at, n, gathered
        cdef size_t total = 0
        cdef int count, i
        cdef Py_ssize_t result
        if self.state != ESTABLISHED:
            return WAITING if self.state != FAILED else -EPROTO
        if self.encrypted:
            # flush() has sent it.
            result = self.encrypted
            self.encrypted = 0
            return result
        ERR_clear_error()
        count = stream.write_buffer.fill_iovec(vector, VECTORS)
        i = 0
        at = 0
        while i < count and total < PER_SEND:
            left = vector[i].iov_len - at
            if left >= RECORD or i + 1 == count:
                n = min(left, <size_t> RECORD)
                if self.encrypt(<const char*> vector[i].iov_base + at, n):
                    return self.fail(stream, 0)
                total += n
                at += n
                if at == vector[i].iov_len:
                    i += 1
                    at = 0
                continue
            gathered = 0
            while i < count and gathered < RECORD:
                n = min(vector[i].iov_len - at, RECORD - gathered)
                memcpy(scratch + gathered, <const char*> vector[i].iov_base + at, n)
                gathered += n
                at += n
                if at == vector[i].iov_len:
                    i += 1
                    at = 0
            if self.encrypt(scratch, gathered):
                return self.fail(stream, 0)
            total += gathered
        result = self.send_wire(stream.fd)
        if result == 0:
            return <Py_ssize_t> total
        if result == BLOCKED:
            self.encrypted = <Py_ssize_t> total
        return result

    cdef int encrypt(self, const char* data, size_t n) except -1:
        """One record onto the wire; 1 when libssl refuses."""
        cdef size_t written = 0
        return 0 if SSL_write_ex(self.ssl, data, n, &written) == 1 and written == n else 1

    cdef Py_ssize_t flush(self, Stream stream) except? -2000000:
        cdef Py_ssize_t result
        if self.wire_end == 0:
            return 0
        if self.state == ESTABLISHED and stream.write_buffer.length and not self.encrypted:
            # The records that write() is about to make go along (tickets and the first answer).
            return 0
        result = self.send_wire(stream.fd)
        if result < 0 and result != BLOCKED and self.state == HANDSHAKING:
            # What the peer said before it closed is more telling; the next read finds it, or the end.
            self.wire_start = self.wire_end = 0
            return 0
        return result

    cdef int put_on_wire(self, const char* data, size_t n) noexcept:
        cdef size_t wanted = self.wire_end + n
        cdef size_t size = self.wire_size
        cdef char* larger
        if wanted > size:
            size = max(size * 2, <size_t> FIRST_WIRE)
            while size < wanted:
                size *= 2
            larger = <char*> realloc(self.wire, size)
            if larger == NULL:
                return -1
            self.wire = larger
            self.wire_size = size
        memcpy(self.wire + self.wire_end, data, n)
        self.wire_end += n
        return <int> n

    cdef Py_ssize_t send_wire(self, int fd) except? -2000000:
        """Send what is on the wire: 0 when all is sent, BLOCKED, or -errno."""
        cdef Py_ssize_t n
        while self.wire_start < self.wire_end:
            n = send(fd, self.wire + self.wire_start, self.wire_end - self.wire_start, MSG_NOSIGNAL)
            if n >= 0:
                self.wire_start += <size_t> n
            elif errno == EAGAIN:
                return BLOCKED
            elif errno != EINTR:
                return -errno
        # An idle connection holds no memory for it.
        free(self.wire)
        self.wire = NULL
        self.wire_start = self.wire_end = self.wire_size = 0
        return 0

    # Ending

    cdef int shutdown(self, Stream stream) except -1:
        if self.state == ESTABLISHED:
            self.end_session()
            if self.send_wire(stream.fd) == BLOCKED:
                stream.wait_writable()
        else:
            self.shutdown_wanted = True
        return 0

    cdef int end_session(self) except -1:
        """Put a close_notify on the wire, once."""
        if not self.sent_shutdown:
            self.sent_shutdown = True
            ERR_clear_error()
            SSL_shutdown(self.ssl)
            ERR_clear_error()
        return 0

    cdef int socket_closing(self, Stream stream, bint rst) except -1:
        if self.state == ESTABLISHED:
            self.end_session()
        if self.wire_end and not rst:
            self.send_wire(stream.fd)
        self.state = FAILED
        self.wire_start = self.wire_end = 0
        return 0


cdef class NotReadyTransport(Transport):
    """Takes the place of TLS whose secrets have not come yet: the connection ends at its first event."""

    def __cinit__(self):
        self.failure_reason = "TLS error: Secret is not supplied by SDS"

    cdef int socket_connected(self, Stream stream) except -1:
        stream.on_transport_error(EPROTO)
        return 0

    cdef Py_ssize_t read(self, Stream stream, bint* short) except? -2000000:
        return -EPROTO

    cdef Py_ssize_t write(self, Stream stream) except? -2000000:
        return -EPROTO

    cdef int shutdown(self, Stream stream) except -1:
        return 0


cdef str os_error(int number):
    return (<bytes> strerror(number)).decode()


cdef int verify_chain(X509_STORE_CTX* store, void* given) noexcept:
    """libssl asks whether the peer's certificate will do: 1 or 0."""
    cdef SSL* ssl = <SSL*> X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx())
    cdef TlsTransport transport = <TlsTransport> SSL_get_app_data(ssl)
    try:
        return verify(transport, store)
    except Exception:
        log.exception("the validator of certificates failed")
        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION)
        return 0


cdef bint misuses_key(SSL* ssl, X509* certificate) noexcept:
    """Whether an RSA certificate says that its key is not for what this handshake does with it."""
    cdef const SSL_CIPHER* cipher = SSL_get_pending_cipher(ssl)
    cdef uint32_t usage
    if EVP_PKEY_get_base_id(X509_get0_pubkey(certificate)) != EVP_PKEY_RSA:
        return False
    usage = X509_get_key_usage(certificate)
    if cipher != NULL and SSL_CIPHER_get_kx_nid(cipher) == NID_kx_rsa:
        return not usage & X509v3_KU_KEY_ENCIPHERMENT
    return not usage & X509v3_KU_DIGITAL_SIGNATURE


cdef int verify(TlsTransport transport, X509_STORE_CTX* store) except -1:
    cdef TlsContext context = transport.context
    cdef int error
    if not context.is_server and misuses_key(transport.ssl, X509_STORE_CTX_get0_cert(store)):
        transport.misused_key = True
        # Whatever is said of verification: a client that does not verify would go on.
        SSL_set_verify(transport.ssl, SSL_VERIFY_PEER, NULL)
        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION)
        return 0
    if SSL_get_verify_mode(transport.ssl) == SSL_VERIFY_NONE:
        # A client that does not verify: libssl goes on whatever we say, but remembers it.
        return 1
    if context.verifies_chain and X509_verify_cert(store) <= 0:
        error = verification_error(store)
        ERR_clear_error()
        context.stats.c_inc(FAIL_VERIFY_ERROR)
        if context.accepts_untrusted:
            X509_STORE_CTX_set_error(store, X509_V_OK)
            return 1
        transport.verification_error = refused_chain(
            X509_STORE_CTX_get_error_depth(store), (<bytes> X509_verify_cert_error_string(error)).decode()
        )
        transport.refused = ders_of(X509_STORE_CTX_get0_cert(store), X509_STORE_CTX_get0_untrusted(store))
        if error == X509_V_ERR_CERT_NOT_YET_VALID:
            # BoringSSL's alert.
            X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_HAS_EXPIRED)
        return 0
    if context.validator is not None:
        chain = ders_of(X509_STORE_CTX_get0_cert(store), X509_STORE_CTX_get0_untrusted(store))
        refusal = context.validator.verify(transport, chain)
        if refusal is not None:
            slot, text = refusal
            context.stats.c_inc(slot)
            if context.accepts_untrusted:
                return 1
            transport.verification_error = text
            transport.refused = chain
            # Among those of which the peer is told that the certificate is unacceptable, whyever.
            X509_STORE_CTX_set_error(store, X509_V_ERR_PERMITTED_VIOLATION)
            return 0
    transport.verified = context.verifies_chain or context.validator is not None
    return 1


cdef void count_message(int sent, int version, int kind, const void* data, size_t n, SSL* ssl, void* given) noexcept:
    """libssl answers updates of keys, and wishes to negotiate anew, without end: a flood of them ends the session."""
    cdef TlsTransport transport
    if kind == (SSL3_RT_ALERT if sent else SSL3_RT_HANDSHAKE):
        transport = <TlsTransport> SSL_get_app_data(ssl)
        if transport.state == ESTABLISHED:
            transport.late_messages += 1


cdef void log_key(const SSL* ssl, const char* line) noexcept:
    """A secret, for those who are to decrypt what was captured."""
    cdef TlsTransport transport = <TlsTransport> SSL_get_app_data(ssl)
    if transport.key_log is not None:
        try:
            transport.key_log(<bytes> line)
        except Exception:
            log.exception("the log of TLS keys failed")


cdef int select_alpn(SSL* ssl, const unsigned char** out, unsigned char* n, const unsigned char* offered,
                     unsigned int offered_n, void* given) noexcept:
    """Our first protocol that the client offers; none of them is no error, as in Envoy."""
    cdef bytes ours = (<TlsContext> given).alpn
    if SSL_select_next_proto(<unsigned char**> out, n, ours, <unsigned int> len(ours), offered,
                             offered_n) == OPENSSL_NPN_NEGOTIATED:
        return SSL_TLSEXT_ERR_OK
    return SSL_TLSEXT_ERR_NOACK
