"""Statistics of clusters, hosts and cluster managers: schemas, and slot numbers for the hot path.

``CLUSTER`` holds what Envoy 1.40 creates eagerly per cluster (prefix ``cluster.<observability name>.``). Response codes
(``upstream_rq_<code>``, ``upstream_rq_<class>xx``; also under ``external.``, ``internal.``, ``canary.``) are dynamic:
``ClusterInfo.charge_response_code``.
"""

from __future__ import annotations

from typing import Final

from proxeny.pool.cluster_stats import *  # noqa: F403
from proxeny.stats.schema import Schema

CLUSTER_MANAGER: Final = Schema(
    "cluster_manager",
    counters=(
        "cluster_added",
        "cluster_modified",
        "cluster_removed",
        "cluster_updated",
        "cluster_updated_via_merge",
        "update_merge_cancelled",
        "update_out_of_merge_window",
    ),
    gauges=("active_clusters", "warming_clusters"),
)
CM_CLUSTER_ADDED: Final = CLUSTER_MANAGER.slot("cluster_added")
CM_CLUSTER_MODIFIED: Final = CLUSTER_MANAGER.slot("cluster_modified")
CM_CLUSTER_REMOVED: Final = CLUSTER_MANAGER.slot("cluster_removed")
CM_CLUSTER_UPDATED: Final = CLUSTER_MANAGER.slot("cluster_updated")
CM_CLUSTER_UPDATED_VIA_MERGE: Final = CLUSTER_MANAGER.slot("cluster_updated_via_merge")
CM_UPDATE_MERGE_CANCELLED: Final = CLUSTER_MANAGER.slot("update_merge_cancelled")
CM_UPDATE_OUT_OF_MERGE_WINDOW: Final = CLUSTER_MANAGER.slot("update_out_of_merge_window")
CM_ACTIVE_CLUSTERS: Final = CLUSTER_MANAGER.slot("active_clusters")
CM_WARMING_CLUSTERS: Final = CLUSTER_MANAGER.slot("warming_clusters")

TRANSPORT_SOCKET_MATCH: Final = Schema("transport_socket_match", counters=("total_match_count",))
"""Prefix ``cluster.<observability name>.<name of the match>.``."""
TOTAL_MATCH_COUNT: Final = TRANSPORT_SOCKET_MATCH.slot("total_match_count")

INTERNAL_UPSTREAM: Final = Schema("internal_upstream", counters=("no_metadata",))
"""Prefix ``cluster.<observability name>.internal_upstream.``."""
NO_METADATA: Final = INTERNAL_UPSTREAM.slot("no_metadata")

EDS: Final = Schema(
    "eds",
    counters=("init_fetch_timeout", "update_rejected"),
    gauges=("update_time",),
    histograms=("update_duration",),
)
"""Of the subscription of an EDS cluster; prefix ``cluster.<observability name>.``. The rest is in ``CLUSTER``."""
EDS_INIT_FETCH_TIMEOUT: Final = EDS.slot("init_fetch_timeout")
EDS_UPDATE_DURATION: Final = EDS.slot("update_duration")
EDS_UPDATE_REJECTED: Final = EDS.slot("update_rejected")
EDS_UPDATE_TIME: Final = EDS.slot("update_time")

THREAD_LOCAL_CLUSTER_MANAGER: Final = Schema("thread_local_cluster_manager", gauges=("clusters_inflated",))
"""Prefix ``thread_local_cluster_manager.<worker_0 | main_thread>.``."""
CLUSTERS_INFLATED: Final = THREAD_LOCAL_CLUSTER_MANAGER.slot("clusters_inflated")

HEALTH_CHECK: Final = Schema(
    "health_check",
    counters=("attempt", "failure", "network_failure", "passive_failure", "success", "verify_cluster"),
    gauges=("degraded", "healthy"),
)
"""Prefix ``cluster.<observability name>.health_check.``, with ``name.<check's name>.`` where it has one."""
HEALTH_CHECK_GROUP: Final = Schema("health_check_group", gauges=("degraded", "healthy"))
"""Prefix ``cluster.<observability name>.health_check.``: all checks together, of a cluster that has several."""
GROUP_DEGRADED: Final = HEALTH_CHECK_GROUP.slot("degraded")
GROUP_HEALTHY: Final = HEALTH_CHECK_GROUP.slot("healthy")
HC_ATTEMPT: Final = HEALTH_CHECK.slot("attempt")
HC_FAILURE: Final = HEALTH_CHECK.slot("failure")
HC_NETWORK_FAILURE: Final = HEALTH_CHECK.slot("network_failure")
HC_PASSIVE_FAILURE: Final = HEALTH_CHECK.slot("passive_failure")
HC_SUCCESS: Final = HEALTH_CHECK.slot("success")
HC_VERIFY_CLUSTER: Final = HEALTH_CHECK.slot("verify_cluster")
HC_DEGRADED: Final = HEALTH_CHECK.slot("degraded")
HC_HEALTHY: Final = HEALTH_CHECK.slot("healthy")
