"""A cluster's hosts, and how its load balancer chooses among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from proxeny.upstream.host import Health, health_flags_text

if TYPE_CHECKING:
    from proxeny.explain.rehearsal_upstream import RehearsalClusters
    from proxeny.explain.world import World
    from proxeny.upstream.priority_set import HostSet


class HostView(NamedTuple):
    """One host."""

    address: str
    priority: int
    weight: int
    health: str
    """As /clusters shows it."""
    usable: bool
    """Whether requests may go to it now."""


class HostSetView(NamedTuple):
    """The hosts of one priority."""

    priority: int
    hosts: int
    healthy: int
    degraded: int
    load: int
    """Percent of the requests."""
    panic: bool


class ClusterView(NamedTuple):
    """A cluster as it stands; ``found`` False: there is none of this name."""

    name: str
    found: bool
    sets: list[HostSetView]
    hosts: list[HostView]
    policy: str
    choice: str
    """How a host is chosen, in words."""
    notes: list[str]


_BY_REQUEST: Final = ("subset", "override_host")
"""Policies that look at the request: not every usable host may serve it."""


def cluster_view(name: str, clusters: RehearsalClusters, world: World) -> ClusterView:
    """The cluster of this name."""
    found = clusters.get(name)
    if found is None:
        return ClusterView(name, False, [], [], "", "", [])
    cluster = found.cluster
    state = cluster.statistics()["load_balancer"]
    healthy, degraded, panic = state["healthy_load"], state["degraded_load"], state["panic"]
    host_sets = cluster.priority_set.host_sets
    sets = [_set_view(one, healthy[at] + degraded[at], panic[at]) for at, one in enumerate(host_sets)]
    hosts = [
        _host_view(host, healthy[host.priority], degraded[host.priority], panic[host.priority])
        for host in cluster.priority_set.hosts()
    ]
    policy = str(state["policy"])
    known = world.cluster(name)
    notes = (
        ["its names were not resolved: each is taken to have one healthy address"] if known and known.assumed else []
    )
    choice = _choice(policy, hosts, any(panic))
    chosen = next((sent.host for sent in clusters.sent if sent.cluster == name), None)
    if state.get("by_hash") and chosen is not None:
        choice = f"{policy} by the request's hash: {chosen.address.as_string()}"
    elif policy in _BY_REQUEST:
        asked = "no host" if chosen is None else chosen.address.as_string()
        choice = f"{policy} by what the request asks for: {asked}"
    return ClusterView(name, True, sets, hosts, policy, choice, notes)


def _set_view(host_set: HostSet, load: int, panic: bool) -> HostSetView:
    return HostSetView(
        host_set.priority,
        len(host_set.hosts),
        len(host_set.healthy_hosts),
        len(host_set.degraded_hosts),
        load,
        panic,
    )


def _host_view(host: Any, healthy_load: int, degraded_load: int, panic: bool) -> HostView:
    address = host.address.as_string()
    if host.hostname and host.hostname not in address:
        address = f"{host.hostname} ({address})"
    if panic:
        usable = healthy_load > 0 or degraded_load > 0
    else:
        load = {Health.HEALTHY: healthy_load, Health.DEGRADED: degraded_load}.get(host.health, 0)
        usable = load > 0
    return HostView(address, host.priority, host.weight, health_flags_text(host.health_flags), usable)


def _choice(policy: str, hosts: list[HostView], panic: bool) -> str:
    if policy == "cluster_provided":
        return "the connection's original destination"
    usable = [host for host in hosts if host.usable]
    if not usable:
        return "no host can be used" if hosts else "it has no hosts"
    if len(usable) == 1:
        return f"{usable[0].address}: the only host that can be used"
    words = f"{policy} among {len(usable)} hosts: any of them"
    return f"panic (too few are healthy): {words}" if panic else words
