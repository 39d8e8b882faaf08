"""The states of dynamic listeners, for /config_dump (Envoy: ``ListenerManagerImpl::dumpListenerConfigs``)."""

from __future__ import annotations

from collections.abc import Mapping

from proxeny.admin.context import DynamicListener, RefusedUpdate, ResourceState
from proxeny.server.listener_errors import UpdateFailure
from proxeny.server.listener_generation import ManagedListener
from proxeny.server.listener_manager import ListenerManager


def dump_listeners(manager: ListenerManager, refused_versions: Mapping[str, str]) -> list[DynamicListener]:
    """By name: active, warming and draining generation; then what the last update refused.

    ``refused_versions``: by name, of which version that was.
    """
    found: dict[str, DynamicListener] = {}

    def entry(name: str) -> DynamicListener:
        return found.setdefault(name, DynamicListener(name))

    for listener in manager.listeners():
        if listener.is_static:
            continue
        if manager.workers_are_started:
            entry(listener.name).active = _state(listener)
        else:
            # Before the workers start all listeners are on the list of active ones; they are not yet.
            entry(listener.name).warming = _state(listener)
    for listener in manager.warming():
        entry(listener.name).warming = _state(listener)
    for listener in manager.draining():
        if not listener.is_static:
            entry(listener.name).draining = _state(listener)
    for name, failure in manager.errors.by_name.items():
        entry(name).error = _refusal(failure, refused_versions)
    overall = [DynamicListener(error=_refusal(failure, refused_versions)) for failure in manager.errors.overall]
    return [*found.values(), *overall]


def _state(listener: ManagedListener) -> ResourceState:
    return ResourceState(listener.version_info, listener.compiled.as_configured, listener.updated_at)


def _refusal(failure: UpdateFailure, versions: Mapping[str, str]) -> RefusedUpdate:
    version = versions.get(failure.message.name, "")
    return RefusedUpdate(failure.message, failure.details, failure.attempted_at, version)
