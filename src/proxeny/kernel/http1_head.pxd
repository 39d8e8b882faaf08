"""The map of kernel.http1_head: the grammar of HTTP/1 heads, as functions over bytes."""

from libc.stdint cimport uint64_t


cdef struct Target:
    # Offsets and lengths inside the request target; `authority_len` -1 and `scheme_len` -1: not given.
    Py_ssize_t path
    Py_ssize_t path_len
    Py_ssize_t authority
    Py_ssize_t authority_len
    Py_ssize_t scheme
    Py_ssize_t scheme_len


cdef enum Verdict:
    VALID = 0
    BAD_SYNTAX = 1          # http1.codec_error
    BAD_CHARACTERS = 2      # http1.invalid_characters
    BAD_URL = 3             # http1.invalid_url
    BAD_SCHEME = 4          # http1.invalid_scheme


cdef bint is_blank(char c) noexcept nogil
cdef bint value_is_clean(const char* p, size_t n) noexcept nogil
cdef Py_ssize_t name_length(const char* p, size_t n, bint* underscore) noexcept nogil
cdef bint has_control(const char* p, size_t n) noexcept nogil
cdef bint method_is_known(const char* p, size_t n) noexcept nogil
cdef bint is_token(const char* p, size_t n) noexcept nogil
cdef bint host_is_valid(const char* p, size_t n) noexcept nogil
cdef bint equals_ignore_case(const char* p, size_t n, const char* lower, size_t lower_len) noexcept nogil
cdef bint has_token(const char* p, size_t n, const char* lower, size_t lower_len) noexcept nogil
cdef int next_token(const char** p, const char* end, const char** token, size_t* token_len) noexcept nogil
cdef bint parse_decimal(const char* p, size_t n, uint64_t* value) noexcept nogil
cdef Verdict check_target(const char* p, size_t n, bint connect) noexcept nogil
cdef Verdict split_absolute(const char* p, size_t n, Target* target) noexcept nogil
cdef Verdict split_connect(const char* p, size_t n, Target* target) noexcept nogil
