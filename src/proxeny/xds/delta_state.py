"""What one type of the delta protocol has asked for and has (Envoy: ``DeltaSubscriptionState``).

A resource that was asked for by name waits for the server or has a version. One that came with the wildcard has a
version. One that was asked for by name, has a version, and is asked for no more while the wildcard is, is ambiguous:
the wildcard may cover it; the server will tell.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from envoy.service.discovery.v3 import discovery_pb2

from proxeny.xds.mux import WILDCARD

_WITHOUT_HEARTBEATS: Final = "type.googleapis.com/envoy.config.route.v3.VirtualHost"
"""An empty resource of this type is news: the host does not exist."""


class DeltaState:
    """Interest, versions, and what is left to be requested."""

    def __init__(self, type_url: str) -> None:
        self.type_url = type_url
        self._supports_heartbeats = type_url != _WITHOUT_HEARTBEATS
        self._requested: dict[str, str | None] = {}
        """Names asked for, with the version that is there; None: the server has not answered."""
        self._wildcard: dict[str, str] = {}
        self._ambiguous: dict[str, str] = {}
        self._names_added: dict[str, None] = {}
        self._names_removed: dict[str, None] = {}
        self._in_initial_legacy_wildcard = True
        self._any_request_sent = False
        self._send_initial_versions = True

    # -- interest ----------------------------------------------------------------------------------------------

    def update_interest(self, added: Iterable[str], removed: Iterable[str]) -> None:
        """Names that come in and go out of the interest of all watches."""
        for name in added:
            self._add(name)
        removed = list(removed)
        for name in removed:
            self._remove(name)
        if WILDCARD in removed:
            self._wildcard.clear()
            self._ambiguous.clear()

    def _add(self, name: str) -> None:
        if name != WILDCARD:
            self._in_initial_legacy_wildcard = False
        version = self._wildcard.pop(name, None)
        if version is None:
            version = self._ambiguous.pop(name, None)
        self._requested[name] = version
        # Removed and added again before a request was sent: the owner may have forgotten it, so ask for it anew.
        self._names_removed.pop(name, None)
        self._names_added[name] = None

    def _remove(self, name: str) -> None:
        self._names_added.pop(name, None)
        if name not in self._requested:
            return
        has_wildcard = WILDCARD in self._requested
        version = self._requested.pop(name)
        if has_wildcard and version is not None:
            self._ambiguous[name] = version
        self._names_removed[name] = None
        self._in_initial_legacy_wildcard = False

    @property
    def update_pending(self) -> bool:
        """Whether there is something to tell: news, or all of it on a stream that knows nothing."""
        if self._names_added or self._names_removed:
            return True
        if not self._any_request_sent:
            return bool(self._requested) or self._in_initial_legacy_wildcard
        return False

    def mark_stream_fresh(self, send_initial_versions: bool) -> None:
        """There is a new stream."""
        self._any_request_sent = False
        self._send_initial_versions = send_initial_versions

    # -- responses ---------------------------------------------------------------------------------------------

    def is_heartbeat(self, resource: Any) -> bool:
        """Whether a ``discovery.v3.Resource`` only says that what is there still lives."""
        if not self._supports_heartbeats or resource.HasField("resource"):
            return False
        name = resource.name
        if name in self._requested:
            version = self._requested[name]
        elif name in self._wildcard:
            version = self._wildcard[name]
        else:
            version = self._ambiguous.get(name)
        return version is not None and version == resource.version

    def is_requested(self, name: str) -> bool:
        """Whether a name was asked for."""
        return name in self._requested

    def is_subscribed(self, name: str) -> bool:
        """Whether a resource that came is one that was asked for."""
        return WILDCARD in self._requested or name in self._requested

    def set_version(self, name: str, version: str) -> None:
        """The server sent it."""
        if name in self._requested:
            self._requested[name] = version
        else:
            self._wildcard[name] = version
            self._ambiguous.pop(name, None)

    def forget(self, name: str) -> bool:
        """The server removed it, or it expired; False: it was not known."""
        if name in self._requested:
            self._requested[name] = None
            return True
        return self._ambiguous.pop(name, None) is not None or self._wildcard.pop(name, None) is not None

    # -- requests ----------------------------------------------------------------------------------------------

    def next_request(self) -> Any:
        """A ``DeltaDiscoveryRequest`` with all that is left to be told, without a node."""
        request = discovery_pb2.DeltaDiscoveryRequest(type_url=self.type_url)
        if not self._any_request_sent:
            self._any_request_sent = True
            self._begin(request)
        request.resource_names_subscribe.extend(self._names_added)
        request.resource_names_unsubscribe.extend(self._names_removed)
        self._names_added.clear()
        self._names_removed.clear()
        return request

    def _begin(self, request: Any) -> None:
        """The first request of a stream says all that is wanted, and what of it is there already."""
        is_legacy_wildcard = self._is_legacy_wildcard()
        versions = request.initial_resource_versions
        for name, version in self._requested.items():
            if self._send_initial_versions and version is not None:
                versions[name] = version
            self._names_added[name] = None
        if self._send_initial_versions:
            for known in (self._wildcard, self._ambiguous):
                for name, own_version in known.items():
                    versions[name] = own_version
        if is_legacy_wildcard:
            self._names_added.clear()
        self._names_removed.clear()

    def _is_legacy_wildcard(self) -> bool:
        """Whether to say "all" by naming nothing."""
        if self._in_initial_legacy_wildcard:
            self._requested[WILDCARD] = None
            return True
        if self._names_added or self._names_removed:
            return False
        return list(self._requested) == [WILDCARD]
