"""Takes the PROXY header off a connection and believes what it says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from envoy.config.core.v3 import proxy_protocol_pb2
from envoy.extensions.filters.listener.proxy_protocol.v3 import proxy_protocol_pb2 as filter_pb2

from proxeny.config.errors import ConfigError
from proxeny.extensions.listener_filters.proxy_protocol.parser import (
    FIRST_READ,
    Header,
    HeaderParser,
    Outcome,
    is_unicast,
    read_tlvs,
)
from proxeny.listener.filter import ListenerFilter
from proxeny.network.filter import FilterStatus
from proxeny.network.proxy_protocol import PROXY_PROTOCOL_OPTIONS, ProxyProtocolData
from proxeny.stats.schema import Schema

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext

NAME: Final = "envoy.filters.listener.proxy_protocol"
"""Also the namespace of dynamic metadata where a rule names none."""
TLV_STATE: Final = "envoy.network.proxy_protocol.tlv"
"""The filter state's name of what the rules found, where ``tlv_location`` is FILTER_STATE."""

STATS: Final = Schema(
    "proxy_proto",
    counters=(
        "not_found_allowed",
        "not_found_disallowed",
        "versions.v1.disallowed",
        "versions.v1.error",
        "versions.v1.found",
        "versions.v2.disallowed",
        "versions.v2.error",
        "versions.v2.found",
    ),
)
LEGACY_STATS: Final = Schema("proxy_proto_legacy", counters=("downstream_cx_proxy_proto_error",))
LEGACY_ERROR: Final = LEGACY_STATS.slot("downstream_cx_proxy_proto_error")
NOT_FOUND_ALLOWED: Final = STATS.slot("not_found_allowed")
NOT_FOUND_DISALLOWED: Final = STATS.slot("not_found_disallowed")
FOUND: Final = {1: STATS.slot("versions.v1.found"), 2: STATS.slot("versions.v2.found")}
DISALLOWED: Final = {1: STATS.slot("versions.v1.disallowed"), 2: STATS.slot("versions.v2.disallowed")}
ERROR: Final = {
    0: NOT_FOUND_DISALLOWED,
    1: STATS.slot("versions.v1.error"),
    2: STATS.slot("versions.v2.error"),
}

CONTINUE: Final = FilterStatus.CONTINUE
STOP: Final = FilterStatus.STOP_ITERATION

_NOT_UTF8: Final = re.compile("[\udc80-\udcff]")


class ProxyProtocolConfig:
    """The compiled message."""

    __slots__ = ("in_filter_state", "legacy_stats", "optional", "passed_on", "rules", "stats", "v1", "v2")

    def __init__(self, message: Any, context: FactoryContext) -> None:
        disallowed = message.disallowed_versions
        self.v1 = proxy_protocol_pb2.ProxyProtocolConfig.V1 not in disallowed
        self.v2 = proxy_protocol_pb2.ProxyProtocolConfig.V2 not in disallowed
        if not self.v1 and not self.v2:
            raise ConfigError("Proxy Protocol filter is misconfigured: all proxy protocol versions are disallowed.")
        self.optional = message.allow_requests_without_proxy_protocol
        self.rules = {
            rule.tlv_type: (rule.on_tlv_present.metadata_namespace or NAME, rule.on_tlv_present.key)
            for rule in message.rules
        }
        self.in_filter_state = message.tlv_location == filter_pb2.ProxyProtocol.FILTER_STATE
        self.passed_on = _passed_on(message)
        self.stats = context.stats.block(
            STATS, f"proxy_proto.{message.stat_prefix}." if message.stat_prefix else "proxy_proto."
        )
        self.legacy_stats = context.stats.block(LEGACY_STATS, "")


def _passed_on(message: Any) -> frozenset[int]:
    """The types of TLVs that upstreams shall get too."""
    if not message.HasField("pass_through_tlvs"):
        return frozenset()
    passed = message.pass_through_tlvs
    if passed.match_type == proxy_protocol_pb2.ProxyProtocolPassThroughTLVs.INCLUDE_ALL:
        return frozenset(range(256))
    return frozenset(passed.tlv_type)


class ProxyProtocol(ListenerFilter):
    """Reads the header of one socket."""

    __slots__ = ("_config", "_parser", "max_read_bytes")

    def __init__(self, config: ProxyProtocolConfig) -> None:
        self._config = config
        self._parser = HeaderParser(config.v1, config.v2, config.optional)
        self.max_read_bytes = FIRST_READ

    def on_accept(self) -> FilterStatus:
        """Wait for the first bytes."""
        return STOP

    def on_data(self, data: bytes) -> FilterStatus:
        """Read on in the header."""
        parser, stats = self._parser, self._config.stats
        outcome = parser.feed(data)
        header = parser.header
        if outcome is Outcome.MORE:
            if header is not None:
                self.max_read_bytes = max(self.max_read_bytes, header.size)
            return STOP
        if outcome is Outcome.SKIPPED:
            stats.inc(NOT_FOUND_ALLOWED)
            return CONTINUE
        if outcome is Outcome.DENIED:
            stats.inc2(FOUND[parser.version], DISALLOWED[parser.version])
        elif header is not None and self._take(header, data):
            stats.inc(FOUND[parser.version])
            self.socket.drain(header.size)
            return CONTINUE
        else:
            stats.inc(ERROR[parser.version])
            self._config.legacy_stats.inc(LEGACY_ERROR)
        self.socket.close()
        return STOP

    def _take(self, header: Header, data: bytes) -> bool:
        """Make the header's facts the connection's; False when they cannot be."""
        tlvs, whole = read_tlvs(data[header.tlvs_at : header.size])
        self._keep(tlvs)
        if not whole:
            return False
        info = self.socket.connection_info
        source, destination = header.source, header.destination
        passed = tuple([tlv for tlv in tlvs if tlv[0] in self._config.passed_on])
        self.socket.stream_info.filter_state.setdefault(
            PROXY_PROTOCOL_OPTIONS,
            ProxyProtocolData(source or info.remote_address, destination or info.local_address, passed),
        )
        if source is None or destination is None:
            return True
        if not is_unicast(source) or not is_unicast(destination):
            return False
        if destination != info.local_address:
            self.socket.restore_local_address(destination)
        info.remote_address = self.socket.stream_info.downstream_remote_address = source
        return True

    def _keep(self, tlvs: list[tuple[int, bytes]]) -> None:
        """Put the values that rules ask for where they belong."""
        config = self._config
        for kind, value in tlvs if config.rules else ():
            if kind not in config.rules:
                continue
            namespace, key = config.rules[kind]
            text = _NOT_UTF8.sub("!", value.decode("utf-8", "surrogateescape"))
            info = self.socket.stream_info
            if config.in_filter_state:
                info.filter_state.setdefault(TLV_STATE, {})[key] = text
            else:
                # The first of a key stays, as in Envoy.
                info.dynamic_metadata.setdefault(namespace, {}).setdefault(key, text)
