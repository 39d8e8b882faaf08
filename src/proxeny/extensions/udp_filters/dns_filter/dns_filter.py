"""DnsFilter: answers DNS queries from its table, from clusters' hosts, or by asking others (Envoy: ``DnsFilter``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxeny.extensions.udp_filters.dns_filter.access_log import DnsStreamInfo
from proxeny.extensions.udp_filters.dns_filter.lookups import Lookups
from proxeny.extensions.udp_filters.dns_filter.message import Record, RecordType, Response, parse_query
from proxeny.extensions.udp_filters.dns_filter.stats import (
    CLUSTER_ANSWERS,
    EXTERNAL_ANSWERS,
    EXTERNAL_QUERIES,
    EXTERNALLY_RESOLVED,
    KNOWN_DOMAIN,
    LOCAL_ANSWERS,
    OF_PROBLEM,
    QUERIES,
    RX_BYTES,
    RX_ERRORS,
    RX_INVALID,
    RX_QUERIES,
    TX_BYTES,
    TX_RESPONSES,
    UNANSWERED,
    WITH_ADDITIONAL,
)
from proxeny.extensions.udp_filters.dns_filter.table import packed, record_of
from proxeny.listener.udp_filter import UdpListenerFilter, local_of, peer_of
from proxeny.network.filter import FilterStatus
from proxeny.network.stream_info import ConnectionInfo

if TYPE_CHECKING:
    from proxeny.extensions.udp_filters.dns_filter.config import DnsFilterConfig
    from proxeny.extensions.udp_filters.dns_filter.table import Addresses, Target
    from proxeny.listener.udp_filter import UdpListenerCallbacks

STOP_ITERATION: Final = FilterStatus.STOP_ITERATION
A: Final = RecordType.A
AAAA: Final = RecordType.AAAA
SRV: Final = RecordType.SRV


class DnsFilter(UdpListenerFilter):
    """The name server of one address of a listener in one worker."""

    __slots__ = ("_callbacks", "_lookups", "_manager", "_random", "_stats", "_table", "config")

    def __init__(self, config: DnsFilterConfig, callbacks: UdpListenerCallbacks) -> None:
        self.config = config
        self._callbacks = callbacks
        self._stats = config.stats
        self._table = config.table
        self._manager = config.context.cluster_manager
        self._random = config.context.random
        self._lookups: Lookups | None = None
        if config.lookups is not None:
            self._lookups = Lookups(callbacks.dispatcher, config.lookups, self._on_looked_up)

    def on_data(self, flow: bytes, data: bytes) -> FilterStatus:
        """A query, or what somebody takes for one: it gets a response in any case."""
        stats = self._stats
        stats.record(RX_BYTES, len(data))
        stats.inc(RX_QUERIES)
        query = parse_query(data)
        response = Response(query)
        if query.problem is not None:
            slot = OF_PROBLEM.get(query.problem)
            if slot is not None:
                stats.inc(slot)
            stats.inc(RX_INVALID)
            self._send(response, flow)
            return STOP_ITERATION
        if query.additional:
            stats.inc(WITH_ADDITIONAL)
        stats.inc(QUERIES.slot(query.type))
        if not self._answers_itself(response) and self._lookups is not None:
            self._lookups.resolve(response, flow, self._table.retry_count)
            return STOP_ITERATION
        if not response.answers:
            stats.inc(UNANSWERED)
        self._send(response, flow)
        return STOP_ITERATION

    def on_receive_error(self, error: int) -> FilterStatus:
        """Reading the listening socket failed."""
        self._stats.inc(RX_ERRORS)
        return STOP_ITERATION

    # -- what is known here ------------------------------------------------------------------------------------

    def _answers_itself(self, response: Response) -> bool:
        """Put the records into the response; False when the name (with this type) is not ours to answer."""
        query = response.query
        known = self._table.knows(query.name)
        if known:
            self._stats.inc(KNOWN_DOMAIN)
        elif self._lookups is not None:
            return False
        if query.type in (A, AAAA):
            return self._of_cluster(response) or self._of_table(response)
        if query.type == SRV:
            return self._service_of_cluster(response) or self._service_of_table(response)
        return False

    def _of_cluster(self, response: Response) -> bool:
        """The hosts of the cluster that the name stands for, or is itself the name of."""
        query = response.query
        endpoint = self._table.find(query.name)
        name = endpoint.cluster if endpoint is not None and endpoint.cluster else query.name
        ttl = self._table.ttl(name)
        found = False
        for record_type, data, _ in self._hosts(name):
            if record_type == query.type:
                response.answers.append(Record(query.name, record_type, ttl, data))
                self._stats.inc(CLUSTER_ANSWERS.slot(record_type))
                found = True
        return found

    def _of_table(self, response: Response) -> bool:
        query = response.query
        endpoint = self._table.find(query.name)
        addresses = endpoint.addresses if endpoint is not None else None
        if not addresses:
            return False
        ttl = self._table.ttl(query.name)
        for record_type, data in addresses:
            if record_type == query.type:
                response.answers.append(Record(query.name, record_type, ttl, data))
                self._stats.inc(LOCAL_ANSWERS.slot(record_type))
        return True

    def _service_of_cluster(self, response: Response) -> bool:
        """One SRV record per host of the service's cluster; the first target decides whether it has one."""
        endpoint = self._table.find(response.query.name)
        target = endpoint.targets[0] if endpoint is not None and endpoint.targets else None
        if endpoint is None or target is None or not target.is_cluster:
            return False
        ttl = self._table.ttl(target.name)
        found = False
        for record_type, data, port in self._hosts(target.name):
            self._add_service(response, target, endpoint.ttl, target.port or port)
            self._stats.inc(CLUSTER_ANSWERS.slot(SRV))
            response.additional.setdefault(target.name, Record(target.name, record_type, ttl, data))
            self._stats.inc(CLUSTER_ANSWERS.slot(record_type))
            found = True
        return found

    def _service_of_table(self, response: Response) -> bool:
        """One SRV record per target that the table has addresses of."""
        endpoint = self._table.find(response.query.name)
        found = False
        for target in endpoint.targets if endpoint is not None else ():
            addresses = self._addresses_of(target.name)
            if addresses is None or endpoint is None:
                continue
            self._add_service(response, target, endpoint.ttl, target.port)
            self._stats.inc(LOCAL_ANSWERS.slot(SRV))
            ttl = self._table.ttl(target.name)
            for record_type, data in addresses:
                response.additional.setdefault(target.name, Record(target.name, record_type, ttl, data))
                self._stats.inc(LOCAL_ANSWERS.slot(record_type))
                found = True
        return found

    def _addresses_of(self, name: str) -> Addresses | None:
        endpoint = self._table.find(name)
        return None if endpoint is None else endpoint.addresses

    def _add_service(self, response: Response, target: Target, ttl: int, port: int) -> None:
        response.answers.append(Record(response.query.name, SRV, ttl, target.data(port), target.name))

    def _hosts(self, cluster_name: str) -> list[tuple[int, bytes, int]]:
        """(record type, wire form, port) of every host with an IP address, healthy or not, as in Envoy."""
        cluster = self._manager.get(cluster_name) if self._manager is not None else None
        if cluster is None:
            return []
        addresses = [host.address for host in cluster.priority_set.hosts()]
        return [(*record_of(address.sockaddr), address.port) for address in addresses if address.ip_version]

    # -- what others know --------------------------------------------------------------------------------------

    def _on_looked_up(self, response: Response, flow: bytes, addresses: list[str]) -> None:
        stats, query = self._stats, response.query
        stats.inc(EXTERNALLY_RESOLVED)
        if not addresses:
            stats.inc(UNANSWERED)
        stats.inc(EXTERNAL_QUERIES.slot(query.type))
        ttl = self._table.ttl(query.name)
        for address in addresses:
            stats.inc(EXTERNAL_ANSWERS.slot(query.type))
            record_type, data = packed(address)
            if record_type == query.type:
                response.answers.append(Record(query.name, record_type, ttl, data))
        self._send(response, flow)

    # -- the answer --------------------------------------------------------------------------------------------

    def _send(self, response: Response, flow: bytes) -> None:
        start = self._random.random() if self._random is not None else 0
        data = response.encode(self._lookups is not None, start)
        self._stats.inc(TX_RESPONSES)
        self._stats.record(TX_BYTES, len(data))
        self._callbacks.reply(flow, data)
        if self.config.access_logs:
            self._log(response, flow)

    def _log(self, response: Response, flow: bytes) -> None:
        dispatcher = self._callbacks.dispatcher
        connection = ConnectionInfo(local_of(flow), peer_of(flow), 0)
        info = DnsStreamInfo(connection, dispatcher.system_time(), dispatcher.monotonic_ns(), response)
        info.end_ns = info.start_ns
        for access_log in self.config.access_logs:
            access_log.log(None, None, None, info)

    def close(self) -> None:
        """Whoever still waits is not answered."""
        if self._lookups is not None:
            self._lookups.close()
