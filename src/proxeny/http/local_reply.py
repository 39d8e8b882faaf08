"""Answers made by the proxy itself (Envoy: ``Http::Utility::prepareLocalReply``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxeny.http.codes import GRPC_STATUS, GRPC_UNKNOWN
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.headers import HeaderMap

if TYPE_CHECKING:
    from collections.abc import Callable

STATUS = b":status"
CONTENT_TYPE = b"content-type"
CONTENT_LENGTH = b"content-length"
TEXT_PLAIN = b"text/plain"
APPLICATION_GRPC = b"application/grpc"
CODES = {code: str(code).encode() for code in range(100, 1000)}
GRPC_MESSAGE_SAFE = frozenset(range(0x20, 0x7F)) - {ord("%")}


def is_grpc_content_type(value: bytes | None) -> bool:
    """Whether a content-type says gRPC (``application/grpc`` or ``application/grpc+...``)."""
    return value is not None and value.startswith(APPLICATION_GRPC) and (len(value) == 16 or value[16:17] == b"+")


def encode_grpc_message(text: bytes) -> bytes:
    """Percent-encode a grpc-message (gRPC over HTTP/2: "Percent-Encoded")."""
    return b"".join([bytes((byte,)) if byte in GRPC_MESSAGE_SAFE else b"%%%02X" % byte for byte in text])


class LocalReply:
    """A prepared local reply: ``headers`` and, unless the head is all there is, ``body``."""

    __slots__ = ("body", "headers")

    def __init__(self, headers: HeaderMap, body: Buffer | None) -> None:
        self.headers = headers
        self.body = body


def prepare(
    code: int,
    body: bytes,
    *,
    is_grpc: bool,
    is_head: bool,
    grpc_status: int | None = None,
    modify_headers: Callable[[HeaderMap], None] | None = None,
) -> LocalReply:
    """Build the reply for ``code``; a gRPC request gets a trailers-only answer with the mapped status."""
    headers = HeaderMap()
    if is_grpc:
        headers.add(STATUS, b"200")
        headers.add(CONTENT_TYPE, APPLICATION_GRPC)
        status = GRPC_STATUS.get(code, GRPC_UNKNOWN) if grpc_status is None else grpc_status
        headers.add(b"grpc-status", str(status).encode())
        if body:
            headers.add(b"grpc-message", encode_grpc_message(body))
        if modify_headers is not None:
            modify_headers(headers)
        return LocalReply(headers, None)
    headers.add(STATUS, CODES[code])
    if body:
        headers.add(CONTENT_LENGTH, str(len(body)).encode())
        headers.add(CONTENT_TYPE, TEXT_PLAIN)
    if modify_headers is not None:
        modify_headers(headers)
    if not body:
        headers.remove_many((CONTENT_LENGTH, CONTENT_TYPE))
    if not body or is_head:
        return LocalReply(headers, None)
    data = Buffer()
    data.append(body)
    return LocalReply(headers, data)
