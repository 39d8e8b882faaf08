"""What the router tells outlier detection (Envoy: the router's calls of ``Outlier::DetectorHostMonitor::putResult``).

Entered only for clusters that are watched; a host without a monitor is one of a generation of its cluster that was not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.kernel.outlier import (
    EXT_ORIGIN_REQUEST_DEGRADED,
    EXT_ORIGIN_REQUEST_FAILED,
    EXT_ORIGIN_REQUEST_SUCCESS,
    LOCAL_ORIGIN_CONNECT_FAILED,
    LOCAL_ORIGIN_CONNECT_SUCCESS,
    LOCAL_ORIGIN_TIMEOUT,
)
from proxeny.matcher.integer import parse_uint64
from proxeny.network.grpc_status import http_status_of_grpc

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.router.filter_replies import RouterReplies
    from proxeny.router.upstream_request import UpstreamRequest

DEGRADED: Final = b"x-envoy-degraded"
GRPC_STATUS: Final = b"grpc-status"


def note_stream(host: Any) -> None:
    """An attempt got a stream."""
    if host.outlier is not None:
        host.outlier.put_result(LOCAL_ORIGIN_CONNECT_SUCCESS)


def note_response(router: RouterReplies, upstream: UpstreamRequest, code: int, headers: HeaderMap) -> None:
    """The head of a response: its status counts, or what the error matcher says; of gRPC what ``grpc-status`` stands
    for, whatever the matcher."""
    monitor = upstream.host.outlier
    rules = upstream.host.cluster.outlier
    if monitor is None:
        return
    if router.grpc_request:
        status = headers.get(GRPC_STATUS)
        if status:
            code = http_status_of_grpc(parse_uint64(status))
    elif rules.error_matcher is not None:
        code = rules.status_for(code, headers)
    if code >= 500:
        result = EXT_ORIGIN_REQUEST_FAILED
    else:
        result = EXT_ORIGIN_REQUEST_DEGRADED if DEGRADED in headers else EXT_ORIGIN_REQUEST_SUCCESS
    monitor.put_result(result, code)


def note_reset(upstream: UpstreamRequest) -> None:
    """An attempt got no stream, or lost it. Not called where our own limits refused it."""
    host = upstream.host
    if host is not None and host.outlier is not None:
        host.outlier.put_result(LOCAL_ORIGIN_CONNECT_FAILED)


def note_timeout(router: RouterReplies, upstream: UpstreamRequest) -> None:
    """An attempt took too long; told once, also of one that goes on beside the next."""
    host = upstream.host
    if not upstream.timeout_noted and host is not None and host.outlier is not None:
        upstream.timeout_noted = True
        host.outlier.put_result(LOCAL_ORIGIN_TIMEOUT, router.timeout_code)
