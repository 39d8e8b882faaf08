"""What a new configuration changes, resource by resource, in a form that people read."""

from __future__ import annotations

import difflib
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from proxeny.admin.proto_json import Secrets
from proxeny.server.print_config import to_yaml

LISTENER, CLUSTER, SECRET, LAYER, FIELD = "listener", "cluster", "secret", "runtime layer", "field"

ADD, CHANGE, REMOVE = "add", "change", "remove"

_SIGNS: Final = {ADD: "+", CHANGE: "~", REMOVE: "-"}
_CONTEXT_LINES: Final = 2
MOST_DIFF_LINES: Final = 200
"""Lines of difference that are shown of one resource."""

Key = Callable[[Any], str]


@dataclass(slots=True)
class Change:
    """One resource, or one field of the bootstrap, before and after; None: it is not there."""

    kind: str
    name: str
    before: Any
    after: Any

    @property
    def action(self) -> str:
        """``add``, ``change`` or ``remove``."""
        if self.before is None:
            return ADD
        return REMOVE if self.after is None else CHANGE

    @property
    def title(self) -> str:
        """``~ listener 'web'``."""
        return f"{_SIGNS[self.action]} {self.kind} '{self.name}'"

    def diff(self) -> list[str]:
        """The lines that differ, as YAML; of what is added or removed nothing but the title says so."""
        if self.action != CHANGE:
            return []
        lines = difflib.unified_diff(_lines(self.before), _lines(self.after), n=_CONTEXT_LINES, lineterm="")
        found = [line for line in lines if not line.startswith(("---", "+++"))]
        left = len(found) - MOST_DIFF_LINES
        return found if left <= 0 else [*found[:MOST_DIFF_LINES], f"... {left} more lines"]


@dataclass(slots=True)
class Plan:
    """Changes in the order of their resources; ``restart``: what only a restart applies."""

    changes: list[Change] = field(default_factory=list)
    restart: list[Change] = field(default_factory=list)

    def of(self, kind: str, *actions: str) -> list[Change]:
        """Those of one kind."""
        return [change for change in self.changes if change.kind == kind and change.action in actions]

    @property
    def is_empty(self) -> bool:
        """Whether nothing changes."""
        return not self.changes and not self.restart

    def as_text(self) -> str:
        """The plan for people: a line per change, below it what differs."""
        if self.is_empty:
            return "nothing changes\n"
        parts = list(_described(self.changes))
        if self.restart:
            parts += ["only a restart applies:", *_described(self.restart)]
        return "\n".join(parts) + "\n"

    def as_json(self) -> list[dict[str, Any]]:
        """The same for programs."""
        return [
            {
                "kind": change.kind,
                "name": change.name,
                "action": change.action,
                "restart": restart,
                "diff": change.diff(),
            }
            for restart, changes in ((False, self.changes), (True, self.restart))
            for change in changes
        ]


def _described(changes: Iterable[Change]) -> Iterator[str]:
    for change in changes:
        yield change.title
        for line in change.diff():
            yield f"    {line}"


def _lines(message: Any) -> list[str]:
    return to_yaml(message, Secrets.BLANKED).splitlines()


def make_plan(current: Any, fresh: Any, unnamed: frozenset[str] = frozenset()) -> Plan:
    """How to come from one ``Bootstrap`` to another.

    ``unnamed``: names that listeners of ``current`` were given. Listeners of ``fresh`` without a name get that of the
    one that they follow (an equal one, or one with the same address), else a new one.
    """
    old, new = current.static_resources, fresh.static_resources
    _name_listeners(old.listeners, new.listeners, unnamed)
    plan = Plan()
    plan.changes += _compare(SECRET, old.secrets, new.secrets, secret_name)
    plan.changes += _layers(current.layered_runtime, fresh.layered_runtime, plan.restart)
    plan.changes += _compare(CLUSTER, old.clusters, new.clusters, _name)
    plan.changes += _compare(LISTENER, old.listeners, new.listeners, _name)
    for one in type(fresh).DESCRIPTOR.fields:
        if one.name not in ("static_resources", "layered_runtime"):
            plan.restart += _field(one, current, fresh)
    return plan


def _name(message: Any) -> str:
    return str(message.name)


def secret_name(secret: Any) -> str:
    """Names are unique among secrets of one kind."""
    return f"{secret.WhichOneof('type')}/{secret.name}"


def _compare(kind: str, old: Iterable[Any], new: Iterable[Any], key: Key) -> list[Change]:
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for found, messages in ((before, old), (after, new)):
        for message in messages:
            found.setdefault(key(message), message)  # of two with one name the first counts
    changes = [Change(kind, name, before.get(name), message) for name, message in after.items()]
    changes = [change for change in changes if change.before != change.after]
    return changes + [Change(kind, name, message, None) for name, message in before.items() if name not in after]


def _layers(old: Any, new: Any, restart: list[Change]) -> list[Change]:
    """Values of static layers may change; other layers, their number and their order need a restart."""
    if [_shape(layer) for layer in old.layers] != [_shape(layer) for layer in new.layers]:
        restart.append(Change(FIELD, "layered_runtime", old, new))
        return []
    return _compare(LAYER, old.layers, new.layers, _name)


def _shape(layer: Any) -> Any:
    if layer.WhichOneof("layer_specifier") != "static_layer":
        return layer
    return layer.name


def _field(one: Any, current: Any, fresh: Any) -> list[Change]:
    before, after = getattr(current, one.name), getattr(fresh, one.name)
    if before == after:
        return []
    return [Change(FIELD, one.name, _only(one, current), _only(one, fresh))]


def _only(one: Any, message: Any) -> Any:
    """A message that has nothing but this field; None when that is not set."""
    kept = type(message)()
    for field_, value in message.ListFields():
        if field_.name == one.name:
            if field_.is_repeated:
                getattr(kept, one.name).MergeFrom(value)
            elif field_.message_type is not None:
                getattr(kept, one.name).CopyFrom(value)
            else:
                setattr(kept, one.name, value)
            return kept
    return None


def _name_listeners(old: Iterable[Any], new: Iterable[Any], unnamed: frozenset[str]) -> None:
    left = [listener for listener in old if listener.name in unnamed]
    nameless = [listener for listener in new if not listener.name]
    for same in (_same_but_name, _same_address):
        for listener in nameless:
            found = next((one for one in left if not listener.name and same(one, listener)), None)
            if found is not None:
                listener.name = found.name
                left.remove(found)
    for listener in nameless:
        listener.name = listener.name or str(uuid.uuid4())


def _same_but_name(named: Any, nameless: Any) -> bool:
    copy = type(named)()
    copy.CopyFrom(named)
    copy.ClearField("name")
    return bool(copy == nameless)


def _same_address(one: Any, other: Any) -> bool:
    return bool(one.address == other.address)
