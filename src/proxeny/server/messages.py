"""What main, the zygote and the workers say to each other (Envoy: what it posts to a worker's dispatcher).

Descriptors that belong to a message travel beside it, in the order that its docstring gives. A message with an ``id``
is answered by one ``Done`` with the same id, when the receiver has carried it out.
"""

from __future__ import annotations

from typing import Final

import msgspec

from proxeny.http.recent_failures import FailedRequest
from proxeny.upstream.dns_cache.entry import DnsEntry
from proxeny.upstream.endpoints import HealthChange, HostChange

StatRows = list[tuple[str, str, int]]
"""A stat table on the wire: (schema name, prefix, base)."""


class Message(msgspec.Struct, array_like=True, tag=True):
    """Base of all messages; the tag is the class's name."""


# -- main to the zygote ----------------------------------------------------------------------------------------


class ForkWorker(Message):
    """Fork worker ``index``.

    Descriptors: the worker's end of its channel, its stat segment, the tables of limits, of balance, of token buckets
    and of outlier detection, its inbox for sockets that other workers hand over, and the ends that lead to every
    worker's inbox, in order; of several workers then the stat segments of all, in order.
    """

    index: int
    epoch: int


# -- main to a worker ------------------------------------------------------------------------------------------


class Configure(Message):
    """First message of every worker: what is true for the whole process."""

    stats: StatRows
    runtime: bytes
    live: bool
    draining: bool
    health_check_failed: bool
    log_levels: dict[str, str]
    heartbeat_ms: int
    bootstrap: bytes


class AddClusters(Message):
    """Clusters to add or replace. Descriptor: a memfd of serialized clusters, ``sizes`` bytes each, in order."""

    id: int
    sizes: list[int]
    stats: StatRows
    generations: dict[str, int] = {}
    """Of those that replaced others."""


class ClusterChange(msgspec.Struct, array_like=True, omit_defaults=True):
    """A cluster that was added, replaced (of a type and with a name like another) or removed."""

    name: str
    data: bytes = b""
    """The serialized cluster; empty: removed."""
    generation: int = 0
    stats: StatRows = []
    hosts: bytes = b""
    """Its hosts, ``upstream.endpoints.HostUpdate``, where it discovers them."""
    serial: int = 0
    """To be told in ``ClustersReleased`` when nothing uses any more what it replaces; 0: it replaces nothing."""
    replaced: StatRows = []


class ChangeClusters(Message):
    """Clusters change, in this order."""

    changes: list[ClusterChange]


class SetSecrets(Message):
    """Contents of secrets and of files that they are in, by key; None: nobody uses it any more."""

    secrets: list[tuple[str, bytes | None]]


class SetRoutes(Message):
    """A discovered route configuration holds, for the users of the ``Rds`` message whose key is ``key``.

    ``data`` is the serialized ``RouteConfiguration``; where it is empty the descriptor is a memfd that holds it
    (``size`` bytes) and behind it ``router.reuse.Digests`` of it. ``serial`` is told in ``RoutesReleased`` when nothing
    counts in ``stats`` any more.
    """

    id: int
    key: str
    serial: int
    size: int
    stats: StatRows
    data: bytes = b""
    digests_size: int = 0


class DropRoutes(Message):
    """Nobody has this discovered route configuration any more but listeners that drain."""

    key: str


class SetFilterConfig(Message):
    """A discovered filter configuration holds: a serialized Any, None: it was removed. ``stats``: of all that came."""

    id: int
    key: str
    data: bytes | None
    stats: StatRows


class DropFilterConfig(Message):
    """Nobody has this discovered filter configuration any more but what drains.

    ``serial`` is told in ``FilterConfigsReleased`` when nothing counts in its stats any more.
    """

    key: str
    serial: int


class SetScopes(Message):
    """Scopes went, then scopes came or changed, for the users of the ``ScopedRds`` message whose key is ``key``.

    A scope is its key and the key of its route configuration, empty where that is loaded on demand and nobody asked.
    """

    key: str
    removed: list[list[bytes]]
    scopes: list[tuple[list[bytes], str]]


