"""``envoy.transport_sockets.upstream_proxy_protocol``: a PROXY protocol header before everything else.

It tells of the downstream connection for which a connection is made, so that connections are shared only by requests of
one pair of addresses. A connection that is made for nobody (a health check) tells of itself (version 1) or of nothing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from envoy.config.core.v3 import proxy_protocol_pb2

from proxeny.extensions.proxy_protocol_tlvs import compile_tlvs
from proxeny.extensions.transport_sockets.passthrough import PassthroughUpstreamFactory
from proxeny.kernel.sockets import local_sockaddr
from proxeny.kernel.transports import Preface
from proxeny.network.address import from_sockaddr
from proxeny.network.proxy_protocol_header import local_v2_header, v1_header, v2_header
from proxeny.network.transport_socket import compile_upstream
from proxeny.stats.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Hashable

    from proxeny.kernel.stats import Block
    from proxeny.kernel.stream import Stream, Transport
    from proxeny.network.connection import ClientConnection
    from proxeny.network.factory_context import FactoryContext
    from proxeny.network.proxy_protocol import ProxyProtocolData
    from proxeny.network.transport_socket import TransportSocketOptions, UpstreamHost, UpstreamTransportSocketFactory

log = logging.getLogger("proxeny.connection")

UPSTREAM_PROXY_PROTOCOL: Final = Schema(
    "upstream_proxy_protocol", counters=("upstream.proxyprotocol.v2_tlvs_exceed_max_length",)
)
"""Prefix ``cluster.<name>.``."""
_EXCEED: Final = 0
HOST_METADATA: Final = "envoy.transport_sockets.proxy_protocol"
"""Typed metadata of an endpoint: a PerHostConfig with further TLVs."""
_V2: Final = proxy_protocol_pb2.ProxyProtocolConfig.V2
_INCLUDE_ALL: Final = proxy_protocol_pb2.ProxyProtocolPassThroughTLVs.INCLUDE_ALL


class HeaderRules:
    """What headers say (``core.v3.ProxyProtocolConfig``)."""

    __slots__ = ("_added", "_pass_all", "_passed", "_stats", "_version_2")

    def __init__(self, config: Any, stats: Block) -> None:
        passed = config.pass_through_tlvs
        self._pass_all = config.HasField("pass_through_tlvs") and passed.match_type == _INCLUDE_ALL
        self._passed = frozenset([kind & 0xFF for kind in passed.tlv_type])
        self._version_2 = config.version == _V2
        self._added = compile_tlvs(config.added_tlvs)
        self._stats = stats

    def compose(self, connection: ClientConnection, data: ProxyProtocolData | None, host: UpstreamHost) -> bytes:
        """The header of a connection that is made for ``data``."""
        if not self._version_2:
            if data is not None:
                return v1_header(data.source, data.destination)
            own = from_sockaddr(local_sockaddr(connection.fd))
            return v1_header(own, connection.connection_info.remote_address)
        if data is None:
            return local_v2_header()
        header, complete = v2_header(data.source, data.destination, self._tlvs(connection, data, host))
        if not complete:
            self._stats.inc(_EXCEED)
        return header

    def _tlvs(
        self, connection: ClientConnection, data: ProxyProtocolData, host: UpstreamHost
    ) -> list[tuple[int, bytes]]:
        """Those of the host, then ours, then those of downstream; a kind that one of them has is not taken from the
        next."""
        found = host_tlvs(host.metadata)
        kinds = {kind for kind, _ in found}
        if self._added:
            info = connection.stream_info
            info.upstream_host = host
            found += [(tlv.kind, tlv.value(info)) for tlv in self._added if tlv.kind not in kinds]
            kinds.update([tlv.kind for tlv in self._added])
        return found + [
            (kind, value) for kind, value in data.tlvs if kind not in kinds and (self._pass_all or kind in self._passed)
        ]


def host_tlvs(metadata: Any) -> list[tuple[int, bytes]]:
    """The TLVs in an endpoint's metadata (core.v3.Metadata); none where it is not what it should be."""
    if metadata is None or HOST_METADATA not in metadata.typed_filter_metadata:
        return []
    config = proxy_protocol_pb2.PerHostConfig()
    if not metadata.typed_filter_metadata[HOST_METADATA].Unpack(config):
        log.warning("Failed to unpack custom TLVs from upstream host metadata. Will still use config-level TLVs.")
        return []
    return [(tlv.type & 0xFF, tlv.value) for tlv in config.added_tlvs]


class ProxyProtocolSocketFactory(PassthroughUpstreamFactory):
    """Of a cluster."""

    __slots__ = ("_rules",)

    def __init__(self, inner: UpstreamTransportSocketFactory, rules: HeaderRules) -> None:
        super().__init__(inner)
        self._rules = rules
        self.uses_options = self.uses_addresses = True

    def create(
        self, connection: ClientConnection, options: TransportSocketOptions | None, host: UpstreamHost
    ) -> Transport:
        """As UpstreamTransportSocketFactory.create."""
        data = None if options is None else options.proxy_protocol

        def compose(stream: Stream) -> bytes:
            return self._rules.compose(connection, data, host)

        return Preface(compose, self.inner.create(connection, options, host))

    def hash_key(self, options: TransportSocketOptions | None) -> tuple[Hashable, ...]:
        """As UpstreamTransportSocketFactory.hash_key."""
        key = self.inner.hash_key(options)
        data = None if options is None else options.proxy_protocol
        if data is None:
            return key
        return (*key, data.source.as_string(), data.destination.as_string())


class UpstreamProxyProtocolFactory:
    """Compiles ``ProxyProtocolUpstreamTransport``."""

    def create_upstream(self, message: Any, scope: str, context: FactoryContext) -> ProxyProtocolSocketFactory:
        """As TransportSocketExtension.create_upstream."""
        inner = compile_upstream(message.transport_socket, scope, context)
        rules = HeaderRules(message.config, context.stats.block(UPSTREAM_PROXY_PROTOCOL, scope))
        return ProxyProtocolSocketFactory(inner, rules)


FACTORY: Final = UpstreamProxyProtocolFactory()
