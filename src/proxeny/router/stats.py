"""The router filter's statistics (Envoy: ``ALL_ROUTER_STATS``), under the connection manager's prefix."""

from __future__ import annotations

from typing import Final

from proxeny.stats.schema import Schema

ROUTER: Final = Schema(
    "router",
    counters=(
        "no_cluster",
        "no_route",
        "passthrough_internal_redirect_bad_location",
        "passthrough_internal_redirect_no_route",
        "passthrough_internal_redirect_predicate",
        "passthrough_internal_redirect_too_many_redirects",
        "passthrough_internal_redirect_unsafe_scheme",
        "rq_direct_response",
        "rq_overload_local_reply",
        "rq_redirect",
        "rq_reset_after_downstream_response_started",
        "rq_total",
    ),
)

NO_CLUSTER: Final = ROUTER.slot("no_cluster")
NO_ROUTE: Final = ROUTER.slot("no_route")
REDIRECT_BAD_LOCATION: Final = ROUTER.slot("passthrough_internal_redirect_bad_location")
REDIRECT_NO_ROUTE: Final = ROUTER.slot("passthrough_internal_redirect_no_route")
REDIRECT_PREDICATE: Final = ROUTER.slot("passthrough_internal_redirect_predicate")
REDIRECT_TOO_MANY: Final = ROUTER.slot("passthrough_internal_redirect_too_many_redirects")
REDIRECT_UNSAFE_SCHEME: Final = ROUTER.slot("passthrough_internal_redirect_unsafe_scheme")
RQ_DIRECT_RESPONSE: Final = ROUTER.slot("rq_direct_response")
RQ_RESET_AFTER_DOWNSTREAM_RESPONSE_STARTED: Final = ROUTER.slot("rq_reset_after_downstream_response_started")
RQ_TOTAL: Final = ROUTER.slot("rq_total")
