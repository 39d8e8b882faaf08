"""envoy.health_checkers.http: a request, and what its response says, over HTTP/1.1 or HTTP/2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from envoy.config.core.v3 import base_pb2
from envoy.type.v3 import http_pb2

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.extensions.health_checkers.check_stream_info import check_stream_info
from proxeny.extensions.health_checkers.client import ClientProbe
from proxeny.extensions.health_checkers.http1_client import Http1Client
from proxeny.kernel.headers import HeaderMap
from proxeny.matcher.string import StringMatcher, compile_string_matcher
from proxeny.router.header_mutation import compile_mutation
from proxeny.upstream.health_check.contract import FailureType
from proxeny.upstream.health_check.payload import compile_payload, contains_in_order
from proxeny.upstream.stats import HC_VERIFY_CLUSTER

if TYPE_CHECKING:
    from proxeny.extensions.health_checkers.client import CheckClient
    from proxeny.http.http1.settings import Http1Settings
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.cluster_info import ClusterInfo
    from proxeny.upstream.health_check.contract import ProbeOwner

DEFAULT_RESPONSE_BUFFER: Final = 1024
"""HttpHealthCheck.response_buffer_size."""
USER_AGENT: Final = b"Envoy/HC"
_WITHOUT_BODY: Final = ("GET", "HEAD", "DELETE", "TRACE")
_IMMEDIATE_FAIL: Final = b"x-envoy-immediate-health-check-fail"
_DEGRADED: Final = b"x-envoy-degraded"
_CHECKED_CLUSTER: Final = b"x-envoy-upstream-healthchecked-cluster"
Ranges = tuple[tuple[int, int], ...]


class HttpProber:
    """A compiled ``HttpHealthCheck``."""

    __slots__ = (
        "authority",
        "buffer_size",
        "cluster_name",
        "context",
        "expected",
        "http1_settings",
        "is_http2",
        "kind",
        "method",
        "mutation",
        "path",
        "payload",
        "receive",
        "retriable",
        "reuse_connection",
        "service_name",
    )

    def __init__(self, message: Any, info: ClusterInfo, context: FactoryContext) -> None:
        self.kind = "HTTP"
        self.context = context
        check = message.http_health_check
        self.reuse_connection = message.reuse_connection.value if message.HasField("reuse_connection") else True
        self.cluster_name = info.name
        self.http1_settings: Http1Settings = info.http1_settings
        self.authority: str = check.host
        self.path = check.path.encode()
        self.method = base_pb2.RequestMethod.Name(check.method or base_pb2.RequestMethod.GET)
        self.buffer_size = DEFAULT_RESPONSE_BUFFER
        if check.HasField("response_buffer_size"):
            self.buffer_size = check.response_buffer_size.value
        self.mutation = compile_mutation(check.request_headers_to_add, check.request_headers_to_remove)
        self.expected = _ranges(check.expected_statuses, "expected") or ((200, 201),)
        self.retriable = _ranges(check.retriable_statuses, "retriable")
        if check.codec_client_type == http_pb2.CodecClientType.HTTP3:
            raise UnsupportedFieldError("codec_client_type HTTP3 is not supported yet", "codec_client_type")
        self.is_http2 = check.codec_client_type == http_pb2.CodecClientType.HTTP2
        self.payload = self._payload(check)
        self.receive = tuple([compile_payload(payload) for payload in check.receive])
        self.service_name: StringMatcher | None = None
        if check.HasField("service_name_matcher"):
            self.service_name = compile_string_matcher(check.service_name_matcher)
        total = sum(map(len, self.receive))
        if self.buffer_size and total > self.buffer_size:
            raise ConfigError(
                f"The expected response length '{total}' is over than http health response buffer size "
                f"'{self.buffer_size}'"
            )

    def _payload(self, check: Any) -> bytes:
        if not check.HasField("send"):
            return b""
        if self.method in _WITHOUT_BODY:
            raise ConfigError(
                f"HTTP health check cannot specify a request payload with method '{self.method}'. Only methods that "
                "support a request body (POST, PUT, PATCH, OPTIONS) can be used with payload."
            )
        return compile_payload(check.send)

    def create(self, owner: ProbeOwner) -> HttpProbe:
        """The checks of one host."""
        return HttpProbe(self, owner)

    def request(self, owner: ProbeOwner) -> HeaderMap:
        """The head of a request to a host."""
        authority = owner.hostname or self.authority or self.cluster_name
        headers = HeaderMap(
            [
                (b":method", self.method.encode()),
                (b":authority", authority.encode()),
                (b":path", self.path),
                (b"user-agent", USER_AGENT),
                (b":scheme", owner.scheme),
            ]
        )
        if self.mutation is not None:
            info = check_stream_info(owner, "HTTP/2" if self.is_http2 else "HTTP/1.1")
            self.mutation.evaluate(headers, headers, None, info)
        if self.payload:
            headers.set(b"content-length", b"%d" % len(self.payload))
        return headers


class HttpProbe(ClientProbe):
    """The checks of one host."""

    __slots__ = ()

    _prober: HttpProber

    def check(self) -> None:
        """Send a request, over the connection of the last one where that is kept."""
        client = self._client
        if client is None:
            client = self._client = self._make_client()
        prober = self._prober
        client.request(prober.request(self._owner), prober.payload)

    def _make_client(self) -> CheckClient:
        prober, connection = self._prober, self._owner.connect()
        body_size = 0
        if prober.receive:
            body_size = prober.buffer_size or 1 << 62
        if prober.is_http2:
            from proxeny.extensions.health_checkers.http2_client import Http2Client

            return Http2Client(connection, self, body_size)
        return Http1Client(connection, self, prober.http1_settings, body_size)

    # -- the client's side ---------------------------------------------------------------------------------------
    def on_response(self, headers: HeaderMap, body: bytes, trailers: HeaderMap | None, reusable: bool) -> None:
        """A response is complete."""
        if not (reusable and self._prober.reuse_connection):
            self._hang_up()
        self._judge(headers, body)

    def _judge(self, headers: HeaderMap, body: bytes) -> None:
        prober, owner = self._prober, self._owner
        status = int(headers.get(b":status") or b"0")
        retriable = False
        if prober.receive and not contains_in_order(prober.receive, body):
            pass
        elif not _within(prober.expected, status):
            retriable = _within(prober.retriable, status)
        elif not self._is_the_service(headers):
            owner.failed(FailureType.ACTIVE, False, status)
            return
        else:
            owner.succeeded(_DEGRADED in headers)
            return
        if _IMMEDIATE_FAIL in headers:
            owner.exclude()
        owner.failed(FailureType.ACTIVE, retriable, status)

    def _is_the_service(self, headers: HeaderMap) -> bool:
        matcher = self._prober.service_name
        runtime = self._prober.context.runtime
        if matcher is None:
            return True
        random = self._prober.context.random
        value = 0 if random is None else random.random()
        if runtime is not None and not runtime.feature_enabled("health_check.verify_cluster", 100, 100, value):
            return True
        self._owner.stats.inc(HC_VERIFY_CLUSTER)
        return matcher.match(headers.get(_CHECKED_CLUSTER) or b"")


def _ranges(messages: Any, kind: str) -> Ranges:
    found = []
    for message in messages:
        # Envoy compares them without signs.
        start, end = message.start % (1 << 64), message.end % (1 << 64)
        head = f"Invalid http {kind} status range: expecting"
        if start >= end:
            raise ConfigError(f"{head} start < end, but found start={start} and end={end}")
        if start < 100:
            raise ConfigError(f"{head} start >= 100, but found start={start}")
        if end > 600:
            raise ConfigError(f"{head} end <= 600, but found end={end}")
        found.append((start, end))
    return tuple(found)


def _within(ranges: Ranges, status: int) -> bool:
    return any(start <= status < end for start, end in ranges)


class HttpHealthCheckerFactory:
    """Compiles ``http_health_check``."""

    def compile(self, message: Any, cluster: Any, info: ClusterInfo, context: FactoryContext) -> HttpProber:
        """ConfigError in Envoy's words."""
        return HttpProber(message, info, context)


FACTORY = HttpHealthCheckerFactory()
