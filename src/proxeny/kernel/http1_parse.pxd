"""The map of kernel.http1_parse: incremental HTTP/1 parsers over a Buffer."""

from libc.stdint cimport uint64_t

from proxeny.kernel.buffer cimport Buffer
from proxeny.kernel.headers cimport HeaderMap
from proxeny.kernel.http1_head cimport Verdict


cdef enum Event:
    E_NEED_MORE = 0
    E_HEADERS = 1
    E_DATA = 2
    E_TRAILERS = 3
    E_COMPLETE = 4
    E_ERROR = 5
    E_UPGRADE = 6
    E_HEADERS_1XX = 7


cdef enum State:
    S_START = 0             # between messages
    S_HEAD = 1              # a start line and fields; the end of the head is being looked for
    S_BODY_LENGTH = 2       # `remaining` bytes of a body with a length
    S_BODY_EOF = 3          # a response body that ends with the connection
    S_CHUNK_SIZE = 4
    S_CHUNK_DATA = 5
    S_CHUNK_END = 6         # the CR LF behind chunk data
    S_TRAILERS = 7
    S_TUNNEL = 8            # upgraded: bytes are opaque, held until open_tunnel()
    S_FAILED = 9            # the error was reported; nothing is parsed any more


cdef class MessageParser:
    cdef State state
    cdef readonly HeaderMap headers
    cdef readonly HeaderMap trailers
    cdef readonly Buffer body
    cdef readonly bint end_stream, keep_alive, close_announced, http10, chunked, upgrade, started
    cdef readonly uint64_t content_length, message_bytes, header_bytes, field_bytes
    cdef readonly str error, error_message
    cdef readonly int error_status
    cdef public size_t max_head_bytes
    cdef public Py_ssize_t max_headers_count
    cdef public bint enable_trailers, allow_chunked_length
    cdef public bint keep_case, proper_added, keep_reason
    cdef public int underscore_action
    cdef readonly uint64_t dropped_underscores
    cdef frozenset joined

    # Where the search for the end of a head stands: offsets into the buffer, from the first byte of the head on.
    cdef size_t scan, line_start, first_line_end, head_length, fields_end
    # Chunks.
    cdef uint64_t remaining
    cdef int chunk_state, chunk_digits
    cdef size_t chunk_line
    # What the fields of the current head say about framing; indexes of entries or -1.
    cdef int length_count, coding_count
    cdef Py_ssize_t field_count, joined_count
    cdef bint coding_is_chunked, has_length, tunnel_open
    cdef Py_ssize_t connection_at, upgrade_at

    cdef void begin_message(self) noexcept
    cdef int fail(self, int status, str detail, str message) except -1
    cdef int fail_verdict(self, Verdict verdict, str message) except -1
    cdef int find_head_end(self, Buffer data, bint has_first_line) except -1
    cdef int parse_first_line(self, const char* p, size_t n) except -1
    cdef int finish_head(self, const char* p) except -1
    cdef int parse_fields(self, const char* p, size_t n, HeaderMap into, bint trailers) except -1
    cdef int parse_field(self, const char* p, size_t n, HeaderMap into, bint trailers) except -1
    cdef bint join_repeated(self, HeaderMap into) except -1
    cdef int note_field(self, HeaderMap into, Py_ssize_t at) except -1
    cdef int check_framing(self) except -1
    cdef int read_head(self, Buffer data) except -1
    cdef int read_body(self, Buffer data) except -1
    cdef int read_until_end(self, Buffer data) except -1
    cdef int read_chunks(self, Buffer data) except -1
    cdef int read_chunk_line(self, Buffer data) except -1
    cdef int take_empty_trailers(self, Buffer data) except -1
    cdef int read_trailers(self, Buffer data) except -1
    cdef bint add_digit(self, unsigned char c) noexcept
    cdef int end_head(self) except -1
    cdef int read_tunnel(self, Buffer data) except -1
    cdef void consumed(self, size_t n) noexcept

    cpdef int advance(self, Buffer data) except? -1000
