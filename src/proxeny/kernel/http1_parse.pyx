"""HTTP/1 messages out of a Buffer, incrementally (RFC 9112); the machine that requests and responses share.

`advance(data)` takes what it can off the front of `data` and returns one event. A head is looked at twice: line ends
are searched as bytes come, from where the last search stopped, so that a head which comes byte by byte costs linear
time; the start line is judged as soon as it is complete and the fields when the empty line is there. Body bytes are
moved, not copied, into `body`; what the caller leaves there is dropped at the next call. After the last event of a
message the parser stands before the next one and does nothing until it is called again: pipelining is the codec's
decision. After an upgrade (CONNECT is one) bytes are held until open_tunnel().

Errors are final. `error` is Envoy's response-code detail, `error_status` what a server answers. Framing is strict where
leniency has led to desynchronisation: chunk lines end in CR LF, lengths are digits, a bare CR is nowhere accepted; a
bare LF may end lines of a head.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcmp, memcpy

from proxeny.kernel.buffer cimport Buffer
from proxeny.kernel.headers cimport HeaderEntry, HeaderMap
from proxeny.kernel.http1_head cimport (
    BAD_CHARACTERS,
    BAD_SCHEME,
    BAD_SYNTAX,
    BAD_URL,
    Verdict,
    equals_ignore_case,
    has_control,
    is_blank,
    name_length,
    parse_decimal,
    value_is_clean,
)

NEED_MORE = E_NEED_MORE
HEADERS = E_HEADERS
DATA = E_DATA
TRAILERS = E_TRAILERS
COMPLETE = E_COMPLETE
ERROR = E_ERROR
UPGRADE = E_UPGRADE
HEADERS_1XX = E_HEADERS_1XX

cdef enum:
    UNDERSCORES_ALLOW = 0       # HttpProtocolOptions.HeadersWithUnderscoresAction
    UNDERSCORES_REJECT = 1
    UNDERSCORES_DROP = 2
    MAX_CHUNK_LINE = 16384      # size, blanks and extensions of one chunk; Envoy has no bound here
    C_SIZE = 0                  # inside a chunk's line: digits
    C_BLANK = 1                 # blanks behind the digits
    C_EXTENSION = 2
    C_LF = 3                    # only LF may follow

# Fields that frame a message or belong to a hop: never taken from trailers (RFC 9110 6.5.1).
cdef tuple NOT_IN_TRAILERS = (
    b"content-length", b"transfer-encoding", b"host", b"connection", b"upgrade", b"keep-alive", b"proxy-connection",
    b"te", b"trailer", b"expect",
)


cdef str name_error(const char* p, size_t n):
    """What is wrong with a field line whose name is bad, in the words of Envoy's parser."""
    if memchr(p, 58, n) == NULL:
        return "HEADER_MISSING_COLON"
    return "INVALID_HEADER_FORMAT" if p[0] == 58 else "INVALID_HEADER_NAME_CHARACTER"

cdef enum:
    # Lines that are joined onto others count for nothing in Envoy; here only so many times max_headers_count, since
    # each of them costs what a header costs.
    MOST_JOINED = 8


