"""Answers made by the proxy itself (Envoy: ``Http::Utility::prepareLocalReply``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from proxeny.kernel.buffer import Buffer
from proxeny.kernel.headers import HeaderMap
from proxeny.network.grpc_status import APPLICATION_GRPC, grpc_status_of_http

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.network.stream_info import StreamInfo

STATUS = b":status"
CONTENT_TYPE = b"content-type"
CONTENT_LENGTH = b"content-length"
GRPC_STATUS_HEADER = b"grpc-status"
TEXT_PLAIN = b"text/plain"
APPLICATION_JSON = b"application/json"
CODES = {code: str(code).encode() for code in range(100, 1000)}
BODYLESS_CODES = frozenset((204, 304))
"""Clients read no body behind these (RFC 9112 section 6.3): one would be taken for the next response.."""
GRPC_MESSAGE_SAFE = frozenset(range(0x20, 0x7F)) - {ord("%")}


class LocalReplyRewriter(Protocol):
    """``local_reply_config``, compiled."""

    def rewrite(
        self, request: HeaderMap | None, info: StreamInfo, response: HeaderMap, code: int, body: bytes
    ) -> tuple[int, bytes, bytes]:
        """Change ``response``; returns the code, the body and the content type that the body would have."""
        ...


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
    rewrite: Callable[[HeaderMap, int, bytes], tuple[int, bytes, bytes]] | None = None,
) -> LocalReply:
    """Build the reply for ``code``; a gRPC request gets a trailers-only answer with the mapped status."""
    headers = HeaderMap()
    headers.add(STATUS, CODES[code])
    if modify_headers is not None:
        modify_headers(headers)
    content_type = TEXT_PLAIN
    retype = False
    if rewrite is not None:
        type_before, body_before = headers.get(CONTENT_TYPE), body
        code, body, content_type = rewrite(headers, code, body)
        # Another body is of another type, unless the mapper has set one.
        retype = body != body_before and headers.get(CONTENT_TYPE) == type_before
    if is_grpc:
        return _trailers_only(headers, code, body, content_type, is_head, grpc_status)
    if not body or code in BODYLESS_CODES:
        headers.remove_many((CONTENT_LENGTH, CONTENT_TYPE))
        return LocalReply(headers, None)
    headers.set(CONTENT_LENGTH, b"%d" % len(body))
    if retype:
        headers.set(CONTENT_TYPE, content_type)
    else:
        headers.set_if_absent(CONTENT_TYPE, content_type)
    if is_head:
        return LocalReply(headers, None)
    data = Buffer()
    data.append(body)
    return LocalReply(headers, data)


def _trailers_only(
    headers: HeaderMap, code: int, body: bytes, content_type: bytes, is_head: bool, grpc_status: int | None
) -> LocalReply:
    headers.set(STATUS, b"200")
    headers.set(CONTENT_TYPE, APPLICATION_GRPC)
    if not headers.get(GRPC_STATUS_HEADER):
        status = grpc_status_of_http(code) if grpc_status is None else grpc_status
        headers.set(GRPC_STATUS_HEADER, b"%d" % status)
    if body and not is_head:
        if content_type == APPLICATION_JSON:
            # The JSON formatter writes lines.
            body = body.removesuffix(b"\n")
        headers.set(b"grpc-message", encode_grpc_message(body))
    headers.remove(CONTENT_LENGTH)
    return LocalReply(headers, None)
