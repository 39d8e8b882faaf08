"""A layer of the runtime that is discovered (Envoy: ``Runtime::RtdsSubscription``)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from envoy.service.runtime.v3 import rtds_pb2
from google.protobuf import struct_pb2

from proxeny.config.errors import ConfigError
from proxeny.xds.init_manager import InitTarget
from proxeny.xds.resource import DecodedResource, ResourceDecoder
from proxeny.xds.subscription import FailureReason

if TYPE_CHECKING:
    from proxeny.xds.manager import XdsManager
    from proxeny.xds.stats import UpdateStats
    from proxeny.xds.subscription import Subscription
    from proxeny.xds.validation import DynamicValidation

log = logging.getLogger("proxeny.runtime")

RUNTIME_TYPE: Final = "envoy.service.runtime.v3.Runtime"


class RtdsSubscription:
    """The layer that one ``rtds_layer`` names; empty until it comes. ``load`` reads all layers again; ConfigError."""

    def __init__(self, layer: Any, load: Callable[[], object]) -> None:
        """``layer``: a ``bootstrap.v3.RuntimeLayer.RtdsLayer``."""
        self.name: str = layer.name
        self.struct: Any = struct_pb2.Struct()
        """What holds now."""
        self.target = InitTarget(f"RTDS {layer.name}", self._start)
        self._source = layer.rtds_config
        self._load = load
        self._subscription: Subscription | None = None

    def connect(self, xds: XdsManager, validation: DynamicValidation, stats: UpdateStats) -> None:
        """Make the subscription; ConfigError when the source cannot be subscribed to."""
        decoder = ResourceDecoder(rtds_pb2.Runtime, "name", validation)
        self._subscription = xds.subscribe(self._source, self, decoder, stats)

    def _start(self) -> None:
        if self._subscription is None:
            self.target.ready()
        else:
            self._subscription.start([self.name])

    def close(self) -> None:
        """Hear of no more updates."""
        if self._subscription is not None:
            self._subscription.close()

    def on_config_update(self, resources: Sequence[DecodedResource], version: str) -> None:
        """The layer, alone; ConfigError for another one, and for values that no runtime has."""
        self._check_size(len(resources), 0)
        resource = resources[0]
        if resource.message.name != self.name:
            raise ConfigError(f"Unexpected RTDS runtime (expecting {self.name}): {resource.message.name}")
        if resource.error is not None:
            raise resource.error
        log.debug("Reloading RTDS snapshot for onConfigUpdate")
        self._take(resource.message.layer)

    def on_config_delta(self, added: Sequence[DecodedResource], removed: Sequence[str], version: str) -> None:
        """Likewise; a layer that was removed is empty."""
        self._check_size(len(added), len(removed))
        if added:
            self.on_config_update(added, version)
            return
        if removed[0] != self.name:
            raise ConfigError(f"Unexpected removal of unknown RTDS runtime layer {removed[0]}, expected {self.name}")
        log.debug("Clear RTDS snapshot for onConfigUpdate")
        self._take(struct_pb2.Struct())

    def on_config_update_failed(self, reason: FailureReason, error: ConfigError | None) -> None:
        """What there was holds."""
        if reason is not FailureReason.CONNECTION_FAILURE:
            self.target.ready()

    def _take(self, struct: Any) -> None:
        before, self.struct = self.struct, struct
        try:
            self._load()
        except ConfigError:
            self.struct = before
            raise
        self.target.ready()

    def _check_size(self, added: int, removed: int) -> None:
        if added + removed != 1:
            self.target.ready()
            raise ConfigError(
                f"Unexpected RTDS resource length, number of added resources {added}, number of removed resources "
                f"{removed}"
            )
