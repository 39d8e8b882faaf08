"""Types of router.retry_policy."""


cdef class RetryPolicy:
    cdef public object base_interval_ms, host_selection_attempts, max_interval_ms, priority, rate_limited_back_off
    cdef public long long lowest_code, num_retries, per_try_idle_timeout_ms, per_try_timeout_ms, retry_on
    cdef public tuple host_predicates, retriable_headers, retriable_request_headers, retriable_status_codes
