"""/xds and /xds/history: what was asked of control planes and files, what came, what was refused and why."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any, Final

from google.protobuf.message import DecodeError

from proxeny.admin.context import AdminContext
from proxeny.admin.json_pieces import list_field, object_pieces, respond_json_list
from proxeny.admin.message_diff import differences
from proxeny.admin.proto_json import timestamp
from proxeny.admin.query import Query
from proxeny.admin.response import HTML, AdminResponse, json_text, respond, respond_in_pieces
from proxeny.config.message_types import message_class
from proxeny.xds.history import Change, Event
from proxeny.xds.record import ResourceRecord, TypeRecord, Verdict

MOST_DIFF_LINES: Final = 200
"""Lines of difference that are shown of one resource."""
_MOST_DIGITS: Final = 18
"""Of the number of an event."""
_SIGNS: Final = {"added": "+", "changed": "~", "removed": "-", "refused": "!"}


class XdsHandler:
    """Both pages."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context

    def xds(self, query: Query, body: bytes) -> AdminResponse:
        """/xds: by type and source; ``type`` is part of a type's name, ``name`` that of a resource."""
        accepts = _accepts(query)
        kinds = [one for one in self._context.xds_record.types() if accepts(one.type_name)]
        name = query.parameters.get("name", "")
        if query.parameters.get("format") == "json":
            return respond_json_list("types", (_type_pieces(one, name) for one in kinds))
        texts = chain.from_iterable(_type_text(one, name) for one in kinds)
        return _page(texts, query, "nothing is discovered\n")

    def history(self, query: Query, body: bytes) -> AdminResponse:
        """/xds/history: the last updates, the newest first; ``event`` chooses one and shows what it changed."""
        history = self._context.xds_record.history
        accepts, name = _accepts(query), query.parameters.get("name", "")
        chosen = query.parameters.get("event", "")
        with_diffs = bool(chosen) or "diff" in query.parameters
        if chosen:
            is_number = chosen.isascii() and chosen.isdigit() and len(chosen) <= _MOST_DIGITS
            event = history.find(int(chosen)) if is_number else None
            if event is None:
                return respond(f"there is no event {chosen} (any more)\n", 404)
            found = [event]
        else:
            found = [one for one in history.newest_first() if accepts(one.type_name) and _concerns(one, name)]
        if query.parameters.get("format") == "json":
            texts = (iter((json_text(_event_json(one, name, with_diffs), 2),)) for one in found)
            return respond_json_list("events", texts)
        return _page(
            chain.from_iterable(_event_text(one, name, with_diffs) for one in found), query, "no updates yet\n"
        )


def _accepts(query: Query) -> Callable[[str], bool]:
    wanted = query.parameters.get("type", "").lower()
    return lambda type_name: wanted in type_name.lower()


def _concerns(event: Event, name: str) -> bool:
    return not name or any(change.name == name for change in event.changes)


def _page(texts: Iterable[str], query: Query, otherwise: str) -> AdminResponse:
    pieces = iter(texts)
    pieces = chain((next(pieces, otherwise),), pieces)
    if query.parameters.get("format") != "html":
        return respond_in_pieces(pieces)
    # Names, versions and reasons are a control plane's.
    return respond_in_pieces(chain((_HTML_HEAD,), map(html.escape, pieces), (_HTML_TAIL,)), HTML)


_HTML_HEAD: Final = (
    "<!DOCTYPE html>\n<html lang='en'>\n<head><title>xDS</title></head>\n<body>\n"
    "<p><a href='/'>admin</a> <a href='/xds?format=html'>resources</a> "
    "<a href='/xds/history?format=html'>history</a> "
    "<a href='/xds/history?format=html&amp;diff'>changes</a></p>\n<pre>\n"
)
_HTML_TAIL: Final = "</pre>\n</body>\n</html>\n"


# -- resources -------------------------------------------------------------------------------------------------


def _resources(kind: TypeRecord, name: str) -> Iterator[ResourceRecord]:
    return (one for one in kind.resources() if not name or one.name == name)


def _absent(kind: TypeRecord, name: str) -> list[str]:
    """Names that were asked for, of which nothing has come."""
    known = {one.name for one in kind.resources()}
    return sorted(one for one in kind.names() - known if not name or one == name)


def _type_text(kind: TypeRecord, name: str) -> Iterator[str]:
    asked = "everything" if kind.is_wildcard else f"{len(kind.names())} by name"
    head = [f"{kind.type_name} from {kind.source or 'nowhere'}: {asked}"]
    if len(kind.subscriptions) > 1:
        head.append(f"{len(kind.subscriptions)} subscriptions")
    head.append(
        "no update yet" if not kind.attempts else "1 update" if kind.attempts == 1 else f"{kind.attempts} updates"
    )
    if kind.attempts:
        head.append(f"the last of {kind.size} bytes in {_ms(kind.seconds)} ms")
    yield ", ".join(head) + "\n"
    if kind.accepted is not None:
        yield f"  accepted version '{kind.accepted.version}' at {timestamp(kind.accepted.at)}\n"
    if kind.rejected is not None:
        why = f"at {timestamp(kind.rejected.at)}: {_line(kind.rejected.details)}"
        yield f"  rejected version '{kind.rejected.version}' {why}\n"
    if kind.failed is not None:
        yield f"  failed at {timestamp(kind.failed.at)}: {_line(kind.failed.details)}\n"
    for one in _resources(kind, name):
        yield from _resource_text(one)
    for absent in _absent(kind, name):
        yield f"    {_shown(absent)}: asked for, has not come\n"


