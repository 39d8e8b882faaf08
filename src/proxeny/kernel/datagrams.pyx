"""Datagram sockets: many packets per system call, the local address of each packet, lost packets counted.

Packets are received into an arena that all sockets of one size share, and are handed on as bytes objects. A *flow*
names who sent a packet to whom: the raw sockaddr of the peer followed by the one of the local address, both of one
length; it is a key for sessions, and ``reply`` answers it from that local address. Sockets are watched level-triggered:
what one turn does not read, the next one does.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, EINVAL, errno
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from proxeny.kernel.epoll cimport Poller, Watcher

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <sys/socket.h>
    #include <netinet/in.h>
    #include <netinet/udp.h>
    #ifndef SO_RXQ_OVFL
    #define SO_RXQ_OVFL 40
    #endif
    #ifndef SO_MEMINFO
    #define SO_MEMINFO 55
    #endif
    #ifndef UDP_GRO
    #define UDP_GRO 104
    #endif
    #define PX_MEMINFO_VARS 9
    #define PX_MEMINFO_DROPS 8
    typedef union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(struct in_pktinfo))
                   + 2 * CMSG_SPACE(sizeof(int)) + CMSG_SPACE(64)];
    } px_control;
    """
    ctypedef unsigned int socklen_t
    cdef struct sockaddr:
        pass
    cdef struct sockaddr_storage:
        unsigned short ss_family
    cdef struct in_addr:
        pass
    cdef struct sockaddr_in:
        in_addr sin_addr
    cdef struct in6_addr:
        pass
    cdef struct sockaddr_in6:
        in6_addr sin6_addr
    cdef struct in_pktinfo:
        in_addr ipi_addr
        in_addr ipi_spec_dst
    cdef struct in6_pktinfo:
        in6_addr ipi6_addr
    cdef struct iovec:
        void* iov_base
        size_t iov_len
    cdef struct msghdr:
        void* msg_name
        socklen_t msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
        int msg_flags
    cdef struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    cdef struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    ctypedef struct px_control:
        pass
    cmsghdr* CMSG_FIRSTHDR(msghdr* header) nogil
    cmsghdr* CMSG_NXTHDR(msghdr* header, cmsghdr* entry) nogil
    unsigned char* CMSG_DATA(cmsghdr* entry) nogil
    size_t CMSG_SPACE(size_t size) nogil
    size_t CMSG_LEN(size_t size) nogil
    int recvmmsg(int fd, mmsghdr* messages, unsigned int count, int flags, void* timeout) nogil
    Py_ssize_t sendmsg(int fd, const msghdr* header, int flags) nogil
    int getsockopt(int fd, int level, int name, void* value, socklen_t* size) nogil
    enum:
        AF_INET
        AF_INET6
        IPPROTO_IP
        IPPROTO_IPV6
        IPPROTO_UDP
        IP_PKTINFO
        IPV6_PKTINFO
        MSG_DONTWAIT
        MSG_TRUNC
        SOL_SOCKET
        SO_MEMINFO
        SO_RXQ_OVFL
        UDP_GRO
        PX_MEMINFO_VARS
        PX_MEMINFO_DROPS

cdef extern from "sys/epoll.h" nogil:
    enum:
        EPOLLIN

cdef enum:
    MOST_PER_TURN = 256     # packets of one socket before others have their turn


cdef class DatagramArena:
    """Room for `messages` packets of `size` bytes each; longer ones are cut off by the kernel, and dropped."""
    cdef readonly int messages, size
    cdef void* headers
    cdef void* vectors
    cdef void* names
    cdef char* controls
    cdef char* data

    def __cinit__(self, int messages, int size):
        cdef int index
        cdef mmsghdr* headers
        cdef iovec* vectors
        if messages < 1 or size < 1:
            raise ValueError("an arena needs room")
        self.messages = messages
        self.size = size
        self.headers = calloc(messages, sizeof(mmsghdr))
        self.vectors = calloc(messages, sizeof(iovec))
        self.names = calloc(messages, sizeof(sockaddr_storage))
        self.controls = <char*> calloc(messages, sizeof(px_control))
        self.data = <char*> calloc(messages, size)
        if not (self.headers and self.vectors and self.names and self.controls and self.data):
            raise MemoryError()
        headers = <mmsghdr*> self.headers
        vectors = <iovec*> self.vectors
        for index in range(messages):
            vectors[index].iov_base = self.data + <size_t> index * size
            vectors[index].iov_len = size
            headers[index].msg_hdr.msg_iov = vectors + index
            headers[index].msg_hdr.msg_iovlen = 1

    def __dealloc__(self):
        free(self.headers)
        free(self.vectors)
        free(self.names)
        free(self.controls)
        free(self.data)


