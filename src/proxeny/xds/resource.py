"""Resources: Anys of a discovery response to checked messages (Envoy: ``DecodedResourceImpl``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from google.protobuf import text_format
from google.protobuf.message import DecodeError

from proxeny.config.errors import ConfigError, UnknownExtensionError, UnsupportedFieldError
from proxeny.config.inspector import Findings, Inspector
from proxeny.config.message_types import type_name_of
from proxeny.config.validate import inspect
from proxeny.xds.rejection import RefusedResource, UpdateRejected
from proxeny.xds.validation import DynamicValidation

Amend = Callable[[Any], bool]
"""Changes a message that was delivered, before it is checked; False: it is not wanted. Raises ConfigError."""

_WRAPPER: Final = "envoy.service.discovery.v3.Resource"


class DecodedResource:
    """One resource. ``error``: what Envoy would find only when it builds the resource, not when it decodes it.

    ``serialized``: its message as it was delivered.
    """

    __slots__ = ("error", "message", "name", "serialized", "version")

    def __init__(
        self, name: str, message: Any, version: str, error: ConfigError | None = None, serialized: bytes = b""
    ) -> None:
        self.name = name
        self.message = message
        self.version = version
        self.error = error
        self.serialized = serialized


class ResourceDecoder:
    """Decodes resources of one message type, whose names are in its field ``name_field``."""

    def __init__(
        self, message_class: Any, name_field: str, validation: DynamicValidation, amend: Amend | None = None
    ) -> None:
        self._message_class = message_class
        self._name_field = name_field
        self._validation = validation
        self._amend = amend

    @property
    def type_name(self) -> str:
        """The full name of the message type."""
        return str(self._message_class.DESCRIPTOR.full_name)

    def decode(self, any_message: Any, version: str) -> DecodedResource | None:
        """None when the resource is amended away. Raises ConfigError for another type, malformed bytes and broken
        constraints of the message itself.
        """
        name = ""
        if type_name_of(any_message.type_url) == _WRAPPER:
            from envoy.service.discovery.v3 import discovery_pb2

            wrapper = _unpack(discovery_pb2.Resource, any_message)
            name, any_message = wrapper.name, wrapper.resource
        message = _unpack(self._message_class, any_message)
        own_name = getattr(message, self._name_field)
        try:
            if self._amend is not None and not self._amend(message):
                return None
        except ConfigError as refused:
            return DecodedResource(name or own_name, message, version, refused, any_message.value)
        new_name = getattr(message, self._name_field)
        name = name if name and new_name == own_name else new_name
        try:
            error = self._check(message)
        except ConfigError as broken:
            refused_resource = RefusedResource(name, str(broken), any_message.value)
            raise UpdateRejected(str(broken), [refused_resource]) from broken
        return DecodedResource(name, message, version, error, any_message.value)

    def _check(self, message: Any) -> ConfigError | None:
        findings = Findings(self._validation.accepts_unsupported)
        inspector = Inspector(findings)
        try:
            inspect(message, inspector)
        except (UnsupportedFieldError, UnknownExtensionError) as error:
            return error
        except ConfigError as error:
            if inspector.root:
                return error  # in the content of an Any, which Envoy's factories check when they unpack it
            raise
        self._validation.on_findings(findings)
        return None


def _unpack(message_class: Any, any_message: Any) -> Any:
    type_name = message_class.DESCRIPTOR.full_name
    message = message_class()
    try:
        if type_name_of(any_message.type_url) == type_name:
            message.ParseFromString(any_message.value)
            return message
    except DecodeError:
        pass
    text = text_format.MessageToString(any_message, as_one_line=True)
    raise ConfigError(f"Unable to unpack as {type_name}: {text}")
