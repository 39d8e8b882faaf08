"""``envoy_grpc``: streams and calls to a cluster of this proxy (Envoy: ``Grpc::AsyncClientImpl``)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from envoy.config.route.v3 import route_components_pb2
from google.protobuf.message import DecodeError

from proxeny.http.grpc import GRPC_MESSAGE, GRPC_STATUS
from proxeny.http.grpc_timeout import grpc_timeout_value
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.grpc_frames import FrameDecoder, frame_head
from proxeny.kernel.headers import HeaderMap
from proxeny.matcher.integer import parse_uint64
from proxeny.network.grpc_status import INTERNAL, UNKNOWN, grpc_status_of_http
from proxeny.router.async_client import AsyncClient
from proxeny.router.retry_policy import NO_RETRIES, RetryPolicy
from proxeny.rpc.initial_metadata import for_headers, initial_metadata
from proxeny.rpc.unary import UnaryCall

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.router.async_client import AsyncStream
    from proxeny.xds.grpc_client import GrpcStreamCallbacks, GrpcUnaryCallbacks, Metadata

log = logging.getLogger("proxeny.grpc")

RESOURCE_EXHAUSTED: Final = 8
UNAVAILABLE: Final = 14
LARGEST: Final = 0xFFFFFFFF
_COMPRESSED: Final = 1
RETRY_BASE_MS: Final = 1000
RETRY_PER_TRY_MS: Final = 10_000
INVALID: Final = -1
"""Of a status that is none of gRPC's."""
MOST: Final = 16


class EnvoyGrpcClient:
    """A ``GrpcClient`` for the cluster that a ``GrpcService`` names; ConfigError."""

    __slots__ = (
        "__weakref__",
        "_authority",
        "_client",
        "_context",
        "_envoy_headers",
        "_metadata",
        "_most",
        "_retry_policy",
        "_streams",
        "_timeout_ms",
        "cluster",
    )  # fmt: skip

    def __init__(self, service: Any, context: FactoryContext) -> None:
        envoy = service.envoy_grpc
        self._context = context
        self.cluster: str = envoy.cluster_name
        self._client = AsyncClient(self.cluster, context)
        self._authority = (envoy.authority or envoy.cluster_name).encode()
        self._envoy_headers = not envoy.skip_envoy_headers
        self._most: int = envoy.max_receive_message_length.value or LARGEST
        self._metadata = for_headers(initial_metadata(service))
        self._retry_policy = NO_RETRIES
        if service.HasField("retry_policy"):
            self._retry_policy = retry_policy_of(service.retry_policy)
        self._timeout_ms: int = service.timeout.ToMilliseconds()
        self._streams: dict[EnvoyGrpcStream, None] = {}

    def open(self, method: str, callbacks: GrpcStreamCallbacks, metadata: Metadata = ()) -> EnvoyGrpcStream | None:
        """A stream of ``/package.Service/Method``; None while there is no such cluster."""
        return self._start(method, callbacks, metadata, 0)

    def unary(
        self, method: str, data: bytes, callbacks: GrpcUnaryCallbacks, timeout_ms: int = 0, metadata: Metadata = ()
    ) -> UnaryCall:
        """One call; ``timeout_ms`` 0: as the service's configuration says."""
        call = UnaryCall(callbacks)
        call.stream = stream = self._start(method, call, metadata, timeout_ms or self._timeout_ms)
        if stream is None:
            assert self._context.dispatcher is not None
            self._context.dispatcher.call_soon(call.on_close, UNAVAILABLE, "Cluster not available")
        else:
            stream.send_last(data)
        return call

    def _start(
        self, method: str, callbacks: GrpcStreamCallbacks, metadata: Metadata, timeout_ms: int
    ) -> EnvoyGrpcStream | None:
        if not self._client.available:
            return None
        stream = EnvoyGrpcStream(callbacks, self._most, self._streams)
        stream.begin(
            self._client.start(stream, timeout_ms, self._retry_policy, self._envoy_headers),
            self._head(method, metadata, timeout_ms),
        )
        return stream

    def _head(self, method: str, metadata: Metadata, timeout_ms: int) -> HeaderMap:
        head = [
            (b":method", b"POST"),
            (b":path", method.encode()),
            (b":authority", self._authority),
            (b"te", b"trailers"),
        ]
        if timeout_ms:
            head.append((b"grpc-timeout", grpc_timeout_value(timeout_ms)))
        head.append((b"content-type", b"application/grpc"))
        head += self._metadata
        head += [(name.lower().encode(), value.encode()) for name, value in metadata]
        return HeaderMap(head)

    def close(self) -> None:
        """End its streams without callbacks."""
        for stream in list(self._streams):
            stream.reset()


