"""What gRPC and HTTP statuses are of each other, and which content types are gRPC's (Envoy: ``Grpc::Utility``)."""

from __future__ import annotations

from typing import Final

OK: Final = 0
UNKNOWN: Final = 2
DEADLINE_EXCEEDED: Final = 4
INTERNAL: Final = 13

_OF_HTTP: Final = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
"""Source: the gRPC project's http-grpc-status-mapping."""

_HTTP_OF: Final = {
    0: 200,
    1: 499,
    3: 400,
    4: 504,
    5: 404,
    6: 409,
    7: 403,
    8: 429,
    9: 400,
    10: 409,
    11: 400,
    12: 501,
    14: 503,
    16: 401,
}
"""Source: Google's API design guide; all others are 500."""

APPLICATION_GRPC: Final = b"application/grpc"


def grpc_status_of_http(code: int) -> int:
    """The gRPC status that an HTTP status stands for."""
    return _OF_HTTP.get(code, UNKNOWN)


def http_status_of_grpc(status: int | None) -> int:
    """The HTTP status that a gRPC status stands for; None is one that is no number."""
    return 500 if status is None else _HTTP_OF.get(status, 500)


def is_grpc_content_type(value: bytes | None) -> bool:
    """Whether a content-type says gRPC: ``application/grpc`` or ``application/grpc+...``, nothing else."""
    return value is not None and value.startswith(APPLICATION_GRPC) and (len(value) == 16 or value[16:17] == b"+")
