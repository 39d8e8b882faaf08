"""What the connection manager does to request and response headers before filters and codec see them.

Envoy: ``source/common/http/conn_manager_utility.cc``. Hop-by-hop headers go, x-forwarded-* and x-envoy-* are set or
distrusted, the request id is made. Everything that depends only on configuration is decided in ``HeaderSanitizer``'s
constructor; a request pays for look-ups in its own headers alone. What few configurations have is compiled by other
modules (``early_header_mutation``, ``original_ip``, ``forward_client_cert``) and entered where a slot is not None.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.config.errors import ConfigError
from proxeny.http.original_ip import last_address_from_xff
from proxeny.http.referer import is_valid_referer
from proxeny.kernel.path import list_has, list_has_exactly
from proxeny.matcher.cidr import LongestPrefix, parse_range
from proxeny.network.address import Address

if TYPE_CHECKING:
    from proxeny.http.forward_client_cert import ForwardClientCertRules
    from proxeny.http.original_ip import OriginalIpDetection
    from proxeny.kernel.headers import HeaderMap
    from proxeny.kernel.randomness import RandomGenerator
    from proxeny.network.stream_info import StreamInfo

CONNECTION = b"connection"
UPGRADE = b"upgrade"
TE = b"te"
TRAILERS = b"trailers"
XFF = b"x-forwarded-for"
XFP = b"x-forwarded-proto"
FORWARDED_PORT = b"x-forwarded-port"
REFERER = b"referer"
FORCE_TRACE = b"x-envoy-force-trace"
SCHEME = b":scheme"
HTTP = b"http"
HTTPS = b"https"
REQUEST_ID = b"x-request-id"
USER_AGENT = b"user-agent"
INTERNAL = b"x-envoy-internal"
EXTERNAL_ADDRESS = b"x-envoy-external-address"
ENVOY_PREFIX = b"x-envoy-"

HOP_BY_HOP = (
    b"connection",
    b"upgrade",
    b"keep-alive",
    b"proxy-connection",
    b"transfer-encoding",
    b"x-envoy-internal",
    b"x-forwarded-client-cert",
)
HOP_BY_HOP_UPGRADE = tuple(name for name in HOP_BY_HOP if name not in (b"connection", b"upgrade"))
CLIENT_CERT = b"x-forwarded-client-cert"
UNTRUSTED = (
    b"x-envoy-retry-on",
    b"x-envoy-retry-grpc-on",
    b"x-envoy-max-retries",
    b"x-envoy-upstream-alt-stat-name",
    b"x-envoy-upstream-rq-timeout-ms",
    b"x-envoy-upstream-rq-per-try-timeout-ms",
    b"x-envoy-upstream-rq-timeout-alt-response",
    b"x-envoy-expected-rq-timeout-ms",
    b"x-envoy-force-trace",
    b"x-envoy-ip-tags",
    b"x-envoy-original-url",
    b"x-envoy-hedge-on-per-try-timeout",
    b"x-envoy-retriable-status-codes",
    b"x-envoy-retriable-header-names",
)
UNTRUSTED_AT_EDGE = (
    b"x-envoy-decorator-operation",
    b"x-envoy-downstream-service-cluster",
    b"x-envoy-downstream-service-node",
    b"x-envoy-original-path",
    b"x-envoy-original-host",
)
RESPONSE_HOP_BY_HOP = (b"connection", b"upgrade", b"transfer-encoding", b"keep-alive", b"proxy-connection")
RESPONSE_HOP_BY_HOP_UPGRADE = RESPONSE_HOP_BY_HOP[2:]


def has_token(value: bytes | None, token: bytes) -> bool:
    """Whether a comma-separated header value holds ``token`` (case-insensitive; RFC 9110 section 5.6.1)."""
    return value is not None and list_has(value, token)


def is_upgrade(headers: HeaderMap) -> bool:
    """Whether ``headers`` ask for (or grant) an HTTP/1 upgrade (RFC 9110 section 7.8)."""
    connection = headers.get(CONNECTION)
    return connection is not None and has_token(connection, UPGRADE) and headers.get(UPGRADE) is not None


def parse_internal_range(message: Any) -> Any:
    """A range of ``internal_address_config``; ConfigError in Envoy's words."""
    try:
        return parse_range(message)
    except ConfigError:
        text = f"{message.address_prefix}/{message.prefix_len.value}"
        raise ConfigError(f"invalid ip/mask combo '{text}' (format is <ip>/<# mask bits>)") from None


