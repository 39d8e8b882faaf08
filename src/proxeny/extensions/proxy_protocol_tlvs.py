"""TLVs of the configuration for PROXY protocol headers (``core.v3.TlvEntry``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxeny.config.errors import ConfigError
from proxeny.formatter import compile_format_string

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from proxeny.network.stream_info import StreamInfo


class AddedTlv:
    """One TLV of the configuration: fixed, or a text about the upstream connection."""

    __slots__ = ("_format", "_value", "kind", "varies")

    def __init__(self, message: Any) -> None:
        self.varies = has_format = message.HasField("format_string")
        if message.value and has_format:
            raise ConfigError("Invalid TLV configuration: only one of 'value' or 'format_string' may be set.")
        if not message.value and not has_format:
            raise ConfigError("Invalid TLV configuration: one of 'value' or 'format_string' must be set.")
        self.kind = message.type & 0xFF
        self._value: bytes = message.value
        self._format: Callable[..., bytes] | None = None
        if has_format:
            try:
                self._format = compile_format_string(message.format_string).formatter.format
            except ConfigError as error:
                raise ConfigError(f"Failed to parse TLV format string: {error}") from error

    def value(self, info: StreamInfo) -> bytes:
        """What a connection with this stream info tells."""
        return self._value if self._format is None else self._format(None, None, None, info)


def compile_tlvs(messages: Iterable[Any]) -> tuple[AddedTlv, ...]:
    """All of a list; those that are the same for all connections go first, as in Envoy."""
    return tuple(sorted(map(AddedTlv, messages), key=lambda tlv: tlv.varies))
