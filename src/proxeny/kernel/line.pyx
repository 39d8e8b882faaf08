"""A log line under construction: pieces go straight into one buffer, header values without an object of their own."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy
from libc.time cimport gmtime_r, strftime, time_t, tm

from proxeny.kernel.headers cimport HeaderEntry, HeaderMap

cdef enum:
    FIRST = 1024
    KEPT = 65536            # a longer line's memory is given back
    STAMP = 20              # 2026-11-23T08:44:23.


cdef class Line:
    """One line at a time: `clear`, puts, `take`."""

    def __cinit__(self):
        self.data = <char*> malloc(FIRST)
        if self.data == NULL:
            raise MemoryError()
        self.used = 0
        self.capacity = FIRST
        self.second = -1

    def __dealloc__(self):
        free(self.data)

    cdef char* room(self, size_t n) except NULL:
        """Where the next `n` bytes go; the caller adds them to `used`."""
        cdef size_t size
        cdef char* grown
        if self.used + n > self.capacity:
            size = self.capacity
            while size < self.used + n:
                size *= 2
            grown = <char*> realloc(self.data, size)
            if grown == NULL:
                raise MemoryError()
            self.data = grown
            self.capacity = size
        return self.data + self.used

    cpdef clear(self):
        """Begin a line."""
        self.used = 0

    cpdef put(self, bytes text):
        """Bytes as they are."""
        cdef size_t n = PyBytes_GET_SIZE(text)
        memcpy(self.room(n), PyBytes_AS_STRING(text), n)
        self.used += n

    cpdef put_int(self, long long value):
        """A decimal number."""
        cdef char[24] digits
        cdef int at = 24
        cdef unsigned long long rest = <unsigned long long> value
        if value < 0:
            rest = 0 - rest
        while True:
            at -= 1
            digits[at] = <char> (48 + rest % 10)
            rest //= 10
            if rest == 0:
                break
        if value < 0:
            at -= 1
            digits[at] = 45
        memcpy(self.room(24), &digits[at], 24 - at)
        self.used += 24 - at

    cpdef put_time(self, double seconds):
        """`2026-11-23T08:44:23.123Z`; all but the milliseconds are kept from call to call."""
        cdef long long second = <long long> seconds
        cdef int millis = <int> ((seconds - <double> second) * 1000)
        cdef time_t moment
        cdef tm parts
        cdef char* to
        if second != self.second:
            moment = <time_t> second
            gmtime_r(&moment, &parts)
            if strftime(self.stamp, 24, b"%Y-%m-%dT%H:%M:%S.", &parts) != STAMP:
                raise ValueError("a year of more than four digits")
            self.second = second
        to = self.room(STAMP + 4)
        memcpy(to, self.stamp, STAMP)
        to[STAMP] = <char> (48 + millis // 100)
        to[STAMP + 1] = <char> (48 + millis // 10 % 10)
        to[STAMP + 2] = <char> (48 + millis % 10)
        to[STAMP + 3] = 90
        self.used += STAMP + 4

    cpdef put_header(self, HeaderMap headers, bytes name, bytes alternative, Py_ssize_t limit, bytes absent):
        """The first value of a header, or of the alternative, at most `limit` bytes of it (negative: all)."""
        cdef Py_ssize_t at
        cdef HeaderEntry* e
        cdef size_t n
        at = headers.c_find(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), 0)
        if at < 0 and alternative is not None:
            at = headers.c_find(PyBytes_AS_STRING(alternative), PyBytes_GET_SIZE(alternative), 0)
        if at < 0:
            self.put(absent)
            return
        e = &headers.entries[at]
        n = e.value_len
        if limit >= 0 and n > <size_t> limit:
            n = <size_t> limit
        memcpy(self.room(n), headers.arena + e.value, n)
        self.used += n

    cpdef bytes take(self):
        """The line."""
        cdef bytes text = PyBytes_FromStringAndSize(self.data, self.used)
        cdef char* smaller
        self.used = 0
        if self.capacity > KEPT:
            smaller = <char*> realloc(self.data, FIRST)
            if smaller != NULL:
                self.data = smaller
                self.capacity = FIRST
        return text
