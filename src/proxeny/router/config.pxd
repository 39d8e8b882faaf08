"""Types of router.config."""

from proxeny.event.time_source cimport TimeSource
from proxeny.http.filter_chain cimport FilterChain
from proxeny.kernel.stats cimport Block
from proxeny.kernel.timer cimport TimerWheel


cdef class RouterConfig:
    cdef public TimeSource clock
    cdef public TimerWheel wheel
    cdef public object get_cluster, random_value, runtime, upstream_log, zone
    cdef public Block stats
    cdef public FilterChain upstream_chain
    cdef public RouterConfig _mirror_config
    cdef public tuple strict_check_headers
    cdef public bint emit_dynamic_stats, insert_envoy_headers, respect_expected_timeout, suppress_grpc_failure_stats
