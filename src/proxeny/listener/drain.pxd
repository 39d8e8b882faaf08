"""Types of listener.drain."""


cdef class DrainSequence:
    cdef object _context
    cdef long long _drain_s, _start_ns
    cdef bint _immediate

    cpdef is_due(self)


cdef class ListenerDrain(DrainSequence):
    cdef object _state
    cdef bint _ignores_server

    cpdef drain_close(self)


cdef class FilterChainDrain(DrainSequence):
    cdef ListenerDrain _listener

    cpdef drain_close(self)
