"""What a stream knows of the connection manager it belongs to: the base of ``ConnectionManager``, whose module imports
that of the streams."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

from proxeny.network.filter import NetworkFilter

if TYPE_CHECKING:
    from proxeny.http.codec import ServerCodec
    from proxeny.http.connection_manager_config import ConnectionManagerConfig
    from proxeny.kernel.timer import TimerWheel
    from proxeny.network.address import Address
    from proxeny.network.stream_info import ConnectionInfo


class DrainState(IntEnum):
    """How far a connection is on its way out."""

    NOT_DRAINING = 0
    DRAINING = 1
    CLOSING = 2


# An Enum's members are looked up by its metaclass each time: the hot path has names of its own for them.
NOT_DRAINING = DrainState.NOT_DRAINING
CLOSING = DrainState.CLOSING


class StreamManager(NetworkFilter):
    """The facts of a connection that its streams ask for, and what they tell it."""

    __slots__ = (
        "buffer_limit",
        "codec",
        "config",
        "connection_info",
        "dispatcher",
        "drain_decision",
        "drain_state",
        "has_rare_timers",
        "multiplexed",
        "protocol",
        "remote_address",
        "remote_closed",
        "rq_total_slot",
        "secure",
        "wheel",
    )

    config: ConnectionManagerConfig
    codec: ServerCodec | None
    """Made when the first bytes come."""
    connection_info: ConnectionInfo
    dispatcher: Any
    drain_decision: Any
    drain_state: DrainState
    wheel: TimerWheel
    remote_address: Address
    remote_closed: bool
    has_rare_timers: bool
    multiplexed: bool
    """Whether many streams are open at a time, and one that is reset does not end the connection."""
    secure: bool
    """Whether the client speaks TLS."""
    rq_total_slot: int
    """The counter of requests by protocol."""
    protocol: str
    buffer_limit: int

    def new_stream(self, response_encoder: Any) -> Any:
        """A request begins; its decoder."""
        raise AssertionError("abstract")

    def end_stream(self, stream: Any) -> None:
        """A stream is over for us: complete, or given up (then HTTP/1 must close)."""
        raise AssertionError("abstract")

    def destroy_stream(self, stream: Any) -> None:
        """Log and forget the stream."""
        raise AssertionError("abstract")

    @property
    def closing_after_response(self) -> bool:
        """Whether responses say ``connection: close`` now."""
        return self.drain_state is not NOT_DRAINING

    def close_after_response(self) -> None:
        """Close once the streams are done."""
        self.drain_state = DrainState.CLOSING

    def start_drain_sequence(self) -> None:
        """Tell the client to go; close after ``drain_timeout``."""
        raise AssertionError("abstract")
