"""What a start waits for (Envoy: ``Init::ManagerImpl``, ``Init::TargetImpl``, ``Init::SharedTargetImpl``)."""

from __future__ import annotations

from collections.abc import Callable


class InitTarget:
    """Something that becomes ready once, some time after it was started.

    ``start`` is called when the first of its managers begins; it may call ``ready`` itself.
    """

    __slots__ = ("_is_ready", "_managers", "_start", "name")

    def __init__(self, name: str, start: Callable[[], object], shared: bool = False) -> None:
        """``shared``: as Envoy calls one that several managers may wait for."""
        self.name = f"shared target {name}" if shared else f"target {name}"
        self._start: Callable[[], object] | None = start
        self._managers: list[InitManager] = []
        self._is_ready = False

    def ready(self) -> bool:
        """It is ready, or will not become so; False when that was said before."""
        if self._is_ready:
            return False
        self._is_ready = True
        self._start = None  # whoever owns it may be what it starts
        managers, self._managers = self._managers, []
        for manager in managers:
            manager._on_ready(self)
        return True

    def _begin(self, manager: InitManager) -> None:
        self._managers.append(manager)
        start, self._start = self._start, None
        if start is not None:
            start()


class InitManager:
    """Starts its targets, and tells when all are ready. Names show in /init_dump."""

    __slots__ = ("_begun", "_on_done", "_waiting", "name")

    def __init__(self, name: str) -> None:
        self.name = f"init manager {name}"
        self._begun = False
        self._waiting: dict[InitTarget, None] = {}
        self._on_done: Callable[[], object] | None = None

    @property
    def is_done(self) -> bool:
        """Whether it was initialized and waits for nothing."""
        return self._begun and not self._waiting

    def add(self, target: InitTarget) -> None:
        """Wait for ``target`` too; it is started with the others, or at once when they were."""
        if target._is_ready:
            return
        self._waiting[target] = None
        if self._begun:
            target._begin(self)

    def initialize(self, on_done: Callable[[], object]) -> None:
        """Start all targets; ``on_done`` is called once, when none is waited for, perhaps before this returns."""
        self._on_done = on_done
        if not self._begun:
            self._begin()
        self._look()

    def _begin(self) -> None:
        self._begun = True
        for target in list(self._waiting):
            target._begin(self)
            if target._is_ready:
                self._waiting.pop(target, None)

    def unready(self) -> list[str]:
        """Names of the targets that are waited for, sorted."""
        return sorted({target.name for target in self._waiting})

    def cancel(self) -> None:
        """Nobody waits any more."""
        self._on_done = None

    def _on_ready(self, target: InitTarget) -> None:
        self._waiting.pop(target, None)
        self._look()

    def _look(self) -> None:
        if self._begun and not self._waiting and self._on_done is not None:
            on_done, self._on_done = self._on_done, None
            on_done()
