"""A cluster of type ORIGINAL_DST in one worker (Envoy: ``OriginalDstCluster`` and its load balancer).

It knows no hosts beforehand: each connection or request brings its destination, and the host of a destination is made
when it is first asked for. A host that was not chosen during a whole ``cleanup_interval``, and to which no connection
is open, goes again. Main is told of both, for the membership gauges and /clusters; nothing here waits for it.

Each worker has a number of per-host stat blocks of its own, allotted by main with the cluster. The first is shared by
all hosts for which there was none left; /clusters shows those without counts of their own.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from proxeny.network.address import Address, parse_ip_port
from proxeny.upstream.endpoints import HostChange, HostEntry
from proxeny.upstream.host import Host
from proxeny.upstream.original_dst_config import HOST_BLOCKS, SHARED_BLOCK
from proxeny.upstream.stats import DEFAULT_TOTAL_MATCH_COUNT, ORIGINAL_DST_HOST_INVALID

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.event.dispatcher import Dispatcher
    from proxeny.network.stream_info import StreamInfo
    from proxeny.upstream.cluster_info import ClusterInfo
    from proxeny.upstream.load_balancer.context import LbContext
    from proxeny.upstream.load_balancer.contract import DetermineLoad
    from proxeny.upstream.original_dst_config import OriginalDstOptions

log = logging.getLogger("proxeny.upstream")

SWEEP: Final = 500
"""Hosts that are looked at in one turn (about half a millisecond)."""
SWEEP_PAUSE_MS: Final = 1
FILTER_STATE_KEY: Final = "envoy.network.transport_socket.original_dst_address"


class OnDemandHost(Host):
    """A host that was made for a destination."""

    __slots__ = ("block", "used")

    def __init__(self, cluster: ClusterInfo, entry: HostEntry, block: int) -> None:
        super().__init__(cluster, entry, cluster.host_stats(entry.stat_index))
        self.block = block
        self.used = True
        """Whether it was chosen since the last clean-up."""

    @property
    def in_pools(self) -> bool:
        """Whether connections to it exist or are waited for."""
        return any(not pool.is_idle for pools in (self.http_pools, self.tcp_pools) for pool in pools.values())


class OriginalDstHosts:
    """The hosts of the cluster, by address, and the choice among them."""

    __slots__ = ("_first_block", "_free", "_hosts", "_info", "_options", "_report", "_sweep", "_timer")

    def __init__(
        self,
        info: ClusterInfo,
        options: OriginalDstOptions,
        dispatcher: Dispatcher,
        worker_index: int,
        report: Callable[[list[HostChange]], object],
    ) -> None:
        self._info = info
        self._options = options
        self._report = report
        self._hosts: dict[str, OnDemandHost] = {}
        self._first_block = worker_index * HOST_BLOCKS
        self._free = list(range(HOST_BLOCKS - 1, SHARED_BLOCK, -1))
        self._sweep: list[OnDemandHost] = []
        """What the clean-up that is under way has still to look at."""
        self._timer = dispatcher.create_timer(self._clean_up)

    # -- choosing ------------------------------------------------------------------------------------------------
    def choose_host(self, context: LbContext | None) -> Host | None:
        """The host of the destination that ``context`` brings; None when it brings none."""
        address = None if context is None else self._destination(context)
        if address is not None:
            host = self._hosts.get(address.as_string())
            if host is not None:
                host.used = True
                return host
            if address.ip_version:
                return self._add(address)
            log.debug("Failed to create host for %s.", address.as_string())
        log.warning("original_dst_load_balancer: No downstream connection or no original_dst.")
        return None

    def _destination(self, context: LbContext) -> Address | None:
        """Filter state, then metadata, then the header, then where the client's connection was going."""
        options = self._options
        address = _from_filter_state(context)
        if address is None and options.metadata_namespace:
            address = self._from_metadata(context)
        if address is None and options.header is not None:
            address = self._from_header(context, options.header)
        if address is None:
            connection = context.downstream_connection
            if connection is not None and connection.connection_info.local_address_restored:
                address = connection.connection_info.local_address
        if address is not None and options.port_override is not None and address.ip_version:
            return address.with_port(options.port_override)
        return address

    def _from_metadata(self, context: LbContext) -> Address | None:
        options = self._options
        for info in _stream_infos(context):
            value: Any = (info.dynamic_metadata_map or {}).get(options.metadata_namespace)
            for key in options.metadata_path:
                value = value.get(key) if isinstance(value, dict) else None
            if isinstance(value, list) and value:
                value = value[0]
            if isinstance(value, str):
                return self._parsed(value, "metadata")
        return None

    def _from_header(self, context: LbContext, name: bytes) -> Address | None:
        headers = context.downstream_headers
        value = None if headers is None else headers.get(name)
        return None if value is None else self._parsed(value.decode("latin-1"), "header")

    def _parsed(self, text: str, source: str) -> Address | None:
        address = parse_ip_port(text)
        if address is None:
            log.debug("original_dst_load_balancer: invalid override %s value. %s", source, text)
            self._info.stats.inc(ORIGINAL_DST_HOST_INVALID)
        return address

    def choose_host_by(self, determine: DetermineLoad, context: Any) -> Host | None:
        """There are no priorities."""
        return self.choose_host(context)

    def refresh(self) -> None:
        """Main publishes no hosts."""

    # -- hosts come and go ---------------------------------------------------------------------------------------
    def _add(self, address: Address) -> OnDemandHost:
        block = self._free.pop() if self._free else SHARED_BLOCK
        text = address.as_string()
        entry = HostEntry(address.ip, address.port, self._info.name + text, stat_index=self._first_block + block)
        host = self._hosts[text] = OnDemandHost(self._info, entry, block)
        log.debug("Created host %r.", host)
        # Envoy looks for a matching transport socket whenever a host is made.
        self._info.stats.inc(DEFAULT_TOTAL_MATCH_COUNT)
        self._report([HostChange(True, entry.address, entry.port, block)])
        if len(self._hosts) == 1:
            self._timer.enable(self._options.cleanup_interval_ms)
        return host

    def _clean_up(self) -> None:
        """Look at all hosts, some at a time: clients may name any number of destinations."""
        sweep = self._sweep or list(self._hosts.values())
        self._sweep = sweep[SWEEP:]
        stale = []
        for host in sweep[:SWEEP]:
            if host.used:
                host.used = False
            elif not host.in_pools:
                stale.append(host)
        self._remove(stale)
        if self._sweep:
            self._timer.enable(SWEEP_PAUSE_MS)
        elif self._hosts:
            self._timer.enable(self._options.cleanup_interval_ms)

    def _remove(self, stale: list[OnDemandHost]) -> None:
        changes = []
        for host in stale:
            log.debug("Removing stale address %s.", host.address.as_string())
            del self._hosts[host.address.as_string()]
            host.drain_pools()
            if host.block != SHARED_BLOCK and not host.in_pools:
                self._info.clear_host_stats(host.entry.stat_index)
                self._free.append(host.block)
            changes.append(HostChange(False, host.entry.address, host.entry.port, host.block))
        if changes:
            self._report(changes)

    def hosts(self) -> list[Host]:
        """All hosts that there are now."""
        return list(self._hosts.values())

    def close(self) -> None:
        """The cluster goes: connections drain."""
        self._timer.close()
        self._remove(list(self._hosts.values()))

    def statistics(self) -> dict[str, Any]:
        """For admin pages and tests."""
        return {"policy": "cluster_provided", "hosts": len(self._hosts)}

    def __repr__(self) -> str:
        return f"<OriginalDstHosts {self._info.name}: {list(self._hosts)}>"


def _stream_infos(context: LbContext) -> list[StreamInfo]:
    """The request's first, then the connection's."""
    infos = []
    request = context.request_stream_info
    if request is not None:
        infos.append(request)
    connection = context.downstream_connection
    if connection is not None:
        own = connection.stream_info
        if own is not request:
            infos.append(own)
    return infos


def _from_filter_state(context: LbContext) -> Address | None:
    for info in _stream_infos(context):
        state = info.filter_state_map
        value = None if state is None else state.get(FILTER_STATE_KEY)
        if isinstance(value, Address):
            return value
        if isinstance(value, str):
            return parse_ip_port(value)
    return None
