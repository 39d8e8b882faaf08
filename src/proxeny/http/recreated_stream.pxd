"""Types of http.recreated_stream."""

from proxeny.http.active_stream cimport ActiveStream


cdef class RecreatedStream(ActiveStream):
    pass
