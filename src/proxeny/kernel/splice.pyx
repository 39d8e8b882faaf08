"""Relay of bytes from one stream to another without Python in the loop: one SplicePump per direction.

Small data goes through the kernel module's buffers: one recv, one send. Once a direction has moved 64 KB and reads come
back large, bytes go socket -> pipe -> socket by splice(2), which copies nothing. A pipe is borrowed only while it is
needed and given back as soon as it is empty; when the pool has none left, the buffers do the work.

Order is kept by two rules: splicing starts only when the sink's write buffer is empty, and the bytes in the pipe are
older than whatever is appended to that buffer later. Back-pressure: through the buffers it is the sink's watermark; a
blocked pipe stops the source at once, so at most one pipe's content waits.
"""
from libc.errno cimport EAGAIN, EINTR, EINVAL, ENOSYS, errno
from libc.stdlib cimport free, malloc
from posix.unistd cimport close

from proxeny.kernel.stream cimport BLOCKED, END, WAITING, Pump, Stream
from proxeny.kernel.timer cimport Timer

cdef extern from "fcntl.h" nogil:
    Py_ssize_t c_splice "splice" (int fd_in, void* off_in, int fd_out, void* off_out, size_t n, unsigned int flags)
    int fcntl(int fd, int command, ...)
    enum:
        SPLICE_F_MOVE
        SPLICE_F_NONBLOCK
        F_SETPIPE_SZ
        O_CLOEXEC
        O_NONBLOCK

cdef extern from "unistd.h" nogil:
    int pipe2(int* ends, int flags)

cdef enum:
    PER_TURN = 262144           # as Stream: then the others get their turn; one splice may overshoot by a pipe
    SPLICE_AFTER = 65536        # bytes that a direction moves through the buffers first
    BULK = 16384                # a read of this size says that more is coming
    TRICKLE = 4096              # a turn that spliced less goes back to the buffers


cdef class PipePool:
    """Up to `most` pipes of `size` bytes each, shared by all pumps of a worker.

    Few, because an unprivileged user may hold only fs.pipe-user-pages-soft pages (64 MB) in all pipes together. Large,
    because a splice that moves more wakes both peers less often: per MB 0.80 of Envoy's CPU with 1 MB, 0.94 with 256 KB
    and 1.3 with the system's 64 KB.
    """

    def __cinit__(self, int most=32, int size=1048576):
        self.most = most
        self.size = size
        self.idle = <int*> malloc(2 * sizeof(int) * max(most, 1))
        if self.idle == NULL:
            raise MemoryError()

    def __dealloc__(self):
        cdef int index
        for index in range(2 * self.idle_count):
            close(self.idle[index])
        free(self.idle)

    cdef bint lend(self, int* ends) noexcept:
        if self.idle_count > 0:
            self.idle_count -= 1
            ends[0] = self.idle[2 * self.idle_count]
            ends[1] = self.idle[2 * self.idle_count + 1]
            return True
        if self.made >= self.most or pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0:
            return False
        # Refused beyond the user's share of pages: the pipe then keeps the system's default size.
        fcntl(ends[1], F_SETPIPE_SZ, self.size)
        self.made += 1
        return True

    cdef void give_back(self, int* ends, bint empty) noexcept:
        if empty:
            self.idle[2 * self.idle_count] = ends[0]
            self.idle[2 * self.idle_count + 1] = ends[1]
            self.idle_count += 1
        else:
            # Bytes of a dead connection: nobody may ever see them.
            close(ends[0])
            close(ends[1])
            self.made -= 1

    def statistics(self):
        """Counts for admin pages."""
        return {"made": self.made, "idle": self.idle_count}


