"""Types of network.connection."""

from proxeny.kernel.stream cimport Stream
from proxeny.kernel.timer cimport Timer
from proxeny.network.filter_manager cimport FilterManager
from proxeny.network.stream_info cimport ConnectionInfo, StreamInfo


cdef class Connection(Stream):
    cdef public object dispatcher, on_delayed_close_timeout, state, transport_failure_reason, upstream_options
    cdef public ConnectionInfo connection_info
    cdef public FilterManager filter_manager
    cdef public StreamInfo _stream_info
    cdef public Timer _delayed_close_timer
    cdef public list _bytes_sent_callbacks, _callbacks
    cdef public bint _close_waits_for_peer, _detect_early_close, _end_stream_raised, _half_close_enabled, remote_reset
    cdef public long long _start_ns, id
    cdef public Py_ssize_t _buffer_limit, _delayed_close_ms

    cpdef _choose_reader(self)
    cpdef _raise_event(self, event)


cdef class ServerConnection(Connection):
    pass


cdef class ClientConnection(Connection):
    cdef public object _options, _source_address, on_connect_started, server_address
    cdef public bint bind_failed
    cdef public long long connected_ns
