"""HTTP/1 messages into a Buffer: start lines, fields, the choice of framing, chunks (Envoy: StreamEncoderImpl).

A head is measured first and then written in one piece. Framing: a content-length in the map is used; without one a
message that ends with its head gets `content-length: 0` where a body could be, everything else is chunked (RFC 9112
6.3). Values that reach the map are clean (HeaderMap refuses line ends), so they are copied as they are.
"""

from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

from proxeny.kernel.buffer cimport Buffer
from proxeny.kernel.headers cimport HeaderEntry, HeaderMap, OriginalNames

CHUNKED = 1
MISSING_METHOD = -1
MISSING_PATH = -2
MISSING_HOST = -3
MISSING_STATUS = -4
MISSING_SCHEME = -5

KEY_LOWER = K_LOWER
KEY_PROPER = K_PROPER

cdef enum:
    K_LOWER = 0             # names as they are in the map
    K_PROPER = 1            # Http1ProtocolOptions.header_key_format.proper_case_words
    ONE_PIECE = 2048        # Buffer.reserve() always has this much

cdef dict REASONS = {
    100: b"Continue", 101: b"Switching Protocols",
    200: b"OK", 201: b"Created", 202: b"Accepted", 203: b"Non-Authoritative Information", 204: b"No Content",
    205: b"Reset Content", 206: b"Partial Content", 207: b"Multi-Status", 208: b"Already Reported", 226: b"IM Used",
    300: b"Multiple Choices", 301: b"Moved Permanently", 302: b"Found", 303: b"See Other", 304: b"Not Modified",
    305: b"Use Proxy", 307: b"Temporary Redirect", 308: b"Permanent Redirect",
    400: b"Bad Request", 401: b"Unauthorized", 402: b"Payment Required", 403: b"Forbidden", 404: b"Not Found",
    405: b"Method Not Allowed", 406: b"Not Acceptable", 407: b"Proxy Authentication Required",
    408: b"Request Timeout", 409: b"Conflict", 410: b"Gone", 411: b"Length Required", 412: b"Precondition Failed",
    413: b"Payload Too Large", 414: b"URI Too Long", 415: b"Unsupported Media Type", 416: b"Range Not Satisfiable",
    417: b"Expectation Failed", 421: b"Misdirected Request", 422: b"Unprocessable Entity", 423: b"Locked",
    424: b"Failed Dependency", 425: b"Too Early", 426: b"Upgrade Required", 428: b"Precondition Required",
    429: b"Too Many Requests", 431: b"Request Header Fields Too Large",
    500: b"Internal Server Error", 501: b"Not Implemented", 502: b"Bad Gateway", 503: b"Service Unavailable",
    504: b"Gateway Timeout", 505: b"HTTP Version Not Supported", 506: b"Variant Also Negotiates",
    507: b"Insufficient Storage", 508: b"Loop Detected", 510: b"Not Extended",
    511: b"Network Authentication Required", 599: b"Last Unassigned Server Error Code",
}


def reason_phrase(int status):
    """The reason phrase Envoy writes for a status code."""
    return REASONS.get(status, b"Unknown")


cdef struct Writer:
    char* at


cdef inline void put(Writer* w, const char* p, size_t n) noexcept:
    memcpy(w.at, p, n)
    w.at += n


cdef void put_name(Writer* w, const char* p, size_t n, int key_format, OriginalNames names) noexcept:
    """A name as the message spelled it, where that is known, else in the format."""
    cdef size_t i
    cdef char c
    cdef bint start = True
    cdef const char* spelling
    if names is not None:
        spelling = names.find(p, n)
        if spelling != NULL:
            put(w, spelling, n)
            return
        key_format = K_PROPER if names.proper else K_LOWER
    if key_format != K_PROPER:
        put(w, p, n)
        return
    for i in range(n):
        c = p[i]
        # Envoy: a letter at the start and behind anything that is no letter or digit.
        w.at[0] = c - 32 if start and 97 <= c <= 122 else c
        w.at += 1
        start = not (97 <= c <= 122 or 65 <= c <= 90 or 48 <= c <= 57)


cdef size_t fields_size(HeaderMap headers) noexcept:
    """An upper bound of what put_fields() writes, with room for one framing field and the empty line."""
    return headers.bytes_total + 4 * <size_t> headers.count + 64


