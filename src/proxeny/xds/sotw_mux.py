"""The state-of-the-world protocol (Envoy: ``GrpcMuxImpl``).

For every type there is one request that says all the names wanted, the version that was taken last and the nonce of
the last response. A response is taken by a request with its version and nonce, and refused by one with the old
version, its nonce and an error. On a new stream every type is requested again, without a nonce.

A resource without contents, at the version that was taken, is a heartbeat: what is there lives on. (Envoy 1.40 takes a
response of heartbeats for one without resources: it removes all of a wildcard, and does not prolong their lives.)
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from envoy.service.discovery.v3 import discovery_pb2

from proxeny.config.debug_string import debug_string, shortened
from proxeny.config.errors import ConfigError
from proxeny.config.message_types import type_name_of
from proxeny.event.slices import Steps
from proxeny.xds import xdstp
from proxeny.xds.config_stream import AnyConfigStream, ConfigStreamCallbacks
from proxeny.xds.config_validators import ConfigValidators
from proxeny.xds.control_plane_stats import ControlPlaneStats
from proxeny.xds.eds_cache import ASSIGNMENT_URL, EdsResourcesCache
from proxeny.xds.inbox import Inbox
from proxeny.xds.mux import ScopedResume, WatchCallbacks, as_refusal, detail, tell_failure
from proxeny.xds.rejection import joined
from proxeny.xds.resource import WRAPPER, DecodedResource, ResourceDecoder
from proxeny.xds.sotw_state import SotwWatch, TypeState, found_for
from proxeny.xds.subscription import FailureReason
from proxeny.xds.ttl import TtlManager

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher

log = logging.getLogger("proxeny.config")

MESSAGE: Final = discovery_pb2.DiscoveryResponse
"""What comes on the stream."""


class SotwMux:
    """All subscriptions of one stream."""

    unsubscribes_at_end = False

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
        self._states: dict[str, TypeState] = {}
        self._subscriptions: list[str] = []
        self._queue: deque[str] = deque()
        self._inbox = Inbox(dispatcher)
        self._first_request = True
        self._established = False
        self._generation = 0
        """How often a stream began or ended: what is left of an older one counts no more."""
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
    ) -> SotwWatch:
        """Watch resources of a type; without ``names`` all there are. There are no namespaces in this protocol."""
        state = self._state(type_url)
        watch = SotwWatch(self, state, names, callbacks, decoder)
        log.debug("gRPC mux addWatch for %s", type_url)
        if not state.subscribed:
            state.subscribed = True
            state.request.type_url = type_url
            self._subscriptions.append(type_url)
        self.queue_request(type_url)
        return watch

    def _state(self, type_url: str) -> TypeState:
        state = self._states.get(type_url)
        if state is None:
            ttl = TtlManager(self._dispatcher, lambda names: self._on_expired(type_url, names))
            state = self._states[type_url] = TypeState(type_url, ttl)
        return state

    def forget(self, state: TypeState, names: Iterable[str]) -> None:
        """Nobody watches some of ``names`` any more: nor are they cached."""
        if self.eds_cache is not None and state.type_url == ASSIGNMENT_URL:
            for name in names:
                if name not in state.by_name:
                    self.eds_cache.remove(name)

    def pause(self, type_urls: Iterable[str]) -> ScopedResume:
        """Request nothing of these types until resumed; pauses nest."""
        states = [self._state(type_url) for type_url in type_urls]
        for state in states:
            state.pauses += 1
        return ScopedResume(lambda: self._resume(states))

    def _resume(self, states: list[TypeState]) -> None:
        for state in states:
            state.pauses -= 1
            if state.pauses == 0 and state.pending and state.subscribed:
                log.debug("Resuming discovery requests for %s", state.type_url)
                self.queue_request(state.type_url)
                state.pending = False

    # -- requests ----------------------------------------------------------------------------------------------

    def queue_request(self, type_url: str) -> None:
        """Request the type as soon as that is allowed; without a stream the next one does it."""
        if not (self._established and self._stream.available):
            log.debug("No stream available to queueDiscoveryRequest for %s", type_url)
            return
        state = self._state(type_url)
        if state.pauses:
            state.pending = True
            return
        self._queue.append(type_url)
        self._drain()

    def _drain(self) -> None:
        queue = self._queue
        # A stream that has just begun says all anew, and one may end while it is sent on.
        while queue and self._established and self._stream.available and self._stream.allows_request():
            self._send(queue.popleft())
        self._stream.queue_size(len(queue))

    def _send(self, type_url: str) -> None:
        if self._closed:
            return
        state = self._state(type_url)
        request = state.request
        if state.names_changed:
            request.resource_names = list(state.wanted())
            state.names_changed = False
        data = request.serialize(self._node if self._first_request or not self._skip_subsequent_node else None)
        self._first_request = False
        request.error_detail = None
        self._stream.send(data)

    def on_writeable(self) -> None:
        """The rate limit allows requests again."""
        self._drain()

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
        self._stream.queue_size(0)
        for state in self._states.values():
            state.request.response_nonce = ""
            state.request.error_detail = None
        self._queue.clear()
        for type_url in list(self._subscriptions):
            self.queue_request(type_url)

    def on_establishment_failure(self, same_server_next: bool) -> None:
        """Tell everybody, once what came before was handled."""
        self._generation += 1
        self._established = False
        self._inbox.put(self._fail_connection)

    def _fail_connection(self) -> Steps[None]:
        for state in list(self._states.values()):
            yield from self._tell_failure(state, FailureReason.CONNECTION_FAILURE, None)

    def _tell_failure(self, state: TypeState, reason: FailureReason, error: ConfigError | None) -> Steps[None]:
        for watch in state.newest_first():
            if watch in state.watches:
                tell_failure(watch.callbacks, reason, error)
                yield

    def on_response(self, message: Any, stats: ControlPlaneStats) -> None:
        """A DiscoveryResponse."""
        self._inbox.put(lambda: self._on_response(message, stats))

    def _on_response(self, message: Any, stats: ControlPlaneStats) -> Steps[None] | None:
        type_url = message.type_url
        log.debug("Received gRPC message for %s at version %s", type_url, message.version_info)
        state = self._states.get(type_url)
        if state is None:
            log.warning("Ignoring the message for type URL %s as it has no current subscribers.", type_url)
            return None
        if message.HasField("control_plane"):
            stats.identifier(message.control_plane.identifier)
            if message.control_plane.identifier != state.control_plane:
                state.control_plane = message.control_plane.identifier
                log.debug("Receiving gRPC updates for %s from %s", type_url, state.control_plane)
        if not state.watches:
            self._on_unwatched(state, message)
            return None
        return self._process(state, message)

    def _on_unwatched(self, state: TypeState, message: Any) -> None:
        state.request.response_nonce = message.nonce
        if message.resources:
            log.warning("Ignoring unwatched type URL %s", state.type_url)
            self.queue_request(state.type_url)
        else:
            state.request.version_info = message.version_info

    def _process(self, state: TypeState, message: Any) -> Steps[None]:
        resume = self.pause([state.type_url])
        try:
            resources = yield from self._decode(state, message)
            errors = []
            if resources or not message.resources:
                self._validators.validate(state.type_url, resources)
                errors = yield from self._deliver(state, resources, message.version_info)
            if errors:
                self._refuse(state, joined(errors))
            else:
                state.request.version_info = message.version_info
        except Exception as error:
            refusal = as_refusal(error)
            yield from self._tell_failure(state, FailureReason.UPDATE_REJECTED, refusal)
            self._refuse(state, refusal)
        state.request.response_nonce = message.nonce
        self.queue_request(state.type_url)
        resume.close()

    def _refuse(self, state: TypeState, error: ConfigError) -> None:
        state.request.error_detail = detail(error)

    def _decode(self, state: TypeState, message: Any) -> Steps[list[DecodedResource]]:
        """What is to be delivered; nothing when there are but heartbeats."""
        decoder = state.newest_first()[0].decoder
        own_type = type_name_of(state.type_url)
        taken = state.request.version_info
        resources = []
        heartbeats = 0
        for item in message.resources:
            if item.type_url != state.type_url and type_name_of(item.type_url) not in (WRAPPER, own_type):
                raise ConfigError(
                    f"{item.type_url} does not match the message-wide type URL {state.type_url} in DiscoveryResponse "
                    f"{debug_string(shortened(message))}"
                )
            resource = yield from decoder.decode_steps(item, message.version_info)
            if resource is not None and not resource.has_resource:
                heartbeats += 1
                resource = self._keep_alive(state, resource, taken)
            if resource is not None:
                resources.append(resource)
            yield
        state.ttl.refresh()
        return resources if len(resources) > heartbeats else []

    def _keep_alive(self, state: TypeState, heartbeat: DecodedResource, taken: str) -> DecodedResource:
        """The resource that a heartbeat stands for, which lives on as it says; ConfigError when it is not there."""
        resource = state.mortal.get(heartbeat.name)
        if resource is None or heartbeat.version != taken:
            raise ConfigError(f"resource {heartbeat.name} has no contents")
        if heartbeat.ttl_ms is not None:
            state.ttl.add(heartbeat.name, heartbeat.ttl_ms)
        else:
            state.ttl.clear(heartbeat.name)
        resource.ttl_ms = heartbeat.ttl_ms
        return resource

    def _deliver(
        self, state: TypeState, resources: Sequence[DecodedResource], version: str
    ) -> Steps[list[ConfigError]]:
        """Why some watches refused, where others take updates all the same; else the first refusal is raised."""
        errors: list[ConfigError] = []
        by_name: dict[str, DecodedResource] = {}
        for resource in resources:
            if resource.ttl_ms is not None:
                state.ttl.add(resource.name, resource.ttl_ms)
                state.mortal[resource.name] = resource
            else:
                state.ttl.clear(resource.name)
                state.mortal.pop(resource.name, None)
            by_name.setdefault(xdstp.normalized(resource.name), resource)
        state.ttl.refresh()
        for watch in state.interested_in(by_name):
            if watch not in state.watches:
                continue
            found: Sequence[DecodedResource] = resources
            if watch.names:
                found = found_for(watch, by_name)
                if not found:
                    continue
            try:
                steps = watch.callbacks.on_config_update(found, version)
                if steps is not None:
                    yield from steps
            except ConfigError as error:
                if not self._partial_updates:
                    raise
                errors.append(error)
                tell_failure(watch.callbacks, FailureReason.UPDATE_REJECTED, error)
                continue
            if watch.names and self.eds_cache is not None and state.type_url == ASSIGNMENT_URL:
                for resource in found:
                    self.eds_cache.set(resource)
            yield
        return errors

    def _on_expired(self, type_url: str, names: list[str]) -> None:
        self._inbox.put(lambda: self._expire(self._states[type_url], names))

    def _expire(self, state: TypeState, names: list[str]) -> Steps[None]:
        for name in names:
            state.mortal.pop(name, None)
        for watch in state.newest_first():
            if watch not in state.watches:
                continue
            try:
                steps = watch.callbacks.on_config_delta([], names, "")
                if steps is not None:
                    yield from steps
            except ConfigError as error:
                log.warning("%s: what expired could not be removed: %s", state.type_url, error)
            yield

    def close(self) -> None:
        """End the stream for good."""
        self._closed = True
        self._inbox.close()
        for state in self._states.values():
            state.ttl.close()
        self._stream.close()
