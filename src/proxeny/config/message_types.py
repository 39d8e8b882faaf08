"""Message classes by full name, imported on first use.

The modules of xds-protos mirror protobuf packages (`envoy.config.core.v3` is the folder envoy/config/core/v3), so a
type leads straight to the few `*_pb2.py` files that can define it: the file named after the type, else one whose text
contains the name. A few files lie outside their package's folder: all files of the root are looked at for these, about
30 ms. Nothing has to be indexed at build time and no more than what a configuration uses is imported.
Type names come from configurations and control planes: only well-formed names below known roots reach the importer.
"""

import importlib
import re
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Final

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message

_POOL: Final = descriptor_pool.Default()
_EXTENSION_TYPES: Final[dict[str, str]] = {}  # message type -> module of the registered extension
_ROOTS: Final = frozenset({"envoy", "xds", "udpa", "google", "cel", "opencensus", "opentelemetry"})
_TYPE_NAME: Final = re.compile(r"([a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*)\.([A-Z]\w*)(?:\.[A-Z]\w*)*\Z", re.ASCII)
_CAMEL_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@cache
def message_class(full_name: str) -> type[Message]:
    """The class of a message type; KeyError when no installed module defines it."""
    return message_factory.GetMessageClass(message_descriptor(full_name))


def message_descriptor(full_name: str) -> Any:
    """The descriptor of a message type; KeyError when no installed module defines it."""
    try:
        return _POOL.FindMessageTypeByName(full_name)
    except KeyError:
        pass
    own = [_EXTENSION_TYPES[full_name]] if full_name in _EXTENSION_TYPES else []
    for module in chain(own, _candidates(full_name)):
        importlib.import_module(module)
        try:
            return _POOL.FindMessageTypeByName(full_name)
        except KeyError:
            continue
    raise KeyError(full_name)


def declare_extension_type(full_name: str, module: str) -> None:
    """A registered extension, implemented in `module`, takes messages of this type (the module may define it too)."""
    _EXTENSION_TYPES[full_name] = module


def is_extension_type(full_name: str) -> bool:
    """Whether a registered extension takes messages of this type."""
    return full_name in _EXTENSION_TYPES


def _candidates(full_name: str) -> Iterator[str]:
    """Modules that may define the type, the likeliest first."""
    match = _TYPE_NAME.match(full_name)
    if match is None or full_name.partition(".")[0] not in _ROOTS:
        return
    package, outer = match.group(1), match.group(2)
    likely = _CAMEL_HUMP.sub("_", outer).lower() + "_pb2.py"
    needle = _needle(outer)
    for root, folder in _folders(package):
        files = sorted(folder.glob("*_pb2.py"), key=lambda file: (file.name != likely, file.name))
        yield from (_module(root, file) for file in files if needle in file.read_bytes())
    needles = (_needle(package), needle)
    for root, _ in _folders(package.partition(".")[0]):
        for file in sorted(root.rglob("*_pb2.py")):
            text = file.read_bytes()
            if all(part in text for part in needles):
                yield _module(root, file)


def _needle(name: str) -> bytes:
    """What of `name` a module's text holds for sure: leading hex digits may be spelled as escapes there."""
    return name.lstrip("0123456789abcdefABCDEF").encode()


def _module(root: Path, file: Path) -> str:
    """The dotted name of a module file below the folder of its top-level package."""
    return ".".join((root.name, *file.relative_to(root).with_suffix("").parts))


def _folders(package: str) -> list[tuple[Path, Path]]:
    """Where the modules of a protobuf package are installed: (folder of the top-level package, folder)."""
    root, *rest = package.split(".")
    try:
        paths = importlib.import_module(root).__path__
    except ImportError:
        return []
    folders = [(Path(path), Path(path, *rest)) for path in paths]
    return [(top, folder) for top, folder in folders if folder.is_dir()]


def type_name_of(type_url: str) -> str:
    """The message type that a type URL names (the part after the last slash)."""
    return type_url.rpartition("/")[2]
