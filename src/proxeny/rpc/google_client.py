"""``google_grpc``: streams and calls over grpcio (Envoy: ``Grpc::GoogleAsyncClientImpl``).

grpcio has connections, reconnecting and their pauses of its own; it is imported when the first stream is opened. Its
thread hands what arrives to the event loop, where everything here runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError

from proxeny.network.grpc_status import INTERNAL, UNKNOWN
from proxeny.rpc.unary import UnaryCall
from proxeny.stats.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    import grpc.aio

    from proxeny.kernel.stats import Block
    from proxeny.rpc.google_credentials import GoogleCredentials
    from proxeny.xds.grpc_client import GrpcStreamCallbacks, GrpcUnaryCallbacks, Metadata

log = logging.getLogger("proxeny.grpc")

CODES: Final = 17

GOOGLE_GRPC: Final = Schema(
    "google_grpc",
    counters=("google_grpc_client_creation", "streams_total", *[f"streams_closed_{code}" for code in range(CODES)]),
)
"""``grpc.<stat_prefix>.*``"""
_CLIENT_CREATION: Final = GOOGLE_GRPC.slot("google_grpc_client_creation")
_STREAMS_TOTAL: Final = GOOGLE_GRPC.slot("streams_total")
_STREAMS_CLOSED: Final = GOOGLE_GRPC.slot("streams_closed_0")

_TOO_LONG: Final = "CLIENT: Received message larger than max"
"""What grpcio says of a message that is above our limit."""

ChannelArgs = tuple[tuple[str, "str | int"], ...]


class GoogleGrpcClient:
    """A ``GrpcClient`` for one ``target`` in grpcio's notation."""

    __slots__ = (
        "__weakref__", "_args", "_channel", "_credentials", "_loop", "_metadata", "_stats", "_streams", "_target",
        "_timeout_ms",
    )  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop | None,
        target: str,
        credentials: GoogleCredentials,
        args: ChannelArgs,
        metadata: tuple[tuple[str, str | bytes], ...],
        timeout_ms: int,
        stats: Block,
    ) -> None:
        """``loop`` None: the configuration is only checked. ``timeout_ms``: of calls that say no other; 0 = none."""
        self._loop = loop
        self._target = target
        self._credentials = credentials
        self._args = args
        self._metadata = metadata
        self._timeout_ms = timeout_ms
        self._stats = stats
        stats.inc(_CLIENT_CREATION)
        self._channel: grpc.aio.Channel | None = None
        self._streams: dict[GoogleGrpcStream, None] = {}

    def open(self, method: str, callbacks: GrpcStreamCallbacks, metadata: Metadata = ()) -> GoogleGrpcStream:
        """A stream of ``/package.Service/Method``."""
        return self._start(method, callbacks, metadata, 0)

    def unary(
        self, method: str, data: bytes, callbacks: GrpcUnaryCallbacks, timeout_ms: int = 0, metadata: Metadata = ()
    ) -> UnaryCall:
        """One call; ``timeout_ms`` 0: as the service's configuration says."""
        call = UnaryCall(callbacks)
        call.stream = stream = self._start(method, call, metadata, timeout_ms or self._timeout_ms)
        stream.send(data)
        stream.half_close()
        return call

    def _start(self, method: str, callbacks: Any, metadata: Sequence[Any], timeout_ms: int) -> GoogleGrpcStream:
        assert self._loop is not None
        if self._channel is None:
            import grpc.aio

            self._channel = grpc.aio.secure_channel(self._target, self._credentials.channel(), self._args)
        self._stats.inc(_STREAMS_TOTAL)
        call = self._channel.stream_stream(method)(
            metadata=(*self._metadata, *metadata), timeout=timeout_ms / 1000 if timeout_ms else None
        )
        stream = GoogleGrpcStream(self, self._loop, call, callbacks)
        self._streams[stream] = None
        return stream

    @property
    def is_cut_off(self) -> bool:
        """Whether the last attempt to connect failed."""
        import grpc

        return self._channel is not None and self._channel.get_state() is grpc.ChannelConnectivity.TRANSIENT_FAILURE

    def forget(self, stream: GoogleGrpcStream, status: int | None) -> None:
        """A stream is over: by itself with a ``status``, or reset from here."""
        self._streams.pop(stream, None)
        if status is not None:
            self._stats.inc(_STREAMS_CLOSED + (status if 0 <= status < CODES else UNKNOWN))

    def close(self) -> None:
        """End its streams without callbacks."""
        for stream in list(self._streams):
            stream.reset()
        channel, self._channel = self._channel, None
        if channel is not None and self._loop is not None and self._loop.is_running():
            self._loop.create_task(channel.close())  # the loop holds it as long as it runs


