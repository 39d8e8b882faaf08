"""A gRPC server of one method that both sides stream: it keeps what comes, and sends what a test says."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc

WAIT_S: Final = 20.0


class BidiServer:
    """Serves ``/package.Service/Method`` on a free port of loopback; ``on_stream`` gives what a new stream is sent."""

    def __init__(self, method: str, request: Any, on_stream: Callable[[], list[Any]] = list) -> None:
        self.requests: list[Any] = []
        self.streams = 0
        self._request = request
        self._on_stream = on_stream
        self._changed = threading.Condition()
        self._outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        handler = grpc.stream_stream_rpc_method_handler(self._serve, None, lambda message: message.SerializeToString())
        _, service, name = method.split("/")
        self._server = grpc.server(ThreadPoolExecutor(8), options=(("grpc.so_reuseport", 0),))
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: handler}),))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def _serve(self, incoming: Iterator[bytes], context: Any) -> Iterator[Any]:
        outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for message in self._on_stream():
            outbox.put(message)
        with self._changed:
            self._outbox = outbox
            self.streams += 1
            self._changed.notify_all()
        threading.Thread(target=self._read, args=(incoming, outbox), daemon=True).start()
        while (message := outbox.get()) is not None:
            if isinstance(message, grpc.StatusCode):
                context.abort(message, "as the test says")
            yield message

    def _read(self, incoming: Iterator[bytes], outbox: queue.SimpleQueue[Any]) -> None:
        try:
            for data in incoming:
                with self._changed:
                    self.requests.append(self._request.FromString(data))
                    self._changed.notify_all()
        except grpc.RpcError:
            pass
        outbox.put(None)

    def send(self, message: Any) -> None:
        """Send to the newest stream; a ``grpc.StatusCode`` ends it."""
        with self._changed:
            self._outbox.put(message)

    def wait(self, condition: Callable[[], object]) -> None:
        """Until something that came makes it true."""
        end = time.monotonic() + WAIT_S
        with self._changed:
            while not condition():
                left = end - time.monotonic()
                assert left > 0, f"{self.streams} streams, {self.requests}"
                self._changed.wait(left)

    def close(self) -> None:
        """End all streams."""
        self._server.stop(0).wait()
