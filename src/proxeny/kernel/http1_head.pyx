"""The grammar of HTTP/1 heads: which bytes may stand where (RFC 9112, RFC 9110 5.5 and 5.6, RFC 3986).

Where the RFCs leave room, the verdicts are Envoy 1.40's, or stricter ones. All functions are pure, over pointer and
length, and know nothing of buffers or messages.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy, strlen

cdef extern from *:
    """
    enum { PX_TOKEN = 1, PX_HOST = 2, PX_SCHEME = 4, PX_VALUE = 8, PX_TARGET = 16 };
    static unsigned char px_class[256];
    static void px_mark(const char *chars, unsigned char bit) {
        for (; *chars; chars++) px_class[(unsigned char)*chars] |= bit;
    }
    static int px_fill_classes(void) {
        int c;
        for (c = 0; c < 256; c++) {
            int alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
            px_class[c] = alnum ? PX_TOKEN | PX_HOST | PX_SCHEME : 0;
            if ((c >= 32 && c != 127) || c == 9) px_class[c] |= PX_VALUE;
            if (c > 32 && c < 127) px_class[c] |= PX_TARGET;
        }
        px_mark("!#$%&'*+-.^_`|~", PX_TOKEN);
        px_mark("-._~!$&'()*+,;=%:@[]", PX_HOST);
        px_mark("+-.", PX_SCHEME);
        return 0;
    }
    """
    const unsigned char* CLASS "px_class"
    int TOKEN "PX_TOKEN"
    int HOST "PX_HOST"
    int SCHEME "PX_SCHEME"
    int VALUE "PX_VALUE"
    int TARGET "PX_TARGET"
    int fill_classes "px_fill_classes"()

fill_classes()

cdef enum:
    MAX_PORT = 65535

# The methods Envoy knows (its parser refuses others unless custom methods are allowed).
cdef const char** METHODS = [
    b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT", b"TRACE", b"ACL", b"BIND",
    b"CHECKOUT", b"COPY", b"LINK", b"LOCK", b"MERGE", b"MKACTIVITY", b"MKCALENDAR", b"MKCOL", b"MOVE", b"M-SEARCH",
    b"NOTIFY", b"PROPFIND", b"PROPPATCH", b"PURGE", b"REBIND", b"REPORT", b"SEARCH", b"SOURCE", b"SUBSCRIBE",
    b"UNBIND", b"UNLINK", b"UNLOCK", b"UNSUBSCRIBE", NULL,
]


cdef bint is_blank(char c) noexcept nogil:
    return c == 32 or c == 9


cdef bint all_of(const char* p, size_t n, int wanted) noexcept nogil:
    cdef size_t i
    for i in range(n):
        if not CLASS[<unsigned char> p[i]] & wanted:
            return False
    return True


cdef bint value_is_clean(const char* p, size_t n) noexcept nogil:
    """Whether there is no control character but TAB; eight bytes at a time, since every header byte passes here."""
    cdef uint64_t word, deleted
    cdef size_t i = 0
    while i + 8 <= n:
        memcpy(&word, p + i, 8)
        deleted = word ^ <uint64_t> 0x7F7F7F7F7F7F7F7F
        if ((((word - <uint64_t> 0x2020202020202020) & ~word)
                | ((deleted - <uint64_t> 0x0101010101010101) & ~deleted)) & <uint64_t> 0x8080808080808080):
            if not all_of(p + i, 8, VALUE):
                return False
        i += 8
    return all_of(p + i, n - i, VALUE)


cdef bint has_control(const char* p, size_t n) noexcept nogil:
    """Whether there is a control character other than TAB, CR, LF."""
    cdef size_t i
    cdef unsigned char c
    for i in range(n):
        c = <unsigned char> p[i]
        if not CLASS[c] & VALUE and c != 13 and c != 10:
            return True
    return False


cdef Py_ssize_t name_length(const char* p, size_t n, bint* underscore) noexcept nogil:
    """The length of the field name at `p` if a colon follows it; -1 if there is none or it is no token."""
    cdef size_t i
    cdef unsigned char c
    for i in range(n):
        c = <unsigned char> p[i]
        if not CLASS[c] & TOKEN:
            return <Py_ssize_t> i if c == 58 and i > 0 else -1
        if c == 95:
            underscore[0] = True
    return -1


cdef bint is_token(const char* p, size_t n) noexcept nogil:
    return n > 0 and all_of(p, n, TOKEN)


cdef bint method_is_known(const char* p, size_t n) noexcept nogil:
    cdef const char** known = METHODS
    cdef const char* m
    while known[0] != NULL:
        m = known[0]
        if strlen(m) == n and memcmp(m, p, n) == 0:
            return True
        known += 1
    return False


cdef bint host_is_valid(const char* p, size_t n) noexcept nogil:
    """The bytes of an authority that Envoy lets pass; the empty one is one of them."""
    return all_of(p, n, HOST)


cdef bint equals_ignore_case(const char* p, size_t n, const char* lower, size_t lower_len) noexcept nogil:
    cdef size_t i
    cdef unsigned char c
    if n != lower_len:
        return False
    for i in range(n):
        c = <unsigned char> p[i]
        if 65 <= c <= 90:
            c |= 32
        if c != <unsigned char> lower[i]:
            return False
    return True


cdef int next_token(const char** p, const char* end, const char** token, size_t* token_len) noexcept nogil:
    """The next element of a comma-separated list, without outer blanks; 0 at the end. Empty elements are skipped."""
    cdef const char* at = p[0]
    cdef const char* start
    cdef const char* stop
    while at < end and (at[0] == 44 or is_blank(at[0])):
        at += 1
    if at == end:
        return 0
    start = at
    while at < end and at[0] != 44:
        at += 1
    stop = at
    while stop > start and is_blank((stop - 1)[0]):
        stop -= 1
    p[0] = at
    token[0] = start
    token_len[0] = stop - start
    return 1


cdef bint has_token(const char* p, size_t n, const char* lower, size_t lower_len) noexcept nogil:
    cdef const char* at = p
    cdef const char* token
    cdef size_t token_len
    while next_token(&at, p + n, &token, &token_len):
        if equals_ignore_case(token, token_len, lower, lower_len):
            return True
    return False


cdef bint parse_decimal(const char* p, size_t n, uint64_t* value) noexcept nogil:
    """Digits only, below 2^63; leading zeros are fine."""
    cdef uint64_t total = 0
    cdef size_t i
    cdef unsigned char c
    if n == 0:
        return False
    for i in range(n):
        c = <unsigned char> p[i]
        if c < 48 or c > 57 or total > <uint64_t> 922337203685477579:
            return False
        total = total * 10 + (c - 48)
    value[0] = total
    return True


cdef Verdict check_target(const char* p, size_t n, bint connect) noexcept nogil:
    """The characters and the outer form of a request target, judged when the request line is read."""
    cdef size_t i = 0
    if n == 0:
        return BAD_SYNTAX
    if not all_of(p, n, TARGET):
        return BAD_CHARACTERS if has_control(p, n) else BAD_SYNTAX
    if p[0] == 47 or p[0] == 42:
        return VALID
    if not connect:
        if not CLASS[<unsigned char> p[0]] & SCHEME or p[0] < 65:
            return BAD_SYNTAX
        while i < n and CLASS[<unsigned char> p[i]] & SCHEME:
            i += 1
        if n - i < 3 or memcmp(p + i, b"://", 3) != 0:
            return BAD_SYNTAX
        i += 3
    while i < n and p[i] != 47 and p[i] != 63:
        if not CLASS[<unsigned char> p[i]] & HOST:
            return BAD_SYNTAX if p[i] != 35 else BAD_URL
        i += 1
    return VALID


cdef Verdict check_authority(const char* p, size_t n, bint port_required) noexcept nogil:
    """host[:port] with a host that is not empty and a port up to 65535."""
    cdef size_t i
    cdef size_t colon = n
    cdef uint64_t port
    if n > 0 and p[0] == 91:
        i = 1
        while i < n and p[i] != 93:
            i += 1
        if i >= n - 1 and (i == n or port_required):
            return BAD_URL
        if i + 1 < n:
            if p[i + 1] != 58:
                return BAD_URL
            colon = i + 1
    else:
        for i in range(n):
            if p[i] == 58:
                colon = i
                break
    if colon == 0 or n == 0 or not host_is_valid(p, n):
        return BAD_URL
    if colon == n:
        return BAD_URL if port_required else VALID
    if not parse_decimal(p + colon + 1, n - colon - 1, &port) or port > MAX_PORT:
        return BAD_URL
    return VALID


cdef bint is_registered_name(const char* p, size_t n) noexcept nogil:
    """Whether a URL's host (behind it perhaps a port, judged elsewhere) has the letters that Envoy allows there."""
    cdef size_t i
    cdef unsigned char c
    cdef bint literal = n > 0 and p[0] == 91
    for i in range(literal, n):
        c = <unsigned char> p[i]
        if c == (93 if literal else 58):
            break
        if literal and (c == 58 or 97 <= (c | 32) <= 102):
            continue
        if not (48 <= c <= 57 or c == 46 or not literal and (97 <= (c | 32) <= 122 or c == 45)):
            return False
    return True


