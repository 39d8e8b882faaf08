"""Stream: one non-blocking socket with a read buffer and a write buffer, edge-triggered.

Reading. An edge says that there is something to read; `read_ready` remembers that until the kernel has been read dry:
a read that came back short has done that, unless the peer hung up, since then the end of the stream is still behind it
and is read, never inferred. A turn reads at most 256 KB and then waits on the ready list, so that no peer starves the
others. While reads are disabled nothing is read and the memory of the edge stays.

Writing. Whoever writes appends to the write buffer and marks the stream dirty; the poller flushes it when the current
handler has returned, so that a head and a body leave in one sendmsg. EPOLLOUT is asked for at the first blocked write.

The network layer subclasses Stream in Python and overrides the on_... hooks. A transport socket (TLS) is a Transport
that the stream is given before it is opened; without one the stream does plain reads and writes.
"""
from libc.errno cimport EAGAIN, EINTR, ENOTCONN, errno
from libc.stdint cimport uint64_t
from posix.uio cimport iovec
from posix.unistd cimport close

from proxeny.kernel.buffer cimport Buffer
from proxeny.kernel.epoll cimport Poller, Watcher
from proxeny.kernel.sockets cimport c_reset_on_close, c_so_error
from proxeny.kernel.stats cimport Block

cdef extern from "sys/epoll.h" nogil:
    enum:
        EPOLLIN
        EPOLLOUT
        EPOLLERR
        EPOLLHUP
        EPOLLRDHUP
    unsigned int EPOLLET "((unsigned int) EPOLLET)"

cdef extern from "sys/socket.h" nogil:
    cdef struct msghdr:
        void* msg_name
        unsigned int msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
        int msg_flags
    Py_ssize_t recv(int fd, void* buffer, size_t size, int flags)
    Py_ssize_t send(int fd, const void* buffer, size_t size, int flags)
    Py_ssize_t sendmsg(int fd, const msghdr* message, int flags)
    int shutdown(int fd, int how)
    enum:
        MSG_NOSIGNAL
        SHUT_WR

cdef enum:
    SMALL_READ = 16384
    LARGE_READ = 65536
    READ_PER_TURN = 262144      # then the others get their turn
    VECTORS = 64


cdef class Pump:
    """Moves bytes between two streams without their buffers; see kernel/splice."""

    cdef int source_ready(self) except -1:
        return 0

    cdef int sink_ready(self) except -1:
        return 0

    cdef int stream_closed(self, Stream stream) except -1:
        return 0

    cdef Py_ssize_t pending(self) noexcept:
        return 0


cdef class Transport:
    """What stands between the buffers and the socket (Envoy: `Network::TransportSocket`); one per stream."""

    cdef Py_ssize_t read(self, Stream stream, bint* short) except? -2000000:
        """As Stream.do_read; WAITING when nothing was read and there may be more all the same."""
        raise NotImplementedError

    cdef Py_ssize_t write(self, Stream stream) except? -2000000:
        """As Stream.do_write; WAITING while it takes nothing: it marks the stream dirty when it does."""
        raise NotImplementedError

    cdef Py_ssize_t flush(self, Stream stream) except? -2000000:
        """Send what it has to say itself, before any write; 0, BLOCKED, or -errno."""
        return 0

    cdef int shutdown(self, Stream stream) except -1:
        """Send our end of stream; 0 or an errno."""
        raise NotImplementedError

    cdef int socket_connected(self, Stream stream) except -1:
        """The socket is connected: call stream.on_connected() now, or when a handshake is done."""
        stream.on_connected()
        return 0

    cdef int socket_closing(self, Stream stream, bint rst) except -1:
        """The last chance to write (a close_notify)."""
        return 0


