"""Types of network.filter."""


cdef class NetworkFilter:
    cdef public object connection

    cpdef on_data(self, data, bint end_stream)


cdef class ConnectionCallbacks:
    pass
