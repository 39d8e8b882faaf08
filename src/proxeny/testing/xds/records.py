"""What a control plane remembers: streams, requests and responses, in the order in which they happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from proxeny.testing.xds.types import Method, short_name


@dataclass(frozen=True, slots=True)
class Request:
    """One DiscoveryRequest or DeltaDiscoveryRequest.

    ``names`` are the resource names of the state-of-the-world protocol; ``subscribe``, ``unsubscribe`` and
    ``initial_versions`` belong to the incremental one, whose ``version`` is always empty. ``answers`` is the response
    whose nonce it carries. ``error`` is None unless it is a NACK.
    """

    stream: int
    type_name: str
    delta: bool
    node: Any
    """``config.core.v3.Node``, None when it is left out."""
    version: str
    nonce: str
    names: tuple[str, ...]
    subscribe: tuple[str, ...]
    unsubscribe: tuple[str, ...]
    initial_versions: dict[str, str]
    error_code: int
    error: str | None
    answers: Response | None
    message: Any = field(repr=False)

    @property
    def is_ack(self) -> bool:
        """Whether it takes a response."""
        return bool(self.nonce) and self.error is None

    @property
    def is_nack(self) -> bool:
        """Whether it refuses a response."""
        return self.error is not None

    def __str__(self) -> str:
        parts = [f"stream {self.stream} -> {short_name(self.type_name)}"]
        parts += [f"version={self.version!r}"] if not self.delta else []
        parts += [f"nonce={self.nonce!r}"] if self.nonce else []
        shown = {
            "names": self.names, "subscribe": self.subscribe, "unsubscribe": self.unsubscribe,
            "initial_versions": self.initial_versions,
        }  # fmt: skip
        parts += [f"{name}={value!r}" for name, value in shown.items() if value]
        parts += [f"node={self.node.id!r}"] if self.node is not None else []
        parts += [f"error={self.error_code}:{self.error!r}"] if self.error is not None else []
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class Response:
    """One response that was handed to gRPC; ``names`` and ``removed`` are empty when its bytes were made by hand."""

    stream: int
    type_name: str
    version: str
    nonce: str
    names: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __str__(self) -> str:
        gone = f" removed={self.removed!r}" if self.removed else ""
        what = f"{short_name(self.type_name)} version={self.version!r} nonce={self.nonce!r} names={self.names!r}{gone}"
        return f"stream {self.stream} <- {what}"


@dataclass(slots=True)
class Stream:
    """One stream that a client opened."""

    number: int
    method: Method
    metadata: tuple[tuple[str, str | bytes], ...]
    ended: bool = False
    node: Any = None
    """The node that its first request told."""

    def __str__(self) -> str:
        return f"stream {self.number} opened {self.method.path}"


def sotw_request(stream: int, message: Any, type_name: str, answers: Response | None) -> Request:
    """A record of a DiscoveryRequest."""
    has_error = message.HasField("error_detail")
    return Request(
        stream=stream,
        type_name=type_name,
        delta=False,
        node=message.node if message.HasField("node") else None,
        version=message.version_info,
        nonce=message.response_nonce,
        names=tuple(message.resource_names),
        subscribe=(),
        unsubscribe=(),
        initial_versions={},
        error_code=message.error_detail.code,
        error=message.error_detail.message if has_error else None,
        answers=answers,
        message=message,
    )


def delta_request(stream: int, message: Any, type_name: str, answers: Response | None) -> Request:
    """A record of a DeltaDiscoveryRequest."""
    has_error = message.HasField("error_detail")
    return Request(
        stream=stream,
        type_name=type_name,
        delta=True,
        node=message.node if message.HasField("node") else None,
        version="",
        nonce=message.response_nonce,
        names=(),
        subscribe=tuple(message.resource_names_subscribe),
        unsubscribe=tuple(message.resource_names_unsubscribe),
        initial_versions=dict(message.initial_resource_versions),
        error_code=message.error_detail.code,
        error=message.error_detail.message if has_error else None,
        answers=answers,
        message=message,
    )