cdef class DatagramSocket(Watcher):
    """One UDP socket; subclasses override ``on_datagram`` and what else concerns them.

    An exception that comes out of ``on_datagram`` concerns that packet only.
    """
    cdef DatagramArena arena
    cdef bytes bound                    # raw sockaddr; None: neither peers nor local addresses are told
    cdef unsigned int overflows         # the kernel's count of packets that found no room, as last seen

    def open(self, Poller poller not None, int fd, DatagramArena arena not None, bytes bound=None):
        """Watch `fd`, which is ours from now on. With `bound`, its raw sockaddr, packets come with their flow."""
        self.arena = arena
        self.bound = bound
        self.overflows = overflows_so_far(fd)
        poller.c_add(self, fd, EPOLLIN)

    def close(self):
        """Stop watching and close the descriptor."""
        cdef Poller poller = self.poller
        cdef int fd = self.fd
        if poller is not None:
            poller.c_remove(self)
            self.fd = -1
            poller.c_close_fd(fd)

    # What subclasses hear

    def on_datagram(self, flow, bytes data):
        """A packet; `flow` is None on a socket that was opened without `bound`."""

    def on_dropped(self, count):
        """So many packets were lost: too long for the arena, or no room in the kernel's queue."""

    def on_receive_error(self, error):
        """An errno: mostly what an ICMP message said about an earlier packet of a connected socket."""

    def on_received(self):
        """The packets of this turn were handed on."""

    # Receiving

    cdef int handle(self, int mask) except -1:
        try:
            self.receive()
        finally:
            if self.poller is not None:
                self.on_received()
        return 0

    cdef int receive(self) except -1:
        cdef DatagramArena arena = self.arena
        cdef mmsghdr* headers = <mmsghdr*> arena.headers
        cdef int index, count, error
        cdef int total = 0
        while total < MOST_PER_TURN:
            for index in range(arena.messages):
                headers[index].msg_hdr.msg_name = <sockaddr_storage*> arena.names + index
                headers[index].msg_hdr.msg_namelen = sizeof(sockaddr_storage)
                headers[index].msg_hdr.msg_control = arena.controls + index * sizeof(px_control)
                headers[index].msg_hdr.msg_controllen = sizeof(px_control)
                headers[index].msg_hdr.msg_flags = 0
            count = recvmmsg(self.fd, headers, arena.messages, MSG_DONTWAIT, NULL)
            if count < 0:
                error = errno
                if error == EINTR:
                    continue
                if error != EAGAIN:
                    self.on_receive_error(error)
                return 0
            for index in range(count):
                try:
                    self.deliver_message(index)
                except Exception as problem:
                    if self.poller is not None and self.poller.error_hook is not None:
                        self.poller.error_hook(self, problem)
                if self.poller is None:
                    return 0
            total += count
            if count < arena.messages:
                return 0
        return 0

    cdef int deliver_message(self, int index) except -1:
        cdef mmsghdr* message = <mmsghdr*> self.arena.headers + index
        cdef msghdr* header = &message.msg_hdr
        cdef char* data = <char*> header.msg_iov.iov_base
        cdef Py_ssize_t left = message.msg_len
        cdef Py_ssize_t segment = 0
        cdef unsigned int overflows
        cdef int coalesced
        cdef cmsghdr* entry = CMSG_FIRSTHDR(header)
        cdef bytes flow = None
        while entry != NULL:
            if entry.cmsg_level == SOL_SOCKET and entry.cmsg_type == SO_RXQ_OVFL:
                memcpy(&overflows, CMSG_DATA(entry), sizeof(overflows))
                if overflows != self.overflows:
                    self.drop(overflows - self.overflows)
                    self.overflows = overflows
            elif entry.cmsg_level == IPPROTO_UDP and entry.cmsg_type == UDP_GRO:
                memcpy(&coalesced, CMSG_DATA(entry), sizeof(coalesced))
                segment = coalesced
            entry = CMSG_NXTHDR(header, entry)
        if header.msg_flags & MSG_TRUNC:
            self.drop(1)
            return 0
        if self.bound is not None:
            flow = self.flow_of(header)
        if segment <= 0 or segment >= left:
            self.on_datagram(flow, PyBytes_FromStringAndSize(data, left))
            return 0
        while left > 0 and self.poller is not None:
            segment = min(segment, left)
            self.on_datagram(flow, PyBytes_FromStringAndSize(data, segment))
            data += segment
            left -= segment
        return 0

    cdef bytes flow_of(self, void* header_at):
        """The peer's sockaddr and the local one: where the socket is bound, with the address that was written to."""
        cdef msghdr* header = <msghdr*> header_at
        cdef Py_ssize_t half = PyBytes_GET_SIZE(self.bound)
        cdef bytes flow = PyBytes_FromStringAndSize(NULL, 2 * half)
        cdef char* peer = PyBytes_AS_STRING(flow)
        cdef char* local = peer + half
        cdef cmsghdr* entry = CMSG_FIRSTHDR(header)
        cdef in_pktinfo info
        cdef in6_pktinfo info6
        memset(peer, 0, half)
        memcpy(peer, header.msg_name, min(<Py_ssize_t> header.msg_namelen, half))
        memcpy(local, PyBytes_AS_STRING(self.bound), half)
        while entry != NULL:
            if entry.cmsg_level == IPPROTO_IP and entry.cmsg_type == IP_PKTINFO and half == sizeof(sockaddr_in):
                memcpy(&info, CMSG_DATA(entry), sizeof(info))
                (<sockaddr_in*> local).sin_addr = info.ipi_addr
            elif entry.cmsg_level == IPPROTO_IPV6 and entry.cmsg_type == IPV6_PKTINFO and half == sizeof(sockaddr_in6):
                memcpy(&info6, CMSG_DATA(entry), sizeof(info6))
                (<sockaddr_in6*> local).sin6_addr = info6.ipi6_addr
            entry = CMSG_NXTHDR(header, entry)
        return flow

    cdef int drop(self, unsigned int count) except -1:
        self.on_dropped(count)
        return 0

    # Sending: 0 or an errno; a socket without room counts as an error too, datagrams may be lost

    def send(self, bytes data not None):
        """Send to whom the socket is connected to."""
        return send_message(self.fd, data, NULL, 0, NULL, 0)

    def send_to(self, bytes data not None, bytes to not None, bytes source=None):
        """Send to an address, from the IP address of `source` (else the system chooses)."""
        if source is None:
            return send_message(self.fd, data, PyBytes_AS_STRING(to), PyBytes_GET_SIZE(to), NULL, 0)
        return send_message(
            self.fd, data, PyBytes_AS_STRING(to), PyBytes_GET_SIZE(to), PyBytes_AS_STRING(source),
            PyBytes_GET_SIZE(source),
        )

    def reply(self, bytes flow not None, bytes data not None):
        """Send to the peer of a flow, from the address that it wrote to."""
        cdef Py_ssize_t half = PyBytes_GET_SIZE(flow) // 2
        cdef char* peer = PyBytes_AS_STRING(flow)
        return send_message(self.fd, data, peer, half, peer + half, half)


