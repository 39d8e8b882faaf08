"""Paths as RFC 3986 6.2.2 and 5.2.4 normalise them, and membership in comma-separated lists: in one pass each.

Of a 60 KB path every byte may be the beginning of something; in Python that was a hundred times the cost of the rest of
the request.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp, memcpy

from proxeny.kernel.http1_head cimport has_token, next_token


cdef inline int hex_value(char c) noexcept nogil:
    if 48 <= c <= 57:
        return c - 48
    if 97 <= (c | 32) <= 102:
        return (c | 32) - 87
    return -1


cdef inline bint is_unreserved(int c) noexcept nogil:
    return 48 <= c <= 57 or 97 <= (c | 32) <= 122 and c < 128 or c == 45 or c == 46 or c == 95 or c == 126


cdef Py_ssize_t path_length(const char* p, Py_ssize_t n) noexcept:
    """Without the query."""
    cdef const char* mark = <const char*> memchr(p, 63, n)
    return n if mark == NULL else mark - p


cdef Py_ssize_t decode(const char* p, Py_ssize_t n, char* to) noexcept:
    """Escapes of unreserved bytes decoded, backslashes turned; the length, or -1 on a NUL (escaped or not)."""
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t at = 0
    cdef int high, low, value
    while i < n:
        if p[i] == 37 and i + 2 < n:
            high = hex_value(p[i + 1])
            low = hex_value(p[i + 2])
            if high >= 0 and low >= 0:
                value = high * 16 + low
                if value == 0:
                    return -1
                if is_unreserved(value):
                    to[at] = <char> value
                    at += 1
                else:
                    memcpy(to + at, p + i, 3)
                    at += 3
                i += 3
                continue
        if p[i] == 0:
            return -1
        to[at] = 47 if p[i] == 92 else p[i]
        at += 1
        i += 1
    return at


cdef Py_ssize_t remove_dots(char* p, Py_ssize_t n) noexcept:
    """Dot segments removed in place; `..;params` is one, too. The new length."""
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t start, size
    cdef const char* slash
    cdef bint up
    while i < n and p[i] != 47:
        i += 1
    while i < n:
        start = i + 1
        slash = <const char*> memchr(p + start, 47, n - start)
        size = (n if slash == NULL else slash - p) - start
        i = start + size
        up = size >= 2 and p[start] == 46 and p[start + 1] == 46 and (size == 2 or p[start + 2] == 59)
        if up:
            while at > 0:
                at -= 1
                if p[at] == 47:
                    break
        elif not (size == 1 and p[start] == 46):
            # The output never overtakes the input, but the two may overlap: byte by byte, from the left.
            for start in range(start - 1, start + size):
                p[at] = p[start]
                at += 1
            continue
        if slash == NULL:
            p[at] = 47
            at += 1
    return at


def canonicalize(bytes path not None):
    """RFC 3986 normalisation of `path` (with query): dot segments, backslashes, escapes of unreserved bytes.

    None when the path cannot be (a NUL byte, escaped or not).
    """
    cdef const char* p = PyBytes_AS_STRING(path)
    cdef Py_ssize_t n = PyBytes_GET_SIZE(path)
    cdef Py_ssize_t size = path_length(p, n)
    cdef bytes out = PyBytes_FromStringAndSize(NULL, n + 1)
    cdef char* to = PyBytes_AS_STRING(out)
    cdef Py_ssize_t at = decode(p, size, to)
    cdef Py_ssize_t i
    if at < 0:
        return None
    for i in range(1, at):
        if to[i] == 46 and to[i - 1] == 47:
            at = remove_dots(to, at)
            break
    memcpy(to + at, p + size, n - size)
    at += n - size
    return path if at == n and memcmp(to, p, n) == 0 else out[:at]


def merge_slashes(bytes path not None):
    """Runs of slashes become one (`merge_slashes`); the query is left alone."""
    cdef const char* p = PyBytes_AS_STRING(path)
    cdef Py_ssize_t n = PyBytes_GET_SIZE(path)
    cdef Py_ssize_t size = path_length(p, n)
    cdef bytes out
    cdef char* to
    cdef Py_ssize_t i
    cdef Py_ssize_t at = 0
    if b"//" not in path:
        return path
    out = PyBytes_FromStringAndSize(NULL, n)
    to = PyBytes_AS_STRING(out)
    for i in range(n):
        if i == 0 or i >= size or p[i] != 47 or p[i - 1] != 47:
            to[at] = p[i]
            at += 1
    return out[:at]


def unescape_slashes(bytes path not None):
    """`%2F` and `%5C` become `/` and a backslash; the query is left alone."""
    cdef const char* p = PyBytes_AS_STRING(path)
    cdef Py_ssize_t n = PyBytes_GET_SIZE(path)
    cdef Py_ssize_t size = path_length(p, n)
    cdef bytes out
    cdef char* to
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t at = 0
    if b"%" not in path:
        return path
    out = PyBytes_FromStringAndSize(NULL, n)
    to = PyBytes_AS_STRING(out)
    while i < n:
        if p[i] == 37 and i + 2 < size and (p[i + 1] == 50 and (p[i + 2] | 32) == 102
                                            or p[i + 1] == 53 and (p[i + 2] | 32) == 99):
            to[at] = 47 if p[i + 1] == 50 else 92
            i += 3
        else:
            to[at] = p[i]
            i += 1
        at += 1
    return path if at == n else out[:at]


cpdef bint list_has(bytes value, bytes token) except -1:
    """Whether a comma-separated list holds `token` (lower case), whatever its case there."""
    if value is None or token is None:
        return False
    return has_token(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), PyBytes_AS_STRING(token),
                     PyBytes_GET_SIZE(token))


cpdef bint list_has_exactly(bytes value, bytes token) except -1:
    """Whether a comma-separated list holds `token`, in this case."""
    cdef const char* at
    cdef const char* end
    cdef const char* found
    cdef size_t n
    if value is None or token is None:
        return False
    at = PyBytes_AS_STRING(value)
    end = at + PyBytes_GET_SIZE(value)
    while next_token(&at, end, &found, &n):
        if <Py_ssize_t> n == PyBytes_GET_SIZE(token) and memcmp(found, PyBytes_AS_STRING(token), n) == 0:
            return True
    return False
