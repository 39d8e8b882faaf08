"""What one type of the state-of-the-world protocol has asked for and has, and who watches it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from envoy.service.discovery.v3 import discovery_pb2

from proxeny.xds import xdstp
from proxeny.xds.mux import INTERNAL, WatchCallbacks
from proxeny.xds.resource import DecodedResource, ResourceDecoder
from proxeny.xds.ttl import TtlManager

if TYPE_CHECKING:
    from proxeny.xds.sotw_mux import SotwMux


class SotwWatch:
    """The names that one subscription wants; none: all."""

    __slots__ = ("callbacks", "decoder", "mux", "names", "order", "state")

    def __init__(
        self,
        mux: SotwMux,
        state: TypeState,
        names: Iterable[str],
        callbacks: WatchCallbacks,
        decoder: ResourceDecoder,
    ) -> None:
        self.mux = mux
        self.state = state
        self.callbacks = callbacks
        self.decoder = decoder
        self.names: list[str] = []
        self.order = 0
        state.add(self, names)

    def update(self, names: Iterable[str]) -> None:
        """These instead of those before; each change is a request, as Envoy's."""
        mux, state = self.mux, self.state
        before = self.names
        state.remove(self)
        if before:
            mux.queue_request(state.type_url)
        state.add(self, names)
        mux.forget(state, before)
        mux.queue_request(state.type_url)

    def append(self, names: Iterable[str]) -> None:
        """State of the world knows no request on demand (as in Envoy)."""

    def close(self) -> None:
        """None any more."""
        mux, state = self.mux, self.state
        if self not in state.watches:
            return
        state.remove(self)
        if self.names:
            mux.queue_request(state.type_url)
            mux.forget(state, self.names)


class TypeRequest:
    """The next request for a type. A message that lived as long would keep the bytes of all that was ever put in it."""

    __slots__ = ("error_detail", "resource_names", "response_nonce", "type_url", "version_info")

    def __init__(self) -> None:
        self.type_url = ""
        self.version_info = ""
        self.response_nonce = ""
        self.resource_names: list[str] = []
        self.error_detail: str | None = None
        """Why the last response is refused; None: it is not."""

    def serialize(self, node: Any | None) -> bytes:
        """As it is sent; None: without a node."""
        message: Any = discovery_pb2.DiscoveryRequest(
            type_url=self.type_url,
            version_info=self.version_info,
            response_nonce=self.response_nonce,
            resource_names=self.resource_names,
            node=node,
        )
        if self.error_detail is not None:
            message.error_detail.code = INTERNAL
            message.error_detail.message = self.error_detail
        data: bytes = message.SerializeToString()
        return data


class TypeState:
    """What is wanted and known of one type."""

    __slots__ = (
        "_next_order",
        "by_name",
        "control_plane",
        "globs",
        "mortal",
        "names_changed",
        "pauses",
        "pending",
        "request",
        "subscribed",
        "ttl",
        "type_url",
        "watches",
        "wildcards",
    )

    def __init__(self, type_url: str, ttl: TtlManager) -> None:
        self.type_url = type_url
        self.ttl = ttl
        self.request = TypeRequest()
        self.watches: dict[SotwWatch, None] = {}
        """The newest is last."""
        self.wildcards: set[SotwWatch] = set()
        self.globs: set[SotwWatch] = set()
        self.by_name: dict[str, dict[SotwWatch, None]] = {}
        self.mortal: dict[str, DecodedResource] = {}
        """Resources with a TTL that are there."""
        self.names_changed = True
        self.subscribed = False
        self.pauses = 0
        self.pending = False
        """A request was left out while it was paused."""
        self.control_plane = ""
        self._next_order = 0

    def add(self, watch: SotwWatch, names: Iterable[str]) -> None:
        """``watch`` wants ``names``, from now on as the newest of all."""
        watch.names = sorted({xdstp.normalized(name) for name in names})
        self._next_order += 1
        watch.order = self._next_order
        self.watches[watch] = None
        self.names_changed = True
        if not watch.names:
            self.wildcards.add(watch)
        for name in watch.names:
            self.by_name.setdefault(name, {})[watch] = None
            if xdstp.is_glob(name):
                self.globs.add(watch)

    def remove(self, watch: SotwWatch) -> None:
        """It wants nothing."""
        del self.watches[watch]
        self.wildcards.discard(watch)
        self.globs.discard(watch)
        self.names_changed = True
        for name in watch.names:
            interested = self.by_name[name]
            del interested[watch]
            if not interested:
                del self.by_name[name]

    def newest_first(self) -> list[SotwWatch]:
        """All watches."""
        return list(reversed(self.watches))

    def interested_in(self, names: Iterable[str]) -> list[SotwWatch]:
        """Who watches any of them, the newest first."""
        found = self.wildcards | self.globs
        for name in names:
            found.update(self.by_name.get(name, ()))
        return sorted(found, key=lambda watch: -watch.order)

    def wanted(self) -> Iterable[str]:
        """All names, each once, those of the newest watch first."""
        return dict.fromkeys(name for watch in reversed(self.watches) for name in watch.names)


def found_for(watch: SotwWatch, by_name: dict[str, DecodedResource]) -> list[DecodedResource]:
    """What of a response it watches, in the order of its names."""
    found = []
    for name in watch.names:
        resource = by_name.get(name)
        if resource is not None:
            found.append(resource)
        elif xdstp.is_glob(name):
            found += [one for own, one in by_name.items() if xdstp.is_xdstp(own) and xdstp.glob_of(own) == name]
    return found