class RoutesAnswered(Message):
    """The answer to ``AskRoutes``: what was ``found`` was sent before."""

    number: int
    found: bool


class UpdateHosts(Message):
    """The hosts that main resolved for a DNS cluster: ``upstream.endpoints.HostUpdate``, serialized."""

    name: str
    update: bytes


class UpdateHealth(Message):
    """What main found out about the health of hosts, by cluster; all that one turn of its loop brought."""

    changes: dict[str, HealthChange]


class DnsHostResolved(Message):
    """A host of a DNS cache whose first resolution is over, or whose addresses changed."""

    cache: str
    entry: DnsEntry


class DnsHostGone(Message):
    """A host left a DNS cache."""

    cache: str
    name: str


class AskDnsHostUse(Message):
    """When was a host of a DNS cache last used? ``DnsHostUsed`` is the answer."""

    cache: str
    name: str


class SubCluster(Message):
    """A sub-cluster of the cluster ``parent`` is ``there``, or is not any more."""

    parent: str
    name: str
    there: bool


class AskSubClusterUse(Message):
    """Which sub-clusters of ``parent`` were used? ``SubClustersUsed`` is the answer."""

    parent: str


class AddListener(Message):
    """Compile a listener and accept from it.

    ``data`` is the serialized listener; where it is empty the first descriptor is a memfd that holds it (``size``
    bytes). Descriptors: one listening socket per address.
    ``tag`` tells generations of one listener apart; ``balance_row`` is its row in the balance table (-1: none).
    """

    id: int
    tag: int
    size: int
    stats: StatRows
    addresses: list[str]
    balance_row: int = -1
    data: bytes = b""


class Serve(Message):
    """All listeners were sent: accept, and serve what other workers hand over."""


class UpdateListener(Message):
    """Change listener ``tag`` in place: its filter chains differ, its sockets and the other chains' connections stay.

    The listener travels as in ``AddListener``. The connections of chains that are gone drain; ``version`` names them
    for ``RemoveFilterChains``.
    """

    id: int
    tag: int
    version: int
    size: int
    stats: StatRows
    data: bytes = b""


class RemoveFilterChains(Message):
    """Close the connections of the chains that the update to ``version`` removed, then give up their stats."""

    id: int
    tag: int
    version: int


class DrainListener(Message):
    """Tell a listener's connections to go; it accepts on."""

    id: int
    tag: int


class StopListener(Message):
    """Accept no more from a listener; its connections live on."""

    id: int
    tag: int


class RemoveListener(Message):
    """Close a listener and what is left of its connections, then give up its stats."""

    id: int
    tag: int


class AdoptListener(Message):
    """Accept for a dead worker meanwhile. Descriptors: its listening sockets of listener ``tag``."""

    id: int
    tag: int
    dead_worker: int


class ReleaseAdopted(Message):
    """The replacement of ``dead_worker`` accepts again: stop accepting for it."""

    id: int
    dead_worker: int


class Mark(Message):
    """Answered when everything that was sent before it has been carried out."""

    id: int


class SetServerState(Message):
    """Facts of ``ServerState`` that requests ask for."""

    live: bool
    draining: bool
    health_check_failed: bool


class SetRuntime(Message):
    """The runtime's merged entries, JSON."""

    entries: bytes


class SetOverload(Message):
    """States of the overload actions and load shed points that are not at rest, from 0 to 1."""

    states: dict[str, float]


class SetLogLevel(Message):
    """Log level of one component, of all when ``component`` is empty."""

    component: str
    level: str


class ReopenLogs(Message):
    """Open log files again."""


class Stop(Message):
    """Close everything and exit with status 0."""


# -- a worker to main ------------------------------------------------------------------------------------------


class WorkerStarted(Message):
    """First message of a worker: its process id; its heart beats."""

    pid: int


class HostsChanged(Message):
    """A cluster of type ORIGINAL_DST made hosts, or removed them."""

    cluster: str
    changes: list[HostChange]


