"""Types of router.config."""

from proxeny.kernel.stats cimport Block


cdef class RouterConfig:
    cdef public object create_timer, get_cluster, monotonic_ns, random_value, runtime, zone
    cdef public Block stats
    cdef public tuple strict_check_headers
    cdef public bint emit_dynamic_stats, insert_envoy_headers, respect_expected_timeout, suppress_grpc_failure_stats
