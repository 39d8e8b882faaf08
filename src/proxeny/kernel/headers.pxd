"""The map of kernel.headers: what other kernel modules may touch of a HeaderMap."""

from libc.stdint cimport uint32_t, uint64_t


cdef struct HeaderEntry:
    uint32_t name       # offset of the lower-cased name in the arena
    uint32_t name_len
    uint32_t value      # offset of the value
    uint32_t value_len


cdef class OriginalNames:
    cdef dict spellings
    cdef public bytes reason
    cdef public bint proper

    cdef int note(self, const char* name, size_t n) except -1
    cdef const char* find(self, const char* name, size_t n) noexcept


cdef class HeaderMap:
    cdef char* arena
    cdef size_t used
    cdef size_t capacity
    cdef size_t dead                # bytes of the arena that no entry refers to any more
    cdef HeaderEntry* entries
    cdef Py_ssize_t count
    cdef Py_ssize_t entries_capacity
    cdef size_t bytes_total         # names and values that are in the map
    cdef uint64_t present           # one bit per key_bit() of a name ever added: a clear bit proves absence
    cdef public OriginalNames names     # None: names are written as they are in the map

    cdef int c_room(self, size_t n) except -1
    cdef void c_compact_into(self, char* target) noexcept
    cdef int c_grow_entries(self) except -1
    cdef int c_add(self, const char* name, size_t name_len, const char* value, size_t value_len) except -1
    cdef int c_set(self, const char* name, size_t name_len, const char* value, size_t value_len) except -1
    cdef int c_replace(self, Py_ssize_t at, const char* value, size_t value_len) except -1
    cdef int c_append(self, Py_ssize_t at, const char* value, size_t value_len,
                      const char* delimiter, size_t delimiter_len) except -1
    cdef Py_ssize_t c_find(self, const char* name, size_t name_len, Py_ssize_t start) noexcept
    cdef void c_remove_at(self, Py_ssize_t at) noexcept
    cdef void c_remove_last(self) noexcept
    cdef Py_ssize_t c_remove(self, const char* name, size_t name_len) noexcept
    cdef void c_clear(self) noexcept
    cdef void forget(self, HeaderEntry* e) noexcept
    cdef void give_back(self, size_t at, size_t n) noexcept

    cpdef get(self, bytes name)
    cpdef get_joined(self, bytes name)
    cpdef set(self, bytes name, bytes value)
    cpdef add(self, bytes name, bytes value)
    cpdef set_if_absent(self, bytes name, bytes value)
    cpdef remove(self, bytes name)
    cpdef bint has_any(self, tuple names) except -1
    cpdef remove_many(self, tuple names)
    cpdef byte_size(self)