class HostReported(Message):
    """A host reached a threshold of outlier detection, or called itself degraded; ``kind`` is an ``EjectionType``.

    ``base`` is where its stat block begins.
    """

    cluster: str
    base: int
    kind: int


class LoadReported(Message):
    """Endpoints of a cluster reported their load: ``stat_index`` -> metric -> (how many did, sum) since the last."""

    cluster: str
    hosts: dict[int, dict[str, tuple[int, float]]]


class HostsFailed(Message):
    """Responses asked for hosts of a cluster to be taken out of rotation: ``stat_index`` -> how many since the last."""

    cluster: str
    hosts: dict[int, int]


class ResolveDnsHost(Message):
    """A request waits for a host that the DNS cache is to resolve; ``again``: its last resolution failed."""

    cache: str
    name: str
    default_port: int
    again: bool


class DnsHostUsed(Message):
    """When the worker last used a host, in nanoseconds of the monotonic clock; 0: never."""

    cache: str
    name: str
    last_used_ns: int


class ClustersReleased(Message):
    """Nothing uses any more what these changes of clusters replaced."""

    serials: list[int]


class AskRoutes(Message):
    """A request waits for the virtual host of ``host``, or the routes of a scope; ``RoutesAnswered`` is the answer."""

    number: int
    key: str
    host: str
    scope: list[bytes]


class RoutesReleased(Message):
    """Nothing counts any more for these versions of discovered route configurations."""

    serials: list[int]


class FilterConfigsReleased(Message):
    """Nothing counts any more for these discovered filter configurations."""

    serials: list[int]


class AskSubCluster(Message):
    """A request waits for a sub-cluster of the cluster ``parent``."""

    parent: str
    name: str
    host: str
    port: int


class SubClustersUsed(Message):
    """When sub-clusters of ``parent`` were last used, in nanoseconds of the monotonic clock, since last asked."""

    parent: str
    last_used: dict[str, int]


class RequestsFailed(Message):
    """Requests that failed since the last of these messages, the oldest first; of many only the last ones."""

    requests: list[FailedRequest]


class Done(Message):
    """A message was carried out, or ``error`` says why not."""

    id: int
    error: str = ""


Any = (
    ForkWorker
    | Configure
    | AddClusters
    | ChangeClusters
    | SetSecrets
    | SetRoutes
    | DropRoutes
    | SetFilterConfig
    | DropFilterConfig
    | SetScopes
    | RoutesAnswered
    | UpdateHosts
    | UpdateHealth
    | DnsHostResolved
    | DnsHostGone
    | AskDnsHostUse
    | SubCluster
    | AskSubClusterUse
    | AddListener
    | UpdateListener
    | RemoveFilterChains
    | Serve
    | DrainListener
    | StopListener
    | RemoveListener
    | AdoptListener
    | ReleaseAdopted
    | Mark
    | SetServerState
    | SetRuntime
    | SetOverload
    | SetLogLevel
    | ReopenLogs
    | Stop
    | WorkerStarted
    | HostsChanged
    | HostReported
    | HostsFailed
    | LoadReported
    | ResolveDnsHost
    | DnsHostUsed
    | ClustersReleased
    | AskRoutes
    | RoutesReleased
    | FilterConfigsReleased
    | AskSubCluster
    | SubClustersUsed
    | RequestsFailed
    | Done
)

UPDATES: Final = frozenset(
    (
        AddClusters, ChangeClusters, SetSecrets, SetRoutes, DropRoutes, SetFilterConfig, DropFilterConfig, SetScopes,
        UpdateHosts, UpdateHealth, AddListener, UpdateListener, RemoveListener, SetRuntime,
    )
)  # fmt: skip
"""What brings workers another configuration, or other hosts."""

ENCODER = msgspec.msgpack.Encoder()
DECODER: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Any)


def stat_rows(table: dict[tuple[str, str], int]) -> StatRows:
    """A stat table as it travels."""
    return [(schema, prefix, base) for (schema, prefix), base in table.items()]


def stat_table(rows: StatRows) -> dict[tuple[str, str], int]:
    """The table that ``rows`` stand for."""
    return {(schema, prefix): base for schema, prefix, base in rows}
