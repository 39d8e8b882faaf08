"""Random numbers and request ids, drawn from the system in blocks of 4 KB (Envoy: ``Random::RandomGeneratorImpl``).

One generator belongs to one process: make it after a fork, or two workers would hand out the same ids.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memcpy
from cpython.bytes cimport PyBytes_FromStringAndSize, PyBytes_AS_STRING

cdef extern from "<sys/random.h>" nogil:
    Py_ssize_t getrandom(void* buf, size_t buflen, unsigned int flags)

cdef const char* HEX = b"0123456789abcdef"


cdef class RandomGenerator:
    """Cryptographically random integers and version-4 UUIDs."""

    def __cinit__(self):
        self.position = sizeof(self.pool)

    cdef int fill(self) except -1:
        cdef Py_ssize_t done = 0, got
        while done < <Py_ssize_t>sizeof(self.pool):
            got = getrandom(self.pool + done, sizeof(self.pool) - done, 0)
            if got <= 0:
                raise OSError("getrandom failed")
            done += got
        self.position = 0
        return 0

    cpdef object random(self):
        """A random integer below 2**64."""
        cdef uint64_t value
        if self.position + 8 > <Py_ssize_t>sizeof(self.pool):
            self.fill()
        memcpy(&value, self.pool + self.position, 8)
        self.position += 8
        return value

    cpdef bytes uuid(self):
        """A version-4 UUID (RFC 9562) in its 36-byte text form."""
        cdef unsigned char raw[16]
        cdef bytes text = PyBytes_FromStringAndSize(NULL, 36)
        cdef char* out = PyBytes_AS_STRING(text)
        cdef int index
        if self.position + 16 > <Py_ssize_t>sizeof(self.pool):
            self.fill()
        memcpy(raw, self.pool + self.position, 16)
        self.position += 16
        raw[6] = (raw[6] & 0x0F) | 0x40
        raw[8] = (raw[8] & 0x3F) | 0x80
        for index in range(16):
            if index == 4 or index == 6 or index == 8 or index == 10:
                out[0] = b"-"
                out += 1
            out[0] = HEX[raw[index] >> 4]
            out[1] = HEX[raw[index] & 15]
            out += 2
        return text
