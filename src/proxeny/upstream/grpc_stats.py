"""Statistics of gRPC calls, by cluster, service and method (Envoy: ``Grpc::ContextImpl``).

``cluster.<name>.<protocol>.<service>.<method>.<what>``; without service and method where they are not told apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.kernel.stats import DynamicStats
    from proxeny.upstream.cluster_info import ClusterInfo

MOST_METHODS = 1000
"""Methods of a cluster whose names are kept ready; paths are the clients' to choose."""


class GrpcMethodStats:
    """The statistics of one method (or of all) in one cluster."""

    __slots__ = (
        "_dynamic",
        "_failure",
        "_request_messages",
        "_response_messages",
        "_statuses",
        "_success",
        "_time",
        "_total",
    )

    def __init__(self, dynamic: DynamicStats, prefix: str) -> None:
        """``prefix``: with the dot at its end."""
        self._dynamic = dynamic
        self._success = f"{prefix}success"
        self._failure = f"{prefix}failure"
        self._total = f"{prefix}total"
        self._request_messages = f"{prefix}request_message_count"
        self._response_messages = f"{prefix}response_message_count"
        self._time = f"{prefix}upstream_rq_time"
        self._statuses = {b"%d" % status: f"{prefix}{status}" for status in range(17)}

    def charge_status(self, status: bytes | None) -> None:
        """A call ended with this ``grpc-status``; None: it was not said here."""
        if status is None:
            return
        name = self._statuses.get(status)
        if name is None:
            prefix = self._total.removesuffix("total")
            name = (prefix + status.decode("latin-1")).removesuffix(".")
        self._dynamic.inc(name)
        self.charge(status == b"0")

    def charge(self, success: bool) -> None:
        """A call ended."""
        self._dynamic.inc(self._success if success else self._failure)
        self._dynamic.inc(self._total)

    def add_request_messages(self, count: int) -> None:
        """The client sent messages."""
        self._dynamic.add(self._request_messages, count)

    def add_response_messages(self, count: int) -> None:
        """The upstream sent messages."""
        self._dynamic.add(self._response_messages, count)

    def record_upstream_time(self, milliseconds: int) -> None:
        """From the last byte of the request to the last of the response."""
        self._dynamic.record(self._time, milliseconds)


class GrpcClusters:
    """What one filter keeps of the clusters that calls went to, by name: the statistics of their methods."""

    __slots__ = ("_kept", "_prefix_of")

    def __init__(self, prefix_of: Callable[[bytes | None], str | None]) -> None:
        """``prefix_of``: of a path, under which its call is counted; None: not at all."""
        self._prefix_of = prefix_of
        self._kept: dict[str, tuple[ClusterInfo, dict[bytes | None, GrpcMethodStats | None]]] = {}

    def find(self, info: ClusterInfo, path: bytes | None) -> GrpcMethodStats | None:
        """Where a call to the cluster is counted; None: nowhere."""
        kept = self._kept.get(info.name)
        if kept is None or kept[0] is not info:
            kept = self._kept[info.name] = (info, {})
        methods = kept[1]
        if path in methods:
            return methods[path]
        prefix = self._prefix_of(path)
        found = None if prefix is None else GrpcMethodStats(info.dynamic, prefix)
        if len(methods) >= MOST_METHODS:
            methods.clear()
        methods[path] = found
        return found
