"""Types of upstream.load_balancer.pickers."""

cimport cython
from proxeny.upstream.host cimport Host


cdef class NoHost:
    cpdef pick(self, context=*)


cdef class OneHost:
    cdef public Host host

    cpdef pick(self, context=*)


cdef class RandomPicker:
    cdef public list hosts
    cdef public Py_ssize_t count

    cpdef pick(self, context=*)


cdef class RoundRobinPicker:
    cdef public list hosts
    cdef public Py_ssize_t count, index

    cpdef pick(self, context=*)


cdef class WeightedRoundRobinPicker:
    cdef public list heap

    cpdef pick(self, context=*)


cdef class LeastRequestPicker:
    cdef public list hosts
    cdef public Py_ssize_t count
    cdef public object choices

    @cython.locals(best=Host, host=Host, active=cython.longlong, least=cython.longlong)
    cpdef pick(self, context=*)


cdef class LeastRequestScanPicker:
    cdef public list hosts

    cpdef pick(self, context=*)


cdef class WeightedLeastRequestPicker:
    cdef public list heap
    cdef public double bias

    cpdef pick(self, context=*)
