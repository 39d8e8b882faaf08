"""Statistics of DNS caches: ``dns_cache.<name>.`` and, per cache, the counts that hold across workers."""

from __future__ import annotations

from typing import Final

from proxeny.stats.schema import Schema

DNS_CACHE: Final = Schema(
    "dns_cache",
    counters=(
        "cache_load",
        "dns_address_filter_out",
        "dns_query_attempt",
        "dns_query_failure",
        "dns_query_success",
        "dns_query_timeout",
        "dns_rq_pending_overflow",
        "host_added",
        "host_address_changed",
        "host_overflow",
        "host_removed",
    ),
    gauges=("num_hosts",),
)
"""Envoy: ``ALL_DNS_CACHE_STATS``; addresses are not filtered and not loaded from files here."""

DNS_QUERY_ATTEMPT: Final = DNS_CACHE.slot("dns_query_attempt")
DNS_QUERY_FAILURE: Final = DNS_CACHE.slot("dns_query_failure")
DNS_QUERY_SUCCESS: Final = DNS_CACHE.slot("dns_query_success")
DNS_QUERY_TIMEOUT: Final = DNS_CACHE.slot("dns_query_timeout")
DNS_RQ_PENDING_OVERFLOW: Final = DNS_CACHE.slot("dns_rq_pending_overflow")
HOST_ADDED: Final = DNS_CACHE.slot("host_added")
HOST_ADDRESS_CHANGED: Final = DNS_CACHE.slot("host_address_changed")
HOST_OVERFLOW: Final = DNS_CACHE.slot("host_overflow")
HOST_REMOVED: Final = DNS_CACHE.slot("host_removed")
NUM_HOSTS: Final = DNS_CACHE.slot("num_hosts")

DNS_CACHE_BREAKERS: Final = Schema("dns_cache_breakers", gauges=("rq_pending_open", "rq_pending_remaining"))
"""Prefix ``dns_cache.<name>.circuit_breakers.``; main makes them of the shared counts when they are read."""
RQ_PENDING_OPEN: Final = DNS_CACHE_BREAKERS.slot("rq_pending_open")
RQ_PENDING_REMAINING: Final = DNS_CACHE_BREAKERS.slot("rq_pending_remaining")

DNS_CACHE_LIMITS: Final = Schema("dns_cache_limits", counters=("pending_requests", "hosts"), hidden=True)
"""Rows of the table of limits."""
PENDING_ROW: Final = DNS_CACHE_LIMITS.slot("pending_requests")
HOSTS_ROW: Final = DNS_CACHE_LIMITS.slot("hosts")
