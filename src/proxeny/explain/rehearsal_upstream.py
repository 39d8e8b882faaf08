"""Clusters that choose hosts as those that serve traffic, and pools that collect what they would send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proxeny.network.stream_info import ConnectionInfo
from proxeny.upstream import cluster_config
from proxeny.upstream.discovery import ClusterType
from proxeny.upstream.thread_local_cluster import ThreadLocalCluster

if TYPE_CHECKING:
    from proxeny.explain.rehearsal import RehearsalDispatcher
    from proxeny.explain.world import World
    from proxeny.kernel.buffer import Buffer
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.host import Host


@dataclass(slots=True)
class Sent:
    """A request that a pool would send."""

    cluster: str
    host: Host
    requester: Any
    """Who asked for the stream: the ``UpstreamRequest``."""
    headers: HeaderMap | None = None
    """None: no request was sent (a tunnel, or it was refused)."""
    body_bytes: int = 0


class _Encoder:
    """The request encoder of a stream that goes nowhere."""

    def __init__(self, sent: Sent) -> None:
        self._sent = sent
        self.callbacks: Any = None

    @property
    def stream(self) -> _Encoder:
        """It is its own stream."""
        return self

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The request's head."""
        self._sent.headers = headers.copy()

    def encode_data(self, data: Buffer, end_stream: bool) -> None:
        """Some of its body."""
        self._sent.body_bytes += data.length
        data.clear()

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """Its trailers."""

    def reset_stream(self, reason: Any) -> None:
        """It is over."""

    def read_disable(self, disable: bool) -> None:
        """Nothing comes back."""


class _Client:
    """What is known of the upstream connection."""

    protocol = "HTTP/1.1"

    def __init__(self, host: Host) -> None:
        self.connection_info = ConnectionInfo(host.address, host.address, 0)
        self.connection = self
        self.id = 0


class _Waiting:
    """A request for a connection that never comes."""

    def cancel(self, *policy: Any) -> None:
        """It is no longer waited for."""


class _Pool:
    """The pool of one host."""

    def __init__(self, sent: list[Sent], cluster: str, host: Host) -> None:
        self._sent = sent
        self._cluster = cluster
        self._host = host

    def new_stream(self, decoder: Any, callbacks: Any) -> None:
        """A stream, at once."""
        sent = Sent(self._cluster, self._host, callbacks)
        self._sent.append(sent)
        callbacks.on_pool_ready(_Encoder(sent), self._host, _Client(self._host))

    def new_connection(self, callbacks: Any, *args: Any) -> _Waiting:
        """A tunnel's connection."""
        self._sent.append(Sent(self._cluster, self._host, callbacks))
        return _Waiting()


class RehearsalCluster:
    """A cluster whose pools go nowhere; all else is the cluster's own."""

    def __init__(self, cluster: ThreadLocalCluster, sent: list[Sent]) -> None:
        self.cluster = cluster
        self.info = cluster.info
        self._sent = sent

    def choose_host(self, context: Any) -> Host | None:
        """The load balancer's choice."""
        return self.cluster.choose_host(context)

    def http_pool(self, host: Host, *args: Any) -> _Pool:
        """The pool of a host."""
        return _Pool(self._sent, self.info.name, host)

    def tcp_pool(self, host: Host, *args: Any) -> _Pool:
        """Likewise."""
        return _Pool(self._sent, self.info.name, host)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cluster, name)


class RehearsalClusters:
    """Finds clusters by name, as a worker's cluster manager."""

    def __init__(self, world: World, context: FactoryContext, dispatcher: RehearsalDispatcher) -> None:
        self._world = world
        self._context = context
        self._dispatcher: Any = dispatcher
        self._clusters: dict[str, RehearsalCluster] = {}
        self.sent: list[Sent] = []

    def get(self, name: str) -> RehearsalCluster | None:
        """The cluster of this name."""
        found = self._clusters.get(name)
        if found is None:
            known = self._world.cluster(name)
            if known is None:
                return None
            config = cluster_config.compile(known.message, self._context)
            cluster = ThreadLocalCluster(config, self._dispatcher)
            if config.type is not ClusterType.ORIGINAL_DST:
                cluster.update_hosts(known.hosts)
            found = self._clusters[name] = RehearsalCluster(cluster, self.sent)
        return found

    def __contains__(self, name: str) -> bool:
        return self._world.cluster(name) is not None

    def close(self) -> None:
        """Let the clusters go."""
        for cluster in self._clusters.values():
            cluster.cluster.close()
        self._clusters.clear()