cdef class Stream(Watcher):
    """A stream socket; `bytes_received` and `bytes_sent` count what crossed the socket."""

    def __cinit__(self, *args, **kwargs):
        self.read_buffer = Buffer()
        self.write_buffer = Buffer()
        self.read_size = SMALL_READ

    # Hooks for the network layer

    def on_readable(self, bint eof):
        """There are new bytes in the read buffer, or the peer has sent its end of stream."""

    def on_writable_drained(self):
        """The write buffer has become empty; called only while `notify_drained` is set."""

    def on_bytes_sent(self, n):
        """The socket took `n` bytes; called only while `notify_sent` is set."""

    def on_connected(self):
        """The connect succeeded."""

    def on_transport_error(self, int error):
        """The socket failed with an errno; it is of no further use. During a connect, the connect failed."""

    def on_early_close(self):
        """The peer hung up while reads are disabled; called only while `detect_early_close_now` is set."""

    # Life

    def set_transport(self, Transport transport):
        """Read and write through `transport`; before open()."""
        self.transport = transport

    cdef int use_transport(self, Transport transport, bint connected) except -1:
        """Go on with `transport` (None: with plain bytes), which is told that the socket is connected, if it is new."""
        self.transport = transport
        self.write_blocked = False
        if not connected:
            pass
        elif transport is not None:
            transport.socket_connected(self)
        else:
            self.on_connected()
        if self.poller is not None:
            self.poller.c_mark_dirty(self)
        return 0

    def open(self, Poller poller not None, int fd, bint connecting=False):
        """Take over a non-blocking socket that is connected, or is connecting."""
        cdef unsigned int mask = EPOLLIN | EPOLLRDHUP | EPOLLET
        self.connecting = connecting
        self.wants_out = connecting
        if connecting:
            mask |= EPOLLOUT
        poller.c_add(self, fd, mask)

    def set_stats(self, Block block, Py_ssize_t rx_total, Py_ssize_t rx_buffered, Py_ssize_t tx_total,
                  Py_ssize_t tx_buffered):
        """Count bytes in these slots of `block`: totals, and what is in the buffers now; -1 = not this one."""
        self.stats = block
        self.rx_total = rx_total
        self.rx_buffered = rx_buffered
        self.tx_total = tx_total
        self.tx_buffered = tx_buffered

    def close_stream(self, bint rst=False):
        """Close the socket now (with a RST if wished) and drop what is buffered; again: nothing."""
        cdef Poller poller = self.poller
        cdef Pump pump
        cdef int fd = self.fd
        if fd < 0:
            return
        if self.transport is not None:
            self.transport.socket_closing(self, rst)
        if rst:
            c_reset_on_close(fd)
        if poller is not None:
            poller.c_remove(self)
            self.fd = -1
            poller.c_close_fd(fd)
        else:
            self.fd = -1
            close(fd)
        pump = self.source_pump
        self.is_closed = True
        self.direct_reader = None
        self.source_pump = None
        if pump is not None:
            pump.stream_closed(self)
        pump = self.sink_pump
        self.sink_pump = None
        if pump is not None:
            pump.stream_closed(self)
        self.write_buffer.set_watermarks(0, 0, None, None)
        self.read_buffer.set_watermarks(0, 0, None, None)
        self.write_buffer.c_drain(<size_t> self.write_buffer.length)
        self.note_read(0)
        self.note_written(0)

    cdef void note_read(self, Py_ssize_t n) noexcept:
        cdef Py_ssize_t held
        self.bytes_received += <uint64_t> n
        if self.stats is None:
            return
        if self.rx_total >= 0 and n:
            self.stats.c_add(self.rx_total, n)
        held = self.read_buffer.length if self.fd >= 0 else 0
        if self.rx_buffered >= 0 and held != self.rx_seen:
            self.stats.c_add(self.rx_buffered, held - self.rx_seen)
            self.rx_seen = held

    cdef void note_written(self, Py_ssize_t n) noexcept:
        cdef Py_ssize_t held
        self.bytes_sent += <uint64_t> n
        if self.stats is None:
            return
        if self.tx_total >= 0 and n:
            self.stats.c_add(self.tx_total, n)
        held = self.write_buffer.length
        if self.tx_buffered >= 0 and held != self.tx_seen:
            self.stats.c_add(self.tx_buffered, held - self.tx_seen)
            self.tx_seen = held

    @property
    def unsent(self):
        """Bytes that were written and that the socket has not taken yet."""
        return self.write_buffer.length + (self.sink_pump.pending() if self.sink_pump is not None else 0)

    # Events

    cdef int handle(self, int mask) except -1:
        cdef int error
        if self.connecting:
            if not mask & (EPOLLOUT | EPOLLERR | EPOLLHUP):
                return 0
            self.finish_connect()
            if self.poller is None or self.connecting:
                return 0
        if mask & (EPOLLRDHUP | EPOLLHUP | EPOLLERR):
            self.hang_up = True
        if mask & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR):
            if self.half_closed_remote:
                if mask & EPOLLERR:
                    error = c_so_error(self.fd)
                    if error:
                        self.on_transport_error(error)
                        return 0
            else:
                self.read_ready = True
                # Whoever is on the ready list reads there: twice in a turn would be twice its share.
                if not self.is_ready:
                    self.handle_ready()
            if self.poller is None:
                return 0
        if self.write_blocked and mask & (EPOLLOUT | EPOLLERR | EPOLLHUP):
            self.write_blocked = False
            self.c_flush()
        return 0

    cdef int handle_ready(self) except -1:
        if self.read_disable_count == 0:
            return self.read_some()
        if self.hang_up and self.detect_early_close_now and not self.half_closed_remote:
            self.on_early_close()
        return 0

    cdef int finish_connect(self) except -1:
        cdef int error = c_so_error(self.fd)
        if error:
            self.on_transport_error(error)
            return 0
        self.connecting = False
        if self.transport is not None:
            self.transport.socket_connected(self)
        else:
            self.on_connected()
        if self.poller is not None and (self.write_buffer.length or self.shutdown_pending):
            self.c_flush()
        return 0

    # Reading

    cdef Py_ssize_t do_read(self, bint* short) except? -2000000:
        """Read once into the read buffer: bytes, 0 at the end of the stream, BLOCKED, or -errno.

        `short` is set when the read found less than it asked for: the kernel holds no more at this moment.
        """
        if self.transport is not None:
            return self.transport.read(self, short)
        return self.plain_read(short)

    cdef Py_ssize_t plain_read(self, bint* short) except? -2000000:
        """As do_read, without the transport."""
        cdef size_t room
        cdef char* target
        cdef Py_ssize_t n
        target = self.read_buffer.reserve(self.read_size, &room)
        while True:
            n = recv(self.fd, target, room, 0)
            if n >= 0 or errno != EINTR:
                break
        if n <= 0:
            self.read_buffer.release()
            if n == 0:
                return 0
            return BLOCKED if errno == EAGAIN else -errno
        short[0] = <size_t> n < room
        # A read that filled its slab is followed by a larger one; small traffic goes back to small slabs.
        self.read_size = LARGE_READ if <size_t> n >= SMALL_READ else SMALL_READ
        self.read_buffer.commit(<size_t> n)
        return n

    cdef int read_some(self) except -1:
        cdef Py_ssize_t n = 0
        cdef Py_ssize_t total = 0
        cdef bint short = False
        cdef bint eof = False
        cdef bint redeliver = self.redeliver
        # A local variable holds the pump: it may be detached while it runs.
        cdef Pump pump = self.source_pump
        self.redeliver = False
        if pump is not None:
            return pump.source_ready()
        # Commit may raise the read-disable count through the buffer's watermark.
        while self.read_ready and self.read_disable_count == 0:
            if total >= READ_PER_TURN:
                self.poller.c_mark_ready(self)
                break
            n = self.do_read(&short)
            if n > 0:
                total += n
                if short and not self.hang_up:
                    self.read_ready = False
            elif n == WAITING:
                n = BLOCKED
                if self.poller is None:
                    break
            else:
                self.read_ready = False
                eof = n == 0
        if total:
            self.note_read(total)
        if eof:
            self.half_closed_remote = True
        if self.direct_reader is not None and not self.half_closed_remote:
            # The common case without a Python frame in between.
            if self.read_buffer.length:
                self.direct_reader(self.read_buffer, False)
        elif total or eof or redeliver:
            self.on_readable(eof)
        if n < 0 and n != BLOCKED and self.poller is not None:
            self.on_transport_error(<int> -n)
        return 0

    def read_disable(self, bint disable):
        """Stop reading, or resume; counted: as many resumes as stops are needed. True when the state changed.

        On resuming, bytes that are still in the read buffer are delivered again, in the next turn.
        """
        if disable:
            self.read_disable_count += 1
            if self.read_disable_count > 1:
                return False
            if self.hang_up and self.detect_early_close_now and not self.half_closed_remote and self.poller is not None:
                self.poller.c_mark_ready(self)
            return True
        if self.read_disable_count == 0:
            raise RuntimeError("reads are not disabled")
        self.read_disable_count -= 1
        if self.read_disable_count:
            return False
        if self.read_buffer.length:
            self.redeliver = True
        if self.poller is not None and (self.read_ready or self.redeliver):
            self.poller.c_mark_ready(self)
        return True

    def redeliver_read_buffer(self):
        """Call on_readable() in the next turn with what is in the read buffer."""
        if self.poller is not None:
            self.redeliver = True
            self.poller.c_mark_ready(self)

    # Writing

    cdef int c_write(self, object data, bint end_stream) except -1:
        cdef Buffer source
        if self.write_ended or self.is_closed:
            return 0
        if type(data) is bytes:
            self.write_buffer.c_append_object(<bytes> data)
        elif isinstance(data, Buffer):
            source = <Buffer> data
            self.write_buffer.c_move(source, <size_t> source.length)
        else:
            self.write_buffer.append(data)
        if self.poller is not None:
            self.poller.c_mark_dirty(self)
        if end_stream:
            self.write_ended = True
            self.shutdown_write()
            if self.half_closed_remote:
                self.notify_drained = True
        return 0

    cpdef write(self, data, bint end_stream=False):
        """Send bytes (a Buffer is emptied), and our end of stream if wished, when the current handler has returned.

        Nothing happens after the end of the stream or the close. Goes through the write filters, if there are any.
        """
        if self.filters_writes:
            self.write_filtered(data, end_stream)
        else:
            self.c_write(data, end_stream)

    def write_unfiltered(self, data, bint end_stream=False):
        """As write(), behind the write filters."""
        self.c_write(data, end_stream)

    def write_filtered(self, data, bint end_stream):
        """What write() does while `filters_writes` is set."""
        raise NotImplementedError

    cdef Py_ssize_t do_write(self) except? -2000000:
        """Write once from the (not empty) write buffer: bytes, BLOCKED, or -errno."""
        if self.transport is not None:
            return self.transport.write(self)
        return self.plain_write()

    cdef Py_ssize_t plain_write(self) except? -2000000:
        """As do_write, without the transport."""
        cdef iovec[VECTORS] vector
        cdef msghdr message
        cdef int count
        cdef Py_ssize_t n
        count = self.write_buffer.fill_iovec(vector, VECTORS)
        while True:
            if count == 1:
                n = send(self.fd, vector[0].iov_base, vector[0].iov_len, MSG_NOSIGNAL)
            else:
                message.msg_name = NULL
                message.msg_namelen = 0
                message.msg_iov = vector
                message.msg_iovlen = <size_t> count
                message.msg_control = NULL
                message.msg_controllen = 0
                message.msg_flags = 0
                n = sendmsg(self.fd, &message, MSG_NOSIGNAL)
            if n >= 0 or errno != EINTR:
                break
        if n < 0:
            return BLOCKED if errno == EAGAIN else -errno
        return n

    cdef int do_shutdown(self) except -1:
        """Send our end of stream; 0 or an errno."""
        if self.transport is not None:
            return self.transport.shutdown(self)
        return self.plain_shutdown()

    cdef int plain_shutdown(self) except -1:
        """As do_shutdown, without the transport."""
        if shutdown(self.fd, SHUT_WR) < 0 and errno != ENOTCONN:
            return errno
        return 0

    cdef int wait_writable(self) except -1:
        """The socket is full: be told when it is not."""
        self.write_blocked = True
        if not self.wants_out:
            self.wants_out = True
            self.poller.c_modify(self, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)
        return 0

    cdef int flush_dirty(self) except -1:
        return self.c_flush()

    cdef int c_flush(self) except -1:
        cdef Buffer buffer = self.write_buffer
        cdef Py_ssize_t n = 0
        cdef Py_ssize_t total = 0
        cdef Pump pump = self.sink_pump
        if self.poller is None or self.connecting or self.write_blocked:
            return 0
        if pump is not None:
            pump.sink_ready()
            if self.poller is None or self.write_blocked:
                return 0
        if self.transport is not None:
            n = self.transport.flush(self)
            if n < 0:
                if n != BLOCKED:
                    self.on_transport_error(<int> -n)
                elif self.poller is not None:
                    self.wait_writable()
                return 0
        while buffer.length:
            n = self.do_write()
            if n < 0:
                break
            total += n
            buffer.c_drain(<size_t> n)
            # The low watermark may have closed us.
            if self.poller is None:
                self.note_written(total)
                return 0
        self.note_written(total)
        if n < 0 and n != WAITING:
            if n != BLOCKED:
                self.on_transport_error(<int> -n)
                return 0
            self.wait_writable()
        if total and self.notify_sent:
            self.on_bytes_sent(total)
        if buffer.length == 0 and self.poller is not None:
            if self.shutdown_pending:
                self.shutdown_pending = False
                self.do_shutdown()
            if self.notify_drained:
                self.on_writable_drained()
        return 0

    def flush(self):
        """Send what the socket takes, now."""
        self.c_flush()

    def shutdown_write(self):
        """Send our end of stream behind what is buffered; once."""
        if self.write_shutdown or self.fd < 0:
            return
        self.write_shutdown = True
        self.shutdown_pending = True
        if self.poller is not None:
            self.poller.c_mark_dirty(self)
