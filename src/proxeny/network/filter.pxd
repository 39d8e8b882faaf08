"""Types of network.filter."""


cdef class ConnectionCallbacks:
    pass


cdef class NetworkFilter(ConnectionCallbacks):
    cdef public object connection

    cpdef on_data(self, data, bint end_stream)