class GoogleGrpcStream:
    """One stream: one task reads it, another sends while there is something to send."""

    __slots__ = ("_began", "_call", "_callbacks", "_client", "_loop", "_outgoing", "_reader", "_writer")

    def __init__(self, client: GoogleGrpcClient, loop: asyncio.AbstractEventLoop, call: Any, callbacks: Any) -> None:
        self._client = client
        self._loop = loop
        self._call = call
        self._callbacks: GrpcStreamCallbacks | None = callbacks
        self._began = False
        """Whether its head was sent."""
        self._outgoing: deque[bytes | None] = deque()
        """Messages; None: the end of them."""
        self._writer: asyncio.Task[None] | None = None
        self._reader = loop.create_task(self._read())

    def send(self, data: bytes) -> None:
        """Send a message."""
        self._enqueue(data)

    def half_close(self) -> None:
        """No more messages from here."""
        self._enqueue(None)

    def reset(self) -> None:
        """Over, without another callback."""
        if self._callbacks is not None:
            self._callbacks = None
            self._let_go(None)

    def _enqueue(self, item: bytes | None) -> None:
        if self._callbacks is None:
            return
        self._outgoing.append(item)
        if self._writer is None:
            self._writer = self._loop.create_task(self._write())

    async def _write(self) -> None:
        import grpc.aio

        outgoing, call = self._outgoing, self._call
        try:
            await call.wait_for_connection()
            self._began = True
            while outgoing:
                item = outgoing.popleft()
                if item is None:
                    await call.done_writing()
                else:
                    # Not call.write: it makes its own failure the status of the call, and hides the server's.
                    await call._cython_call.send_serialized_message(item)
        except (grpc.aio.AioRpcError, grpc.aio.InternalError, asyncio.InvalidStateError):
            # The call is over: whoever reads it is told why.
            outgoing.clear()
        finally:
            self._writer = None

    async def _read(self) -> None:
        import grpc.aio

        call = self._call
        try:
            while (message := await call.read()) is not grpc.aio.EOF:
                if not self._pass_on(message):
                    return
            status, text = await call.code(), await call.details()
        except grpc.aio.AioRpcError as error:
            status, text = error.code(), error.details()
        if status is grpc.StatusCode.UNAVAILABLE and not self._began and self._client.is_cut_off:
            # As Envoy: a call for which there is no connection fails before it has a status.
            status = grpc.StatusCode.INTERNAL
        elif status is grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LONG in (text or ""):
            # Likewise: the library cancels it.
            status = grpc.StatusCode.CANCELLED
        self._end(status.value[0], text or "")

    def _pass_on(self, message: bytes) -> bool:
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

    def _end(self, status: int, text: str = "") -> None:
        callbacks, self._callbacks = self._callbacks, None
        if callbacks is None:
            return
        log.debug("notifyRemoteClose %d %s", status, text)
        self._let_go(status)
        callbacks.on_close(status, text)

    def _let_go(self, status: int | None) -> None:
        self._outgoing.clear()
        self._client.forget(self, status)
        # Ends both tasks; each lets go of us.
        self._call.cancel()
