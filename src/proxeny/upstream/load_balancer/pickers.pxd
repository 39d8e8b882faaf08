"""Types of upstream.load_balancer.pickers."""

cimport cython
from proxeny.kernel.all_workers cimport AllWorkers
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
    cdef public Py_ssize_t count, turn

    cpdef pick(self, context=*)


cdef class WeightedRoundRobinPicker:
    cdef public list heap
    cdef public long long order

    cpdef pick(self, context=*)


cdef class LeastRequestPicker:
    cdef public list hosts
    cdef public Py_ssize_t count
    cdef public object choices
    cdef public AllWorkers workers
    cdef public bint pending

    @cython.locals(active=cython.longlong)
    cpdef long long load_of(self, Host host) except -1
    @cython.locals(best=Host, host=Host, active=cython.longlong, least=cython.longlong)
    cpdef pick(self, context=*)


cdef class LeastRequestScanPicker(LeastRequestPicker):
    @cython.locals(best=Host, host=Host, active=cython.longlong, least=cython.longlong, equals=cython.longlong)
    cpdef pick(self, context=*)


cdef class ScheduledPicker:
    cdef public list heap
    cdef public object weight_of
    cdef public long long order

    cpdef pick(self, context=*)


cdef class BusyWeight:
    cdef public double bias
    cdef public AllWorkers workers
    cdef public bint pending

    @cython.locals(active=cython.longlong, weight=cython.double)
    cpdef of(self, Host host)


cdef class WeightedEntries:
    cdef public list heap
    cdef public dict weights
    cdef public long long order

    cpdef pick(self)
