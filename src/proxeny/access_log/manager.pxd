"""Types of access_log.manager."""

cimport cython

from proxeny.kernel.stats cimport Block
from proxeny.kernel.timer cimport Timer


cdef class AccessLogFile:
    cdef public object _poll, path
    cdef public list _lines
    cdef public long long _fd, _min_flush_size, _size, interval_ms
    cdef public bint _armed, _is_file, _waiting
    cdef public Block _stats
    cdef public Timer _retry, _timer

    @cython.locals(size=cython.longlong, stats=Block)
    cpdef write(self, bytes line)
    cpdef flush(self)


cdef class AccessLogManager:
    cdef public object _dispatcher, _store
    cdef public dict _files
    cdef public long long _interval_ms, _min_flush_size
