"""Types of http.codec."""


cdef class CodecError:
    cdef public object details, message, status


cdef class StreamCallbacks:
    pass
