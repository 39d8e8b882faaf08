"""What tells gRPC, and what is near it, from other HTTP (Envoy: ``Grpc::Common``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxeny.network.grpc_status import is_grpc_content_type

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap

CONTENT_TYPE: Final = b"content-type"
GRPC_STATUS: Final = b"grpc-status"
GRPC_MESSAGE: Final = b"grpc-message"
APPLICATION_PROTOBUF: Final = b"application/x-protobuf"
CONNECT_STREAMING: Final = b"application/connect+"
CONNECT_VERSION: Final = b"connect-protocol-version"
FRAME_HEAD_SIZE: Final = 5


def is_grpc_request(headers: HeaderMap) -> bool:
    """Whether a request is gRPC."""
    return is_grpc_content_type(headers.get(CONTENT_TYPE)) and b":path" in headers


def is_grpc_response(headers: HeaderMap, end_stream: bool) -> bool:
    """Whether a response is gRPC; of one without a body the status says so, whatever its type."""
    if end_stream:
        return GRPC_STATUS in headers
    return headers.get(b":status") == b"200" and is_grpc_content_type(headers.get(CONTENT_TYPE))


def is_connect_streaming(headers: HeaderMap) -> bool:
    """Whether a message is of a stream of the Connect protocol."""
    return (headers.get(CONTENT_TYPE) or b"").startswith(CONNECT_STREAMING)


def service_and_method(path: bytes | None) -> tuple[str, str] | None:
    """What ``/<service>/<method>`` names; None where a path is not of that form."""
    if path is None:
        return None
    parts = [part for part in path.partition(b"?")[0].split(b"/") if part]
    return (parts[0].decode("latin-1"), parts[1].decode("latin-1")) if len(parts) == 2 else None
