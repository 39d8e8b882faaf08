"""The map of kernel.http1_request."""

from proxeny.kernel.headers cimport HeaderMap
from proxeny.kernel.http1_head cimport Verdict
from proxeny.kernel.http1_parse cimport MessageParser


cdef class RequestParser(MessageParser):
    cdef readonly bint connect, head_request, expect_continue
    cdef public bint allow_absolute_url, allow_custom_methods, accept_http_10
    cdef public bytes default_host
    cdef public tuple ignored_upgrades      # matchers with match(bytes), or None
    cdef size_t method_length, target_at, target_length
    cdef Py_ssize_t authority_at
    cdef bint host_lines
    cdef bint has_authority

    cdef Verdict add_target(self, const char* p) except *
    cdef bint headers_method_is(self, const char* name) noexcept
    cdef int set_authority(self, const char* p, size_t n) except -1
    cdef int detect_upgrade(self) except -1
    cdef bint ignore_upgrades(self, Py_ssize_t at) except -1
    cdef int check_connect(self) except -1
    cdef int sanitize_connection(self) except -1
    cdef bint nominate(self, bytes name) except *
    cdef int check_version_and_host(self) except -1