cdef void put_fields(Writer* w, HeaderMap headers, int key_format, bint drop_framing) noexcept:
    """All fields but pseudo headers; `:authority` becomes `host`. transfer-encoding is the encoder's own."""
    cdef Py_ssize_t i
    cdef HeaderEntry* e
    cdef const char* name
    cdef size_t name_len
    for i in range(headers.count):
        e = &headers.entries[i]
        name = headers.arena + e.name
        name_len = e.name_len
        if name[0] == 58:
            if not (name_len == 10 and name[1] == 97):
                continue
            put_name(w, b"host", 4, key_format, headers.names)
        else:
            if name_len == 17 and memcmp(name, b"transfer-encoding", 17) == 0:
                continue
            if drop_framing and name_len == 14 and memcmp(name, b"content-length", 14) == 0:
                continue
            put_name(w, name, name_len, key_format, headers.names)
        put(w, b": ", 2)
        put(w, headers.arena + e.value, e.value_len)
        put(w, b"\r\n", 2)


cdef int finish(Buffer out, char* start, Writer* w, bint allocated) except -1:
    cdef size_t n = w.at - start
    if not allocated:
        return out.commit(n)
    try:
        out.c_append(start, n)
    finally:
        free(start)
    return 0


cdef char* begin(Buffer out, size_t n, bint* allocated) except NULL:
    cdef size_t available
    cdef char* start
    allocated[0] = n > ONE_PIECE
    if n <= ONE_PIECE:
        return out.reserve(n, &available)
    start = <char*> malloc(n)
    if start == NULL:
        raise MemoryError()
    return start


cdef void put_content_length_zero(Writer* w, int key_format, OriginalNames names) noexcept:
    put_name(w, b"content-length", 14, key_format, names)
    put(w, b": 0\r\n", 5)


cdef void put_chunked(Writer* w, int key_format, OriginalNames names) noexcept:
    put_name(w, b"transfer-encoding", 17, key_format, names)
    put(w, b": chunked\r\n", 11)


cdef bint asks_upgrade(HeaderMap headers) noexcept:
    """Whether this message starts an upgrade: then its body is opaque and never chunked."""
    return headers.c_find(b"upgrade", 7, 0) >= 0 and headers.c_find(b"connection", 10, 0) >= 0


cpdef int encode_request_head(HeaderMap headers, Buffer out, bint end_stream, bint upgrade=False, int key_format=0,
                              bint absolute_form=False) except? -1000:
    """Writes a request head; CHUNKED or 0 says how data is to follow; a negative MISSING_* wrote nothing.

    `upgrade`: the request asks for a protocol change, its data is sent as it is. `absolute_form`: the target is the
    full URL (a proxy is upstream).
    """
    if headers is None or out is None:
        raise TypeError("headers and out must not be None")
    cdef Py_ssize_t method_at = headers.c_find(b":method", 7, 0)
    cdef Py_ssize_t path_at = headers.c_find(b":path", 5, 0)
    cdef Py_ssize_t host_at = headers.c_find(b":authority", 10, 0)
    cdef Py_ssize_t scheme_at = -1
    cdef HeaderEntry* e
    cdef HeaderEntry* method
    cdef bint connect, allocated, bodiless
    cdef Writer w
    cdef char* start
    cdef int chunked = 0
    if method_at < 0:
        return MISSING_METHOD
    method = &headers.entries[method_at]
    connect = method.value_len == 7 and memcmp(headers.arena + method.value, b"CONNECT", 7) == 0
    if connect:
        if host_at < 0:
            return MISSING_HOST
    elif path_at < 0:
        return MISSING_PATH
    if absolute_form and not connect:
        scheme_at = headers.c_find(b":scheme", 7, 0)
        if scheme_at < 0:
            return MISSING_SCHEME
        if host_at < 0:
            return MISSING_HOST
    start = begin(out, fields_size(headers) + 32 + (headers.entries[host_at].value_len if host_at >= 0 else 0),
                  &allocated)
    w.at = start
    put(&w, headers.arena + method.value, method.value_len)
    put(&w, b" ", 1)
    if scheme_at >= 0:
        e = &headers.entries[scheme_at]
        put(&w, headers.arena + e.value, e.value_len)
        put(&w, b"://", 3)
        e = &headers.entries[host_at]
        put(&w, headers.arena + e.value, e.value_len)
    e = &headers.entries[host_at if connect else path_at]
    put(&w, headers.arena + e.value, e.value_len)
    put(&w, b" HTTP/1.1\r\n", 11)
    put_fields(&w, headers, key_format, False)
    if headers.c_find(b"content-length", 14, 0) < 0 and not connect and not upgrade:
        if not end_stream:
            put_chunked(&w, key_format, headers.names)
            chunked = CHUNKED
        else:
            # GET, HEAD, DELETE and such have no body unless they say so (RFC 9110 8.6; HeaderUtility).
            bodiless = method_has_no_body(headers.arena + method.value, method.value_len)
            if not bodiless:
                put_content_length_zero(&w, key_format, headers.names)
    put(&w, b"\r\n", 2)
    finish(out, start, &w, allocated)
    return chunked


