"""``envoy.filters.http.grpc_stats``: counts calls, their statuses and their messages, by cluster and perhaps by method
(Envoy: ``source/extensions/filters/http/grpc_stats``). Calls of the Connect protocol are counted among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from envoy.extensions.filters.http.grpc_stats.v3 import config_pb2

from proxeny.http.filter import FilterDataStatus, FilterHeadersStatus, FilterTrailersStatus, StreamFilter
from proxeny.http.grpc import (
    CONNECT_VERSION,
    GRPC_STATUS,
    is_connect_streaming,
    is_grpc_request,
    is_grpc_response,
    service_and_method,
)
from proxeny.kernel.grpc_frames import FrameInspector
from proxeny.upstream.grpc_stats import GrpcClusters

if TYPE_CHECKING:
    from proxeny.kernel.buffer import Buffer
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.grpc_stats import GrpcMethodStats

NAME: Final = "envoy.filters.http.grpc_stats"
CONTINUE: Final = FilterHeadersStatus.CONTINUE
DATA_CONTINUE: Final = FilterDataStatus.CONTINUE


class MessageCounts:
    """The filter state object that ``emit_filter_state`` leaves: how many messages went either way."""

    __slots__ = ("request_message_count", "response_message_count")

    def __init__(self) -> None:
        self.request_message_count = 0
        self.response_message_count = 0

    def serialize_as_string(self) -> str:
        """Both numbers, for logs."""
        return f"{self.request_message_count},{self.response_message_count}"

    def serialize_as_proto(self) -> config_pb2.FilterObject:
        """As a ``FilterObject``."""
        return config_pb2.FilterObject(
            request_message_count=self.request_message_count, response_message_count=self.response_message_count
        )

    def get_field(self, name: str) -> None:
        """Its fields cannot be asked for one by one."""


class StatsConfig:
    """What all requests share."""

    __slots__ = ("_all_methods", "_allowed", "_context", "_replaces_dots", "clusters", "emits_state", "times_upstream")

    def __init__(self, config: Any, context: FactoryContext) -> None:
        self._context = context
        self.emits_state: bool = config.emit_filter_state
        self.times_upstream: bool = config.enable_upstream_stats
        self._replaces_dots: bool = config.replace_dots_in_grpc_service_name
        self._all_methods: bool = config.stats_for_all_methods.value
        self._allowed = frozenset(
            (service.name, method)
            for service in config.individual_method_stats_allowlist.services
            for method in service.method_names
        )
        self.clusters = GrpcClusters(self._prefix_of)

    def _prefix_of(self, path: bytes | None) -> str | None:
        names = service_and_method(path)
        if names is None:
            return None
        service, method = names
        if self._all_methods:
            if self._replaces_dots:
                service = service.replace(".", "_")
        elif names not in self._allowed:
            return "grpc."
        return f"grpc.{service}.{method}."

    def method_stats(self, route: Any, headers: HeaderMap) -> GrpcMethodStats | None:
        """Where a call on this route is counted; None: nowhere."""
        if route is None or route.entry.is_direct:
            return None
        entry = route.entry
        cluster = self._context.cluster_manager.get(entry.cluster or entry.cluster_name(headers))
        return None if cluster is None else self.clusters.find(cluster.info, headers.get(b":path"))


class GrpcStats(StreamFilter):
    """The filter of one request."""

    __slots__ = (
        "_config",
        "_counts",
        "_grpc",
        "_grpc_response",
        "_requests",
        "_responses",
        "_stats",
        "_streaming",
        "_unary",
    )

    def __init__(self, config: StatsConfig) -> None:
        self._config = config
        self._stats: GrpcMethodStats | None = None
        self._counts: MessageCounts | None = None
        self._requests: FrameInspector | None = None
        self._responses: FrameInspector | None = None
        self._grpc = False
        self._grpc_response = False
        self._streaming = False
        """A stream of the Connect protocol."""
        self._unary = False
        """A unary call of it."""

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """Find out what kind of call it is, and where it is counted."""
        self._grpc = is_grpc_request(headers)
        self._unary = bool(headers.get(CONNECT_VERSION))
        self._streaming = not self._grpc and is_connect_streaming(headers)
        if self._grpc or self._unary or self._streaming:
            self._stats = self._config.method_stats(self.decoder_callbacks.route, headers)
        return CONTINUE

    def decode_data(self, data: Buffer, end_stream: bool) -> FilterDataStatus:
        """Count the messages of the request."""
        count = 0
        if self._grpc or self._streaming:
            if self._requests is None:
                self._requests = FrameInspector()
            count = self._requests.inspect(data)
        elif self._unary and end_stream:
            count = 1
        if count:
            if self._config.emits_state:
                self._state().request_message_count += 0 if self._unary and self._grpc else count
            if self._stats is not None:
                self._stats.add_request_messages(count)
        return DATA_CONTINUE

    def encode_headers(self, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """A response that is all headers has its status there."""
        self._grpc_response = is_grpc_response(headers, end_stream)
        stats = self._stats
        if stats is None:
            return CONTINUE
        if self._unary:
            stats.charge(headers.get(b":status") == b"200")
        elif not (headers.get(b":status") == b"200" and is_connect_streaming(headers)):
            stats.charge_status(headers.get(GRPC_STATUS))
        if end_stream:
            self._record_time(stats)
        return CONTINUE

    def encode_data(self, data: Buffer, end_stream: bool) -> FilterDataStatus:
        """Count the messages of the response; those of Connect end with it."""
        count = 0
        if self._grpc_response or self._streaming:
            if self._responses is None:
                self._responses = FrameInspector(True)
            count = self._responses.inspect(data)
        elif self._unary and end_stream:
            count = 1
        if count:
            if self._config.emits_state:
                self._state().response_message_count += 0 if self._unary and self._grpc else count
            if self._stats is not None:
                self._stats.add_response_messages(count)
        if end_stream and self._stats is not None and not self._grpc_response:
            if self._streaming and self._responses is not None:
                self._stats.charge(_succeeded(self._responses.end_frame()))
            if self._streaming or self._unary:
                self._record_time(self._stats)
        return DATA_CONTINUE

    def encode_trailers(self, trailers: HeaderMap) -> FilterTrailersStatus:
        """The status of a call."""
        if self._grpc and self._stats is not None:
            self._stats.charge_status(trailers.get(GRPC_STATUS))
            self._record_time(self._stats)
        return FilterTrailersStatus.CONTINUE

    def _state(self) -> MessageCounts:
        if self._counts is None:
            self._counts = MessageCounts()
            self.decoder_callbacks.stream_info.filter_state[NAME] = self._counts
        return self._counts

    def _record_time(self, stats: GrpcMethodStats) -> None:
        if not self._config.times_upstream:
            return
        info = self.decoder_callbacks.stream_info
        if info.last_upstream_tx_ns and info.last_upstream_rx_ns:
            stats.record_upstream_time(max(0, info.last_upstream_rx_ns - info.last_upstream_tx_ns) // 1_000_000)


def _succeeded(end: bytes | None) -> bool:
    """Whether the message that ends a stream of Connect is there, JSON, and tells of no error."""
    if end is None:
        return False
    try:
        message = msgspec.json.decode(end)
    except (msgspec.DecodeError, RecursionError):
        return False
    return isinstance(message, dict) and "error" not in message


class GrpcStatsFactory:
    """The compiled filter."""

    __slots__ = ("_config", "name")

    filter_class = GrpcStats
    is_terminal = False
    rehearses = True

    def __init__(self, config: StatsConfig) -> None:
        self._config = config
        self.name = NAME

    def create(self) -> GrpcStats:
        """The filter of one request."""
        return GrpcStats(self._config)


class GrpcStatsExtension:
    """The registered factory; there is no per-route configuration."""

    is_terminal = False

    def create_filter_factory(self, config: Any, stats_prefix: str, context: FactoryContext) -> GrpcStatsFactory:
        """Compile ``config``."""
        return GrpcStatsFactory(StatsConfig(config, context))


FACTORY: Final = GrpcStatsExtension()
