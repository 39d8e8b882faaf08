"""Types of listener.drain."""


cdef class ListenerDrain:
    cdef object _context, _state
    cdef long long _drain_ns, _start_ns
    cdef bint _ignores_server, _immediate

    cpdef drain_close(self)


cdef class FilterChainDrain:
    cdef ListenerDrain _listener
    cdef public bint started

    cpdef drain_close(self)
