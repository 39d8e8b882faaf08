"""Socket system calls on bare descriptors: no socket objects, addresses as raw sockaddr bytes.

Calls return 0 or an errno where the caller decides by it, and raise OSError where failure is a fault.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, ECONNABORTED, EINPROGRESS, EINTR, EIO, errno
from libc.string cimport memcpy, memset
from posix.uio cimport iovec
from posix.unistd cimport close

cdef extern from "sys/socket.h" nogil:
    ctypedef unsigned int socklen_t
    cdef struct sockaddr:
        pass
    cdef struct sockaddr_storage:
        unsigned short ss_family
    ctypedef struct linger_t "struct linger":
        int l_onoff
        int l_linger
    int accept4(int fd, sockaddr* addr, socklen_t* size, int flags)
    int c_connect "connect" (int fd, const sockaddr* addr, socklen_t size)
    int c_bind "bind" (int fd, const sockaddr* addr, socklen_t size)
    int c_socket "socket" (int family, int kind, int protocol)
    int c_shutdown "shutdown" (int fd, int how)
    int getsockname(int fd, sockaddr* addr, socklen_t* size)
    int getpeername(int fd, sockaddr* addr, socklen_t* size)
    int setsockopt(int fd, int level, int name, const void* value, socklen_t size)
    int getsockopt(int fd, int level, int name, void* value, socklen_t* size)
    Py_ssize_t recv(int fd, void* buffer, size_t size, int flags)
    cdef struct msghdr:
        void* msg_name
        unsigned int msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
        int msg_flags
    cdef struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    Py_ssize_t sendmsg(int fd, const msghdr* message, int flags)
    Py_ssize_t recvmsg(int fd, msghdr* message, int flags)
    cmsghdr* CMSG_FIRSTHDR(msghdr* message)
    unsigned char* CMSG_DATA(cmsghdr* head)
    size_t CMSG_LEN(size_t size)
    size_t CMSG_SPACE(size_t size)
    enum:
        MSG_CMSG_CLOEXEC
        MSG_NOSIGNAL
        SCM_RIGHTS
        MSG_PEEK
        SOCK_NONBLOCK
        SOCK_CLOEXEC
        SOCK_STREAM
        SOL_SOCKET
        SO_ERROR
        SO_LINGER
        SHUT_WR

cdef extern from "netinet/in.h" nogil:
    enum:
        IPPROTO_TCP

cdef extern from "netinet/tcp.h" nogil:
    enum:
        TCP_NODELAY


cdef int c_so_error(int fd) noexcept nogil:
    """Take the pending error of a socket: 0 or an errno."""
    cdef int value = 0
    cdef socklen_t size = sizeof(int)
    if getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &size) < 0:
        return errno
    return value


cdef int c_reset_on_close(int fd) noexcept nogil:
    """Make close() send a RST (SO_LINGER with 0 seconds)."""
    cdef linger_t value
    value.l_onoff = 1
    value.l_linger = 0
    return setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof(value))


def so_error(int fd):
    """The pending error of a socket, which is thereby cleared; 0 = none."""
    return c_so_error(fd)


def accept_many(int fd, int most):
    """Accept up to `most` connections (0 = all there are): list of (descriptor, peer's sockaddr bytes).

    Descriptors are non-blocking and close-on-exec. Stops at EAGAIN; a connection that died in the queue is skipped.
    Raises OSError (EMFILE, ENFILE, ENOMEM ...) only when nothing was accepted.
    """
    cdef sockaddr_storage address
    cdef socklen_t size
    cdef int connection
    cdef list out = []
    while most == 0 or len(out) < most:
        size = sizeof(address)
        connection = accept4(fd, <sockaddr*> &address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if connection < 0:
            if errno == EINTR or errno == ECONNABORTED:
                continue
            if errno != EAGAIN and not out:
                raise OSError(errno, "accept4")
            break
        out.append((connection, PyBytes_FromStringAndSize(<char*> &address, min(size, sizeof(address)))))
    return out


def open_socket(int family, int kind=SOCK_STREAM, int protocol=0):
    """A non-blocking, close-on-exec socket."""
    cdef int fd = c_socket(family, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol)
    if fd < 0:
        raise OSError(errno, "socket")
    return fd


def close_descriptor(int fd):
    """close(2)."""
    close(fd)


def bind_to(int fd, bytes address not None):
    """bind(2): 0 or an errno."""
    if c_bind(fd, <const sockaddr*> PyBytes_AS_STRING(address), <socklen_t> PyBytes_GET_SIZE(address)) < 0:
        return errno
    return 0


def connect_to(int fd, bytes address not None):
    """Start to connect: 0 when connected or under way (EINPROGRESS), else an errno."""
    if c_connect(fd, <const sockaddr*> PyBytes_AS_STRING(address), <socklen_t> PyBytes_GET_SIZE(address)) < 0:
        return 0 if errno == EINPROGRESS or errno == EINTR else errno
    return 0


def local_sockaddr(int fd):
    """The raw sockaddr that the socket is bound to."""
    cdef sockaddr_storage address
    cdef socklen_t size = sizeof(address)
    if getsockname(fd, <sockaddr*> &address, &size) < 0:
        raise OSError(errno, "getsockname")
    return PyBytes_FromStringAndSize(<char*> &address, size)


def peer_sockaddr(int fd):
    """The raw sockaddr of the peer."""
    cdef sockaddr_storage address
    cdef socklen_t size = sizeof(address)
    if getpeername(fd, <sockaddr*> &address, &size) < 0:
        raise OSError(errno, "getpeername")
    return PyBytes_FromStringAndSize(<char*> &address, size)


def set_no_delay(int fd):
    """TCP_NODELAY; without effect on sockets that are not TCP. 0 or an errno."""
    cdef int one = 1
    if setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0:
        return errno
    return 0


def set_option(int fd, int level, int name, value):
    """setsockopt with an int or bytes value: 0 or an errno."""
    cdef int number
    cdef bytes data
    cdef int rc
    if isinstance(value, int):
        number = value
        rc = setsockopt(fd, level, name, &number, sizeof(number))
    else:
        data = bytes(value)
        rc = setsockopt(fd, level, name, PyBytes_AS_STRING(data), <socklen_t> PyBytes_GET_SIZE(data))
    return errno if rc < 0 else 0


def get_option(int fd, int level, int name, int room):
    """getsockopt into `room` bytes (at most 256); raises OSError."""
    cdef char[256] space
    cdef socklen_t size = <socklen_t> min(max(room, 0), 256)
    if getsockopt(fd, level, name, space, &size) < 0:
        raise OSError(errno, "getsockopt")
    return PyBytes_FromStringAndSize(space, size)


def shutdown_write(int fd):
    """shutdown(SHUT_WR): 0 or an errno."""
    return errno if c_shutdown(fd, SHUT_WR) < 0 else 0


def peek(int fd, size_t most):
    """What the socket holds, up to `most` bytes, without taking it: b"" at the end of the stream, None when there is
    nothing yet. Raises OSError when the socket failed."""
    cdef bytes out = PyBytes_FromStringAndSize(NULL, <Py_ssize_t> most)
    cdef Py_ssize_t n
    while True:
        n = recv(fd, PyBytes_AS_STRING(out), most, MSG_PEEK)
        if n >= 0:
            return out if n == <Py_ssize_t> most else out[:n]
        if errno == EAGAIN:
            return None
        if errno != EINTR:
            raise OSError(errno, "recv")


def discard(int fd, size_t size):
    """Take `size` bytes off a stream socket that is known to hold them."""
    cdef Py_ssize_t n
    cdef char[4096] space
    while size:
        n = recv(fd, space, min(size, sizeof(space)), 0)
        if n > 0:
            size -= <size_t> n
        elif n == 0:
            raise OSError(EIO, "the stream ended")
        elif errno != EINTR:
            raise OSError(errno, "recv")


def send_descriptor(int channel, int fd, bytes payload not None):
    """Send a message with one descriptor (SCM_RIGHTS) through a unix socket: 0 or an errno. `fd` stays open."""
    cdef msghdr message
    cdef iovec vector
    cdef char[64] control
    cdef cmsghdr* head
    memset(&message, 0, sizeof(message))
    memset(control, 0, sizeof(control))
    vector.iov_base = PyBytes_AS_STRING(payload)
    vector.iov_len = <size_t> PyBytes_GET_SIZE(payload)
    message.msg_iov = &vector
    message.msg_iovlen = 1
    message.msg_control = control
    message.msg_controllen = CMSG_SPACE(sizeof(int))
    head = CMSG_FIRSTHDR(&message)
    head.cmsg_level = SOL_SOCKET
    head.cmsg_type = SCM_RIGHTS
    head.cmsg_len = CMSG_LEN(sizeof(int))
    memcpy(CMSG_DATA(head), &fd, sizeof(int))
    while sendmsg(channel, &message, MSG_NOSIGNAL) < 0:
        if errno != EINTR:
            return errno
    return 0


def receive_descriptor(int channel):
    """Take one message: (bytes, descriptor), the descriptor -1 if it came without; None when there is none.

    The descriptor is close-on-exec. At most 64 KB; raises OSError when the socket failed.
    """
    cdef msghdr message
    cdef iovec vector
    cdef char[65536] space
    cdef char[64] control
    cdef cmsghdr* head
    cdef Py_ssize_t n
    cdef int fd = -1
    memset(&message, 0, sizeof(message))
    vector.iov_base = space
    vector.iov_len = sizeof(space)
    message.msg_iov = &vector
    message.msg_iovlen = 1
    message.msg_control = control
    message.msg_controllen = CMSG_SPACE(sizeof(int))
    while True:
        n = recvmsg(channel, &message, MSG_CMSG_CLOEXEC)
        if n >= 0:
            break
        if errno == EAGAIN:
            return None
        if errno != EINTR:
            raise OSError(errno, "recvmsg")
    head = CMSG_FIRSTHDR(&message)
    if head != NULL and head.cmsg_level == SOL_SOCKET and head.cmsg_type == SCM_RIGHTS:
        memcpy(&fd, CMSG_DATA(head), sizeof(int))
    return PyBytes_FromStringAndSize(space, n), fd
