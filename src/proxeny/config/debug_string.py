"""Messages as text, whatever is in them (Envoy: ``DebugString``)."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pool, text_format
from google.protobuf.message import DecodeError

_NO_TYPES: Final = descriptor_pool.DescriptorPool()
LARGEST_SHOWN: Final = 65_536
"""Bytes of a message up to which it is shown as a whole: to make text of it takes a second per few megabytes."""


def debug_string(message: Any, one_line: bool = False) -> str:
    """The message in protobuf's text format; the contents of its Anys too, if they are what they say."""
    try:
        return text_format.MessageToString(message, as_one_line=one_line)
    except DecodeError:
        return text_format.MessageToString(message, as_one_line=one_line, descriptor_pool=_NO_TYPES)


def shortened(message: Any) -> Any:
    """What of a discovery response, or of an Any, is shown where it is very large: its beginning."""
    if message.ByteSize() <= LARGEST_SHOWN:
        return message
    short = type(message)()
    if message.DESCRIPTOR.full_name == "google.protobuf.Any":
        short.type_url, short.value = message.type_url, message.value[:LARGEST_SHOWN]
        return short
    for field, value in message.ListFields():
        if field.name != "resources" and isinstance(value, str):
            setattr(short, field.name, value)
    for resource in message.resources:
        if short.ByteSize() + resource.ByteSize() > LARGEST_SHOWN:
            break
        short.resources.append(resource)
    return short
