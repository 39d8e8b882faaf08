"""A stream to a control plane that is opened again when it ends (Envoy: ``Config::GrpcStream``)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from proxeny.xds.backoff import BackOff
from proxeny.xds.control_plane_stats import ControlPlaneStats
from proxeny.xds.grpc_client import GrpcClient, GrpcStream
from proxeny.xds.rate_limit import TokenBucket

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher

log = logging.getLogger("proxeny.config")

_OK, _UNAVAILABLE = 0, 14
"""Of gRPC's status codes."""
_PASSING: Final = frozenset((4, 8, 14))
"""DeadlineExceeded, ResourceExhausted, Unavailable: what is likely to pass, so that it is not warned of at once."""


class ConfigStreamCallbacks(Protocol):
    """Who speaks the protocol on it: a mux."""

    def on_stream_established(self) -> None:
        """There is a stream: say what is wanted."""

    def on_establishment_failure(self, same_server_next: bool) -> None:
        """There is none, or no more; ``same_server_next``: the next one will be to the same server."""

    def on_response(self, message: Any, stats: ControlPlaneStats) -> None:
        """A message of the stream's ``response``."""

    def on_writeable(self) -> None:
        """The rate limit allows requests again."""


class AnyConfigStream(Protocol):
    """What a mux needs of one; with a fail-over there are two streams behind it."""

    @property
    def available(self) -> bool:
        """Whether there is a stream to send on."""

    def establish(self) -> None:
        """Open it, now and whenever it ends."""

    def send(self, data: bytes) -> None:
        """A serialized request."""

    def allows_request(self) -> bool:
        """Whether the rate limit lets one more request pass; else ``on_writeable`` is called later."""

    def queue_size(self, size: int) -> None:
        """So many requests are left waiting."""

    def close(self) -> None:
        """End it for good."""


@dataclass(slots=True)
class StreamOptions:
    """Where a stream goes to, and how eagerly."""

    client: GrpcClient
    destination: str
    """What logs call the service."""
    method: str
    """Its path, ``/service/Method``."""
    response: Any
    """The class of the messages that come."""
    backoff: BackOff
    limit: TokenBucket | None = None
    connected_state: int = 1
    """What ``control_plane.connected_state`` says while it is there."""


