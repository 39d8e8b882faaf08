"""A collection of resources in a file (Envoy: ``FilesystemCollectionSubscriptionImpl``).

The file holds a ``discovery.v3.Resource`` whose content is a collection, as ``listener.v3.ListenerCollection``. Entries
that stand in it are its resources; as in Envoy, those that only say where to look are passed over.
"""

from __future__ import annotations

from typing import Any, Final

from envoy.service.discovery.v3 import discovery_pb2

from proxeny.config.anys import open_any
from proxeny.config.debug_string import debug_string
from proxeny.config.errors import ConfigError
from proxeny.config.message_types import type_name_of
from proxeny.event.slices import Steps
from proxeny.xds.filesystem import FilesystemSubscription
from proxeny.xds.resource import DecodedResource

_ENTRY: Final = "xds.core.v3.CollectionEntry"


class FilesystemCollectionSubscription(FilesystemSubscription):
    """Reads the collection in a file, and again whenever a file is moved there."""

    def _read(self) -> tuple[list[DecodedResource], str]:
        resource = self._load(discovery_pb2.Resource())
        resources = [self._decode(entry.inline_entry) for entry in _entries(resource) if entry.HasField("inline_entry")]
        return [one for one in resources if one is not None], resource.version

    def _decode(self, entry: Any) -> DecodedResource | None:
        decoded = self._decoder.decode(entry.resource, entry.version)
        if decoded is not None:
            decoded.name = entry.name
        return decoded

    def _size(self, content: tuple[list[DecodedResource], str]) -> int:
        return sum([len(resource.serialized) for resource in content[0]])

    def _deliver(self, content: tuple[list[DecodedResource], str]) -> Steps[str]:
        resources, version = content
        yield from self._hand_on(resources, version)
        return version


def _entries(resource: Any) -> Any:
    type_name = type_name_of(resource.resource.type_url)
    if not type_name:
        raise ConfigError(f"Unknown collection type {type_name}")
    collection = open_any(resource.resource)
    fields = collection.DESCRIPTOR.fields
    first = fields[0] if fields else None
    if first is None or first.message_type is None or first.message_type.full_name != _ENTRY or not _repeats(first):
        raise ConfigError(f"Invalid structure for collection type {type_name} in {debug_string(resource)}")
    return getattr(collection, first.name)


def _repeats(field: Any) -> bool:
    repeated: bool = field.is_repeated
    return repeated
