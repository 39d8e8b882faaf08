"""Map of the socket stream; a TLS transport subclasses Transport."""
from libc.stdint cimport uint64_t

from proxeny.kernel.buffer cimport Buffer
from proxeny.kernel.epoll cimport Watcher
from proxeny.kernel.stats cimport Block

cdef enum:
    # Results of do_read and do_write below zero: -errno, except these.
    BLOCKED = -1000000      # nothing more until the next event
    END = -1000001          # the end of the stream, where 0 means something else
    WAITING = -1000002      # nothing yet: the transport was, or is, busy with something else and calls back


cdef class Pump:
    """Takes the place of a stream's own reading (at its source) or adds to its writing (at its sink)."""
    cdef int source_ready(self) except -1
    cdef int sink_ready(self) except -1
    cdef int stream_closed(self, Stream stream) except -1
    cdef Py_ssize_t pending(self) noexcept


cdef class Transport:
    cdef public object failure_reason   # text, once it has failed

    cdef Py_ssize_t read(self, Stream stream, bint* short) except? -2000000
    cdef Py_ssize_t write(self, Stream stream) except? -2000000
    cdef Py_ssize_t flush(self, Stream stream) except? -2000000
    cdef int shutdown(self, Stream stream) except -1
    cdef int socket_connected(self, Stream stream) except -1
    cdef int socket_closing(self, Stream stream, bint rst) except -1


cdef class Stream(Watcher):
    cdef readonly Transport transport
    cdef readonly Buffer read_buffer, write_buffer
    cdef readonly int read_disable_count
    cdef readonly bint connecting, half_closed_remote, write_shutdown
    cdef readonly bint write_blocked    # the socket took no more; EPOLLOUT is awaited
    cdef readonly bint write_ended      # our end of stream was written; nothing may follow
    cdef public bint filters_writes     # write() goes through write_filtered()
    cdef public object direct_reader    # called with the read buffer and False, in place of on_readable(False)
    cdef public bint detect_early_close_now, notify_drained, notify_sent
    cdef readonly uint64_t bytes_received, bytes_sent
    cdef bint is_closed, read_ready, redeliver, hang_up, shutdown_pending, wants_out
    cdef size_t read_size
    cdef Block stats
    cdef Py_ssize_t rx_total, rx_buffered, tx_total, tx_buffered, rx_seen, tx_seen
    cdef Pump source_pump, sink_pump

    cdef Py_ssize_t do_read(self, bint* short) except? -2000000
    cdef Py_ssize_t do_write(self) except? -2000000
    cdef int do_shutdown(self) except -1
    cdef Py_ssize_t plain_read(self, bint* short) except? -2000000
    cdef Py_ssize_t plain_write(self) except? -2000000
    cdef int plain_shutdown(self) except -1
    cdef int use_transport(self, Transport transport, bint connected) except -1

    cdef int c_write(self, object data, bint end_stream) except -1
    cdef int read_some(self) except -1
    cdef int c_flush(self) except -1
    cdef int wait_writable(self) except -1
    cdef int finish_connect(self) except -1
    cdef void note_read(self, Py_ssize_t n) noexcept
    cdef void note_written(self, Py_ssize_t n) noexcept

    cpdef write(self, data, bint end_stream=*)