cdef class MessageParser:
    """What requests and responses have in common. Not for use by itself."""

    def __cinit__(self, *args, **kwargs):
        self.body = Buffer()
        self.max_head_bytes = 60 * 1024     # HttpConnectionManager.max_request_headers_kb
        self.max_headers_count = 100        # HttpProtocolOptions.max_headers_count
        self.begin_message()
        self.state = S_START

    cpdef int advance(self, Buffer data) except? -1000:
        """Consumes from `data` up to the next event and returns it."""
        cdef State state = self.state
        if data is None:
            raise TypeError("data must not be None")
        if self.body.length:
            self.body.c_drain(self.body.length)
        if state == S_START or state == S_HEAD:
            return self.read_head(data)
        if state == S_BODY_LENGTH:
            return self.read_body(data)
        if state == S_CHUNK_SIZE or state == S_CHUNK_DATA or state == S_CHUNK_END:
            return self.read_chunks(data)
        if state == S_TRAILERS:
            return self.read_trailers(data)
        if state == S_BODY_EOF:
            return self.read_until_end(data)
        if state == S_TUNNEL:
            return self.read_tunnel(data)
        return E_ERROR

    def finish(self):
        """The peer sent FIN: COMPLETE if that ends the body, NEED_MORE between messages, else ERROR.

        A tunnel's end is no end of a message: NEED_MORE, as in Envoy, and so the connection's end resets it.
        """
        if self.state == S_TUNNEL:
            return E_NEED_MORE
        if self.state == S_BODY_EOF:
            self.state = S_START
            self.end_stream = True
            return E_COMPLETE
        if self.state == S_START:
            return E_NEED_MORE
        if self.state == S_FAILED:
            return E_ERROR
        return self.fail(400, "http1.codec_error", "the connection ended inside a message")

    def open_tunnel(self):
        """The upgrade was accepted: bytes that were held, and all that follow, are DATA."""
        self.tunnel_open = True

    @property
    def in_message(self):
        """Whether a message has begun and is not complete."""
        return self.state != S_START and self.state != S_FAILED

    # -- common parts ----------------------------------------------------------------------------------------------

    cdef void begin_message(self) noexcept:
        self.headers = None
        self.trailers = None
        self.end_stream = self.chunked = self.upgrade = self.http10 = self.has_length = self.tunnel_open = False
        self.keep_alive = True
        self.close_announced = False
        self.started = False
        self.content_length = self.remaining = self.message_bytes = self.header_bytes = self.field_bytes = 0
        self.scan = self.line_start = self.first_line_end = 0
        self.length_count = self.coding_count = 0
        self.field_count = self.joined_count = 0
        self.chunk_state = C_SIZE
        self.chunk_digits = 0
        self.chunk_line = 0
        self.coding_is_chunked = False
        self.connection_at = self.upgrade_at = -1

    cdef int fail(self, int status, str detail, str message) except -1:
        self.state = S_FAILED
        self.error_status = status
        self.error = detail
        self.error_message = message
        return E_ERROR

    cdef int fail_verdict(self, Verdict verdict, str message) except -1:
        if verdict == BAD_CHARACTERS:
            return self.fail(400, "http1.invalid_characters", message)
        if verdict == BAD_URL:
            return self.fail(400, "http1.invalid_url", message)
        if verdict == BAD_SCHEME:
            return self.fail(400, "http1.invalid_scheme", message)
        return self.fail(400, "http1.codec_error", message)

    cdef void consumed(self, size_t n) noexcept:
        self.message_bytes += n

    # -- heads -----------------------------------------------------------------------------------------------------

    cdef int find_head_end(self, Buffer data, bint has_first_line) except -1:
        """Looks for the empty line: 1 found, 0 not there yet, E_ERROR when the head fails or is too long."""
        cdef size_t n, length
        cdef const char* p = data.front(&n)
        cdef const char* lf
        while True:
            lf = <const char*> memchr(p + self.scan, 10, n - self.scan) if n > self.scan else NULL
            if lf == NULL:
                self.scan = n
                if n > self.max_head_bytes:
                    break
                if n == <size_t> data.length:
                    return 0
                # The head goes on in the next slice; what is linearized stays so, and costs no second copy.
                length = <size_t> data.length
                n = length if length < 2 * self.max_head_bytes else 2 * self.max_head_bytes
                p = data.linearize(n)
                continue
            self.scan = lf - p + 1
            if self.scan > self.max_head_bytes:
                break
            length = self.scan - 1 - self.line_start
            if length and p[self.scan - 2] == 13:
                length -= 1
            if has_first_line and self.first_line_end == 0:
                self.first_line_end = self.scan
                if self.parse_first_line(p, length) == E_ERROR:
                    return E_ERROR
            elif length == 0:
                self.fields_end = self.line_start
                self.head_length = self.scan
                return 1
            self.line_start = self.scan
        return self.fail(431, "http1.headers_too_large", "headers size exceeds limit")

    cdef int parse_first_line(self, const char* p, size_t n) except -1:
        raise NotImplementedError

    cdef int finish_head(self, const char* p) except -1:
        raise NotImplementedError

    cdef int read_head(self, Buffer data) except -1:
        cdef size_t n
        cdef int found
        if data.length == 0:
            return E_NEED_MORE
        if self.state == S_START:
            self.begin_message()
            self.state = S_HEAD
            self.started = True
        found = self.find_head_end(data, True)
        if found != 1:
            return found
        self.header_bytes = self.head_length
        found = self.finish_head(data.front(&n))
        data.c_drain(self.head_length)
        self.consumed(self.head_length)
        return found

    cdef int parse_fields(self, const char* p, size_t n, HeaderMap into, bint trailers) except -1:
        """All field lines of a head; E_ERROR or 0. A line that begins with a blank continues the one before."""
        cdef const char* end = p + n
        cdef const char* line = p
        cdef const char* stop
        cdef const char* following
        cdef bytes folded
        cdef char* to
        while line < end:
            following = <const char*> memchr(line, 10, end - line) + 1
            stop = following - 1
            if stop > line and (stop - 1)[0] == 13:
                stop -= 1
            folded = None
            to = NULL
            while following < end and is_blank(following[0]):
                # obs-fold (RFC 9112 5.2): the line break goes, the blanks stay. One copy, whatever the number of lines.
                if folded is None:
                    to = <char*> following
                    while to < end and is_blank(to[0]):
                        to = <char*> memchr(to, 10, end - to) + 1
                    folded = PyBytes_FromStringAndSize(line, to - line)
                    to = PyBytes_AS_STRING(folded) + (stop - line)
                line = following
                following = <const char*> memchr(line, 10, end - line) + 1
                stop = following - 1
                if stop > line and (stop - 1)[0] == 13:
                    stop -= 1
                memcpy(to, line, stop - line)
                to += stop - line
            if folded is not None:
                if self.parse_field(PyBytes_AS_STRING(folded), to - PyBytes_AS_STRING(folded), into,
                                    trailers) == E_ERROR:
                    return E_ERROR
            elif self.parse_field(line, stop - line, into, trailers) == E_ERROR:
                return E_ERROR
            line = following
        return 0

    cdef int parse_field(self, const char* p, size_t n, HeaderMap into, bint trailers) except -1:
        """One field line (without its end) into the map."""
        cdef bint underscore = False
        cdef uint64_t present
        cdef Py_ssize_t name = name_length(p, n, &underscore)
        cdef size_t start, stop
        if name < 0:
            return self.fail_verdict(BAD_CHARACTERS if has_control(p, n) else BAD_SYNTAX, name_error(p, n))
        start = name + 1
        stop = n
        while start < stop and is_blank(p[start]):
            start += 1
        while stop > start and is_blank(p[stop - 1]):
            stop -= 1
        if not value_is_clean(p + start, stop - start):
            return self.fail_verdict(BAD_CHARACTERS, "header value contains invalid chars")
        if not trailers or self.enable_trailers:
            # Names, values, and three bytes for each field: Envoy's BytesMeter.
            self.field_bytes += name + (stop - start) + 3
        if underscore and self.underscore_action != UNDERSCORES_ALLOW and not trailers:
            if self.underscore_action == UNDERSCORES_REJECT:
                return self.fail(400, "http1.unexpected_underscore", "header name contains underscores")
            self.dropped_underscores += 1
            return 0
        present = into.present
        into.c_add(p, name, p + start, stop - start)
        if into.names is not None:
            into.names.note(p, name)
        if present == into.present and not trailers and self.join_repeated(into):
            self.joined_count += 1
            if self.joined_count > MOST_JOINED * self.max_headers_count:
                return self.fail(431, "http1.too_many_headers", "headers count exceeds limit")
            return 0
        self.field_count += 1
        if self.field_count > self.max_headers_count and (not trailers or self.enable_trailers):
            return self.fail(431, "http1.too_many_headers", "headers count exceeds limit")
        return 0 if trailers else self.note_field(into, into.count - 1)

    cdef bint join_repeated(self, HeaderMap into) except -1:
        """Whether the last field went into one of the same name (those of `joined` are in the map once)."""
        cdef HeaderEntry* e = &into.entries[into.count - 1]
        cdef Py_ssize_t first = into.c_find(into.arena + e.name, e.name_len, 0)
        cdef bytes further
        if first == into.count - 1 or PyBytes_FromStringAndSize(into.arena + e.name, e.name_len) not in self.joined:
            return False
        further = PyBytes_FromStringAndSize(into.arena + e.value, e.value_len)
        # Its room is given back, so that many lines are appended to one another in linear time.
        into.c_remove_last()
        if into.entries[first].value_len:
            into.c_append(first, PyBytes_AS_STRING(further), PyBytes_GET_SIZE(further), b",", 1)
        else:
            into.c_replace(first, PyBytes_AS_STRING(further), PyBytes_GET_SIZE(further))
        return True

    cdef int note_field(self, HeaderMap into, Py_ssize_t at) except -1:
        """Remembers what a field says about framing and the connection."""
        cdef HeaderEntry* e = &into.entries[at]
        cdef const char* name = into.arena + e.name
        cdef bytes further
        if e.name_len == 14 and memcmp(name, b"content-length", 14) == 0:
            self.length_count += 1
            if self.length_count > 1:
                return self.fail_verdict(BAD_SYNTAX, "HPE_UNEXPECTED_CONTENT_LENGTH")
            if not parse_decimal(into.arena + e.value, e.value_len, &self.content_length):
                return self.fail_verdict(BAD_SYNTAX, "UNPARSABLE_CONTENT_LENGTH")
            self.has_length = True
        elif e.name_len == 17 and memcmp(name, b"transfer-encoding", 17) == 0:
            self.coding_count += 1
            self.coding_is_chunked = self.coding_count == 1 and equals_ignore_case(
                into.arena + e.value, e.value_len, b"chunked", 7)
        elif e.name_len == 10 and self.connection_at < 0 and memcmp(name, b"connection", 10) == 0:
            self.connection_at = at
        elif e.name_len == 10 and memcmp(name, b"connection", 10) == 0:
            # One list in several lines: the first entry holds them all.
            further = PyBytes_FromStringAndSize(into.arena + e.value, e.value_len)
            into.c_remove_at(at)
            into.c_append(self.connection_at, PyBytes_AS_STRING(further), PyBytes_GET_SIZE(further), b",", 1)
        elif e.name_len == 7 and memcmp(name, b"upgrade", 7) == 0:
            self.upgrade_at = at
        return 0

    cdef int check_framing(self) except -1:
        """Length against coding (RFC 9112 6.1, 6.3)."""
        if self.coding_count and self.has_length:
            if not (self.coding_is_chunked and self.allow_chunked_length):
                return self.fail(400, "http1.content_length_and_chunked_not_allowed",
                                 "both 'Content-Length' and 'Transfer-Encoding' are set.")
            self.headers.c_remove(b"content-length", 14)
            self.has_length = False
            self.content_length = 0
        if self.coding_count and not self.coding_is_chunked:
            return self.fail(501, "http1.invalid_transfer_encoding", "unsupported transfer encoding")
        self.chunked = self.coding_is_chunked
        return 0

    cdef int end_head(self) except -1:
        """The head is accepted: which body follows (RFC 9112 6.3, without the response's special cases)."""
        if self.upgrade:
            self.state = S_TUNNEL
        elif self.chunked:
            self.state = S_CHUNK_SIZE
        elif self.content_length:
            self.remaining = self.content_length
            self.state = S_BODY_LENGTH
        else:
            self.state = S_START
            self.end_stream = True
        return E_HEADERS

    # -- bodies ----------------------------------------------------------------------------------------------------

    cdef int read_body(self, Buffer data) except -1:
        cdef uint64_t n = <uint64_t> data.length
        if n == 0:
            return E_NEED_MORE
        if n > self.remaining:
            n = self.remaining
        self.body.c_move(data, n)
        self.consumed(n)
        self.remaining -= n
        if self.remaining == 0:
            self.state = S_START
            self.end_stream = True
        return E_DATA

    cdef int read_until_end(self, Buffer data) except -1:
        cdef size_t n = <size_t> data.length
        if n == 0:
            return E_NEED_MORE
        self.body.c_move(data, n)
        self.consumed(n)
        return E_DATA

    cdef int read_tunnel(self, Buffer data) except -1:
        if not self.tunnel_open:
            return E_UPGRADE
        return self.read_until_end(data)

    cdef int read_chunks(self, Buffer data) except -1:
        """All chunks that are there as one event; the end of the message with them unless trailers may follow."""
        cdef uint64_t n
        while data.length and self.state != S_TRAILERS:
            if self.state == S_CHUNK_DATA:
                n = <uint64_t> data.length
                if n > self.remaining:
                    n = self.remaining
                self.body.c_move(data, n)
                self.consumed(n)
                self.remaining -= n
                if self.remaining == 0:
                    self.state = S_CHUNK_END
            elif self.read_chunk_line(data) == E_ERROR:
                # As in Envoy, nothing that came together with broken framing goes any further.
                self.body.c_drain(self.body.length)
                return E_ERROR
        if self.state == S_TRAILERS:
            if self.body.length == 0:
                return self.read_trailers(data)
            self.take_empty_trailers(data)
        return E_DATA if self.body.length else E_NEED_MORE

    cdef int take_empty_trailers(self, Buffer data) except -1:
        """Ends the message when CR LF is next; anything else is left to read_trailers()."""
        cdef size_t n
        cdef const char* p = data.front(&n)
        if n >= 2 and p[0] == 13 and p[1] == 10:
            data.c_drain(2)
            self.consumed(2)
            self.state = S_START
            self.end_stream = True
        return 0

    cdef int read_chunk_line(self, Buffer data) except -1:
        """The line before a chunk, or the CR LF behind its data, byte by byte; E_ERROR or 0."""
        cdef size_t n, i = 0
        cdef const char* p = data.front(&n)
        cdef unsigned char c
        cdef bint done = False
        cdef bint bad = False
        while i < n and not done and not bad:
            c = <unsigned char> p[i]
            i += 1
            self.chunk_line += 1
            if self.state == S_CHUNK_END:
                bad = c != (13 if self.chunk_line == 1 else 10)
                done = self.chunk_line == 2
            elif self.chunk_line > MAX_CHUNK_LINE:
                bad = True
            elif self.chunk_state == C_LF:
                bad = c != 10
                done = True
            elif c == 13:
                bad = self.chunk_digits == 0
                self.chunk_state = C_LF
            elif self.chunk_state == C_EXTENSION:
                bad = (c < 32 and c != 9) or c == 127
            elif c == 59 and self.chunk_digits:
                self.chunk_state = C_EXTENSION
            elif is_blank(c) and self.chunk_digits:
                self.chunk_state = C_BLANK
            else:
                bad = self.chunk_state == C_BLANK or not self.add_digit(c)
        data.c_drain(i)
        self.consumed(i)
        if bad:
            return self.fail(400, "http1.codec_error", "HPE_INVALID_CHUNK_SIZE")
        if done:
            self.chunk_line = 0
            self.chunk_state = C_SIZE
            self.chunk_digits = 0
            if self.state == S_CHUNK_END:
                self.state = S_CHUNK_SIZE
            else:
                self.state = S_CHUNK_DATA if self.remaining else S_TRAILERS
            if self.state != S_CHUNK_DATA:
                self.remaining = 0
                self.scan = self.line_start = 0
        return 0

    cdef bint add_digit(self, unsigned char c) noexcept:
        cdef unsigned char digit
        if 48 <= c <= 57:
            digit = c - 48
        elif 97 <= (c | 32) <= 102:
            digit = (c | 32) - 87
        else:
            return False
        if self.remaining >> 58:
            return False
        self.remaining = self.remaining * 16 + digit
        self.chunk_digits = 1
        return True

    cdef int read_trailers(self, Buffer data) except -1:
        cdef size_t n
        cdef int found
        cdef HeaderMap trailers
        if data.length == 0:
            return E_NEED_MORE
        found = self.find_head_end(data, False)
        if found != 1:
            if found == E_ERROR:
                self.error_message = "trailers size exceeds limit"
            return found
        trailers = HeaderMap()
        self.field_count = self.joined_count = 0
        if self.parse_fields(data.front(&n), self.fields_end, trailers, True) == E_ERROR:
            return E_ERROR
        data.c_drain(self.head_length)
        self.consumed(self.head_length)
        self.state = S_START
        self.end_stream = True
        if not self.enable_trailers:
            return E_COMPLETE
        trailers.remove_many(NOT_IN_TRAILERS)
        if trailers.count == 0:
            return E_COMPLETE
        self.trailers = trailers
        return E_TRAILERS
