"""Requests: the request line, the Host rules, hop-by-hop nominations and upgrades (RFC 9112 3, RFC 9110 7.6.1)."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcmp

from proxeny.kernel.buffer cimport Buffer
from proxeny.kernel.headers cimport HeaderEntry, HeaderMap, OriginalNames
from proxeny.kernel.http1_head cimport (
    BAD_CHARACTERS,
    BAD_SYNTAX,
    BAD_URL,
    VALID,
    Target,
    Verdict,
    check_target,
    equals_ignore_case,
    has_control,
    has_token,
    host_is_valid,
    is_blank,
    is_token,
    method_is_known,
    next_token,
    split_absolute,
    split_connect,
)
from proxeny.kernel.http1_parse cimport E_ERROR, E_NEED_MORE, S_START, MessageParser

cdef enum:
    # Envoy: Utility::sanitizeConnectionHeader
    MAX_NOMINATED = 10
    MAX_TE_BYTES = 256


# What Envoy's map of request headers holds once (Http::RequestHeaderMap's inline headers, and those that its
# extensions register): further lines are joined on. Those that framing or routing depend on have rules of their own.
JOINED = frozenset(
    b"""accept accept-encoding access-control-request-headers access-control-request-method
    access-control-request-private-network authentication authorization cache-control cdn-loop content-encoding
    content-type grpc-accept-encoding grpc-timeout if-match if-modified-since if-none-match if-range
    if-unmodified-since origin pragma proxy-status referer te user-agent via x-client-trace-id x-envoy-attempt-count
    x-envoy-decorator-operation x-envoy-downstream-service-cluster x-envoy-downstream-service-node
    x-envoy-expected-rq-timeout-ms x-envoy-external-address x-envoy-force-trace x-envoy-hedge-on-per-try-timeout
    x-envoy-ip-tags x-envoy-is-timeout-retry x-envoy-max-retries x-envoy-original-host x-envoy-original-path
    x-envoy-original-url x-envoy-retriable-header-names x-envoy-retriable-status-codes x-envoy-retry-grpc-on
    x-envoy-retry-on x-envoy-upstream-alt-stat-name x-envoy-upstream-rq-per-try-timeout-ms
    x-envoy-upstream-rq-timeout-alt-response x-envoy-upstream-rq-timeout-ms x-forwarded-client-cert x-forwarded-for
    x-forwarded-host x-forwarded-port x-forwarded-proto x-request-id""".split()
)


cdef class RequestParser(MessageParser):
    """Parses requests. Pseudo headers come first: `:method`, `:path`, `:authority` (as far as there are)."""

    def __cinit__(self, *args, **kwargs):
        self.joined = JOINED
        self.allow_absolute_url = True
        self.default_host = b""

    cdef int read_head(self, Buffer data) except -1:
        cdef size_t n, i
        cdef char* p
        if self.state == S_START:
            # Empty lines before a request are skipped (RFC 9112 2.2).
            while data.length:
                p = data.front(&n)
                i = 0
                while i < n and (p[i] == 13 or p[i] == 10):
                    i += 1
                if i == 0:
                    break
                data.c_drain(i)
            if data.length == 0:
                return E_NEED_MORE
            p = data.front(&n)
            if not (65 <= p[0] <= 90 or self.allow_custom_methods and is_token(p, 1)):
                # No method begins so: TLS and other protocols get their answer without waiting for a line end.
                self.begin_message()
                self.started = True
                return self.fail(400, "http1.codec_error", "HPE_INVALID_METHOD")
        return MessageParser.read_head(self, data)

    cdef int parse_first_line(self, const char* p, size_t n) except -1:
        """method SP target SP version; blanks may be several or TAB. Judged before any field is there."""
        cdef size_t i = 0
        cdef size_t stop = n
        cdef Verdict verdict
        while stop > 0 and is_blank(p[stop - 1]):
            stop -= 1
        while i < stop and not is_blank(p[i]):
            i += 1
        self.method_length = i
        if not (method_is_known(p, i) or self.allow_custom_methods and is_token(p, i)):
            return self.fail_verdict(BAD_CHARACTERS if has_control(p, i) else BAD_SYNTAX, "HPE_INVALID_METHOD")
        self.connect = i == 7 and memcmp(p, b"CONNECT", 7) == 0
        self.head_request = i == 4 and memcmp(p, b"HEAD", 4) == 0
        while i < stop and is_blank(p[i]):
            i += 1
        self.target_at = i
        while i < stop and not is_blank(p[i]):
            i += 1
        self.target_length = i - self.target_at
        verdict = check_target(p + self.target_at, self.target_length, self.connect)
        if verdict != VALID:
            return self.fail_verdict(verdict, "HPE_INVALID_URL")
        while i < stop and is_blank(p[i]):
            i += 1
        # Without a version this is HTTP/0.9, which Envoy treats as 1.0.
        self.http10 = True
        if i < stop:
            if (stop - i != 8 or memcmp(p + i, b"HTTP/", 5) != 0 or not 48 <= p[i + 5] <= 57 or p[i + 6] != 46
                    or not 48 <= p[i + 7] <= 57):
                return self.fail_verdict(BAD_SYNTAX, "HPE_INVALID_VERSION")
            self.http10 = p[i + 5] != 49 or p[i + 7] != 49
        return 0

    cdef int finish_head(self, const char* p) except -1:
        cdef HeaderMap headers = HeaderMap()
        cdef Verdict target
        if self.keep_case:
            headers.names = OriginalNames(self.proper_added)
        self.headers = headers
        self.has_authority = self.host_lines = False
        self.expect_continue = False
        headers.c_add(b":method", 7, p, self.method_length)
        target = self.add_target(p + self.target_at)
        if self.parse_fields(p + self.first_line_end, self.fields_end - self.first_line_end, headers,
                             False) == E_ERROR:
            return E_ERROR
        if self.connection_at >= 0 and self.detect_upgrade() == E_ERROR:
            return E_ERROR
        if self.connect and self.check_connect() == E_ERROR:
            return E_ERROR
        if self.check_framing() == E_ERROR:
            return E_ERROR
        if self.connection_at >= 0 and self.sanitize_connection() == E_ERROR:
            return E_ERROR
        if target != VALID:
            return self.fail_verdict(target, "invalid url in request line")
        if self.check_version_and_host() == E_ERROR:
            return E_ERROR
        return self.end_head()

    cdef Verdict add_target(self, const char* p) except *:
        """Enters path, authority and scheme; an origin-form's authority comes later, from Host."""
        cdef HeaderMap headers = self.headers
        cdef Target target
        cdef Verdict verdict = VALID
        cdef size_t n = self.target_length
        target.authority_len = target.scheme_len = -1
        if self.connect:
            verdict = split_connect(p, n, &target)
        elif p[0] == 47 or not self.allow_absolute_url or (
                p[0] == 42 and self.headers_method_is(b"OPTIONS")):
            headers.c_add(b":path", 5, p, n)
        elif p[0] == 42:
            verdict = BAD_URL
        else:
            verdict = split_absolute(p, n, &target)
            if verdict == VALID:
                if target.path_len:
                    headers.c_add(b":path", 5, p + target.path, target.path_len)
                else:
                    headers.c_add(b":path", 5, b"/", 1)
        self.authority_at = headers.count if verdict == VALID else -1
        if verdict != VALID:
            return verdict
        if target.authority_len >= 0:
            self.has_authority = True
            headers.c_add(b":authority", 10, p + target.authority, target.authority_len)
            if target.scheme_len >= 0:
                headers.c_add(b":scheme", 7, "https" if target.scheme_len == 5 else "http", target.scheme_len)
        else:
            headers.c_add(b":authority", 10, p, 0)
        return VALID

    cdef bint headers_method_is(self, const char* name) noexcept:
        cdef HeaderEntry* e = &self.headers.entries[0]
        return e.value_len == 7 and memcmp(self.headers.arena + e.value, name, 7) == 0

    cdef int note_field(self, HeaderMap into, Py_ssize_t at) except -1:
        cdef HeaderEntry* e = &into.entries[at]
        cdef bytes value
        if e.name_len == 4 and memcmp(into.arena + e.name, b"host", 4) == 0:
            value = PyBytes_FromStringAndSize(into.arena + e.value, e.value_len)
            into.c_remove_at(at)
            return self.set_authority(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
        if e.name_len == 6 and memcmp(into.arena + e.name, b"expect", 6) == 0:
            self.expect_continue = equals_ignore_case(into.arena + e.value, e.value_len, b"100-continue", 12)
        return MessageParser.note_field(self, into, at)

    cdef int set_authority(self, const char* p, size_t n) except -1:
        """A Host line: it yields to the target's authority (RFC 9112 3.2.2); several are joined, and match nothing."""
        cdef HeaderMap headers = self.headers
        if self.authority_at < 0:
            return 0        # the target was refused already
        if not self.has_authority:
            self.has_authority = True
            headers.c_replace(self.authority_at, p, n)
            self.host_lines = True
        elif self.host_lines:
            headers.c_append(self.authority_at, p, n, b",", 1)
        return 0

    cdef int detect_upgrade(self) except -1:
        """`Connection: upgrade` with Upgrade; h2c is ignored, as Envoy does (its fields are removed)."""
        cdef HeaderMap headers = self.headers
        cdef HeaderEntry* e = &headers.entries[self.connection_at]
        cdef Py_ssize_t at
        if self.upgrade_at < 0 or not has_token(headers.arena + e.value, e.value_len, b"upgrade", 7):
            return 0
        at = headers.c_find(b"upgrade", 7, 0)
        e = &headers.entries[at]
        if self.ignored_upgrades is not None and not equals_ignore_case(
                headers.arena + e.value, e.value_len, b"h2c", 3) and self.ignore_upgrades(at):
            return 0
        e = &headers.entries[at]
        if equals_ignore_case(headers.arena + e.value, e.value_len, b"h2c", 3):
            headers.c_remove(b"upgrade", 7)
            headers.c_remove(b"http2-settings", 14)
            self.connection_at = headers.c_find(b"connection", 10, 0)
            return 0
        self.upgrade = True
        return 0

    cdef bint ignore_upgrades(self, Py_ssize_t at) except -1:
        """Whether no type is left of the Upgrade field once those that are to be ignored are taken out of it."""
        cdef HeaderMap headers = self.headers
        cdef HeaderEntry* e = &headers.entries[at]
        cdef list kinds = [kind.strip(b" \t")
                           for kind in PyBytes_FromStringAndSize(headers.arena + e.value, e.value_len).split(b",")]
        cdef list kept = [kind for kind in kinds
                          if not any([matcher.match(kind) for matcher in self.ignored_upgrades])]
        cdef bytes value
        if len(kept) == len(kinds):
            return False
        if kept:
            value = b",".join(kept)
            headers.c_set(b"upgrade", 7, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
            return False
        headers.c_remove(b"upgrade", 7)
        self.connection_at = headers.c_find(b"connection", 10, 0)
        return True

    cdef int check_connect(self) except -1:
        """CONNECT has no body (RFC 9110 9.3.6): `content-length: 0` is removed, anything else refused."""
        if self.has_length:
            if self.content_length:
                return self.fail(400, "http1.body_disallowed", "unsupported content length")
            self.headers.c_remove(b"content-length", 14)
            self.has_length = False
        if self.coding_count:
            return self.fail(501, "http1.invalid_transfer_encoding", "unsupported transfer encoding")
        self.upgrade = True
        return 0

    cdef int sanitize_connection(self) except -1:
        """Removes the fields that Connection nominates; refuses nominations that would hide where a request is from."""
        cdef HeaderMap headers = self.headers
        cdef Py_ssize_t at = headers.c_find(b"connection", 10, 0)
        cdef HeaderEntry* e = &headers.entries[at]
        cdef const char* p = headers.arena + e.value
        cdef const char* end = p + e.value_len
        cdef const char* token
        cdef size_t n
        cdef int count = 0
        cdef bint close = False
        cdef bint keep = False
        cdef list nominated = None
        while next_token(&p, end, &token, &n):
            count += 1
            if count >= MAX_NOMINATED and not self.upgrade:
                return self.fail(400, "http1.connection_header_rejected", "Invalid nominated headers in Connection.")
            if equals_ignore_case(token, n, b"close", 5):
                close = True
            elif equals_ignore_case(token, n, b"keep-alive", 10):
                keep = True
            elif not (equals_ignore_case(token, n, b"upgrade", 7) or equals_ignore_case(token, n, b"connection", 10)
                      or equals_ignore_case(token, n, b"http2-settings", 14)):
                if nominated is None:
                    nominated = []
                nominated.append(PyBytes_FromStringAndSize(token, n).lower())
        if close or self.http10 and not keep:
            self.keep_alive = False
        # An upgrade's Connection goes on to the next hop with what it nominates, as in Envoy.
        if nominated is not None and not self.upgrade:
            for name in nominated:
                if not self.nominate(name):
                    return self.fail(400, "http1.connection_header_rejected",
                                     "Invalid nominated headers in Connection.")
        return 0

    cdef bint nominate(self, bytes name) except *:
        cdef HeaderMap headers = self.headers
        cdef Py_ssize_t at
        cdef HeaderEntry* e
        if name.startswith(b":") or name in (b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"):
            return False
        if name == b"te":
            at = headers.c_find(b"te", 2, 0)
            if at < 0:
                return True
            e = &headers.entries[at]
            if e.value_len >= MAX_TE_BYTES:
                return False
            if has_token(headers.arena + e.value, e.value_len, b"trailers", 8):
                headers.c_set(b"te", 2, b"trailers", 8)
                return True
        if name == b"host":
            name = b":authority"
            self.has_authority = False
        headers.c_remove(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
        return True

    cdef int check_version_and_host(self) except -1:
        cdef HeaderMap headers = self.headers
        cdef Py_ssize_t at
        cdef HeaderEntry* e
        if self.http10:
            if not self.accept_http_10:
                return self.fail(426, "low_version", "Upgrade required for HTTP/1.0 or HTTP/0.9")
            # Framing by a coding is not HTTP/1.0's: nothing may follow such a message (RFC 9112 6.1).
            if self.connection_at < 0 or self.chunked:
                self.keep_alive = False
            if not self.has_authority and PyBytes_GET_SIZE(self.default_host):
                self.has_authority = True
                headers.c_set(b":authority", 10, PyBytes_AS_STRING(self.default_host),
                              PyBytes_GET_SIZE(self.default_host))
        at = headers.c_find(b":authority", 10, 0)
        if not self.has_authority:
            if at >= 0:
                headers.c_remove_at(at)
            return 0
        e = &headers.entries[at]
        if not host_is_valid(headers.arena + e.value, e.value_len):
            return self.fail(400, "http.invalid_authority", "request headers failed spec compliance checks")
        return 0