cdef Verdict split_absolute(const char* p, size_t n, Target* target) noexcept nogil:
    """absolute-form (RFC 9112 3.2.2): scheme, authority without userinfo, path and query (which may be empty)."""
    cdef size_t i = 0
    cdef size_t start, end
    while i < n and p[i] != 58:
        i += 1
    if i + 3 > n or i == 0 or memcmp(p + i, b"://", 3) != 0:
        return BAD_URL
    target.scheme = 0
    target.scheme_len = i
    start = i + 3
    end = start
    while end < n and p[end] != 47 and p[end] != 63 and p[end] != 35:
        end += 1
    target.path = end
    target.path_len = n - end
    i = start
    while i < end:
        if p[i] == 64:
            if start > target.scheme_len + 3:
                return BAD_URL
            start = i + 1
        i += 1
    if not is_registered_name(p + start, end - start):
        return BAD_URL
    target.authority = start
    target.authority_len = end - start
    if check_authority(p + start, end - start, False) != VALID:
        return BAD_URL
    if not equals_ignore_case(p, target.scheme_len, b"http", 4) and not equals_ignore_case(
            p, target.scheme_len, b"https", 5):
        return BAD_SCHEME
    return VALID


cdef Verdict split_connect(const char* p, size_t n, Target* target) noexcept nogil:
    """authority-form (RFC 9112 3.2.3): host and port, both required."""
    target.authority = 0
    target.authority_len = n
    return check_authority(p, n, True)
