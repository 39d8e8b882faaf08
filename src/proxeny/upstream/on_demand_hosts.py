"""Main's view of the hosts that workers make on demand (clusters of type ORIGINAL_DST): the union over the workers."""

from __future__ import annotations

from proxeny.upstream.endpoints import HostChange, HostEntry
from proxeny.upstream.original_dst_config import HOST_BLOCKS, SHARED_BLOCK


class OnDemandHosts:
    """Which worker has which host, and where its counts are."""

    __slots__ = ("_cluster_name", "_hosts")

    def __init__(self, cluster_name: str) -> None:
        self._cluster_name = cluster_name
        self._hosts: dict[tuple[str, int], dict[int, int]] = {}
        """Address and port -> worker -> stat block."""

    def apply(self, worker_index: int, change: HostChange) -> bool:
        """A worker made or removed a host; whether that changes the members."""
        key = (change.address, change.port)
        if change.added:
            fresh = key not in self._hosts
            self._hosts.setdefault(key, {})[worker_index] = change.block
            return fresh
        return self._remove(key, worker_index)

    def _remove(self, key: tuple[str, int], worker_index: int) -> bool:
        workers = self._hosts.get(key, {})
        workers.pop(worker_index, None)
        if workers or key not in self._hosts:
            return False
        del self._hosts[key]
        return True

    def forget_worker(self, worker_index: int) -> bool:
        """A worker died with all its hosts; whether that changes the members."""
        return any([self._remove(key, worker_index) for key in list(self._hosts)])

    def __len__(self) -> int:
        return len(self._hosts)

    def entries(self) -> list[HostEntry]:
        """The members."""
        return [self._entry(address, port) for address, port in self._hosts]

    def _entry(self, address: str, port: int) -> HostEntry:
        text = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        return HostEntry(address, port, self._cluster_name + text)

    def stat_indexes(self, entry: HostEntry) -> list[int]:
        """The stat blocks of a member: one of each worker that has it, and has a block for it alone."""
        workers = self._hosts.get((entry.address, entry.port), {})
        return [worker * HOST_BLOCKS + block for worker, block in workers.items() if block != SHARED_BLOCK]