def _line(details: str) -> str:
    return "; ".join(details.split("\n")).removesuffix("; ")


def _shown(name: str) -> str:
    """A name as it is, unless it could be taken for something else."""
    return name if name.isprintable() else repr(name)


def _resource_text(one: ResourceRecord) -> Iterator[str]:
    if one.updated_at:
        yield f"    {_shown(one.name)}: version '{one.version}', {one.size} bytes since {timestamp(one.updated_at)}\n"
    if one.refusal is not None:
        refusal = one.refusal
        why = f"refused at {timestamp(refusal.at)}: {_line(refusal.details)}"
        yield f"    {_shown(one.name)}: version '{refusal.version}' {why}\n"


def _type_pieces(kind: TypeRecord, name: str) -> Iterator[str]:
    known = (_resource_json(one) for one in _resources(kind, name))
    absent = ({"name": one, "asked_for": True} for one in _absent(kind, name))
    resources = (iter((json_text(one, 4),)) for one in chain(known, absent))
    fields = ((field, iter((json_text(value, 3),))) for field, value in _type_json(kind).items())
    return object_pieces(chain(fields, list_field("resources", resources, 3)), 2)


def _type_json(kind: TypeRecord) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": kind.type_name,
        "source": kind.source,
        "wildcard": kind.is_wildcard,
        "subscriptions": len(kind.subscriptions),
        "updates": kind.attempts,
    }
    for field, verdict in (("accepted", kind.accepted), ("rejected", kind.rejected), ("failed", kind.failed)):
        if verdict is not None:
            made[field] = _verdict_json(verdict)
    if kind.attempts:
        made["last_update"] = {"bytes": kind.size, "apply_ms": kind.seconds * 1000}
    return made


def _verdict_json(verdict: Verdict) -> dict[str, str]:
    made = {"version": verdict.version, "time": timestamp(verdict.at)}
    return {**made, "details": verdict.details} if verdict.details else made


def _resource_json(one: ResourceRecord) -> dict[str, Any]:
    made: dict[str, Any] = {"name": one.name}
    if one.updated_at:
        made.update(version=one.version, updated=timestamp(one.updated_at), bytes=one.size)
    if one.refusal is not None:
        refusal = one.refusal
        made["refused"] = {"version": refusal.version, "time": timestamp(refusal.at), "details": refusal.details}
    return made


# -- history ---------------------------------------------------------------------------------------------------


def _event_text(event: Event, name: str, with_diffs: bool) -> Iterator[str]:
    head = f"#{event.number} {timestamp(event.at)} {event.outcome}"
    version = f" version '{event.version}'" if event.version else ""
    yield f"{head}{version} of {event.type_name} from {event.source}{_counts(event)}\n"
    if event.details:
        yield f"    {_line(event.details)}\n"
    for change in event.changes:
        if name and change.name != name:
            continue
        reason = f": {change.details}" if change.details and len(event.changes) > 1 else ""
        yield f"  {_SIGNS[change.kind]} {_shown(change.name)}{reason}\n"
        if with_diffs:
            yield from (f"      {line}\n" for line in diff_of(event.type_name, change))
    if event.left_out:
        yield f"  ... {event.left_out} more\n"


def _counts(event: Event) -> str:
    if event.outcome == "failed":
        return ""
    counts = Counter(change.kind for change in event.changes)
    found = [f"{counts[kind]} {kind}" for kind in _SIGNS if counts[kind]]
    return f": {', '.join(found) or 'nothing changed'} ({event.size} bytes in {_ms(event.seconds)} ms)"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f}"


def _event_json(event: Event, name: str, with_diffs: bool) -> dict[str, Any]:
    changes = [_change_json(event, change, with_diffs) for change in event.changes if not name or change.name == name]
    return {
        "number": event.number,
        "time": timestamp(event.at),
        "type": event.type_name,
        "source": event.source,
        "version": event.version,
        "outcome": event.outcome,
        "details": event.details,
        "bytes": event.size,
        "apply_ms": event.seconds * 1000,
        "changes": changes,
        "changes_left_out": event.left_out,
    }


def _change_json(event: Event, change: Change, with_diffs: bool) -> dict[str, Any]:
    made: dict[str, Any] = {"kind": change.kind, "name": change.name}
    if change.details:
        made["details"] = change.details
    if with_diffs:
        made["diff"] = diff_of(event.type_name, change)
    return made


def diff_of(type_name: str, change: Change) -> list[str]:
    """What a change changed, line by line; empty for what was added or removed, and where contents are not kept."""
    if change.before is None or change.after is None:
        return []
    try:
        before, after = message_class(type_name)(), message_class(type_name)()
        before.ParseFromString(change.before)
        after.ParseFromString(change.after)
    except (KeyError, DecodeError):
        return []
    found = list(islice(differences(before, after), MOST_DIFF_LINES + 1))
    return found if len(found) <= MOST_DIFF_LINES else [*found[:MOST_DIFF_LINES], "..."]
