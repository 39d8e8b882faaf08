"""What the connection manager does to request and response headers before filters and codec see them.

Envoy: ``source/common/http/conn_manager_utility.cc``. Hop-by-hop headers go, x-forwarded-* and x-envoy-* are set or
distrusted, the request id is made. Everything that depends only on configuration is decided in ``HeaderSanitizer``'s
constructor; a request pays for look-ups in its own headers alone.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from proxeny.config.errors import ConfigError
from proxeny.matcher.cidr import parse_range
from proxeny.network.address import Address, ip_address

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.kernel.randomness import RandomGenerator

CONNECTION = b"connection"
UPGRADE = b"upgrade"
TE = b"te"
TRAILERS = b"trailers"
XFF = b"x-forwarded-for"
XFP = b"x-forwarded-proto"
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
    b"x-envoy-is-timeout-retry",
)
UNTRUSTED_AT_EDGE = (
    b"x-envoy-decorator-operation",
    b"x-envoy-downstream-service-cluster",
    b"x-envoy-downstream-service-node",
    b"x-envoy-original-path",
    b"x-envoy-original-host",
)
RESPONSE_HOP_BY_HOP = (b"connection", b"transfer-encoding", b"keep-alive", b"proxy-connection")
RESPONSE_HOP_BY_HOP_UPGRADE = RESPONSE_HOP_BY_HOP[1:]


def has_token(value: bytes | None, token: bytes) -> bool:
    """Whether a comma-separated header value holds ``token`` (case-insensitive; RFC 9110 section 5.6.1)."""
    if value is None:
        return False
    value = value.lower()
    return value == token or (token in value and token in [part.strip(b" \t") for part in value.split(b",")])


def is_upgrade(headers: HeaderMap) -> bool:
    """Whether ``headers`` ask for (or grant) an HTTP/1 upgrade (RFC 9110 section 7.8)."""
    connection = headers.get(CONNECTION)
    return connection is not None and has_token(connection, UPGRADE) and headers.get(UPGRADE) is not None


def last_address_from_xff(value: bytes | None, skip: int) -> tuple[Address | None, bool]:
    """The address ``skip`` places from the right of x-forwarded-for, and whether it is the only one there."""
    if value is None:
        return None, False
    parts = value.split(b",")
    if len(parts) <= skip:
        return None, False
    try:
        text = parts[-1 - skip].strip(b" ").decode("ascii")
        address = ip_address(text)
    except (UnicodeDecodeError, ConfigError):
        return None, False
    return address, len(parts) == 1


class HeaderSanitizer:
    """The compiled rules of one connection manager."""

    __slots__ = (
        "add_user_agent",
        "always_set_request_id",
        "generate_request_id",
        "internal_networks",
        "internal_only",
        "local_address",
        "node_id",
        "preserve_external_request_id",
        "random",
        "scheme_overwrite",
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
        self.via = config.via.encode()
        self.generate_request_id = config.generate_request_id.value if config.HasField("generate_request_id") else True
        self.preserve_external_request_id = config.preserve_external_request_id
        self.always_set_request_id = config.always_set_request_id_in_response
        self.add_user_agent = config.add_user_agent.value
        self.user_agent = local_info.cluster_name.encode()
        self.node_id = local_info.node_id.encode()
        self.local_address = local_info.address.encode()
        self.internal_networks = [
            ipaddress.ip_network(str(parse_range(cidr))) for cidr in config.internal_address_config.cidr_ranges
        ]
        self.internal_only: tuple[bytes, ...] = ()
        self.random = random
        self.scheme_overwrite = config.scheme_header_transformation.scheme_to_overwrite.encode()
        self.simple = not (self.use_remote_address or self.internal_networks or self.add_user_agent or self.via)

    def sanitize_request(self, headers: HeaderMap, upgrade: bool, peer: Address, secure: bool) -> Address:
        """Mutate request headers in place; returns the trusted client address (for logs)."""
        headers.remove_many(HOP_BY_HOP_UPGRADE if upgrade else HOP_BY_HOP)
        te = headers.get(TE)
        if te is not None and te != TRAILERS:
            self._sanitize_te(headers, te)
        xff = headers.get_joined(XFF)
        if self.simple and xff is None:
            if headers.get(XFP) is None:
                headers.add(XFP, HTTPS if secure else HTTP)
            headers.remove_many(UNTRUSTED)
            if self.internal_only:
                headers.remove_many(self.internal_only)
            client = peer
            edge = False
        else:
            client, edge = self._sanitize_origin(headers, xff, peer, secure)
        if self.generate_request_id and (
            (edge and not self.preserve_external_request_id) or headers.get(REQUEST_ID) is None
        ):
            assert self.random is not None
            headers.set(REQUEST_ID, self.random.uuid())
        self._set_scheme(headers, secure)
        return client

    def _sanitize_te(self, headers: HeaderMap, value: bytes) -> None:
        """Only ``trailers`` may pass (RFC 9110 section 10.1.4)."""
        if has_token(value.split(b";", 1)[0] if b";" in value and b"," not in value else value, TRAILERS):
            headers.set(TE, TRAILERS)
        else:
            headers.remove(TE)

    def _set_scheme(self, headers: HeaderMap, secure: bool) -> None:
        if self.scheme_overwrite:
            headers.set(SCHEME, self.scheme_overwrite)
        elif headers.get(SCHEME) is None:
            proto = headers.get(XFP)
            headers.add(SCHEME, proto if proto in (HTTP, HTTPS) else (HTTPS if secure else HTTP))

    def _sanitize_origin(
        self, headers: HeaderMap, xff: bytes | None, peer: Address, secure: bool
    ) -> tuple[Address, bool]:
        """x-forwarded-for/-proto, internal or external, edge or not."""
        single: bool
        client: Address | None = None
        if self.use_remote_address:
            single = xff is None
            if self.trusted_hops > 0:
                client, _ = last_address_from_xff(xff, self.trusted_hops - 1)
            client = client or peer
            if not self.skip_xff_append and peer.ip:
                address = self.local_address if peer.is_loopback else peer.ip.encode()
                headers.append_value(XFF, address, b",")
            if self.trusted_hops == 0 or headers.get(XFP) is None:
                headers.set(XFP, HTTPS if secure else HTTP)
        else:
            client, single = last_address_from_xff(xff, self.trusted_hops)
            if headers.get(XFP) is None:
                headers.add(XFP, HTTPS if secure else HTTP)
        internal = single and client is not None and self._is_internal(client)
        client = client or peer
        edge = self.use_remote_address and not internal
        self._mark_trust(headers, internal, edge, client)
        return client, edge

    def _mark_trust(self, headers: HeaderMap, internal: bool, edge: bool, client: Address) -> None:
        if internal:
            headers.set(INTERNAL, b"true")
        else:
            if edge:
                headers.remove_many(UNTRUSTED_AT_EDGE)
            headers.remove_many(UNTRUSTED)
            if self.internal_only:
                headers.remove_many(self.internal_only)
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
        if not self.internal_networks or not address.ip:
            return False
        ip = ipaddress.ip_address(address.ip)
        return any(ip in network for network in self.internal_networks if ip.version == network.version)

    def sanitize_response(self, headers: HeaderMap, request_headers: HeaderMap | None, upgrade: bool) -> None:
        """Mutate response headers in place."""
        headers.remove_many(RESPONSE_HOP_BY_HOP_UPGRADE if upgrade else RESPONSE_HOP_BY_HOP)
        if self.always_set_request_id and request_headers is not None:
            request_id = request_headers.get(REQUEST_ID)
            if request_id is not None:
                headers.set(REQUEST_ID, request_id)
        if self.via:
            headers.append_value(b"via", self.via, b", ")
