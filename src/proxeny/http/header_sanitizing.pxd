"""Types of http.header_sanitizing."""

from proxeny.kernel.headers cimport HeaderMap
from proxeny.kernel.randomness cimport RandomGenerator


cpdef has_token(value, bytes token)
cpdef is_upgrade(HeaderMap headers)


cdef class HeaderSanitizer:
    cdef public bint use_remote_address, skip_xff_append, generate_request_id, preserve_external_request_id
    cdef public bint always_set_request_id, add_user_agent, append_port, internal_unix, simple
    cdef public long long trusted_hops
    cdef public bytes via, user_agent, node_id, local_address, scheme_overwrite
    cdef public object client_cert, internal_networks
    cdef public tuple detections, early_mutations, hop_by_hop, hop_by_hop_upgrade, internal_only
    cdef public object scopes
    cdef public RandomGenerator random

    cpdef sanitize_request(self, HeaderMap headers, bint upgrade, peer, bint secure, info=*)
    cpdef sanitize_response(self, HeaderMap headers, HeaderMap request_headers, bint upgrade)
    cdef _set_scheme(self, HeaderMap headers, bytes proto, bint secure, info)
