"""A call as a stream of one message each way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.network.grpc_status import INTERNAL

if TYPE_CHECKING:
    from proxeny.xds.grpc_client import GrpcUnaryCallbacks


class UnaryCall:
    """One call, as the callbacks of its stream."""

    __slots__ = ("_answer", "_callbacks", "stream")

    def __init__(self, callbacks: GrpcUnaryCallbacks) -> None:
        self._callbacks: GrpcUnaryCallbacks | None = callbacks
        self._answer: bytes | None = None
        self.stream: Any = None

    def cancel(self) -> None:
        """No callback any more."""
        self._callbacks = None
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.reset()

    def on_message(self, data: bytes) -> None:
        """The answer, which counts if the call ends well."""
        self._answer = data

    def on_close(self, status: int, message: str) -> None:
        """The end of the call."""
        self.stream = None
        callbacks, self._callbacks = self._callbacks, None
        if callbacks is None:
            return
        if status == 0 and self._answer is not None:
            callbacks.on_success(self._answer)
        else:
            callbacks.on_failure(status or INTERNAL, message)
