"""Transports that stand before another one, or before plain bytes: what is said first, a tunnel, an observer.

A preface and a tunnel are there only until they have said, and heard, what they have to: then they put the transport
behind them in their place, so that they cost nothing afterwards (plain bytes may be spliced).
"""
from libc.errno cimport EAGAIN, ECONNABORTED, EINTR, errno
from libc.stdint cimport uint64_t

from proxeny.kernel.stream cimport BLOCKED, WAITING, Stream, Transport

cdef extern from "sys/socket.h" nogil:
    Py_ssize_t recv(int fd, void* buffer, size_t size, int flags)
    Py_ssize_t send(int fd, const void* buffer, size_t size, int flags)
    enum:
        MSG_NOSIGNAL
        MSG_PEEK

cdef enum:
    LONGEST_ANSWER = 2000       # bytes of an answer to CONNECT (Envoy: MAX_RESPONSE_HEADER_SIZE)


cdef int take_place(Stream stream, Transport before, Transport after, bint connected) except -1:
    """As Stream.use_transport, where `before` may stand behind observers: they stay."""
    cdef Transport outer = stream.transport
    cdef Observed observer = None
    while outer is not before and isinstance(outer, Observed):
        observer = <Observed> outer
        outer = observer.inner
    if observer is None:
        return stream.use_transport(after, connected)
    observer.inner = after
    # The stream goes on as with a new one, which calls nobody: `after` alone is to be told.
    stream.use_transport(stream.transport, False)
    if not connected:
        return 0
    if after is not None:
        return after.socket_connected(stream)
    stream.on_connected()
    return 0


cdef class Preface(Transport):
    """Says something before the transport behind it (None: plain bytes) begins.

    `compose(stream)` gives the bytes, once the socket is connected.
    """
    cdef Transport inner
    cdef object compose
    cdef bytes data     # None before it is composed, and once it is said
    cdef Py_ssize_t at
    cdef bint missed    # somebody wanted to read meanwhile

    def __init__(self, compose, Transport inner=None):
        self.compose = compose
        self.inner = inner

    cdef int socket_connected(self, Stream stream) except -1:
        cdef Py_ssize_t result
        self.data = self.compose(stream)
        self.compose = None
        # Sent now: everything else has to wait for it.
        result = self.flush(stream)
        if result == BLOCKED:
            stream.wait_writable()
        elif result < 0:
            stream.on_transport_error(<int> -result)
        return 0

    cdef Py_ssize_t flush(self, Stream stream) except? -2000000:
        # The stream may let go of it.
        cdef Preface _kept = self
        cdef const char* text
        cdef Py_ssize_t n, size
        if self.data is None:
            return 0
        text = <const char*> self.data
        size = len(self.data)
        while self.at < size:
            n = send(stream.fd, text + self.at, <size_t> (size - self.at), MSG_NOSIGNAL)
            if n > 0:
                self.at += n
                stream.note_written(n)
                # It counts for the cluster, and not as what somebody wrote to the connection.
                stream.bytes_sent -= <uint64_t> n
            elif errno == EAGAIN:
                return BLOCKED
            elif errno != EINTR:
                return -errno
        self.data = None
        self.said(stream)
        return 0

    cdef int said(self, Stream stream) except -1:
        """All is sent."""
        return self.go_on(stream)

    cdef int go_on(self, Stream stream) except -1:
        """It is the inner transport's turn."""
        take_place(stream, self, self.inner, True)
        if self.missed and stream.poller is not None:
            stream.read_ready = True
            stream.poller.c_mark_ready(stream)
        return 0

    cdef Py_ssize_t read(self, Stream stream, bint* short) except? -2000000:
        self.missed = True
        return BLOCKED

    cdef Py_ssize_t write(self, Stream stream) except? -2000000:
        return WAITING

    cdef int shutdown(self, Stream stream) except -1:
        return stream.plain_shutdown()


