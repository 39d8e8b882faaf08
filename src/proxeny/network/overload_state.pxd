"""Types of network.overload_state."""


cdef class OverloadState:
    cdef list _callbacks
    cdef public dict values
    cdef public bint stop_accepting_connections
    cdef public double reject_incoming_connections, tcp_listener_accept
    cdef public double stop_accepting_requests, disable_http_keepalive
