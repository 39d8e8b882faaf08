"""Map of the relay of TCP bytes: a pool of pipes, and a pump per direction."""
from libc.stdint cimport int64_t

from proxeny.kernel.stream cimport Pump, Stream
from proxeny.kernel.timer cimport Timer


cdef class PipePool:
    cdef readonly int most, size
    cdef readonly int made          # pipes that exist, idle or lent
    cdef int* idle                  # pairs of descriptors
    cdef int idle_count

    cdef bint lend(self, int* ends) noexcept
    cdef void give_back(self, int* ends, bint empty) noexcept


cdef class SplicePump(Pump):
    cdef readonly Stream source, sink
    cdef readonly PipePool pool
    cdef readonly Py_ssize_t in_pipe
    cdef readonly unsigned long long moved, spliced
    cdef readonly bint uses_splice
    cdef Timer idle_timer
    cdef int64_t idle_ms
    cdef int[2] pipe
    cdef bint has_pipe, paused
    cdef Py_ssize_t share           # most bytes per splice

    cdef int run(self) except -1
    cdef int by_buffer(self, Py_ssize_t* taken) except? -2000000
    cdef int by_pipe(self, Py_ssize_t* taken) except? -2000000
    cdef int drain_pipe(self) except? -2000000
    cdef void touch(self) noexcept
    cdef void return_pipe(self) noexcept
