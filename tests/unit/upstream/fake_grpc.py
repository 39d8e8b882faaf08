"""A gRPC client without a network, for what keeps one stream to a control plane open."""

from __future__ import annotations

from typing import Any


class Stream:
    """One stream, and what was sent on it."""

    def __init__(self, message_type: Any) -> None:
        self._message_type = message_type
        self.sent: list[Any] = []
        self.is_reset = False

    def send(self, data: bytes) -> None:
        self.sent.append(self._message_type.FromString(data))

    def reset(self) -> None:
        self.is_reset = True


class Client:
    """Opens streams of one method while it is ``reachable``."""

    def __init__(self, method: str, message_type: Any) -> None:
        self._method = method
        self._message_type = message_type
        self.streams: list[Stream] = []
        self.reachable = True
        self.closed = False

    def open(self, method: str, callbacks: Any, metadata: Any = ()) -> Stream | None:
        assert method == self._method
        if not self.reachable:
            return None
        self.streams.append(Stream(self._message_type))
        return self.streams[-1]

    def close(self) -> None:
        self.closed = True
