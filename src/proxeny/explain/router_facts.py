"""What a router filter goes by in its request: read off the filter itself, before it is let go."""

from __future__ import annotations

from typing import Any, NamedTuple

from proxeny.router.filter_replies import RouterReplies


class RouterFacts(NamedTuple):
    """Times in milliseconds, 0 = none."""

    cluster: str
    """The cluster's name; "" where no cluster is asked (no route, a direct response)."""
    virtual_cluster: str
    timeout_ms: int
    per_try_timeout_ms: int
    per_try_idle_timeout_ms: int
    retries: dict[str, Any] | None
    """None: nothing is retried."""
    priority: str


def router_facts(last_filter: Any) -> RouterFacts | None:
    """None where the chain does not end in a router."""
    if not isinstance(last_filter, RouterReplies):
        return None
    router: Any = last_filter
    entry = getattr(router, "entry", None)
    if entry is None or entry.is_direct:
        return RouterFacts("", "", 0, 0, 0, None, "default")
    virtual = router.stream_info.virtual_cluster
    state = router.need_retry_state() if router.retry_policy is not None else None
    return RouterFacts(
        getattr(router, "cluster_name", None) or "",
        "" if virtual is None else virtual.name,
        router.timeout_ms,
        router.per_try_timeout_ms,
        router.per_try_idle_timeout_ms,
        None if state is None else state.statistics(),
        "high" if entry.policy.priority else "default",
    )
