"""Assignments that came over an aggregated stream (Envoy: ``EdsResourcesCacheImpl``).

A control plane that sent an assignment does not send it again for a cluster that was only updated; so the new cluster
takes it from here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from proxeny.event.dispatcher import Dispatcher
    from proxeny.kernel.timer import Timer
    from proxeny.xds.resource import DecodedResource

ASSIGNMENT_URL: Final = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"

OnRemoved = Callable[[str], object]


class EdsResourcesCache:
    """``ClusterLoadAssignment`` messages by name, as long as somebody watches them."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._resources: dict[str, DecodedResource] = {}
        self._listeners: dict[str, list[OnRemoved]] = {}
        self._expiries: dict[str, Timer] = {}

    def set(self, resource: DecodedResource) -> None:
        """This was delivered."""
        name = resource.name
        self._resources[name] = resource
        self._listeners.pop(name, None)

    def get(self, name: str, on_removed: OnRemoved | None = None) -> Any | None:
        """What was delivered last; ``on_removed`` hears when it is removed before something new comes."""
        resource = self._resources.get(name)
        if resource is None:
            return None
        if on_removed is not None:
            self._listeners.setdefault(name, []).append(on_removed)
        return resource.message

    def remove(self, name: str) -> None:
        """Nobody watches it any more, or it expired."""
        if self._resources.pop(name, None) is not None:
            for on_removed in self._listeners.pop(name, ()):
                on_removed(name)
        self.disable_expiry(name)

    def stop_listening(self, name: str, on_removed: OnRemoved) -> None:
        """``on_removed`` of ``get`` need not hear of it."""
        listeners = self._listeners.get(name, [])
        if on_removed in listeners:
            listeners.remove(on_removed)

    def set_expiry(self, name: str, ms: int) -> None:
        """Remove it in ``ms`` milliseconds."""
        timer = self._expiries.get(name)
        if timer is None:
            timer = self._expiries[name] = self._dispatcher.create_timer(lambda: self.remove(name))
        timer.enable(ms)

    def disable_expiry(self, name: str) -> None:
        """It does not expire."""
        timer = self._expiries.pop(name, None)
        if timer is not None:
            timer.close()

    def __len__(self) -> int:
        return len(self._resources)