cdef int send_message(int fd, bytes data, char* to, Py_ssize_t to_size, char* source, Py_ssize_t source_size):
    cdef msghdr header
    cdef iovec vector
    cdef px_control control
    memset(&header, 0, sizeof(header))
    vector.iov_base = PyBytes_AS_STRING(data)
    vector.iov_len = PyBytes_GET_SIZE(data)
    header.msg_iov = &vector
    header.msg_iovlen = 1
    if to != NULL:
        header.msg_name = to
        header.msg_namelen = <socklen_t> to_size
    if source != NULL:
        header.msg_control = &control
        if not set_source(&header, source, source_size):
            return EINVAL
    while sendmsg(fd, &header, MSG_DONTWAIT) < 0:
        if errno != EINTR:
            return errno
    return 0


cdef bint set_source(void* header_at, char* source, Py_ssize_t source_size) noexcept:
    """Put the IP address of a sockaddr into the message's control data."""
    cdef msghdr* header = <msghdr*> header_at
    cdef cmsghdr* entry
    cdef in_pktinfo info
    cdef in6_pktinfo info6
    memset(header.msg_control, 0, sizeof(px_control))
    header.msg_controllen = sizeof(px_control)
    entry = CMSG_FIRSTHDR(header)
    if source_size == sizeof(sockaddr_in):
        memset(&info, 0, sizeof(info))
        info.ipi_spec_dst = (<sockaddr_in*> source).sin_addr
        entry.cmsg_level = IPPROTO_IP
        entry.cmsg_type = IP_PKTINFO
        entry.cmsg_len = CMSG_LEN(sizeof(info))
        memcpy(CMSG_DATA(entry), &info, sizeof(info))
        header.msg_controllen = CMSG_SPACE(sizeof(info))
        return True
    if source_size == sizeof(sockaddr_in6):
        memset(&info6, 0, sizeof(info6))
        info6.ipi6_addr = (<sockaddr_in6*> source).sin6_addr
        entry.cmsg_level = IPPROTO_IPV6
        entry.cmsg_type = IPV6_PKTINFO
        entry.cmsg_len = CMSG_LEN(sizeof(info6))
        memcpy(CMSG_DATA(entry), &info6, sizeof(info6))
        header.msg_controllen = CMSG_SPACE(sizeof(info6))
        return True
    return False


cdef unsigned int overflows_so_far(int fd) noexcept:
    """How many packets found no room in the socket's queue before this process had it."""
    cdef unsigned int[PX_MEMINFO_VARS] values
    cdef socklen_t size = sizeof(values)
    if getsockopt(fd, SOL_SOCKET, SO_MEMINFO, values, &size) < 0 or size < sizeof(values):
        return 0
    return values[PX_MEMINFO_DROPS]
