"""Messages as text, whatever is in them (Envoy: ``DebugString``)."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pool, text_format
from google.protobuf.message import DecodeError

_NO_TYPES: Final = descriptor_pool.DescriptorPool()


def debug_string(message: Any, one_line: bool = False) -> str:
    """The message in protobuf's text format; the contents of its Anys too, if they are what they say."""
    try:
        return text_format.MessageToString(message, as_one_line=one_line)
    except DecodeError:
        return text_format.MessageToString(message, as_one_line=one_line, descriptor_pool=_NO_TYPES)
