"""envoy.health_checkers.grpc: the call ``grpc.health.v1.Health/Check`` over HTTP/2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.extensions.health_checkers.check_stream_info import check_stream_info
from proxeny.extensions.health_checkers.client import ClientProbe
from proxeny.extensions.health_checkers.grpc_messages import encode_request, is_serving
from proxeny.kernel.headers import HeaderMap
from proxeny.router.header_mutation import compile_mutation
from proxeny.upstream.dns_options import milliseconds
from proxeny.upstream.health_check.contract import FailureType
from proxeny.upstream.http_protocol_options import speaks_http2

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.cluster_info import ClusterInfo
    from proxeny.upstream.health_check.contract import ProbeOwner

PATH: Final = b"/grpc.health.v1.Health/Check"
MAX_RESPONSE: Final = 64 * 1024
"""Far above any HealthCheckResponse; Envoy has no limit of its own here."""


class GrpcProber:
    """A compiled ``GrpcHealthCheck``."""

    __slots__ = ("authority", "cluster_name", "kind", "mutation", "request_bytes", "reuse_connection", "timeout")

    def __init__(self, message: Any, info: ClusterInfo) -> None:
        self.kind = "GRPC"
        check = message.grpc_health_check
        self.reuse_connection = message.reuse_connection.value if message.HasField("reuse_connection") else True
        self.cluster_name = info.name
        self.authority: str = check.authority
        self.mutation = compile_mutation(check.initial_metadata, ())
        self.timeout = b"%dm" % milliseconds(message.timeout)
        self.request_bytes = encode_request(check.service_name)

    def create(self, owner: ProbeOwner) -> GrpcProbe:
        """The checks of one host."""
        return GrpcProbe(self, owner)

    def request(self, owner: ProbeOwner) -> HeaderMap:
        """The head of a call."""
        authority = owner.hostname or self.authority or self.cluster_name
        headers = HeaderMap(
            [
                (b":method", b"POST"),
                (b":path", PATH),
                (b":authority", authority.encode()),
                (b"te", b"trailers"),
                (b"content-type", b"application/grpc"),
                (b"user-agent", b"Envoy/HC"),
            ]
        )
        if self.mutation is not None:
            self.mutation.evaluate(headers, headers, None, check_stream_info(owner, "HTTP/2"))
        headers.set(b"grpc-timeout", self.timeout)
        headers.set(b":scheme", owner.scheme)
        return headers


class GrpcProbe(ClientProbe):
    """The checks of one host."""

    __slots__ = ()

    _prober: GrpcProber

    def check(self) -> None:
        """Call, over the connection of the last call where that is kept."""
        client = self._client
        if client is None:
            from proxeny.extensions.health_checkers.http2_client import Http2Client

            client = self._client = Http2Client(self._owner.connect(), self, MAX_RESPONSE)
        client.request(self._prober.request(self._owner), self._prober.request_bytes)

    def on_response(self, headers: HeaderMap, body: bytes, trailers: HeaderMap | None, reusable: bool) -> None:
        """The call ended."""
        if not (reusable and self._prober.reuse_connection):
            self._hang_up()
        if _is_well(headers, body, trailers):
            self._owner.succeeded()
        else:
            self._owner.failed(FailureType.ACTIVE)

    def on_timeout(self) -> None:
        """Give the call up; the connection is kept where it can be."""
        client = self._client
        if client is None or client.going or not client.connected or not self._prober.reuse_connection:
            self._hang_up()
        else:
            client.reset()


def _is_well(headers: HeaderMap, body: bytes, trailers: HeaderMap | None) -> bool:
    """Whether a call ended with OK and one message that says SERVING; all else is a failure of the host."""
    if headers.get(b":status") != b"200" or not _is_grpc(headers.get(b"content-type") or b""):
        return False
    return trailers is not None and trailers.get(b"grpc-status") == b"0" and is_serving(body)


def _is_grpc(content_type: bytes) -> bool:
    return content_type == b"application/grpc" or content_type.startswith(b"application/grpc+")


class GrpcHealthCheckerFactory:
    """Compiles ``grpc_health_check``."""

    def compile(self, message: Any, cluster: Any, info: ClusterInfo, context: FactoryContext) -> GrpcProber:
        """ConfigError for a cluster that does not speak HTTP/2."""
        if not speaks_http2(cluster):
            raise ConfigError(f"{info.name} cluster must support HTTP/2 for gRPC healthchecking")
        return GrpcProber(message, info)


FACTORY = GrpcHealthCheckerFactory()
