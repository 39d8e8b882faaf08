"""The patches of one proxy, by what they apply to, and what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from proxeny.config.errors import ConfigError
from proxeny.config.patch.envoy_filter import Patch
from proxeny.config.patch.proxy import Proxy
from proxeny.config.patch.schema import ApplyTo, Context, Operation

MOST_PLACES: Final = 4
"""Places of one patch that a summary names; the others are counted."""
_STATIC_ONLY: Final = frozenset((ApplyTo.BOOTSTRAP, ApplyTo.CLUSTER))


class Outcome:
    """What one patch did: the places that it changed, and those that it matched without any change."""

    __slots__ = ("changed", "unchanged")

    def __init__(self) -> None:
        self.changed: list[str] = []
        self.unchanged: list[str] = []


class PatchSet:
    """Patches in their order, less those that are not for ``proxy``."""

    __slots__ = ("_by_kind", "_selected", "changes", "notes", "outcomes", "proxy", "refused")

    def __init__(self, patches: Sequence[Patch], proxy: Proxy) -> None:
        self.proxy = proxy
        self.refused: dict[Patch, str] = {}
        self.changes = 0  # made so far
        self.notes: list[str] = []
        self.outcomes: dict[Patch, Outcome] = {}
        self._by_kind: dict[ApplyTo, list[Patch]] = {}
        self._selected: dict[tuple[ApplyTo, Context], list[Patch]] = {}
        for patch in patches:
            self.outcomes[patch] = Outcome()
            reason = proxy.refuses(patch)
            if reason:
                self.refused[patch] = reason
            else:
                self._by_kind.setdefault(patch.apply_to, []).append(patch)

    def of(self, kind: ApplyTo) -> list[Patch]:
        """All patches of a kind."""
        return self._by_kind.get(kind, [])

    def select(self, kind: ApplyTo, context: Context) -> list[Patch]:
        """The patches of a kind that are for objects of a context."""
        found = self._selected.get((kind, context))
        if found is None:
            found = [patch for patch in self.of(kind) if patch.context in (Context.ANY, context)]
            self._selected[kind, context] = found
        return found

    def record(self, patch: Patch, changed: bool, place: str) -> None:
        """``patch`` matched at ``place``."""
        outcome = self.outcomes[patch]
        self.changes += changed
        (outcome.changed if changed else outcome.unchanged).append(place)

    def added(self, kind: ApplyTo) -> list[Any]:
        """The listeners or clusters that patches add."""
        found = [patch for patch in self.of(kind) if patch.operation is Operation.ADD and self.proxy.adds(patch)]
        for patch in found:
            self.record(patch, True, f"added {kind.name.lower()} '{patch.value.name}'")
        return [patch.value for patch in found]

    def note(self, patch: Patch, text: str) -> None:
        """Something that ``patch`` says was left undone."""
        self.notes.append(f"{patch}: {text}")

    def summary(self) -> list[str]:
        """A line per patch that changed something: what."""
        return [f"{patch}: {_listed(outcome.changed)}" for patch, outcome in self.outcomes.items() if outcome.changed]

    def forget(self) -> None:
        """Forget what patches did so far."""
        for patch in self.outcomes:
            self.outcomes[patch] = Outcome()
        self.notes.clear()

    def warnings(self, awaits_listeners: bool = False) -> list[str]:
        """A line per patch that changed nothing, and for what was left undone. ``awaits_listeners``: more come."""
        lines = list(self.notes)
        for patch, outcome in self.outcomes.items():
            if outcome.unchanged:
                lines.append(
                    f"{patch} changes nothing in {_listed(outcome.unchanged)}: what it sets is there already, or is "
                    "the zero value of a field, which a merge cannot set"
                )
            elif not outcome.changed:
                later = awaits_listeners and patch.apply_to not in _STATIC_ONLY
                lines.append(f"{patch} {self._why_not(patch, later)}")
            if patch.labels and self.proxy.labels is None and patch not in self.refused:
                lines.append(
                    f"{patch}: the workloadSelector is not evaluated: the node's metadata has no LABELS; "
                    "the patch applies to this proxy"
                )
        return lines

    def _why_not(self, patch: Patch, later: bool) -> str:
        """Why a patch matched nothing; ``later``: so far."""
        reason = self.refused.get(patch)
        if reason is not None:
            return f"does not apply: {reason}"
        if later:
            return "matches nothing yet; delivered listeners are patched too"
        if patch.context is not Context.ANY and (patch.apply_to, patch.context) not in self._selected:
            return f"matches nothing: nothing here has the context {patch.context.name}"
        return "matches nothing"

    @property
    def applied(self) -> int:
        """Patches that changed something."""
        return sum(bool(outcome.changed) for outcome in self.outcomes.values())

    @property
    def unmatched(self) -> int:
        """Patches that matched nothing."""
        return sum(not outcome.changed and not outcome.unchanged for outcome in self.outcomes.values())


def _listed(places: list[str]) -> str:
    more = len(places) - MOST_PLACES
    shown = ", ".join(places[:MOST_PLACES])
    return f"{shown} and {more} more" if more > 0 else shown


def blamed(error: ConfigError, patch: Patch, place: str) -> ConfigError:
    """An error that ``patch`` makes at ``place``."""
    return ConfigError(f"{place}: {error}", file=str(patch))
