"""Requests whose responses come whole (Envoy: ``Http::AsyncRequestImpl``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxeny.kernel.buffer import Buffer
from proxeny.kernel.headers import HeaderMap
from proxeny.matcher.integer import parse_uint64
from proxeny.router.async_client import AsyncClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.network.factory_context import FactoryContext
    from proxeny.router.async_client import AsyncStream
    from proxeny.xds.http_client import HttpCallbacks


class AsyncRequests:
    """Makes requests to clusters of this proxy (``HttpClient``)."""

    __slots__ = ("_clients", "_context")

    def __init__(self, context: FactoryContext) -> None:
        self._context = context
        self._clients: dict[str, AsyncClient] = {}

    def post(self, cluster: str, path: str, body: bytes, timeout_ms: int, callbacks: HttpCallbacks) -> AsyncRequest:
        """Send JSON; ``timeout_ms`` 0 = none."""
        client = self._clients.get(cluster)
        if client is None:
            client = self._clients[cluster] = AsyncClient(cluster, self._context)
        headers = HeaderMap(
            [
                (b":method", b"POST"),
                (b":path", path.encode()),
                (b":authority", cluster.encode()),
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(body)),
            ]
        )
        request = AsyncRequest(callbacks)
        request.begin(client.start(request, timeout_ms), headers, body)
        return request


class AsyncRequest:
    """One request, as the callbacks of its stream."""

    __slots__ = ("_body", "_callbacks", "_inside", "_status", "_stream")

    def __init__(self, callbacks: HttpCallbacks) -> None:
        self._callbacks: HttpCallbacks | None = callbacks
        self._status = 0
        self._body = Buffer()
        self._inside = False
        self._stream: AsyncStream | None = None

    def begin(self, stream: AsyncStream, headers: HeaderMap, body: bytes) -> None:
        """Send it."""
        self._stream = stream
        self._inside = True
        stream.send_headers(headers, not body)
        if body:
            data = Buffer()
            data.append(body)
            stream.send_data(data, True)
        self._inside = False

    def cancel(self) -> None:
        """No callback any more."""
        self._callbacks = None
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.reset()

    def on_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The response's head."""
        self._status = parse_uint64(headers.get(b":status") or b"") or 0
        if end_stream:
            self._end(self._respond)

    def on_data(self, data: Buffer, end_stream: bool) -> None:
        """A piece of its body."""
        self._body.move_all(data)
        if end_stream:
            self._end(self._respond)

    def on_trailers(self, trailers: HeaderMap) -> None:
        """They end it."""
        self._end(self._respond)

    def on_reset(self) -> None:
        """It was cut short."""
        self._end(self._fail)

    def _end(self, tell: Callable[[], None]) -> None:
        stream, self._stream = self._stream, None
        if stream is not None and self._inside:
            stream.dispatcher.call_soon(tell)
        else:
            tell()

    def _respond(self) -> None:
        callbacks, self._callbacks = self._callbacks, None
        if callbacks is not None:
            callbacks.on_response(self._status, self._body.take())

    def _fail(self) -> None:
        callbacks, self._callbacks = self._callbacks, None
        if callbacks is not None:
            callbacks.on_failure()
