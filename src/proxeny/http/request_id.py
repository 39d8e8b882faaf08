"""Request ids that carry why a request is traced (Envoy: ``UUIDRequestIDExtension``): one digit of the UUID says it."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.config.loader import unpack_any
from proxeny.registry import REGISTRY

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.factory_context import FactoryContext

KIND: Final = "request_id"
REQUEST_ID: Final = b"x-request-id"
UUID_LENGTH: Final = 36
INTEGER_LENGTH: Final = 8
TRACE_POSITION: Final = 14
"""Of the digit that RFC 9562 has for the version: 4 in an id as it is made."""
HEXADECIMAL: Final = frozenset(b"0123456789abcdefABCDEF")


class TraceReason(IntEnum):
    """Why a request is traced, or is not (Envoy: ``Tracing::Reason``)."""

    NOT_TRACEABLE = 0
    HEALTH_CHECK = 1
    SAMPLING = 2
    SERVICE_FORCED = 3
    CLIENT_FORCED = 4


DIGITS: Final = {
    TraceReason.NOT_TRACEABLE: b"4",
    TraceReason.SAMPLING: b"9",
    TraceReason.SERVICE_FORCED: b"a",
    TraceReason.CLIENT_FORCED: b"b",
}
REASONS: Final = {digit: reason for reason, digit in DIGITS.items()}


class UuidRequestId:
    """``UuidRequestIdConfig``, compiled."""

    __slots__ = ("_pack", "samples")

    def __init__(self, pack: bool = True, samples: bool = True) -> None:
        self._pack = pack
        self.samples = samples
        """Whether the id decides if the request is traced; else all are."""

    def integer(self, headers: HeaderMap) -> int | None:
        """A number below 2**32 that is the same wherever the request goes; None when the id gives none."""
        value = headers.get_joined(REQUEST_ID)
        if value is None or len(value) < INTEGER_LENGTH or not HEXADECIMAL.issuperset(value[:INTEGER_LENGTH]):
            return None
        return int(value[:INTEGER_LENGTH], 16)

    def trace_reason(self, headers: HeaderMap) -> TraceReason:
        """What the id says."""
        value = headers.get_joined(REQUEST_ID)
        if value is None or len(value) != UUID_LENGTH:
            return TraceReason.NOT_TRACEABLE
        return REASONS.get(value[TRACE_POSITION : TRACE_POSITION + 1], TraceReason.NOT_TRACEABLE)

    def set_trace_reason(self, headers: HeaderMap, reason: TraceReason) -> None:
        """Write it into the id, if that is one of ours."""
        value = headers.get_joined(REQUEST_ID)
        if self._pack and value is not None and len(value) == UUID_LENGTH:
            headers.set(REQUEST_ID, value[:TRACE_POSITION] + DIGITS[reason] + value[TRACE_POSITION + 1 :])


def compile_request_id(config: Any, context: FactoryContext) -> UuidRequestId:
    """``request_id_extension``; ConfigError in Envoy's words."""
    extension = config.request_id_extension
    if not extension.HasField("typed_config"):
        return UuidRequestId()
    config_type = extension.typed_config.type_url.rpartition("/")[2]
    if not REGISTRY.knows(KIND, "", config_type):
        raise ConfigError(f"Didn't find a registered implementation for type: '{config_type}'")
    made: UuidRequestId = REGISTRY.factory(KIND, "", config_type).create_request_id(
        unpack_any(extension.typed_config), context
    )
    return made
