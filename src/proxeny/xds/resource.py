"""Resources: Anys of a discovery response to checked messages (Envoy: ``DecodedResourceImpl``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.message import DecodeError

from proxeny.config.debug_string import debug_string, shortened
from proxeny.config.errors import ConfigError, UnknownExtensionError, UnsupportedFieldError
from proxeny.config.inspector import Findings, Inspector
from proxeny.config.loader import duration_ms
from proxeny.config.message_types import type_name_of
from proxeny.config.validate import duration_fault, inspect, inspect_steps
from proxeny.event.slices import Steps, finish
from proxeny.xds.rejection import RefusedResource, UpdateRejected, told
from proxeny.xds.validation import DynamicValidation

Amend = Callable[[Any], bool]
"""Changes a message that was delivered, before it is checked; False: it is not wanted. Raises ConfigError."""

MOST_KNOWN: Final = 16_384
LARGEST_KNOWN: Final = 1 << 20
"""How many messages, and of how many bytes at most, a decoder recognizes."""
MOST_KNOWN_BYTES: Final = 16 << 20
"""What they may take; as much again of those that were not asked for lately."""
TYPE_URL_PREFIX: Final = "type.googleapis.com/"
_LARGE: Final = 1 << 14
"""Bytes of a message from which on it is checked in slices."""
WRAPPER: Final = "envoy.service.discovery.v3.Resource"
"""A resource with a name, a version and more of its own."""


class DecodedResource:
    """One resource. ``error``: what Envoy would find only when it builds the resource, not when it decodes it.

    ``serialized``: its message as it was delivered; ``message`` may be the type of one, parsed when it is asked for.
    """

    __slots__ = ("_message", "aliases", "error", "has_resource", "name", "serialized", "ttl_ms", "version")

    def __init__(
        self, name: str, message: Any, version: str, error: ConfigError | None = None, serialized: bytes = b""
    ) -> None:
        self.name = name
        self._message = message
        self.version = version
        self.error = error
        self.serialized = serialized
        self.aliases: tuple[str, ...] = ()
        """Other names that it goes by."""
        self.ttl_ms: int | None = None
        """How long it lives unless it is sent again; None: until it is removed."""
        self.has_resource = True
        """False: there is only a name, and ``message`` is empty."""

    @property
    def message(self) -> Any:
        """The message."""
        message: Any = self._message
        if isinstance(message, type):
            message = self._message = message().FromString(self.serialized)
        return message


class _Known:
    """Messages that were found good, with their names: a state of the world repeats what did not change."""

    __slots__ = ("_bytes", "_old", "_young")

    def __init__(self) -> None:
        self._bytes = 0
        self._young: dict[bytes, tuple[str, bytes]] = {}
        self._old: dict[bytes, tuple[str, bytes]] = {}

    def find(self, serialized: bytes) -> tuple[str, bytes] | None:
        """The name, and the bytes that were there first."""
        found = self._young.get(serialized)
        if found is None and (found := self._old.pop(serialized, None)) is not None:
            self.add(*found)
        return found

    def add(self, name: str, serialized: bytes) -> None:
        """What nobody asked for while so many others came is forgotten."""
        if len(self._young) >= MOST_KNOWN or self._bytes >= MOST_KNOWN_BYTES:
            self._old, self._young, self._bytes = self._young, {}, 0
        self._young[serialized] = name, serialized
        self._bytes += len(serialized)


class ResourceDecoder:
    """Decodes resources of one message type, whose names are in its field ``name_field``.

    A message of the same bytes as one that it found good is neither parsed nor checked again.
    """

    def __init__(
        self, message_class: Any, name_field: str, validation: DynamicValidation, amend: Amend | None = None
    ) -> None:
        self._message_class = message_class
        self._name_field = name_field
        self._validation = validation
        self._amend = amend
        self._known = _Known()
        self.keeps_broken = False
        """Whether a resource that cannot be decoded, but has a name, is one with an ``error`` instead of raising it."""

    @property
    def type_name(self) -> str:
        """The full name of the message type."""
        return str(self._message_class.DESCRIPTOR.full_name)

    @property
    def type_url(self) -> str:
        """What discovery requests call the type."""
        return TYPE_URL_PREFIX + self.type_name

    def decode(self, any_message: Any, version: str) -> DecodedResource | None:
        """An Any of a state of the world, which may be a ``discovery.v3.Resource``; its version is the response's.

        None when the resource is amended away. Raises ConfigError for another type, malformed bytes and broken
        constraints of the message itself.
        """
        return finish(self.decode_steps(any_message, version))

    def decode_steps(self, any_message: Any, version: str) -> Steps[DecodedResource | None]:
        """``decode`` in slices."""
        if type_name_of(any_message.type_url) != WRAPPER:
            return (yield from self._decode("", any_message, version))
        return (yield from self._decode_wrapped(_unpack(discovery_pb2.Resource, any_message), version))

    def decode_all_steps(self, response: Any) -> Steps[list[DecodedResource]]:
        """What a ``DiscoveryResponse`` brings, in slices; ConfigError."""
        resources = []
        for item in response.resources:
            resource = yield from self.decode_steps(item, response.version_info)
            if resource is not None:
                resources.append(resource)
            yield
        return resources

    def decode_delta(self, resource: Any) -> DecodedResource | None:
        """Likewise a ``discovery.v3.Resource`` of a delta response, which has a version of its own."""
        return finish(self.decode_delta_steps(resource))

    def decode_delta_steps(self, resource: Any) -> Steps[DecodedResource | None]:
        """``decode_delta`` in slices."""
        return self._decode_wrapped(resource, resource.version)

    def _decode_wrapped(self, wrapper: Any, version: str) -> Steps[DecodedResource | None]:
        decoded: DecodedResource | None
        if wrapper.resource.type_url:
            decoded = yield from self._decode_named(wrapper, version)
        else:
            decoded = DecodedResource(wrapper.name, self._message_class(), version)
        if decoded is not None:
            decoded.aliases = tuple(wrapper.aliases)
            decoded.has_resource = wrapper.HasField("resource")
            if wrapper.HasField("ttl"):
                decoded.ttl_ms = ttl_ms_of(wrapper)
        return decoded

    def _decode_named(self, wrapper: Any, version: str) -> Steps[DecodedResource | None]:
        try:
            return (yield from self._decode(wrapper.name, wrapper.resource, version))
        except ConfigError as broken:
            if not self.keeps_broken or not wrapper.name:
                raise
            message = self._message_class()
            setattr(message, self._name_field, wrapper.name)
            return DecodedResource(wrapper.name, message, version, broken, wrapper.resource.value)

    def _decode(self, name: str, any_message: Any, version: str) -> Steps[DecodedResource | None]:
        if any_message.type_url == self.type_url and (known := self._known.find(any_message.value)) is not None:
            own_name, serialized = known
            return DecodedResource(name or own_name, self._message_class, version, None, serialized)
        message = _unpack(self._message_class, any_message)
        own_name = getattr(message, self._name_field)
        try:
            if self._amend is not None and not self._amend(message):
                return None
        except ConfigError as refused:
            return DecodedResource(name or own_name, message, version, refused, any_message.value)
        new_name = getattr(message, self._name_field)
        name = name if name and new_name == own_name else new_name
        inspector = Inspector(Findings(self._validation.accepts_unsupported))
        try:
            error = yield from self._check(message, inspector, len(any_message.value) >= _LARGE)
        except ConfigError as broken:
            if self.keeps_broken and name:
                return DecodedResource(name, message, version, broken, any_message.value)
            refused_resource = RefusedResource(name, str(broken), any_message.value, version)
            raise UpdateRejected(told(broken, message), [refused_resource]) from broken
        serialized = any_message.value
        if error is None and self._amend is None and _can_be_known(inspector) and len(serialized) <= LARGEST_KNOWN:
            self._known.add(own_name, serialized)
        return DecodedResource(name, message, version, error, serialized)

    def _check(self, message: Any, inspector: Inspector, in_slices: bool) -> Steps[ConfigError | None]:
        try:
            if in_slices:
                yield from inspect_steps(message, inspector)
            else:
                inspect(message, inspector)
        except (UnsupportedFieldError, UnknownExtensionError) as error:
            return error
        except ConfigError as error:
            if inspector.root:
                return error  # in the content of an Any, which Envoy's factories check when they unpack it
            raise
        if inspector.findings is not None:
            self._validation.on_findings(inspector.findings)
        return None


def ttl_ms_of(wrapper: Any) -> int:
    """How long a ``discovery.v3.Resource`` that has a ``ttl`` lives; ConfigError for no time that can be told."""
    fault = duration_fault(wrapper.ttl)
    if fault is not None:
        raise ConfigError(f"Invalid duration: {fault}: {debug_string(wrapper.ttl)}")
    return duration_ms(wrapper.ttl)


def _can_be_known(inspector: Inspector) -> bool:
    """Whether a walk would end the same way again: what is deprecated is counted, and may be refused, each time."""
    return not inspector.rewrites and (inspector.findings is None or not inspector.findings.deprecated)


def _unpack(message_class: Any, any_message: Any) -> Any:
    type_name = message_class.DESCRIPTOR.full_name
    message = message_class()
    try:
        if type_name_of(any_message.type_url) == type_name:
            message.ParseFromString(any_message.value)
            return message
    except DecodeError:
        pass
    raise ConfigError(f"Unable to unpack as {type_name}: {debug_string(shortened(any_message))}")
