"""Field paths as text (`static_resources.listeners[0].metadata["a.b"]`): how errors say where they are."""

import re
from typing import Final

PathItem = str | int

_ITEM: Final = re.compile(r'\["((?:[^"\\]|\\.)*)"\]|\[(\d+)\]|\.?([^.\[]+)')
_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_@-]+\Z", re.ASCII)


def join(head: str, tail: str) -> str:
    """Two paths as one; an index or quoted key needs no dot."""
    if not head or not tail:
        return head or tail
    return head + tail if tail[0] == "[" else f"{head}.{tail}"


def key(name: str) -> str:
    """One key as a path: plain names as they are, all others quoted."""
    if _PLAIN_KEY.match(name):
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'["{escaped}"]'


def split(path: str) -> list[PathItem]:
    """The keys and indices of a path."""
    items: list[PathItem] = []
    for quoted, index, plain in _ITEM.findall(path):
        if index:
            items.append(int(index))
        else:
            items.append(plain or re.sub(r"\\(.)", r"\1", quoted))
    return items
