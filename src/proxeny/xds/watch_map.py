"""Who watches which resources of one type, and what each hears of an update (Envoy: ``WatchMap``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from proxeny.config.errors import ConfigError
from proxeny.event.slices import Steps
from proxeny.xds import xdstp
from proxeny.xds.eds_cache import EdsResourcesCache
from proxeny.xds.mux import WILDCARD, WatchCallbacks, tell_failure
from proxeny.xds.rejection import refused_names
from proxeny.xds.resource import DecodedResource, ResourceDecoder
from proxeny.xds.subscription import FailureReason


class AddedRemoved(NamedTuple):
    """How the interest of all watches together changed."""

    added: set[str]
    removed: set[str]


class PartRefused(NamedTuple):
    """A watch refused its part of an update, or some of that."""

    error: ConfigError
    names: set[str]


class MapWatch:
    """One watch; none of the ``names``, or the wildcard among them: all resources."""

    __slots__ = ("callbacks", "decoder", "names")

    def __init__(self, callbacks: WatchCallbacks, decoder: ResourceDecoder) -> None:
        self.callbacks = callbacks
        self.decoder = decoder
        self.names: set[str] = set()


class WatchMap:
    """The watches of one type. ``namespaces``: a name stands for all that begin with it and a slash (VHDS).

    ``partial_updates``: a watch that refuses its part keeps no other from taking its own.
    """

    def __init__(
        self,
        namespaces: bool = False,
        eds_cache: EdsResourcesCache | None = None,
        partial_updates: bool = False,
        validate: Callable[[Sequence[DecodedResource], Sequence[str]], None] | None = None,
    ) -> None:
        """``validate`` sees what is watched of an update before anybody is told; ConfigError."""
        self._validate = validate
        self._namespaces = namespaces
        self._eds_cache = eds_cache
        self._partial_updates = partial_updates
        self._watches: dict[MapWatch, None] = {}
        self._wildcards: dict[MapWatch, None] = {}
        self._interest: dict[str, dict[MapWatch, None]] = {}

    def __len__(self) -> int:
        return len(self._watches)

    def add(self, callbacks: WatchCallbacks, decoder: ResourceDecoder) -> MapWatch:
        """A watch of everything, for now."""
        watch = MapWatch(callbacks, decoder)
        self._watches[watch] = self._wildcards[watch] = None
        return watch

    def remove(self, watch: MapWatch) -> None:
        """It hears of nothing any more, not even of what is being delivered."""
        self._wildcards.pop(watch, None)
        self._watches.pop(watch, None)

    def __contains__(self, watch: MapWatch) -> bool:
        return watch in self._watches

    def update_interest(self, watch: MapWatch, names: set[str]) -> AddedRemoved:
        """``names`` instead of those before."""
        if not names or WILDCARD in names:
            self._wildcards[watch] = None
        else:
            self._wildcards.pop(watch, None)
        added = {name for name in sorted(names - watch.names) if self._interested(name, watch)}
        removed = {name for name in sorted(watch.names - names) if self._lost_interest(name, watch)}
        watch.names = names
        if self._eds_cache is not None:
            for name in removed:
                self._eds_cache.remove(name)
        return AddedRemoved(added, removed)

    def _interested(self, name: str, watch: MapWatch) -> bool:
        """True: nobody was before."""
        watches = self._interest.get(name)
        if watches is None:
            self._interest[name] = {watch: None}
            return True
        watches[watch] = None
        return False

    def _lost_interest(self, name: str, watch: MapWatch) -> bool:
        """True: nobody is any more."""
        watches = self._interest[name]
        del watches[watch]
        if not watches:
            del self._interest[name]
        return not watches

    def interested_in(self, name: str) -> Iterable[MapWatch]:
        """Who hears of a resource."""
        watches = self._interest.get(xdstp.normalized(name))
        if watches is None and self._namespaces:
            watches = self._interest.get(name.rpartition("/")[0])
        elif watches is None and xdstp.is_xdstp(name):
            watches = self._interest.get(xdstp.glob_of(name))
        if self._namespaces or not self._wildcards:
            return watches or ()
        return self._wildcards if watches is None else {**self._wildcards, **watches}

    def deliver(self, added: Sequence[Any], removed: Sequence[str], version: str) -> Steps[list[PartRefused]]:
        """Decode ``discovery.v3.Resource`` messages and tell every watch its part; ConfigError, or what was refused."""
        refusals: list[PartRefused] = []
        per_added: dict[MapWatch, list[DecodedResource]] = {}
        decoded = []
        for resource in added:
            watches = list(self.interested_in(resource.name))
            if watches:
                one = yield from watches[0].decoder.decode_delta_steps(resource)
                if one is not None:
                    decoded.append(one)
                    for watch in watches:
                        per_added.setdefault(watch, []).append(one)
            yield
        per_removed: dict[MapWatch, list[str]] = {}
        for name in removed:
            for watch in self.interested_in(name):
                per_removed.setdefault(watch, []).append(name)
        if self._validate is not None:
            self._validate(decoded, removed)
        parts = [(watch, resources, per_removed.pop(watch, [])) for watch, resources in per_added.items()]
        parts += [(watch, [], names) for watch, names in per_removed.items()]
        if not added and not removed:
            parts += [(watch, [], []) for watch in self._wildcards]
        for watch, resources, names in parts:
            try:
                yield from self._tell(watch, resources, names, version)
            except ConfigError as error:
                if not self._partial_updates:
                    raise
                refusals.append(PartRefused(error, refused_names(error, [one.name for one in resources])))
                tell_failure(watch.callbacks, FailureReason.UPDATE_REJECTED, error)
        if self._eds_cache is not None:
            for one in decoded:
                if one.error is None:
                    self._eds_cache.set(one)
        return refusals

    def _tell(
        self, watch: MapWatch, added: Sequence[DecodedResource], removed: Sequence[str], version: str
    ) -> Steps[None]:
        if watch in self._watches:
            steps = watch.callbacks.on_config_delta(added, removed, version)
            if steps is not None:
                yield from steps
            yield

    def fail(self, reason: FailureReason, error: ConfigError | None) -> Steps[None]:
        """Tell every watch that what there was holds."""
        for watch in list(self._watches):
            if watch in self._watches:
                tell_failure(watch.callbacks, reason, error)
                yield
