"""Resources that are asked for again and again over HTTP, as JSON (Envoy: ``HttpSubscriptionImpl``,
``RestApiFetcher``)."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import json_format

from proxeny.config.errors import ConfigError
from proxeny.config.loader import gc_paused
from proxeny.config.scalars import json_error
from proxeny.config.sources import Source, fill, load_json
from proxeny.xds.inbox import Inbox, unless_small
from proxeny.xds.subscription import FailureReason

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.event.slices import Steps
    from proxeny.kernel.timer import Timer
    from proxeny.xds.http_client import HttpClient, HttpRequest
    from proxeny.xds.resource import ResourceDecoder
    from proxeny.xds.stats import UpdateStats
    from proxeny.xds.subscription import SubscriptionCallbacks
    from proxeny.xds.validation import DynamicValidation

log = logging.getLogger("proxeny.config")

DEFAULT_REQUEST_TIMEOUT_MS: Final = 1000
"""``ApiConfigSource.request_timeout``."""
_OK, _NOT_MODIFIED = 200, 304

_PATHS: Final = {
    "envoy.config.cluster.v3.Cluster": "clusters",
    "envoy.config.core.v3.TypedExtensionConfig": "extension_configs",
    "envoy.config.endpoint.v3.ClusterLoadAssignment": "endpoints",
    "envoy.config.listener.v3.Listener": "listeners",
    "envoy.config.route.v3.RouteConfiguration": "routes",
    "envoy.config.route.v3.ScopedRouteConfiguration": "scoped-routes",
    "envoy.extensions.transport_sockets.tls.v3.Secret": "secrets",
    "envoy.service.runtime.v3.Runtime": "runtime",
}
"""``google.api.http`` of the services' ``Fetch*`` methods."""


def check_rest(api: Any) -> None:
    """ConfigError for an ``ApiConfigSource`` of type REST that says too little."""
    if not api.HasField("refresh_delay"):
        raise ConfigError("refresh_delay is required for REST API configuration sources")


def path_of(type_name: str) -> str:
    """Where resources of a type are fetched; ConfigError where they cannot be."""
    name = _PATHS.get(type_name)
    if name is None:
        raise ConfigError(f"{type_name} cannot be had over REST")
    return f"/v3/discovery:{name}"


class RestSubscription:
    """Asks, and asks again one to two ``refresh_delay`` after every answer."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        find_client: Callable[[], HttpClient],
        node: Any,
        source: Any,
        callbacks: SubscriptionCallbacks,
        decoder: ResourceDecoder,
        stats: UpdateStats,
        validation: DynamicValidation,
        initial_fetch_timeout_ms: int,
    ) -> None:
        """``source``: an ``ApiConfigSource`` that ``check_rest`` took; ``find_client`` is asked when it starts."""
        check_rest(source)
        self._path = path_of(decoder.type_name)
        self._dispatcher = dispatcher
        self._find_client = find_client
        self._cluster: str = source.cluster_names[0]
        self._refresh_ms: int = max(1, source.refresh_delay.ToMilliseconds())
        self._timeout_ms = DEFAULT_REQUEST_TIMEOUT_MS
        if source.HasField("request_timeout"):
            self._timeout_ms = source.request_timeout.ToMilliseconds()
        self._callbacks = callbacks
        self._decoder = decoder
        self._stats = stats
        self._validation = validation
        self._initial_fetch_timeout_ms = initial_fetch_timeout_ms
        self._request: Any = discovery_pb2.DiscoveryRequest(node=node, type_url=decoder.type_url)
        self._under_way: HttpRequest | None = None
        self._refresh_timer: Timer = dispatcher.create_timer(self._refresh)
        self._fetch_timer: Timer | None = None
        self._inbox = Inbox(dispatcher)

    def start(self, names: Iterable[str] = ()) -> None:
        """Ask for the first time."""
        if self._initial_fetch_timeout_ms:
            self._fetch_timer = self._dispatcher.create_timer(self._on_fetch_timeout)
            self._fetch_timer.enable(self._initial_fetch_timeout_ms)
        self._set_names(names)
        self._refresh()

    def update_names(self, names: Iterable[str]) -> None:
        """Want these from the next request on."""
        self._set_names(names)

    def request_on_demand(self, names: Iterable[str]) -> None:
        """Not over this transport."""

    def _set_names(self, names: Iterable[str]) -> None:
        self._request.ClearField("resource_names")
        self._request.resource_names.extend(sorted(names))

    def close(self) -> None:
        """Ask no more."""
        self._inbox.close()
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.cancel()
        self._refresh_timer.close()
        self._stop_waiting()

    # -- asking ----------------------------------------------------------------------------------------------------
    def _refresh(self) -> None:
        log.debug("Sending REST request for %s", self._path)
        self._stats.attempt()
        body = json_format.MessageToJson(self._request, preserving_proto_field_name=True, indent=None)
        self._under_way = self._find_client().post(self._cluster, self._path, body.encode(), self._timeout_ms, self)

    def on_response(self, status: int, body: bytes) -> None:
        """An answer, or one of our own."""
        if status == _OK:
            self._stop_waiting()
            self._inbox.put(lambda: self._take(body))
        elif status != _NOT_MODIFIED:
            self._not_had()
        self._complete()

    def on_failure(self) -> None:
        """It was cut short."""
        self._not_had()
        self._complete()

    def _complete(self) -> None:
        if self._under_way is not None:  # else it was closed meanwhile
            self._under_way = None
            self._refresh_timer.enable(self._refresh_ms + random.randrange(self._refresh_ms))

    # -- what comes ------------------------------------------------------------------------------------------------
    def _take(self, body: bytes) -> Steps[None] | None:
        response: Any = discovery_pb2.DiscoveryResponse()
        try:
            with gc_paused():
                self._parse(body, response)
        except ConfigError as error:
            self._reject(error)
            return None
        return unless_small(self._apply(response), response.ByteSize())

    def _apply(self, response: Any) -> Steps[None]:
        try:
            resources = yield from self._decoder.decode_all_steps(response)
            steps = self._callbacks.on_config_update(resources, response.version_info)
            if steps is not None:
                yield from steps
        except ConfigError as error:
            self._reject(error)
            return
        self._request.version_info = response.version_info
        self._stats.success(response.version_info)

    def _reject(self, error: ConfigError) -> None:
        log.warning("REST config for %s rejected: %s", self._path, error)
        self._stats.rejected()
        self._callbacks.on_config_update_failed(FailureReason.UPDATE_REJECTED, error)

    def _parse(self, body: bytes, response: Any) -> None:
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise json_error("invalid UTF-8") from None
        source = Source(None, text)
        fill(response, load_json(text), source, not self._validation.refuses_unknown)
        self._validation.on_unknown(source.unknown)

    def _not_had(self) -> None:
        log.warning("REST update for %s failed", self._path)
        self._stats.failure()

    def _on_fetch_timeout(self) -> None:
        log.warning("REST config: initial fetch timeout for %s", self._path)
        self._stats.timed_out()
        self._stop_waiting()
        self._callbacks.on_config_update_failed(FailureReason.FETCH_TIMED_OUT, None)

    def _stop_waiting(self) -> None:
        timer, self._fetch_timer = self._fetch_timer, None
        if timer is not None:
            timer.close()
