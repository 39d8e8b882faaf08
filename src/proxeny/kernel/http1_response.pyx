"""Responses: the status line, informational responses and the bodies that depend on the request (RFC 9112 4, 6.3)."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.string cimport memcmp

from proxeny.kernel.buffer cimport Buffer
from proxeny.kernel.headers cimport HeaderEntry, HeaderMap, OriginalNames
from proxeny.kernel.http1_head cimport (
    BAD_CHARACTERS,
    BAD_SYNTAX,
    has_control,
    has_token,
    is_blank,
)
from proxeny.kernel.http1_parse cimport (
    E_ERROR,
    E_HEADERS,
    E_HEADERS_1XX,
    S_BODY_EOF,
    S_START,
    S_TUNNEL,
    MessageParser,
)

cdef enum:
    MAX_STATUS_DIGITS = 4       # Envoy lets 20, 999 and 2000 pass


# What Envoy's map of response headers holds once: further lines are joined on.
cdef frozenset JOINED = frozenset(
    b"""access-control-allow-credentials access-control-allow-headers access-control-allow-methods
    access-control-allow-origin access-control-allow-private-network access-control-expose-headers
    access-control-max-age age cache-control content-encoding content-type date etag expires grpc-message grpc-status
    last-modified location proxy-status server vary via x-envoy-attempt-count x-envoy-decorator-operation
    x-envoy-degraded x-envoy-immediate-health-check-fail x-envoy-ratelimited x-envoy-upstream-canary
    x-envoy-upstream-healthchecked-cluster x-envoy-upstream-service-time x-request-id""".split()
)


cdef class ResponseParser(MessageParser):
    """Parses responses. expect() tells which request the next one answers."""

    def __cinit__(self, *args, **kwargs):
        self.joined = JOINED
        self.reason = b""

    cpdef expect(self, bint head, bint connect, bint upgrade):
        """The request that was sent: HEAD, CONNECT, or one that asked for an upgrade."""
        self.to_head = head
        self.to_connect = connect
        self.to_upgrade = upgrade

    cdef int read_head(self, Buffer data) except -1:
        """As MessageParser; what does not begin as a response is refused without waiting for a line end."""
        cdef size_t n
        cdef const char* p
        if data.length and (self.state == S_START or self.first_line_end == 0):
            p = data.front(&n)
            if memcmp(p, b"HTTP/", n if n < 5 else 5) != 0:
                if self.state == S_START:
                    self.begin_message()
                    self.started = True
                self.consumed(<size_t> data.length)
                return self.fail(400, "http1.codec_error", "invalid HTTP version")
        return MessageParser.read_head(self, data)

    cdef int parse_first_line(self, const char* p, size_t n) except -1:
        """HTTP/d.d blanks digits [blank reason]."""
        cdef size_t i = 8
        cdef size_t digits
        if (n < 8 or memcmp(p, b"HTTP/", 5) != 0 or not 48 <= p[5] <= 57 or p[6] != 46 or not 48 <= p[7] <= 57):
            return self.fail_verdict(BAD_SYNTAX, "invalid HTTP version")
        self.http10 = p[5] != 49 or p[7] != 49
        while i < n and is_blank(p[i]):
            i += 1
        digits = i
        self.status = 0
        while i < n and 48 <= p[i] <= 57 and i - digits < MAX_STATUS_DIGITS:
            self.status = self.status * 10 + (p[i] - 48)
            i += 1
        if i == digits or digits == 8 or i < n and not is_blank(p[i]):
            return self.fail_verdict(BAD_SYNTAX, "invalid status line")
        if has_control(p + i, n - i):
            return self.fail_verdict(BAD_CHARACTERS, "invalid status line")
        if self.keep_reason:
            self.reason = PyBytes_FromStringAndSize(p + i, n - i).strip(b" \t")
        return 0

    cdef int finish_head(self, const char* p) except -1:
        cdef HeaderMap headers = HeaderMap()
        cdef char[4] digits
        cdef int value = self.status
        cdef int i
        cdef int count = 4 if value > 999 else 3 if value > 99 else 2 if value > 9 else 1
        for i in range(count - 1, -1, -1):
            digits[i] = <char> (48 + value % 10)
            value //= 10
        if self.keep_case:
            headers.names = OriginalNames(self.proper_added)
            headers.names.reason = self.reason
        self.headers = headers
        headers.c_add(b":status", 7, digits, count)
        if self.parse_fields(p + self.first_line_end, self.fields_end - self.first_line_end, headers,
                             False) == E_ERROR:
            return E_ERROR
        if self.check_framing() == E_ERROR:
            return E_ERROR
        return self.end_response_head()

    cdef int check_bodiless(self) except -1:
        """1xx and 204 carry neither coding nor length (RFC 9110 8.6); `content-length: 0` is forgiven and removed."""
        if self.chunked:
            return self.fail(400, "http1.transfer_encoding_not_allowed", "transfer encoding not allowed in 1xx or 204")
        if self.has_length:
            if self.content_length:
                return self.fail(400, "http1.content_length_not_allowed", "content length not allowed in 1xx or 204")
            self.headers.c_remove(b"content-length", 14)
        return 0

    cdef int end_response_head(self) except -1:
        cdef HeaderMap headers = self.headers
        cdef HeaderEntry* e
        cdef bint close = False
        cdef bint keep = False
        cdef bint asks_upgrade = False
        if self.connection_at >= 0:
            e = &headers.entries[self.connection_at]
            close = has_token(headers.arena + e.value, e.value_len, b"close", 5)
            keep = self.http10 and has_token(headers.arena + e.value, e.value_len, b"keep-alive", 10)
            asks_upgrade = self.upgrade_at >= 0 and has_token(headers.arena + e.value, e.value_len, b"upgrade", 7)
        # A coding is not HTTP/1.0's: nothing may follow such a message (RFC 9112 6.1).
        if close or self.http10 and (not keep or self.chunked):
            self.keep_alive = False
            self.close_announced = True
        if 100 <= self.status < 200 or self.status == 204:
            if self.check_bodiless() == E_ERROR:
                return E_ERROR
        if self.status == 101:
            if not (self.to_upgrade and asks_upgrade):
                return self.fail(400, "http1.codec_error", "101 without an upgrade request")
            self.upgrade = self.tunnel_open = True
        elif 100 <= self.status < 200:
            self.state = S_START
            return E_HEADERS_1XX
        elif self.to_connect and 200 <= self.status < 300:
            # What length or coding such a response names has no meaning (RFC 9110 9.3.6).
            headers.c_remove(b"content-length", 14)
            headers.c_remove(b"transfer-encoding", 17)
            self.upgrade = self.tunnel_open = True
        if self.upgrade:
            self.keep_alive = False
            self.state = S_TUNNEL
            return E_HEADERS
        if (self.to_head or self.status == 204 or self.status == 304
                or self.has_length and self.content_length == 0):
            self.state = S_START
            self.end_stream = True
            return E_HEADERS
        if not self.chunked and not self.has_length:
            self.keep_alive = False
            self.state = S_BODY_EOF
            return E_HEADERS
        return self.end_head()
