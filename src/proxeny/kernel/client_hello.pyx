"""Reads a TLS ClientHello out of the first bytes of a connection, without I/O and without answering it.

`feed` is given everything that arrived so far (a listener filter peeks) and takes up where it stopped: whole records
are looked at once, their handshake bytes collected until the message is there. The verdicts are those of BoringSSL as a
server up to its early callback (the reasons carry its numbers): a record that is no handshake, a message that is no
ClientHello, an extension block with duplicates, a malformed server name or encrypted hello are NOT_TLS. What a server
would refuse later (no shared cipher, odd extensions) is not looked at. Also the SSLv2 form of the hello is read.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memchr, memcmp
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

NEED_MORE = 0
FOUND = 1
NOT_TLS = 2
CLOSED = 3

cdef enum:
    RECORD_HEADER = 5
    MESSAGE_HEADER = 4
    MAX_RECORD = 16384 + 256 + 64         # of a protected record, which is what BoringSSL checks
    MAX_PLAIN = 16384                     # RFC 8446 5.1
    MAX_MESSAGE = 16384
    MAX_V2_MESSAGE = 4096
    MAX_EMPTY_RECORDS = 32                # in a row, and so the warnings
    MAX_WARNINGS = 4
    ALERT = 21
    HANDSHAKE = 22
    SERVER_NAME = 0
    ALPN = 16
    ENCRYPTED_HELLO = 0xFE0D
    MAX_HOST_NAME = 255

# The numbers of BoringSSL's reasons; those of a fatal alert are ALERTS above its description.
cdef enum:
    BAD_ALERT = 102
    PARSE_FAILED = 131
    DECODE_ERROR = 137
    ENCRYPTED_TOO_LONG = 146
    DATA_TOO_LONG = 147
    PARSING_EXTENSION = 149
    EXCESSIVE_SIZE = 150
    HTTPS_PROXY_REQUEST = 155
    HTTP_REQUEST = 156
    LENGTH_MISMATCH = 199
    RECORD_TOO_LARGE = 200
    TOO_MANY_EMPTY = 219
    TOO_MANY_WARNINGS = 220
    UNEXPECTED_MESSAGE = 223
    UNEXPECTED_RECORD = 225
    UNKNOWN_ALERT_TYPE = 227
    WRONG_VERSION = 247
    EXCESS_DATA = 255
    ALERTS = 1000


cdef struct Reader:
    const uint8_t* at
    Py_ssize_t left


cdef inline bint take(Reader* r, Py_ssize_t size, Reader* out) noexcept:
    """The next `size` bytes."""
    if r.left < size:
        return False
    out.at = r.at
    out.left = size
    r.at += size
    r.left -= size
    return True


cdef inline Py_ssize_t number(Reader* r, int size) noexcept:
    """A number of `size` bytes; -1 where they are not there."""
    cdef Py_ssize_t value = 0
    cdef int i
    if r.left < size:
        return -1
    for i in range(size):
        value = value << 8 | r.at[i]
    r.at += size
    r.left -= size
    return value


cdef inline bint prefixed(Reader* r, int size, Reader* out) noexcept:
    """A block behind its length in `size` bytes."""
    cdef Py_ssize_t length = number(r, size)
    return length >= 0 and take(r, length, out)


cdef class ClientHelloParser:
    """The ClientHello of one connection."""

    cdef readonly int error
    """Why it is NOT_TLS: BoringSSL's reason; 0 otherwise."""
    cdef readonly Py_ssize_t processed
    """How many bytes the verdict took; those fed so far while there is none."""
    cdef readonly int version
    """The hello's legacy_version."""
    cdef readonly bytes server_name
    """As it came; empty where there is none."""
    cdef Py_ssize_t at
    cdef bint started
    cdef int empty_records, warnings
    cdef bytearray message
    cdef bytes body
    cdef Py_ssize_t ciphers_at, ciphers_size, extensions_at, extensions_size

    def __cinit__(self):
        self.message = bytearray()
        self.body = b""
        self.server_name = b""

    def feed(self, bytes data not None):
        """Look at all bytes since the first one. FOUND, NOT_TLS and CLOSED (a close_notify) are final."""
        cdef const uint8_t* p = <const uint8_t*> PyBytes_AS_STRING(data)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef int verdict = NEED_MORE
        self.processed = size
        while verdict == NEED_MORE and size - self.at >= RECORD_HEADER:
            if not self.started:
                if p[0] & 0x80 and p[2] == 1 and p[3] == 3:
                    return self.v2_hello(p, size)
                if is_http(p):
                    return self.refuse(HTTP_REQUEST, RECORD_HEADER)
                if memcmp(p, b"CONNE", 5) == 0:
                    return self.refuse(HTTPS_PROXY_REQUEST, RECORD_HEADER)
                self.started = True
            if not self.record(p + self.at, size - self.at, &verdict):
                return NEED_MORE
        return verdict

    cdef int refuse(self, int reason, Py_ssize_t processed) noexcept:
        self.error = reason
        self.processed = processed
        return NOT_TLS

    cdef bint record(self, const uint8_t* p, Py_ssize_t room, int* verdict) except -1:
        """The record at `p`; False while it is not whole. `at` moves behind it."""
        cdef Py_ssize_t length = p[3] << 8 | p[4], end = self.at + RECORD_HEADER + length
        if p[1] != 3:
            verdict[0] = self.refuse(WRONG_VERSION, self.at + RECORD_HEADER)
            return True
        if length > MAX_RECORD:
            verdict[0] = self.refuse(ENCRYPTED_TOO_LONG, self.at + RECORD_HEADER)
            return True
        if room < RECORD_HEADER + length:
            return False
        self.at = self.processed = end
        if length > MAX_PLAIN:
            verdict[0] = self.refuse(DATA_TOO_LONG, end)
            return True
        if length == 0:
            self.empty_records += 1
            if self.empty_records > MAX_EMPTY_RECORDS:
                verdict[0] = self.refuse(TOO_MANY_EMPTY, end)
                return True
        if p[0] == ALERT:
            verdict[0] = self.alert(p + RECORD_HEADER, length)
        elif p[0] != HANDSHAKE:
            verdict[0] = self.refuse(UNEXPECTED_RECORD, end)
        elif length:
            self.empty_records = self.warnings = 0
            self.message += (<const char*> p)[RECORD_HEADER:RECORD_HEADER + length]
            verdict[0] = self.handshake()
        return True

    cdef int alert(self, const uint8_t* p, Py_ssize_t length) noexcept:
        if length != 2:
            return self.refuse(BAD_ALERT, self.at)
        if p[0] == 2:
            return self.refuse(ALERTS + p[1], self.at)
        if p[0] != 1:
            return self.refuse(UNKNOWN_ALERT_TYPE, self.at)
        if p[1] == 0:
            return CLOSED
        self.warnings += 1
        if self.warnings > MAX_WARNINGS:
            return self.refuse(TOO_MANY_WARNINGS, self.at)
        return NEED_MORE

    cdef int handshake(self) except -1:
        """Handshake bytes were added."""
        cdef bytearray message = self.message
        cdef Py_ssize_t size = len(message), length
        if size < MESSAGE_HEADER:
            return NEED_MORE
        length = message[1] << 16 | message[2] << 8 | message[3]
        if size < MESSAGE_HEADER + length:
            return self.refuse(EXCESSIVE_SIZE, self.at) if length > MAX_MESSAGE else NEED_MORE
        if message[0] != 1:
            return self.refuse(UNEXPECTED_MESSAGE, self.at)
        self.body = bytes(message[MESSAGE_HEADER:MESSAGE_HEADER + length])
        return self.hello(size > MESSAGE_HEADER + length)

    cdef int hello(self, bint more) except -1:
        """The whole message is there; `more` handshake bytes behind it are an error."""
        cdef Reader extension
        if not self.read_body():
            return self.refuse(PARSE_FAILED, self.at)
        if more:
            return self.refuse(EXCESS_DATA, self.at)
        if self.find(ENCRYPTED_HELLO, &extension) and not encrypted_hello_is_valid(extension):
            return self.refuse(DECODE_ERROR, self.at)
        if self.find(SERVER_NAME, &extension) and not self.read_server_name(extension):
            return self.refuse(PARSING_EXTENSION, self.at)
        return FOUND

    cdef bint read_body(self) except -1:
        cdef const uint8_t* start = <const uint8_t*> PyBytes_AS_STRING(self.body)
        cdef Reader r, block
        r.at = start
        r.left = PyBytes_GET_SIZE(self.body)
        cdef Py_ssize_t version = number(&r, 2)
        if version < 0 or not take(&r, 32, &block) or not prefixed(&r, 1, &block) or block.left > 32:
            return False
        self.version = <int> version
        if not prefixed(&r, 2, &block) or block.left < 2 or block.left & 1:
            return False
        self.ciphers_at = block.at - start
        self.ciphers_size = block.left
        if not prefixed(&r, 1, &block) or block.left < 1:
            return False
        if r.left == 0:
            return True
        if not prefixed(&r, 2, &block) or r.left or not extensions_are_valid(block):
            return False
        self.extensions_at = block.at - start
        self.extensions_size = block.left
        return True

    cdef Reader block(self, Py_ssize_t at, Py_ssize_t size) noexcept:
        cdef Reader r
        r.at = <const uint8_t*> PyBytes_AS_STRING(self.body) + at
        r.left = size
        return r

    cdef bint find(self, int wanted, Reader* out) noexcept:
        cdef Reader r = self.block(self.extensions_at, self.extensions_size)
        cdef Py_ssize_t kind
        while r.left:
            kind = number(&r, 2)
            prefixed(&r, 2, out)
            if kind == wanted:
                return True
        return False

    cdef bint read_server_name(self, Reader r) except -1:
        """One name, of type host_name, without NUL (RFC 6066 3)."""
        cdef Reader names, name
        cdef Py_ssize_t kind
        if not prefixed(&r, 2, &names) or r.left:
            return False
        kind = number(&names, 1)
        if kind != 0 or not prefixed(&names, 2, &name) or names.left:
            return False
        if name.left == 0 or name.left > MAX_HOST_NAME or memchr(name.at, 0, name.left) != NULL:
            return False
        self.server_name = (<const char*> name.at)[:name.left]
        return True

    cdef int v2_hello(self, const uint8_t* p, Py_ssize_t size) except -1:
        """A hello in SSLv2's form: only its version and its ciphers matter."""
        cdef Py_ssize_t length = (p[0] & 0x7F) << 8 | p[1], ciphers_size, session_size, challenge_size
        cdef Reader r, ciphers, rest
        if length > MAX_V2_MESSAGE:
            return self.refuse(RECORD_TOO_LARGE, RECORD_HEADER)
        if length < RECORD_HEADER - 2:
            return self.refuse(LENGTH_MISMATCH, RECORD_HEADER)
        if size < 2 + length:
            return NEED_MORE
        self.at = self.processed = 2 + length
        r.at = p + 5
        r.left = length - 3
        ciphers_size = number(&r, 2)
        session_size = number(&r, 2)
        challenge_size = number(&r, 2)
        if challenge_size < 0 or not take(&r, ciphers_size, &ciphers) or ciphers_size % 3 \
                or not take(&r, session_size, &rest) or not take(&r, challenge_size, &rest) or r.left:
            return self.refuse(DECODE_ERROR, self.at)
        self.version = p[3] << 8 | p[4]
        suites = bytearray()
        while ciphers.left:
            if ciphers.at[0] == 0:
                suites += (<const char*> ciphers.at)[1:3]
            take(&ciphers, 3, &rest)
        if not suites:
            return self.refuse(PARSE_FAILED, self.at)
        self.body = bytes(suites)
        self.ciphers_size = len(suites)
        return FOUND

    @property
    def ciphers(self):
        """The cipher suites in their order."""
        cdef Reader r = self.block(self.ciphers_at, self.ciphers_size)
        found = []
        while r.left:
            found.append(number(&r, 2))
        return found

    @property
    def extensions(self):
        """The extensions in their order: type and content."""
        cdef Reader r = self.block(self.extensions_at, self.extensions_size), content = self.block(0, 0)
        found = []
        while r.left:
            kind = number(&r, 2)
            prefixed(&r, 2, &content)
            found.append((kind, (<const char*> content.at)[:content.left]))
        return found

    @property
    def protocols(self):
        """The names of the ALPN extension; None where it is missing or malformed (RFC 7301 3.1)."""
        cdef Reader extension, names, name
        if not self.find(ALPN, &extension) or not prefixed(&extension, 2, &names) or extension.left or names.left < 2:
            return None
        found = []
        while names.left:
            if not prefixed(&names, 1, &name) or name.left == 0:
                return None
            found.append((<const char*> name.at)[:name.left])
        return found


