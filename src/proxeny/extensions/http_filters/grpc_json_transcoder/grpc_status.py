"""The status of a gRPC call, as its trailers tell it, and what it is in HTTP."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from proxeny.extensions.http_filters.grpc_json_transcoder.http_body import delimited
from proxeny.extensions.http_filters.grpc_json_transcoder.types import varint
from proxeny.http.grpc import GRPC_MESSAGE, GRPC_STATUS
from proxeny.network.grpc_status import http_status_of_grpc

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap

DETAILS: Final = b"grpc-status-details-bin"
OK: Final = 0
INVALID: Final = -1
"""It is there, and is no number."""
_NUMBER: Final = re.compile(rb"\+?[0-9]+")


def status_of(trailers: HeaderMap) -> int | None:
    """The status; None when there is none, INVALID when it is no number of 64 bits (or that which stands for none)."""
    text = trailers.get(GRPC_STATUS)
    if not text:
        return None
    if not _NUMBER.fullmatch(text) or len(text) > 21 or int(text) >= (1 << 64) - 1:
        return INVALID
    return int(text)


def to_http(status: int | None) -> int:
    """The HTTP status; without a number 503."""
    if status is None or status == INVALID:
        return 503
    return http_status_of_grpc(status)


def encoded_status(trailers: HeaderMap, status: int) -> bytes:
    """A ``google.rpc.Status``: that of the details, or else one of status and message."""
    details = _details(trailers)
    if details is not None:
        return details
    message = unquote_to_bytes(trailers.get(GRPC_MESSAGE) or b"")
    code = (status & 0xFFFFFFFF) ^ 0x80000000
    code = (code - 0x80000000) & (1 << 64) - 1
    return (b"\x08" + varint(code) if code else b"") + (delimited(2, message) if message else b"")


def _details(trailers: HeaderMap) -> bytes | None:
    text = (trailers.get(DETAILS) or b"").rstrip(b"=")
    try:
        data = b64decode(text + b"=" * (-len(text) % 4), validate=True)
        return status_pb2.Status.FromString(data).SerializeToString() if data else None
    except (Base64Error, DecodeError):
        return None
