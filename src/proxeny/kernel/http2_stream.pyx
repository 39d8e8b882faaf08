"""Http2Stream: what a session knows of one stream; and header maps as nghttp2 gives and takes them."""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp

cimport cython
from proxeny.kernel.headers cimport HeaderEntry, HeaderMap
from proxeny.kernel.http2_lib cimport NGHTTP2_NV_FLAG_NONE, nghttp2_frame, nghttp2_nv


@cython.final
@cython.freelist(64)
cdef class Http2Stream:
    """One stream of a session. It is open until the session lets go of it (`session` is None)."""

    def __cinit__(self):
        self.id = -1

    @property
    def pending(self):
        """Bytes of the body that wait to be sent."""
        return 0 if self.out is None else self.out.length

    @property
    def above_high_watermark(self):
        """Whether more of the body waits than `stream_buffer_limit`."""
        return self.above

    def __repr__(self):
        return (f"<Http2Stream {self.id} remote_end={self.remote_end} local_end={self.local_end}"
                f" pending={self.pending}>")


@cython.final
@cython.freelist(8)
cdef class Fields:
    """A header map as nghttp2 wants to see it; nghttp2 copies it."""

    def __dealloc__(self):
        if self.nv != self.few:
            free(self.nv)

    cdef int take(self, HeaderMap headers) except -1:
        cdef size_t room = <size_t> headers.count
        self.nv = self.few
        if room > FIELDS_ON_STACK:
            self.nv = <nghttp2_nv*> malloc(room * sizeof(nghttp2_nv))
            if self.nv == NULL:
                raise MemoryError()
        # Pseudo headers go first, wherever they were set.
        self.take_some(headers, True)
        self.take_some(headers, False)
        return 0

    cdef void take_some(self, HeaderMap headers, bint pseudo) noexcept:
        cdef HeaderEntry* e
        cdef nghttp2_nv* field
        cdef Py_ssize_t i
        for i in range(headers.count):
            e = &headers.entries[i]
            if (e.name_len != 0 and headers.arena[e.name] == 58) != pseudo:
                continue
            field = &self.nv[self.n]
            self.n += 1
            field.name = <uint8_t*> headers.arena + e.name
            field.namelen = e.name_len
            field.value = <uint8_t*> headers.arena + e.value
            field.valuelen = e.value_len
            field.flags = NGHTTP2_NV_FLAG_NONE


cdef int add_crumb(Http2Stream stream, const char* value, size_t n) except -1:
    """Cookies come in crumbs (RFC 9113 8.2.3) and go on as one."""
    stream.crumb_count += 1
    if stream.crumbs is None:
        stream.crumbs = HeaderMap()
        return stream.crumbs.c_add(b"cookie", 6, value, n)
    if stream.crumbs.entries[0].value_len == 0:
        return stream.crumbs.c_replace(0, value, n)
    return stream.crumbs.c_append(0, value, n, b"; ", 2)


cdef int add_joined(HeaderMap headers, const char* name, size_t name_len, const char* value, size_t n) except -1:
    """A field that is in the map once: further ones are joined on."""
    cdef Py_ssize_t at = headers.c_find(name, name_len, 0)
    if at < 0:
        return headers.c_add(name, name_len, value, n)
    if headers.entries[at].value_len == 0:
        return headers.c_replace(at, value, n)
    return headers.c_append(at, value, n, b",", 1)


cdef int add_field(HeaderMap headers, const char* name, size_t name_len, const char* value, size_t n,
                   frozenset joined) except -1:
    if headers.c_find(name, name_len, 0) >= 0 and PyBytes_FromStringAndSize(name, name_len) in joined:
        return add_joined(headers, name, name_len, value, n)
    return headers.c_add(name, name_len, value, n)


cdef bint is_informational(HeaderMap headers) noexcept:
    """1xx, but for 101."""
    cdef Py_ssize_t at = headers.c_find(b":status", 7, 0)
    cdef const char* value
    if at < 0 or headers.entries[at].value_len != 3:
        return False
    value = headers.arena + headers.entries[at].value
    return value[0] == 49 and memcmp(value, b"101", 3) != 0


cdef dict settings_of(const nghttp2_frame* frame):
    cdef size_t i
    cdef dict found = {}
    for i in range(frame.settings.niv):
        found[frame.settings.iv[i].settings_id] = frame.settings.iv[i].value
    return found
