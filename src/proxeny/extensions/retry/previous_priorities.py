"""``envoy.retry_priorities.previous_priorities``: retries leave the priorities that were tried already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.upstream.load_balancer.priority_load import PriorityLoad, without

if TYPE_CHECKING:
    from proxeny.upstream.host import Host
    from proxeny.upstream.priority_set import PrioritySet


class PreviousPriorities:
    """The priorities of one request; every ``update_frequency`` attempts those tried so far are left out."""

    __slots__ = ("_attempted", "_excluded", "_load", "_update_frequency")

    def __init__(self, update_frequency: int) -> None:
        self._update_frequency = update_frequency
        self._attempted: list[Host] = []
        self._excluded: set[int] = set()
        self._load: PriorityLoad | None = None

    def on_host_attempted(self, host: Host) -> None:
        """The request went to ``host``."""
        self._attempted.append(host)

    def determine_priority_load(self, priority_set: PrioritySet, original: PriorityLoad) -> PriorityLoad:
        """The loads to choose a host by; ``original`` until enough was tried, and where nothing else is left."""
        count = len(self._attempted)
        if count < self._update_frequency:
            return original
        if count % self._update_frequency == 0:
            self._excluded.update([priority_set.priority_of(host) for host in self._attempted])
            self._load = self._adjust(priority_set, original)
        return self._load or original

    def _adjust(self, priority_set: PrioritySet, original: PriorityLoad) -> PriorityLoad | None:
        load = without(priority_set.host_sets, self._excluded, original.panic)
        if load is None:
            # Every priority was tried: begin again with all of them.
            self._excluded.clear()
            self._attempted.clear()
            load = without(priority_set.host_sets, self._excluded, original.panic)
        return load


class PreviousPrioritiesPlugin:
    """The compiled configuration."""

    __slots__ = ("_update_frequency",)

    def __init__(self, update_frequency: int) -> None:
        self._update_frequency = update_frequency

    def create(self) -> PreviousPriorities:
        """The priorities of one request."""
        return PreviousPriorities(self._update_frequency)


class PreviousPrioritiesFactory:
    """The registered factory."""

    def create_plugin(self, config: Any) -> PreviousPrioritiesPlugin:
        """``config``: a ``PreviousPrioritiesConfig``."""
        return PreviousPrioritiesPlugin(config.update_frequency)


FACTORY: Final = PreviousPrioritiesFactory()