cdef class SplicePump(Pump):
    """Moves everything that `source` receives to `sink`, and hands the end of the stream to source.on_readable(True).

    Errors go to the on_transport_error() of the stream that had them. `idle_timer` is enabled anew, with `idle_ms`,
    whenever bytes move. `limit` is the most that may wait in the pipe, in bytes; 0 = as much as it holds.
    """

    def __cinit__(self, Stream source not None, Stream sink not None, PipePool pool, Timer idle_timer=None,
                  int64_t idle_ms=0, Py_ssize_t limit=0):
        self.share = pool.size if pool is not None else 0
        if 0 < limit < self.share:
            self.share = limit
        self.source = source
        self.sink = sink
        self.pool = pool
        self.idle_timer = idle_timer
        self.idle_ms = idle_ms
        self.uses_splice = pool is not None and source.transport is None and sink.transport is None

    def attach(self):
        """Take over the reading of `source`; bytes it has already read are moved first."""
        self.source.source_pump = self
        self.sink.sink_pump = self
        if self.source.poller is not None:
            self.source.redeliver = self.source.read_buffer.length != 0
            self.source.poller.c_mark_ready(self.source)

    def detach(self):
        """Give the reading back; what is in the pipe is lost unless it is empty."""
        if self.source is not None and self.source.source_pump is self:
            self.source.source_pump = None
        if self.sink is not None and self.sink.sink_pump is self:
            self.sink.sink_pump = None
        self.return_pipe()
        self.source = self.sink = None
        self.idle_timer = None

    cdef int stream_closed(self, Stream stream) except -1:
        # The sink goes on with what is in the pipe when only the source has closed.
        if stream is self.sink:
            self.detach()
        elif self.in_pipe == 0:
            self.return_pipe()
        return 0

    cdef Py_ssize_t pending(self) noexcept:
        return self.in_pipe

    cdef void return_pipe(self) noexcept:
        if self.has_pipe:
            self.has_pipe = False
            self.pool.give_back(self.pipe, self.in_pipe == 0)
            self.in_pipe = 0

    cdef void touch(self) noexcept:
        if self.idle_timer is not None and self.idle_ms > 0:
            self.idle_timer.c_enable(self.idle_ms)

    cdef int source_ready(self) except -1:
        cdef Stream source = self.source
        cdef Stream sink = self.sink
        if source is None or sink.poller is None:
            return 0
        if source.read_buffer.length:
            self.moved += <unsigned long long> source.read_buffer.length
            sink.write_buffer.c_move(source.read_buffer, <size_t> source.read_buffer.length)
            sink.c_flush()
        return self.run()

    cdef int sink_ready(self) except -1:
        """The sink may take bytes again: first what is in the pipe, then what the source had to keep."""
        if self.in_pipe and self.drain_pipe() < 0:
            return 0
        if self.paused and self.in_pipe == 0 and self.source is not None and self.source.poller is not None:
            self.paused = False
            self.source.poller.c_mark_ready(self.source)
        elif self.in_pipe == 0:
            self.return_pipe()
        return 0

    cdef int run(self) except -1:
        """Move bytes until the source is dry or disabled, the sink is full, or the turn is over."""
        cdef Stream source = self.source
        cdef Stream sink = self.sink
        cdef Py_ssize_t total = 0
        cdef Py_ssize_t taken = 0
        cdef int result = 0
        while source.read_ready and source.read_disable_count == 0:
            if total >= PER_TURN:
                source.poller.c_mark_ready(source)
                break
            if self.in_pipe:
                # The sink is blocked; its next event goes on from here.
                self.paused = True
                break
            if (self.uses_splice and self.moved >= SPLICE_AFTER and source.read_size > BULK
                    and sink.write_buffer.length == 0):
                result = self.by_pipe(&taken)
            else:
                result = self.by_buffer(&taken)
            if taken > 0:
                total += taken
                self.moved += <unsigned long long> taken
            if result < 0 or source.poller is None or sink.poller is None:
                break
        if total:
            self.touch()
        if self.has_pipe and self.in_pipe == 0:
            self.return_pipe()
        if result == END and source.poller is not None:
            source.half_closed_remote = True
            source.on_readable(True)
        elif result < 0 and result != BLOCKED and source.poller is not None:
            source.on_transport_error(-result)
        return 0

    cdef int by_buffer(self, Py_ssize_t* taken) except? -2000000:
        """One recv, one send. 0, BLOCKED (source dry), END, or -errno of the source."""
        cdef Stream source = self.source
        cdef Stream sink = self.sink
        cdef bint short = False
        cdef Py_ssize_t n = source.do_read(&short)
        taken[0] = 0
        if n == WAITING:
            return 0
        if n <= 0:
            source.read_ready = False
            return END if n == 0 else <int> n
        taken[0] = n
        if short and not source.hang_up:
            source.read_ready = False
        source.note_read(n)
        sink.write_buffer.c_move(source.read_buffer, <size_t> source.read_buffer.length)
        sink.c_flush()
        return 0

    cdef int by_pipe(self, Py_ssize_t* taken) except? -2000000:
        """One splice into a borrowed pipe and as many out as the sink takes; results as by_buffer."""
        cdef Stream source = self.source
        cdef Py_ssize_t n
        taken[0] = 0
        if not self.has_pipe:
            if not self.pool.lend(self.pipe):
                return self.by_buffer(taken)
            self.has_pipe = True
        while True:
            n = c_splice(source.fd, NULL, self.pipe[1], NULL, <size_t> self.share,
                         SPLICE_F_MOVE | SPLICE_F_NONBLOCK)
            if n >= 0 or errno != EINTR:
                break
        if n < 0:
            if errno == EINVAL or errno == ENOSYS:
                self.uses_splice = False
                return 0
            source.read_ready = False
            return BLOCKED if errno == EAGAIN else -errno
        if n == 0:
            source.read_ready = False
            return END
        if n < TRICKLE:
            source.read_size = BULK
        taken[0] = n
        self.in_pipe += n
        self.spliced += <unsigned long long> n
        source.note_read(n)
        self.drain_pipe()
        return 0

    cdef int drain_pipe(self) except? -2000000:
        """Pipe -> sink until the pipe is empty (0) or the sink is full or broken (-1, and it has been told)."""
        cdef Stream sink = self.sink
        cdef Py_ssize_t n = 0
        cdef Py_ssize_t total = 0
        while self.in_pipe > 0:
            n = c_splice(self.pipe[0], NULL, sink.fd, NULL, <size_t> self.in_pipe, SPLICE_F_MOVE | SPLICE_F_NONBLOCK)
            if n > 0:
                self.in_pipe -= n
                total += n
            elif n == 0 or errno != EINTR:
                break
        if total:
            sink.note_written(total)
            self.touch()
            if sink.notify_sent:
                sink.on_bytes_sent(total)
        if self.in_pipe == 0 or sink.poller is None:
            return 0
        if n < 0 and errno != EAGAIN:
            sink.on_transport_error(errno)
        else:
            sink.wait_writable()
        return -1
