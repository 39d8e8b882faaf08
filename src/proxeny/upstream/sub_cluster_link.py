"""Clusters that workers ask main for (sub-clusters of dynamic forward proxies): both ends of what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from proxeny.upstream.pending_answer import PendingAnswer

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.upstream.main_cluster_manager import MainClusterManager

SINGLETON: Final = "sub_clusters"


class SubClusterOwner(Protocol):
    """Main's half of a cluster that has sub-clusters."""

    def ask(self, name: str, host: str, port: int) -> None:
        """A request waits for one."""

    def on_used(self, last_used: dict[str, int]) -> None:
        """When a worker last used which, in nanoseconds of the monotonic clock."""


class WorkerLink(Protocol):
    """How main reaches the workers; each of these goes to all of them."""

    def send_sub_cluster(self, parent: str, name: str, there: bool) -> None:
        """A sub-cluster is there, or is not any more."""

    def ask_sub_cluster_use(self, parent: str) -> int:
        """When were which used? How many workers were asked."""


class MainSubClusterLink:
    """Main's end."""

    def __init__(self) -> None:
        self._owners: dict[str, SubClusterOwner] = {}
        self._parents: dict[str, str] = {}
        """Sub-clusters that a request asked for -> the cluster that they belong to."""
        self.link: WorkerLink | None = None

    @staticmethod
    def of(context: FactoryContext) -> MainSubClusterLink:
        """Main's; made when first asked for."""
        link: MainSubClusterLink = context.singletons.get(SINGLETON) or MainSubClusterLink()
        context.singletons[SINGLETON] = link
        return link

    def watch(self, manager: MainClusterManager) -> None:
        """Hear of clusters that are warm."""
        manager.active_callbacks.append(self._on_active)

    def add(self, parent: str, owner: SubClusterOwner) -> None:
        """A cluster has sub-clusters."""
        self._owners[parent] = owner

    def remove(self, parent: str, owner: SubClusterOwner) -> None:
        """It is gone, unless another has taken its place."""
        if self._owners.get(parent) is owner:
            del self._owners[parent]

    def expect(self, parent: str, name: str) -> None:
        """A sub-cluster is being added."""
        self._parents[name] = parent

    def _on_active(self, name: str) -> None:
        parent = self._parents.get(name)
        if parent is not None:
            self.tell(parent, name, True)

    def tell(self, parent: str, name: str, there: bool) -> None:
        """Tell all workers of a sub-cluster."""
        if not there:
            self._parents.pop(name, None)
        if self.link is not None:
            self.link.send_sub_cluster(parent, name, there)

    def ask_use(self, parent: str) -> int:
        """Ask all workers; how many they are."""
        return 0 if self.link is None else self.link.ask_sub_cluster_use(parent)

    # -- from the workers ----------------------------------------------------------------------------------------
    def on_ask(self, parent: str, name: str, host: str, port: int) -> None:
        """A worker wants a sub-cluster."""
        owner = self._owners.get(parent)
        if owner is not None:
            owner.ask(name, host, port)

    def on_used(self, parent: str, last_used: dict[str, int]) -> None:
        """A worker answers what it used."""
        owner = self._owners.get(parent)
        if owner is not None:
            owner.on_used(last_used)


class MainLink(Protocol):
    """How a worker reaches main."""

    def ask_sub_cluster(self, parent: str, name: str, host: str, port: int) -> None:
        """Have a sub-cluster added."""


PendingSubCluster = PendingAnswer[str, Callable[[], object]]
"""A request that waits for a sub-cluster."""


class WorkerSubClusters:
    """A worker's end."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[PendingSubCluster]] = {}
        self._known: dict[str, set[str]] = {}
        """By parent: sub-clusters that are there, or were asked for."""
        self._last_used: dict[str, dict[str, int]] = {}
        self.link: MainLink | None = None

    @staticmethod
    def of(context: FactoryContext) -> WorkerSubClusters:
        """The worker's; made when first asked for."""
        link: WorkerSubClusters = context.singletons.get(SINGLETON) or WorkerSubClusters()
        context.singletons[SINGLETON] = link
        return link

    def is_known(self, parent: str, name: str) -> bool:
        """Whether it counts already."""
        return name in self._known.get(parent, ())

    def touch(self, parent: str, name: str, now_ns: int) -> None:
        """It is used."""
        self._last_used.setdefault(parent, {})[name] = now_ns

    def ask(self, parent: str, name: str, host: str, port: int, callback: Callable[[], object]) -> PendingSubCluster:
        """Have main add one; ``callback`` comes when it is there."""
        pending = PendingSubCluster(self._waiting, name, callback)
        self._known.setdefault(parent, set()).add(name)
        if self.link is not None:
            self.link.ask_sub_cluster(parent, name, host, port)
        return pending

    # -- from main -----------------------------------------------------------------------------------------------
    def on_sub_cluster(self, parent: str, name: str, there: bool) -> None:
        """One is there, or is not any more."""
        known = self._known.setdefault(parent, set())
        if not there:
            known.discard(name)
            return
        known.add(name)
        for pending in self._waiting.pop(name, ()):
            pending.callback()

    def take_used(self, parent: str) -> dict[str, int]:
        """What was used since this was last asked."""
        return self._last_used.pop(parent, {})
