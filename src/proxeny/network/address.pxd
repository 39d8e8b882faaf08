"""Types of network.address."""


cdef class Address:
    cdef public object _bytes, _ip, _text, sockaddr
    cdef public Py_ssize_t _port, family, mode
