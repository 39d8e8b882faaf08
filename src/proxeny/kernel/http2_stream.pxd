"""Map of the streams of HTTP/2 sessions."""
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, uint32_t, uint64_t

from proxeny.kernel.buffer cimport Buffer
from proxeny.kernel.headers cimport HeaderMap
from proxeny.kernel.http2_lib cimport nghttp2_frame, nghttp2_nv

cdef enum:
    FIELDS_ON_STACK = 48


cdef class Http2Stream:
    cdef readonly object session            # the Http2Session; None once the stream is closed
    cdef readonly int32_t id                # -1: not sent yet
    cdef public object owner                # the codec's own object for this stream; let go of when it is closed
    cdef public object details              # why it ended, as response-code details say it; None where nothing is known
    cdef readonly HeaderMap incoming        # the header block that is being received
    cdef HeaderMap crumbs                   # its cookies, joined
    cdef size_t crumb_count
    cdef Buffer out                         # body that waits for the peer's window
    cdef HeaderMap trailers                 # what follows it
    cdef readonly bint remote_end, remote_reset, messaging_error
    cdef readonly bint local_end            # all of our message was handed over
    cdef readonly bint local_end_sent       # and was sent
    cdef bint end_blocked                   # the peer's window keeps our end back, and the codec was told
    cdef bint final_headers, deferred, above, has_source, reset_pending
    cdef int32_t read_disable_count
    cdef size_t unconsumed
    cdef uint32_t reset_code
    cdef readonly uint64_t bytes_received, bytes_sent, header_bytes_received, header_bytes_sent
    cdef readonly uint64_t field_bytes_received     # names and values, as they came
    cdef PyObject* before                   # neighbours in the session's list
    cdef PyObject* after


cdef class Fields:
    cdef nghttp2_nv[FIELDS_ON_STACK] few
    cdef nghttp2_nv* nv
    cdef size_t n

    cdef int take(self, HeaderMap headers) except -1
    cdef void take_some(self, HeaderMap headers, bint pseudo) noexcept


cdef int add_crumb(Http2Stream stream, const char* value, size_t n) except -1
cdef int add_joined(HeaderMap headers, const char* name, size_t name_len, const char* value, size_t n) except -1
cdef int add_field(HeaderMap headers, const char* name, size_t name_len, const char* value, size_t n,
                   frozenset joined) except -1
cdef bint is_informational(HeaderMap headers) noexcept
cdef dict settings_of(const nghttp2_frame* frame)