class EnvoyGrpcStream:
    """One stream, as the callbacks of its HTTP stream.

    Whoever uses it is never called from inside ``open`` or ``send``: what happens there is told in the next turn.
    """

    __slots__ = ("_callbacks", "_decoder", "_inside", "_siblings", "_stream")

    def __init__(self, callbacks: GrpcStreamCallbacks, most: int, siblings: dict[EnvoyGrpcStream, None]) -> None:
        """``siblings``: where it is while it is open."""
        self._callbacks: GrpcStreamCallbacks | None = callbacks
        self._decoder = FrameDecoder(most)
        self._inside = False
        self._siblings = siblings
        siblings[self] = None
        self._stream: AsyncStream | None = None

    def begin(self, stream: AsyncStream, headers: HeaderMap) -> None:
        """Ask for a stream of the cluster's."""
        self._stream = stream
        self._inside = True
        stream.send_headers(headers, False)
        self._inside = False

    def send(self, data: bytes) -> None:
        """Send a message."""
        self._send(data, False)

    def send_last(self, data: bytes) -> None:
        """Send a message, and no more."""
        self._send(data, True)

    def half_close(self) -> None:
        """No more messages from here."""
        self._write(Buffer(), True)

    def _send(self, data: bytes, last: bool) -> None:
        framed = Buffer()
        framed.append(frame_head(len(data)))
        framed.append(data)
        self._write(framed, last)

    def _write(self, data: Buffer, last: bool) -> None:
        if self._stream is not None:
            self._inside = True
            self._stream.send_data(data, last)
            self._inside = False

    def reset(self) -> None:
        """Over, without another callback."""
        self._callbacks = None
        self._let_go()

    def _let_go(self) -> None:
        self._siblings.pop(self, None)
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.reset()

    # -- what the HTTP stream tells --------------------------------------------------------------------------------
    def on_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The response's head, or all there is of it."""
        status = headers.get(b":status") or b""
        if end_stream and (status == b"200" or GRPC_STATUS in headers):
            self.on_trailers(headers)
        elif status != b"200":
            self._end(grpc_status_of_http(parse_uint64(status) or 0))

    def on_data(self, data: Buffer, end_stream: bool) -> None:
        """Frames."""
        decoder = self._decoder
        for flags, message in decoder.decode(data):
            if flags & _COMPRESSED and message:
                self._end(INTERNAL)
                return
            if not self._pass_on(message):
                return
        if decoder.failed:
            if decoder.too_long:
                self._end(RESOURCE_EXHAUSTED)
            else:
                self._end(INTERNAL)
        elif end_stream:
            self._end(UNKNOWN)

    def on_trailers(self, trailers: HeaderMap) -> None:
        """The end, and how it ended."""
        text = trailers.get(GRPC_STATUS)
        status: int | None = UNKNOWN
        if text is not None:
            status = parse_uint64(text)
        if status is None or status > MOST:
            status = INVALID
        # As it came: Envoy shows percent-encoding as it is.
        self._end(status, (trailers.get(GRPC_MESSAGE) or b"").decode("utf-8", "replace"))

    def on_reset(self) -> None:
        """The response was cut short."""
        self._end(INTERNAL)

    # -- what is told of it ----------------------------------------------------------------------------------------
    def _pass_on(self, message: bytes) -> bool:
        """Whether the stream goes on."""
        callbacks = self._callbacks
        if callbacks is None:
            return False
        try:
            callbacks.on_message(message)
        except DecodeError:
            self._end(INTERNAL)
        except Exception:
            log.exception("a gRPC message could not be handled")
            self._end(INTERNAL)
        return self._callbacks is not None

    def _end(self, status: int, message: str = "") -> None:
        stream = self._stream
        if stream is None:
            return
        dispatcher, details = stream.dispatcher, stream.stream_info.response_code_details
        self._let_go()
        message = f"{message}{{{details}}}" if message and details else message or details
        if self._inside:
            dispatcher.call_soon(self._tell, status, message)
        else:
            self._tell(status, message)

    def _tell(self, status: int, message: str) -> None:
        callbacks, self._callbacks = self._callbacks, None
        if callbacks is not None:
            callbacks.on_close(status, message)


def retry_policy_of(core: Any) -> RetryPolicy:
    """A router's policy from a ``config.core.v3.RetryPolicy`` (Envoy: ``convertCoreToRouteRetryPolicy``)."""
    policy = route_components_pb2.RetryPolicy(retry_on=core.retry_on)
    if core.HasField("num_retries"):
        policy.num_retries.CopyFrom(core.num_retries)
    policy.per_try_timeout.FromMilliseconds(RETRY_PER_TRY_MS)
    back_off = policy.retry_back_off
    back_off.base_interval.FromMilliseconds(RETRY_BASE_MS)
    if core.retry_back_off.HasField("base_interval"):
        back_off.base_interval.CopyFrom(core.retry_back_off.base_interval)
    base_ms = back_off.base_interval.ToMilliseconds()
    longest_ms = base_ms * 10
    if core.retry_back_off.HasField("max_interval"):
        # Envoy takes one that is below the base.
        longest_ms = max(base_ms, core.retry_back_off.max_interval.ToMilliseconds())
    back_off.max_interval.FromMilliseconds(longest_ms)
    return RetryPolicy.compile(policy)