class HeaderSanitizer:
    """The compiled rules of one connection manager."""

    __slots__ = (
        "add_user_agent",
        "always_set_request_id",
        "append_port",
        "client_cert",
        "detections",
        "early_mutations",
        "generate_request_id",
        "hop_by_hop",
        "hop_by_hop_upgrade",
        "internal_networks",
        "internal_only",
        "internal_unix",
        "local_address",
        "node_id",
        "preserve_external_request_id",
        "random",
        "scheme_overwrite",
        "scopes",
        "simple",
        "skip_xff_append",
        "trusted_hops",
        "use_remote_address",
        "user_agent",
        "via",
    )

    def __init__(self, config: Any, local_info: Any, random: RandomGenerator | None) -> None:
        self.use_remote_address = config.use_remote_address.value
        self.trusted_hops = config.xff_num_trusted_hops
        self.skip_xff_append = config.skip_xff_append
        self.append_port = config.append_x_forwarded_port
        self.via = config.via.encode()
        self.generate_request_id = config.generate_request_id.value if config.HasField("generate_request_id") else True
        self.preserve_external_request_id = config.preserve_external_request_id
        self.always_set_request_id = config.always_set_request_id_in_response
        self.add_user_agent = config.add_user_agent.value
        self.user_agent = local_info.cluster_name.encode()
        self.node_id = local_info.node_id.encode()
        self.local_address = local_info.address.encode()
        internal = config.internal_address_config
        ranges = [(parse_internal_range(cidr), True) for cidr in internal.cidr_ranges]
        self.internal_networks = LongestPrefix(ranges) if ranges else None
        self.internal_unix = internal.unix_sockets
        self.internal_only: tuple[bytes, ...] = ()
        self.scopes: Any = None
        """Scoped routes that say it for each request."""
        self.random = random
        self.scheme_overwrite = config.scheme_header_transformation.scheme_to_overwrite.encode()
        self.early_mutations: tuple[Any, ...] | None = None
        self.detections: tuple[OriginalIpDetection, ...] | None = None
        self.client_cert: ForwardClientCertRules | None = None
        self.hop_by_hop: tuple[bytes, ...] = HOP_BY_HOP
        self.hop_by_hop_upgrade = HOP_BY_HOP_UPGRADE
        self.simple = not (
            self.use_remote_address
            or self.internal_networks
            or self.internal_unix
            or self.add_user_agent
            or self.via
            or self.append_port
            or self.scheme_overwrite
        )

    def detect_by(self, detections: tuple[OriginalIpDetection, ...]) -> None:
        """Take clients' addresses from these (``original_ip_detection_extensions``)."""
        if detections:
            self.detections = detections
            self.simple = False

    def forward_client_cert(self, rules: ForwardClientCertRules) -> None:
        """Do not simply remove ``x-forwarded-client-cert``."""
        self.client_cert = rules
        self.hop_by_hop = tuple(name for name in HOP_BY_HOP if name != CLIENT_CERT)
        self.hop_by_hop_upgrade = tuple(name for name in HOP_BY_HOP_UPGRADE if name != CLIENT_CERT)

    def mutate_early(self, headers: HeaderMap, info: StreamInfo) -> None:
        """``early_header_mutation_extensions``, before anything is read out of the headers."""
        assert self.early_mutations is not None
        for mutation in self.early_mutations:
            mutation.mutate(headers, info)

    def sanitize_request(
        self, headers: HeaderMap, upgrade: bool, peer: Address, secure: bool, info: StreamInfo | None = None
    ) -> Any:
        """Mutate request headers in place; returns the trusted client address (for logs), or, under ``detections``
        only, the status (int) with which the request is to be refused.
        """
        headers.remove_many(self.hop_by_hop_upgrade if upgrade else self.hop_by_hop)
        te = headers.get(TE)
        if te is not None and te != TRAILERS and not upgrade:
            self._sanitize_te(headers)
        referer = headers.get(REFERER)
        if referer is not None and not is_valid_referer(referer):
            headers.remove(REFERER)
        xff = headers.get_joined(XFF)
        if self.simple and xff is None:
            proto = headers.get(XFP)
            if proto is None:
                proto = HTTPS if secure else HTTP
                headers.add(XFP, proto)
            self._set_scheme(headers, proto, secure, info)
            headers.remove_many(UNTRUSTED)
            if self.internal_only:
                headers.remove_many(self.internal_only)
            elif self.scopes is not None:
                headers.remove_many(self.scopes.internal_only_headers_of(headers))
            client: Any = peer
            edge = False
        else:
            client, edge = self._sanitize_origin(headers, xff, peer, secure, info)
            if client.__class__ is int:
                return client
        if self.generate_request_id and (
            (edge and not self.preserve_external_request_id) or not headers.get(REQUEST_ID)
        ):
            assert self.random is not None
            headers.set(REQUEST_ID, self.random.uuid())
        if self.client_cert is not None and info is not None:
            self.client_cert.apply(headers, info)
        return client

    def _sanitize_te(self, headers: HeaderMap) -> None:
        """Only ``trailers`` may pass (RFC 9110 section 10.1.4)."""
        joined = headers.get_joined(TE)
        assert joined is not None
        if list_has_exactly(joined, TRAILERS):
            headers.set(TE, TRAILERS)
        elif joined:
            headers.remove(TE)

    def _set_scheme(self, headers: HeaderMap, proto: bytes, secure: bool, info: StreamInfo | None) -> None:
        if not proto and info is not None:
            info.unroutable = True
        if headers.get(SCHEME) is None:
            if proto != HTTP and proto != HTTPS:
                proto = proto.lower()
                if proto not in (HTTP, HTTPS):
                    proto = HTTPS if secure else HTTP
            headers.add(SCHEME, proto)

    def _sanitize_origin(
        self, headers: HeaderMap, xff: bytes | None, peer: Address, secure: bool, info: StreamInfo | None
    ) -> tuple[Any, bool]:
        """x-forwarded-for/-proto/-port, internal or external, edge or not."""
        trusted: bool
        client: Any = None
        if self.use_remote_address:
            trusted = xff is None
            if self.trusted_hops > 0:
                client, _ = last_address_from_xff(xff, self.trusted_hops - 1)
            client = client or peer
            if not self.skip_xff_append:
                self._append_xff(headers, peer)
            if self.trusted_hops == 0 or headers.get(XFP) is None:
                headers.set(XFP, HTTPS if secure else HTTP)
            if self.append_port and self.trusted_hops == 0:
                headers.remove(FORWARDED_PORT)
        elif self.detections is None:
            client, trusted = last_address_from_xff(xff, self.trusted_hops)
        else:
            client, trusted = self._detect(headers, peer)
            if client.__class__ is int:
                return client, False
        self._set_proto(headers, secure, info)
        internal = trusted and client is not None and self._is_internal(client)
        client = client or peer
        edge = self.use_remote_address and not internal
        self._mark_trust(headers, internal, edge, client)
        return client, edge

    def _set_proto(self, headers: HeaderMap, secure: bool, info: StreamInfo | None) -> None:
        proto = headers.get(XFP)
        if proto is None:
            proto = HTTPS if secure else HTTP
            headers.add(XFP, proto)
        if self.append_port and info is not None and headers.get(FORWARDED_PORT) is None:
            local = info.connection.local_address
            if local.ip:
                headers.add(FORWARDED_PORT, b"%d" % local.port)
        if self.scheme_overwrite:
            headers.set(SCHEME, self.scheme_overwrite)
            headers.set(XFP, self.scheme_overwrite)
        else:
            self._set_scheme(headers, proto, secure, info)

    def _append_xff(self, headers: HeaderMap, peer: Address) -> None:
        if peer.ip:
            headers.append_value(XFF, self.local_address if peer.is_loopback else peer.ip.encode(), b",")

    def _detect(self, headers: HeaderMap, peer: Address) -> tuple[Any, bool]:
        """By the configured detectors: the address or the status of a refusal, and whether it is to be trusted."""
        assert self.detections is not None
        for detector in self.detections:
            found = detector.detect(headers, peer)
            if found.reject_status:
                return found.reject_status, False
            if found.append_xff:
                self._append_xff(headers, peer)
            if found.address is not None:
                return found.address, found.trusted
        return None, False

    def _mark_trust(self, headers: HeaderMap, internal: bool, edge: bool, client: Address) -> None:
        if internal:
            headers.set(INTERNAL, b"true")
        else:
            if edge:
                headers.remove_many(UNTRUSTED_AT_EDGE)
            headers.remove_many(UNTRUSTED)
            if self.internal_only:
                headers.remove_many(self.internal_only)
            elif self.scopes is not None:
                headers.remove_many(self.scopes.internal_only_headers_of(headers))
        if self.add_user_agent:
            headers.set(b"x-envoy-downstream-service-cluster", self.user_agent)
            if not headers.get(USER_AGENT):
                headers.set(USER_AGENT, self.user_agent)
            if self.node_id:
                headers.set(b"x-envoy-downstream-service-node", self.node_id)
        if self.via:
            headers.append_value(b"via", self.via, b", ")
        if edge and client.ip:
            headers.set(EXTERNAL_ADDRESS, client.ip.encode())

    def _is_internal(self, address: Address) -> bool:
        packed = address.packed
        if not packed:
            return self.internal_unix and address.is_pipe
        return self.internal_networks is not None and self.internal_networks.get(packed) is not None

    def sanitize_response(self, headers: HeaderMap, request_headers: HeaderMap | None, upgrade: bool) -> None:
        """Mutate response headers in place."""
        headers.remove_many(RESPONSE_HOP_BY_HOP_UPGRADE if upgrade else RESPONSE_HOP_BY_HOP)
        if request_headers is not None and (self.always_set_request_id or request_headers.get(FORCE_TRACE) is not None):
            request_id = request_headers.get(REQUEST_ID)
            if request_id is not None:
                headers.set(REQUEST_ID, request_id)
        if self.via:
            headers.append_value(b"via", self.via, b", ")
