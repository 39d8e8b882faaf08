"""Types of router.route_condition."""

from proxeny.router.request_facts cimport RequestFacts


cdef class RouteCondition:
    cdef public tuple cookies, headers, query, state
    cdef public object fraction
    cdef public bint connect, grpc

    cpdef bint matches(self, RequestFacts facts) except -1