class ConfigStream:
    """Opens streams of one method, one after the other."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        callbacks: ConfigStreamCallbacks,
        options: StreamOptions,
        stats: ControlPlaneStats,
    ) -> None:
        self._dispatcher = dispatcher
        self._callbacks = callbacks
        self._client = options.client
        self._destination = options.destination
        self._method = options.method
        self._response = options.response
        self._backoff = options.backoff
        self._limit = options.limit
        self._connected_state = options.connected_state
        self._stats = stats
        self._stream: GrpcStream | None = None
        self._events: _StreamEvents | None = None
        self._closed_on_purpose = False
        self._had_pending = False
        self._failures = _FailureLog(dispatcher, options)
        self._retry_timer = dispatcher.create_timer(self.establish)
        self._drain_timer = dispatcher.create_timer(self._on_drain_timer)

    @property
    def available(self) -> bool:
        """Whether there is a stream to send on."""
        return self._stream is not None

    def establish(self) -> None:
        """Open it; on failure again later."""
        self._closed_on_purpose = False
        log.debug("Establishing new gRPC bidi stream to %s for %s", self._destination, self._method)
        if self._stream is not None:
            log.warning("gRPC bidi stream to %s for %s already exists!", self._destination, self._method)
            return
        self._events = _StreamEvents(self)
        stream = self._client.open(self._method, self._events)
        if stream is None:
            # As Envoy, which hears of it twice: once from the stream, once because there is none.
            self.on_close(_UNAVAILABLE, "Cluster not available")
            log.debug("Unable to establish new stream to configuration server %s", self._destination)
            self._callbacks.on_establishment_failure(True)
            self._retry_later()
            return
        self._stream = stream
        self._stats.connected(self._connected_state)
        self._callbacks.on_stream_established()

    def send(self, data: bytes) -> None:
        """Send a serialized request."""
        assert self._stream is not None
        self._stream.send(data)

    def on_message(self, data: bytes) -> None:
        """The control plane answers: the next failure is a new one; DecodeError, which ends the stream."""
        message = self._response()
        message.ParseFromString(data)
        self._backoff.reset()
        self._failures.clear()
        self._stats.connected(self._connected_state)
        self._callbacks.on_response(message, self._stats)

    def on_close(self, status: int, message: str) -> None:
        """The stream ended, whoever ended it."""
        self._failures.log(status, message, self._backoff)
        self._stream = None
        self._let_go_of_events()
        self._stats.connected(0)
        self._callbacks.on_establishment_failure(True)
        if not self._closed_on_purpose:
            self._retry_later()

    def _retry_later(self) -> None:
        self._retry_timer.enable(self._backoff.next_ms())

    def allows_request(self) -> bool:
        """Whether the rate limit lets one more request pass; else ``on_writeable`` is called later."""
        limit = self._limit
        if limit is None or limit.take():
            return True
        self._stats.rate_limit_enforced()
        if not self._drain_timer.enabled:
            self._drain_timer.enable(limit.next_token_ms())
        return False

    def _on_drain_timer(self) -> None:
        if self._stream is not None:
            self._callbacks.on_writeable()

    def queue_size(self, size: int) -> None:
        """So many requests are left waiting."""
        if size > 0 or self._had_pending:
            self._had_pending = True
            self._stats.pending_requests(size)

    def close(self) -> None:
        """End it for good."""
        log.debug("Intentionally closing the gRPC stream to %s", self._destination)
        self._closed_on_purpose = True
        self._retry_timer.disable()
        self._drain_timer.disable()
        self._stats.connected(0)
        self._let_go_of_events()
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.reset()
        self._client.close()
        self._stats.close()

    def _let_go_of_events(self) -> None:
        events, self._events = self._events, None
        if events is not None:
            events.owner = None


class _StreamEvents:
    """Events of one stream; those of one that was given up reach nobody."""

    __slots__ = ("owner",)

    def __init__(self, owner: ConfigStream) -> None:
        self.owner: ConfigStream | None = owner

    def on_message(self, data: bytes) -> None:
        if self.owner is not None:
            self.owner.on_message(data)

    def on_close(self, status: int, message: str) -> None:
        if self.owner is not None:
            self.owner.on_close(status, message)


class _FailureLog:
    """How loudly the end of a stream is told: what may pass only once it goes on for long, or changes."""

    def __init__(self, dispatcher: Dispatcher, options: StreamOptions) -> None:
        self._dispatcher = dispatcher
        self._what = f"{options.method.rpartition('/')[2]} gRPC config stream to {options.destination} closed"
        self._status: int | None = None
        self._message = ""
        self._since_ms = 0

    def clear(self) -> None:
        """It works."""
        self._status = None

    def log(self, status: int, message: str, backoff: BackOff) -> None:
        """The stream ended so."""
        if status == _OK:
            log.debug("%s: %d, %s", self._what, status, message)
        elif status not in _PASSING:
            log.warning("%s: %d, %s", self._what, status, message)
        elif self._status is None:
            log.debug("%s: %d, %s", self._what, status, message)
            self._remember(status, message)
        else:
            self._log_again(status, message, backoff)

    def _log_again(self, status: int, message: str, backoff: BackOff) -> None:
        passed_ms = self._dispatcher.now_ms - self._since_ms
        passed_s = passed_ms // 1000
        if status != self._status:
            log.warning(
                "%s: %d, %s (previously %d, %s since %ds ago)",
                self._what,
                status,
                message,
                self._status,
                self._message,
                passed_s,
            )
            self._remember(status, message)
            return
        self._message = message
        if backoff.is_over_time_limit(passed_ms):
            log.warning("%s since %ds ago: %d, %s", self._what, passed_s, status, message)
        else:
            log.debug("%s: %d, %s", self._what, status, message)

    def _remember(self, status: int, message: str) -> None:
        self._status, self._message, self._since_ms = status, message, self._dispatcher.now_ms
