"""Types of http.filter."""


cdef class StreamFilter:
    cdef public object decoder_callbacks, encoder_callbacks
