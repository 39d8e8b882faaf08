"""The resources that a control plane serves, by type and name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2

from proxeny.config.message_types import message_class
from proxeny.config.sources import Source, fill
from proxeny.testing.xds.types import name_field_of, type_name_of, type_url

Content: TypeAlias = Any
"""A resource as tests give it: its message, a tree of it (as YAML gives), an Any, or a ``discovery.v3.Resource``."""

Contents: TypeAlias = Mapping[str, Content] | Iterable[Content]
"""Resources: by name, or so that each tells its own."""

_WRAPPER: Final = "envoy.service.discovery.v3.Resource"


class Entry:
    """One resource and the version at which it became what it is.

    ``bare``: a state-of-the-world response carries it without the wrapper that a TTL or a name needs.
    """

    __slots__ = ("bare", "name", "resource")

    def __init__(self, name: str, resource: Any, bare: bool) -> None:
        self.name = name
        self.resource = resource
        self.bare = bare

    @property
    def version(self) -> str:
        """Its own version."""
        return str(self.resource.version)

    def in_response(self) -> Any:
        """The Any that a state-of-the-world response carries."""
        if self.bare:
            return self.resource.resource
        packed = any_pb2.Any()
        packed.Pack(self.resource)
        return packed

    def same_content(self, other: Entry) -> bool:
        """Whether nothing but the version may differ."""
        mine, theirs = discovery_pb2.Resource(), discovery_pb2.Resource()
        mine.CopyFrom(self.resource)
        theirs.CopyFrom(other.resource)
        theirs.version = mine.version
        return bool(mine == theirs)


class TypeStore:
    """The resources of one type. ``version`` is empty until something was set."""

    __slots__ = ("changes", "entries", "type_name", "version")

    def __init__(self, type_name: str) -> None:
        self.type_name = type_name
        self.version = ""
        self.entries: dict[str, Entry] = {}
        self.changes = 0

    def replace(self, entries: Iterable[Entry], version: str | None) -> str:
        """These and no others; what did not change keeps its version. The new version of the whole is returned."""
        self.changes += 1
        self.version = str(self.changes) if version is None else version
        fresh: dict[str, Entry] = {}
        for entry in entries:
            before = self.entries.get(entry.name)
            if not entry.resource.version:
                entry.resource.version = self.version
                if before is not None and before.same_content(entry):
                    entry.resource.version = before.resource.version
            fresh[entry.name] = entry
        self.entries = fresh
        return self.version


def entries_of(type_name: str, contents: Contents) -> list[Entry]:
    """Resources as they are kept. Raises ConfigError for a tree that is no message of the type."""
    if isinstance(contents, Mapping):
        return [_entry(type_name, content, str(name)) for name, content in contents.items()]
    return [_entry(type_name, content, "") for content in contents]


def _entry(type_name: str, content: Content, name: str) -> Entry:
    if isinstance(content, discovery_pb2.Resource):
        kept: Any = discovery_pb2.Resource()
        kept.CopyFrom(content)
        return Entry(name or kept.name, kept, bare=False)
    packed = content if isinstance(content, any_pb2.Any) else _packed(type_name, content)
    name = name or _own_name(type_name, packed)
    return Entry(name, discovery_pb2.Resource(name=name, resource=packed), bare=True)


def message_of(type_name: str, tree: Any) -> Any:
    """A message of the type from a tree of YAML or JSON, by Envoy's rules; raises ConfigError."""
    tree = dict(tree)
    actual = type_name_of(str(tree.pop("@type", type_name)))
    message: Any = message_class(actual)()
    fill(message, tree, Source(None), allow_unknown=False)
    return message


def _packed(type_name: str, content: Content) -> Any:
    message = message_of(type_name, content) if isinstance(content, Mapping) else content
    return any_pb2.Any(
        type_url=type_url(message.DESCRIPTOR.full_name), value=message.SerializeToString(deterministic=True)
    )


def _own_name(type_name: str, packed: Any) -> str:
    message = message_class(type_name_of(packed.type_url))()
    message.ParseFromString(packed.value)
    return str(getattr(message, name_field_of(type_name)))