cdef bint is_http(const uint8_t* p) noexcept:
    return (memcmp(p, b"GET ", 4) == 0 or memcmp(p, b"PUT ", 4) == 0 or memcmp(p, b"POST ", 5) == 0
            or memcmp(p, b"HEAD ", 5) == 0)


cdef bint extensions_are_valid(Reader r) except -1:
    """Whether the block is whole and has no type twice."""
    cdef Reader content
    cdef Py_ssize_t kind
    cdef uint8_t seen[8192]
    cdef Reader again = r
    while r.left:
        kind = number(&r, 2)
        if kind < 0 or not prefixed(&r, 2, &content):
            return False
    # Only now, as few bytes as there are types: a bit per type, cleared by the types that are there.
    r = again
    while r.left:
        kind = number(&r, 2)
        prefixed(&r, 2, &content)
        seen[kind >> 3] = 0
    r = again
    while r.left:
        kind = number(&r, 2)
        prefixed(&r, 2, &content)
        if seen[kind >> 3] & 1 << (kind & 7):
            return False
        seen[kind >> 3] |= 1 << (kind & 7)
    return True


cdef bint encrypted_hello_is_valid(Reader r) noexcept:
    """The form of an outer hello's extension (draft-ietf-tls-esni); other kinds may hold anything."""
    cdef Reader block
    cdef Py_ssize_t kind = number(&r, 1)
    if kind < 0:
        return False
    if kind != 0:
        return True
    return take(&r, 5, &block) and prefixed(&r, 2, &block) and prefixed(&r, 2, &block) and r.left == 0
