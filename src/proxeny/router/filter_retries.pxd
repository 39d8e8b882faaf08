"""Types of router.filter_retries."""

from proxeny.router.filter_replies cimport RouterReplies


cdef class RouterRetries(RouterReplies):
    pass
