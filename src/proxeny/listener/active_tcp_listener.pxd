"""Types of listener.active_tcp_listener."""

from proxeny.kernel.epoll cimport Watcher
from proxeny.network.connection cimport Connection
from proxeny.network.filter cimport ConnectionCallbacks


cdef class ActiveConnection(ConnectionCallbacks):
    cdef public ActiveTcpListener listener
    cdef public Connection connection
    cdef public object chain
    cdef public long long start_ns


cdef class ListenSocket(Watcher):
    cdef public ActiveTcpListener listener
    cdef public object _retry, address
    cdef public bint _shared, _stopped
    cdef public long long _mask


cdef class ActiveTcpListener:
    cdef public object config, dispatcher, handler, limits
    cdef public list _addresses, _sockets
    cdef public dict _adopted, _removed_chains, connections, sockets
    cdef public long long row, tag

    cpdef on_accept(self, fd, sockaddr, address)
    cpdef _connect(self, fd, chain, connection)
    cpdef _start(self, connection, chain)
    cpdef socket_ended(self)
    cpdef connection_closed(self, active)
