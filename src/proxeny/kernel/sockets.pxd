"""Map of the socket calls that the kernel modules and the network layer share."""

cdef int c_so_error(int fd) noexcept nogil
cdef int c_reset_on_close(int fd) noexcept nogil
