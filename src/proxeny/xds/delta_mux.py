"""The delta protocol (Envoy: ``NewGrpcMuxImpl``).

Requests say what comes in and goes out of interest; responses carry resources that changed and names of those that are
gone. Each response is acknowledged, or refused with an error, by its nonce, before any other request. The first
request of a stream says all that is wanted, and the versions that are there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from envoy.service.discovery.v3 import discovery_pb2

from proxeny.config.debug_string import debug_string, shortened
from proxeny.config.errors import ConfigError
from proxeny.event.slices import Steps
from proxeny.xds import xdstp
from proxeny.xds.ack_queue import PausableAckQueue, UpdateAck
from proxeny.xds.config_stream import AnyConfigStream, ConfigStreamCallbacks
from proxeny.xds.config_validators import ConfigValidators
from proxeny.xds.control_plane_stats import ControlPlaneStats
from proxeny.xds.delta_state import DeltaState
from proxeny.xds.eds_cache import ASSIGNMENT_URL, EdsResourcesCache
from proxeny.xds.inbox import Inbox
from proxeny.xds.mux import INTERNAL, ScopedResume, WatchCallbacks, as_refusal, detail
from proxeny.xds.rejection import joined
from proxeny.xds.resource import ResourceDecoder, ttl_ms_of
from proxeny.xds.subscription import FailureReason
from proxeny.xds.ttl import TtlManager
from proxeny.xds.watch_map import MapWatch, WatchMap

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher

log = logging.getLogger("proxeny.config")

MESSAGE: Final = discovery_pb2.DeltaDiscoveryResponse
"""What comes on the stream."""


class DeltaWatch:
    """The names that one subscription wants; none: all."""

    __slots__ = ("_inner", "_mux", "_subscription")

    def __init__(self, mux: DeltaMux, subscription: _Subscription, inner: MapWatch) -> None:
        self._mux = mux
        self._subscription = subscription
        self._inner = inner

    def update(self, names: Iterable[str]) -> None:
        """These instead of those before."""
        self._mux.update_watch(self._subscription, self._inner, names)

    def append(self, names: Iterable[str]) -> None:
        """These as well, on demand."""
        self._mux.request_on_demand(self._subscription, self._inner, names)

    def close(self) -> None:
        """None any more."""
        if self._inner in self._subscription.watches:
            self._mux.update_watch(self._subscription, self._inner, ())
            self._subscription.watches.remove(self._inner)


class _Subscription:
    """All about one type."""

    __slots__ = ("control_plane", "namespaces", "state", "ttl", "watches")

    def __init__(self, state: DeltaState, watches: WatchMap, ttl: TtlManager, namespaces: bool) -> None:
        self.state = state
        self.watches = watches
        self.ttl = ttl
        self.namespaces = namespaces
        self.control_plane = ""


class DeltaMux:
    """All subscriptions of one stream."""

    unsubscribes_at_end = True

    def __init__(
        self,
        dispatcher: Dispatcher,
        node: Any,
        open_stream: Callable[[ConfigStreamCallbacks], AnyConfigStream],
        *,
        skip_subsequent_node: bool = False,
        eds_cache: EdsResourcesCache | None = None,
        partial_updates: bool = False,
        validators: ConfigValidators | None = None,
    ) -> None:
        """``node``: a ``config.core.v3.Node``; ``skip_subsequent_node``: only the first request of a stream has it.

        ``partial_updates``: a watch that refuses its part keeps no other from taking its own.
        """
        self._dispatcher = dispatcher
        self._node = node
        self._skip_subsequent_node = skip_subsequent_node
        self.eds_cache = eds_cache
        self._partial_updates = partial_updates
        self._validators = validators or ConfigValidators()
        self._subscriptions: dict[str, _Subscription] = {}
        self._acks = PausableAckQueue()
        self._inbox = Inbox(dispatcher)
        self._first_request = True
        self._established = False
        self._generation = 0
        """How often a stream began or ended: what is left of an older one counts no more."""
        self._send_initial_versions = True
        self._started = False
        self._closed = False
        self._stream = open_stream(self)

    # -- watches -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the stream."""
        if not self._started:
            self._started = True
            self._stream.establish()

    def add_watch(
        self,
        type_url: str,
        names: Iterable[str],
        callbacks: WatchCallbacks,
        decoder: ResourceDecoder,
        namespaces: bool = False,
    ) -> DeltaWatch:
        """Watch resources of a type; without ``names`` all there are. ``namespaces``: what ``WatchMap`` says."""
        subscription = self._subscriptions.get(type_url)
        if subscription is None:
            subscription = self._subscriptions[type_url] = self._subscription(type_url, namespaces)
        watch = subscription.watches.add(callbacks, decoder)
        self.update_watch(subscription, watch, names)
        return DeltaWatch(self, subscription, watch)

    def _subscription(self, type_url: str, namespaces: bool) -> _Subscription:
        cache = self.eds_cache if type_url == ASSIGNMENT_URL else None
        ttl = TtlManager(self._dispatcher, lambda names: self._on_expired(type_url, names))
        watches = WatchMap(namespaces, cache, self._partial_updates, partial(self._validators.validate_delta, type_url))
        return _Subscription(DeltaState(type_url), watches, ttl, namespaces)

    def update_watch(self, subscription: _Subscription, watch: MapWatch, names: Iterable[str]) -> None:
        """``names`` instead of those before."""
        changed = subscription.watches.update_interest(watch, {xdstp.normalized(name) for name in names})
        # Namespaces are not names of resources: they are asked for on demand.
        if not subscription.namespaces:
            subscription.state.update_interest(changed.added, changed.removed)
        if subscription.state.update_pending:
            self._send_requests()

    def request_on_demand(self, subscription: _Subscription, watch: MapWatch, names: Iterable[str]) -> None:
        """Ask for ``names`` besides, those that were not asked for."""
        state = subscription.state
        state.update_interest([name for name in names if not state.is_requested(name)], ())
        if subscription.state.update_pending:
            self._send_requests()

    def pause(self, type_urls: Iterable[str]) -> ScopedResume:
        """Request nothing of these types until resumed; pauses nest."""
        paused = list(type_urls)
        for type_url in paused:
            self._acks.pause(type_url)
        return ScopedResume(lambda: self._resume(paused))

    def _resume(self, type_urls: list[str]) -> None:
        for type_url in type_urls:
            self._acks.resume(type_url)
            if not self._acks.is_paused(type_url):
                self._send_requests()

    # -- requests ----------------------------------------------------------------------------------------------

    def _send_requests(self) -> None:
        """Send all that may be sent."""
        if self._closed:
            return
        while True:
            ack = self._acks.front()
            subscription = self._subscriptions[ack.type_url] if ack is not None else self._next_pending()
            if subscription is None or not (self._established and self._stream.available):
                break
            if not self._stream.allows_request():
                break
            request = subscription.state.next_request()
            if ack is not None:
                self._acks.remove(ack)
                request.response_nonce = ack.nonce
                if ack.error is not None:
                    request.error_detail.code = INTERNAL
                    request.error_detail.message = detail(ack.error)
            if self._first_request or not self._skip_subsequent_node:
                request.node.CopyFrom(self._node)
            self._first_request = False
            self._stream.send(request.SerializeToString())
        self._stream.queue_size(len(self._acks))

    def _next_pending(self) -> _Subscription | None:
        """The first type, in the order in which they were subscribed to, that has something to tell."""
        for type_url, subscription in self._subscriptions.items():
            if subscription.state.update_pending and not self._acks.is_paused(type_url):
                return subscription
        return None

    def on_writeable(self) -> None:
        """The rate limit allows requests again."""
        self._send_requests()

    # -- the stream --------------------------------------------------------------------------------------------

    def on_stream_established(self) -> None:
        """Say all that is wanted."""
        self._generation += 1
        generation = self._generation
        self._inbox.put(lambda: self._begin_stream(generation))

    def _begin_stream(self, generation: int) -> None:
        if generation != self._generation:
            return  # it ended before its turn came
        self._first_request = True
        self._established = True
        for subscription in self._subscriptions.values():
            subscription.state.mark_stream_fresh(self._send_initial_versions)
        self._acks.clear()
        self._send_requests()

    def on_establishment_failure(self, same_server_next: bool) -> None:
        """Tell everybody, once what came before was handled."""
        self._generation += 1
        self._established = False
        self._inbox.put(lambda: self._fail_connection(same_server_next))

    def _fail_connection(self, same_server_next: bool) -> Steps[None]:
        told: set[str] = set()
        # Whoever is told may subscribe to further types.
        while fresh := [type_url for type_url in self._subscriptions if type_url not in told]:
            told.update(fresh)
            for type_url in fresh:
                yield from self._subscriptions[type_url].watches.fail(FailureReason.CONNECTION_FAILURE, None)
        self._send_initial_versions = same_server_next

    def on_response(self, message: Any, stats: ControlPlaneStats) -> None:
        """A DeltaDiscoveryResponse."""
        self._inbox.put(lambda: self._on_response(message, stats))

    def _on_response(self, message: Any, stats: ControlPlaneStats) -> Steps[None] | None:
        type_url, version = message.type_url, message.system_version_info
        log.debug("Received DeltaDiscoveryResponse for %s at version %s", type_url, version)
        subscription = self._subscriptions.get(type_url)
        if subscription is None:
            log.warning(
                "Dropping received DeltaDiscoveryResponse (with version %s) for non-existent subscription %s.",
                version,
                type_url,
            )
            return None
        if message.HasField("control_plane"):
            stats.identifier(message.control_plane.identifier)
            if message.control_plane.identifier != subscription.control_plane:
                subscription.control_plane = message.control_plane.identifier
                log.debug("Receiving gRPC updates for %s from %s", type_url, subscription.control_plane)
        return self._process(subscription, message)

    def _process(self, subscription: _Subscription, message: Any) -> Steps[None]:
        refused: ConfigError | None = None
        try:
            errors = yield from self._take(subscription, message)
            if errors:
                refused = joined(errors)
                log.warning("delta config for %s rejected in part: %s", message.type_url, refused)
        except Exception as error:
            refused = as_refusal(error)
            log.warning("delta config for %s rejected: %s", message.type_url, refused)
            yield from subscription.watches.fail(FailureReason.UPDATE_REJECTED, refused)
        self._acks.push(UpdateAck(message.nonce, message.type_url, refused))
        self._send_requests()

    def _take(self, subscription: _Subscription, message: Any) -> Steps[list[ConfigError]]:
        """Why some watches refused, where others take updates all the same."""
        state = subscription.state
        _check(state, message)
        removed = list(message.removed_resources)
        fresh = [resource for resource in message.resources if not state.is_heartbeat(resource)]
        refusals = yield from subscription.watches.deliver(fresh, removed, message.system_version_info)
        refused = set().union(*[one.names for one in refusals])
        self._remember(subscription, [resource for resource in message.resources if resource.name not in refused])
        for name in removed:
            state.forget(name)
        log.debug(
            "Delta config for %s accepted with %d resources added, %d removed",
            state.type_url,
            len(message.resources),
            len(removed),
        )
        return [one.error for one in refusals]

    def _remember(self, subscription: _Subscription, resources: Sequence[Any]) -> None:
        """The versions that are there, and until when."""
        state, ttl = subscription.state, subscription.ttl
        for resource in resources:
            if state.is_subscribed(resource.name):
                if resource.HasField("ttl"):
                    ttl.add(resource.name, ttl_ms_of(resource))
                else:
                    ttl.clear(resource.name)
                state.set_version(resource.name, resource.version)
        ttl.refresh()

    def _on_expired(self, type_url: str, names: list[str]) -> None:
        self._inbox.put(lambda: self._expire(self._subscriptions[type_url], names))

    def _expire(self, subscription: _Subscription, names: list[str]) -> Steps[Any]:
        gone = [name for name in names if subscription.state.forget(name)]
        return subscription.watches.deliver([], gone, "")

    def close(self) -> None:
        """End the stream for good."""
        self._closed = True
        self._inbox.close()
        for subscription in self._subscriptions.values():
            subscription.ttl.close()
        self._stream.close()


def _check(state: DeltaState, message: Any) -> None:
    """ConfigError for a response that contradicts itself."""
    names: set[str] = set()
    for resource in message.resources:
        if resource.name in names:
            raise ConfigError(f"duplicate name {resource.name} found among added/updated resources")
        names.add(resource.name)
        if state.is_heartbeat(resource):
            continue
        # An alias that leads nowhere has no resource.
        if not resource.HasField("resource") and resource.aliases:
            continue
        if message.type_url != resource.resource.type_url:
            raise ConfigError(
                f"type URL {resource.resource.type_url} embedded in an individual Any does not match the message-wide "
                f"type URL {message.type_url} in DeltaDiscoveryResponse {debug_string(shortened(message))}"
            )
    for name in message.removed_resources:
        if name in names:
            raise ConfigError(f"duplicate name {name} found in the union of added+removed resources")
        names.add(name)