cdef bint method_has_no_body(const char* p, size_t n) noexcept:
    return (n == 3 and memcmp(p, b"GET", 3) == 0 or n == 4 and memcmp(p, b"HEAD", 4) == 0
            or n == 6 and memcmp(p, b"DELETE", 6) == 0 or n == 5 and memcmp(p, b"TRACE", 5) == 0
            or n == 7 and memcmp(p, b"CONNECT", 7) == 0)


cpdef int encode_response_head(HeaderMap headers, Buffer out, bint end_stream, bint http10=False, bint to_head=False,
                               bint to_connect=False, int key_format=0) except? -1000:
    """Writes a response head; returns `status * 2`, plus CHUNKED if data is to follow in chunks; negative: no :status.

    `to_head`, `to_connect`: what the request was. `http10`: the client speaks HTTP/1.0, which has no chunks.
    """
    if headers is None or out is None:
        raise TypeError("headers and out must not be None")
    cdef Py_ssize_t at = headers.c_find(b":status", 7, 0)
    cdef HeaderEntry* e
    cdef bytes reason
    cdef int status = 0
    cdef int chunked = 0
    cdef uint64_t i
    cdef bint allocated
    cdef bint drop_length
    cdef Writer w
    cdef char* start
    if at < 0:
        return MISSING_STATUS
    e = &headers.entries[at]
    for i in range(e.value_len):
        status = status * 10 + (headers.arena[e.value + i] - 48)
    if headers.names is not None and headers.names.reason:
        reason = headers.names.reason
    else:
        reason = REASONS.get(status, b"Unknown")
    start = begin(out, fields_size(headers) + 32 + <size_t> len(reason), &allocated)
    w.at = start
    put(&w, b"HTTP/1.0 " if http10 else b"HTTP/1.1 ", 9)
    put(&w, headers.arena + e.value, e.value_len)
    put(&w, b" ", 1)
    put(&w, <const char*> reason, len(reason))
    put(&w, b"\r\n", 2)
    if status >= 300:
        to_connect = False      # a refused CONNECT is an ordinary exchange
    drop_length = status < 200 and status >= 100 or status == 204 or to_connect
    put_fields(&w, headers, key_format, drop_length)
    if headers.c_find(b"content-length", 14, 0) >= 0 or status < 200 or status == 204 or status == 304:
        chunked = 0
    elif end_stream and not to_head:
        put_content_length_zero(&w, key_format, headers.names)
    elif not http10 and not to_connect:
        put_chunked(&w, key_format, headers.names)
        if not to_head and not asks_upgrade(headers):
            chunked = CHUNKED
    put(&w, b"\r\n", 2)
    finish(out, start, &w, allocated)
    return status * 2 + chunked


cpdef encode_chunk(Buffer source, Buffer out):
    """Moves all of `source` into `out` as one chunk; nothing when it is empty."""
    if source is None or out is None:
        raise TypeError("source and out must not be None")
    cdef char[20] line
    cdef int at = 20
    cdef uint64_t n = <uint64_t> source.length
    if n == 0:
        return
    at -= 2
    line[at] = 13
    line[at + 1] = 10
    while n:
        at -= 1
        line[at] = b"0123456789abcdef"[n & 15]
        n >>= 4
    out.c_append(&line[at], 20 - at)
    out.c_move(source, <size_t> source.length)
    out.c_append(b"\r\n", 2)


cpdef encode_last_chunk(Buffer out, HeaderMap trailers=None):
    """Ends a chunked body, with trailers if there are any."""
    if out is None:
        raise TypeError("out must not be None")
    cdef Writer w
    cdef char* start
    cdef bint allocated
    if trailers is None or trailers.count == 0:
        out.c_append(b"0\r\n\r\n", 5)
        return
    start = begin(out, fields_size(trailers), &allocated)
    w.at = start
    put(&w, b"0\r\n", 3)
    put_fields(&w, trailers, K_LOWER, True)
    put(&w, b"\r\n", 2)
    finish(out, start, &w, allocated)
