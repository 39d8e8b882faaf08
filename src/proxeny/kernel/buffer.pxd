"""Map of the byte buffer: a chain of slices over reference-counted slabs of C memory."""
from cpython.object cimport PyObject
from posix.uio cimport iovec


cdef struct Slab:
    int refs
    int size_class
    size_t capacity
    size_t used
    char* data
    PyObject* owner
    Slab* next


cdef struct Slice:
    Slab* slab
    char* data
    size_t length
    Slice* next


cdef class Buffer:
    cdef readonly Py_ssize_t length
    cdef readonly Py_ssize_t high, low
    cdef readonly bint high_watermark_triggered
    cdef Slice* head
    cdef Slice* tail
    cdef Slab* spare
    cdef object on_above, on_below

    # Reading bytes out: pointers stay valid until the next change of this buffer.
    cdef char* front(self, size_t* n) noexcept
    cdef char* linearize(self, size_t n) except NULL
    cdef int fill_iovec(self, iovec* vector, int most) noexcept
    cdef Py_ssize_t c_find(self, const char* needle, size_t size, size_t start) noexcept
    cdef int copy_out(self, char* target, size_t n) noexcept

    # Putting bytes in: reserve, fill, then commit (or release what was not used).
    cdef char* reserve(self, size_t wanted, size_t* available) except NULL
    cdef int commit(self, size_t n) except -1
    cdef void release(self) noexcept
    cdef int c_append(self, const char* data, size_t n) except -1
    cdef int c_append_object(self, bytes data) except -1

    # Taking bytes away, or over to another buffer.
    cdef int c_drain(self, size_t n) except -1
    cdef int c_move(self, Buffer source, size_t n) except -1

    cdef int put(self, const char* data, size_t n) except -1
    cdef int grew(self) except -1
    cdef int shrank(self) except -1
    cdef void drop(self, size_t n) noexcept
    cdef Slice* push(self, Slab* slab, char* data, size_t n) except NULL
    cdef void take_slices(self, Buffer source) noexcept

    cpdef move_all(self, Buffer source)
    cpdef clear(self)
