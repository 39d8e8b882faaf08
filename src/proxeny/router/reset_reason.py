"""Reset reasons in the words of local replies and details, and the response flags they set
(Envoy: ``Utility::resetReasonToString``, ``Filter::streamResetReasonToResponseFlag``)."""

from __future__ import annotations

from typing import Final

from proxeny.http.codec import StreamResetReason as Reason
from proxeny.network.stream_info import FLAG_BITS, ResponseFlag
from proxeny.pool.failure import PoolFailureReason

RESET_WORDS: Final = {
    Reason.LOCAL_RESET: "local reset",
    Reason.LOCAL_REFUSED_STREAM_RESET: "local refused stream reset",
    Reason.REMOTE_RESET: "remote reset",
    Reason.REMOTE_REFUSED_STREAM_RESET: "remote refused stream reset",
    Reason.LOCAL_CONNECTION_FAILURE: "local connection failure",
    Reason.REMOTE_CONNECTION_FAILURE: "remote connection failure",
    Reason.CONNECTION_TIMEOUT: "connection timeout",
    Reason.CONNECTION_TERMINATION: "connection termination",
    Reason.OVERFLOW: "overflow",
    Reason.CONNECT_ERROR: "remote error with CONNECT request",
    Reason.PROTOCOL_ERROR: "protocol error",
    Reason.OVERLOAD_MANAGER: "overload manager reset",
    Reason.HTTP1_PREMATURE_UPSTREAM_HALF_CLOSE: "HTTP/1 premature upstream half close",
}

RESET_FLAGS: Final = {
    Reason.LOCAL_RESET: FLAG_BITS[ResponseFlag.LOCAL_RESET],
    Reason.LOCAL_REFUSED_STREAM_RESET: FLAG_BITS[ResponseFlag.LOCAL_RESET],
    Reason.REMOTE_RESET: FLAG_BITS[ResponseFlag.UPSTREAM_REMOTE_RESET],
    Reason.REMOTE_REFUSED_STREAM_RESET: FLAG_BITS[ResponseFlag.UPSTREAM_REMOTE_RESET],
    Reason.LOCAL_CONNECTION_FAILURE: FLAG_BITS[ResponseFlag.UPSTREAM_CONNECTION_FAILURE],
    Reason.REMOTE_CONNECTION_FAILURE: FLAG_BITS[ResponseFlag.UPSTREAM_CONNECTION_FAILURE],
    Reason.CONNECTION_TIMEOUT: FLAG_BITS[ResponseFlag.UPSTREAM_CONNECTION_FAILURE],
    Reason.CONNECTION_TERMINATION: FLAG_BITS[ResponseFlag.UPSTREAM_CONNECTION_TERMINATION],
    Reason.OVERFLOW: FLAG_BITS[ResponseFlag.UPSTREAM_OVERFLOW],
    Reason.CONNECT_ERROR: FLAG_BITS[ResponseFlag.UPSTREAM_REMOTE_RESET],
    Reason.PROTOCOL_ERROR: FLAG_BITS[ResponseFlag.UPSTREAM_PROTOCOL_ERROR],
    Reason.OVERLOAD_MANAGER: FLAG_BITS[ResponseFlag.OVERLOAD_MANAGER],
    Reason.HTTP1_PREMATURE_UPSTREAM_HALF_CLOSE: FLAG_BITS[ResponseFlag.UPSTREAM_CONNECTION_TERMINATION],
}

POOL_FAILURES: Final = {
    PoolFailureReason.OVERFLOW: Reason.OVERFLOW,
    PoolFailureReason.LOCAL_CONNECTION_FAILURE: Reason.LOCAL_CONNECTION_FAILURE,
    PoolFailureReason.REMOTE_CONNECTION_FAILURE: Reason.REMOTE_CONNECTION_FAILURE,
    PoolFailureReason.TIMEOUT: Reason.CONNECTION_TIMEOUT,
}