cdef class Tunnel(Preface):
    """A preface that is answered: `accepts(bytes)` says how long the whole answer is, 0: not all came, -1: refused."""
    cdef object accepts

    def __init__(self, compose, accepts, Transport inner=None):
        Preface.__init__(self, compose, inner)
        self.accepts = accepts

    cdef int said(self, Stream stream) except -1:
        """The answer has yet to come. Plain bytes count as connected before (as in Envoy), and wait."""
        if self.inner is None:
            stream.on_connected()
        return 0

    cdef int go_on(self, Stream stream) except -1:
        take_place(stream, self, self.inner, self.inner is not None)
        return 0

    cdef Py_ssize_t read(self, Stream stream, bint* short) except? -2000000:
        cdef Tunnel _kept = self
        cdef char[LONGEST_ANSWER] answer
        cdef Py_ssize_t n, size
        while True:
            n = recv(stream.fd, answer, LONGEST_ANSWER, MSG_PEEK)
            if n >= 0 or errno != EINTR:
                break
        if n <= 0:
            if n == 0:
                return 0
            return BLOCKED if errno == EAGAIN else -errno
        size = self.accepts(answer[:n])
        if size == 0 and n < LONGEST_ANSWER:
            # The rest, if there is one: what is peeked at hides the end of the stream.
            return 0 if stream.hang_up else BLOCKED
        if size <= 0:
            return -ECONNABORTED
        recv(stream.fd, answer, <size_t> size, 0)
        self.accepts = None
        self.go_on(stream)
        return stream.do_read(short) if stream.poller is not None else BLOCKED


cdef class Observed(Transport):
    """Leaves bytes to the transport behind it (None: plain ones), and tells when the socket is connected and closing.

    `connected(stream)` is called before the inner transport begins, `closing(stream)` while the socket is still there.
    """
    cdef Transport inner
    cdef object connected, closing

    def __init__(self, connected, closing, Transport inner=None):
        self.connected = connected
        self.closing = closing
        self.inner = inner

    cdef int socket_connected(self, Stream stream) except -1:
        self.connected(stream)
        if self.inner is not None:
            return self.inner.socket_connected(stream)
        stream.on_connected()
        return 0

    cdef Py_ssize_t flush(self, Stream stream) except? -2000000:
        return 0 if self.inner is None else self.outcome(self.inner.flush(stream))

    cdef Py_ssize_t outcome(self, Py_ssize_t result) noexcept:
        """Of the inner transport."""
        if result < 0 and self.inner is not None:
            self.failure_reason = self.inner.failure_reason
        return result

    cdef int socket_closing(self, Stream stream, bint rst) except -1:
        cdef object closing = self.closing
        self.connected = self.closing = None
        if closing is not None:
            closing(stream)
        return 0 if self.inner is None else self.inner.socket_closing(stream, rst)

    cdef Py_ssize_t read(self, Stream stream, bint* short) except? -2000000:
        return stream.plain_read(short) if self.inner is None else self.outcome(self.inner.read(stream, short))

    cdef Py_ssize_t write(self, Stream stream) except? -2000000:
        return stream.plain_write() if self.inner is None else self.outcome(self.inner.write(stream))

    cdef int shutdown(self, Stream stream) except -1:
        return stream.plain_shutdown() if self.inner is None else self.inner.shutdown(stream)


cdef class StartTls(Transport):
    """Plain bytes until start_secure(): then `secure` begins."""
    cdef Transport secure

    def __init__(self, Transport secure not None):
        self.secure = secure

    def start_secure(self, Stream stream not None):
        """Go on with the secure transport; on_connected() is called again when its handshake is done."""
        take_place(stream, self, self.secure, True)

    cdef int socket_connected(self, Stream stream) except -1:
        stream.on_connected()
        return 0

    cdef Py_ssize_t read(self, Stream stream, bint* short) except? -2000000:
        return stream.plain_read(short)

    cdef Py_ssize_t write(self, Stream stream) except? -2000000:
        return stream.plain_write()

    cdef int shutdown(self, Stream stream) except -1:
        return stream.plain_shutdown()
