"""A folder of YAML files as the resources of a control plane.

A document of a ``*.yaml`` or ``*.yml`` is one resource that tells its ``"@type"``, or a list of them, ``resources``, as
Envoy's own files for a config source by path; which file a resource stands in does not matter. Files whose names
begin with a dot are passed over, as are folders inside.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final, TypeAlias

from proxeny.config.errors import ConfigError
from proxeny.config.yaml_loader import line_of, load_documents
from proxeny.testing.xds.control_plane import ControlPlane
from proxeny.testing.xds.store import message_of
from proxeny.testing.xds.types import (
    CDS,
    ECDS,
    EDS,
    LDS,
    RDS,
    RTDS,
    SDS,
    SRDS,
    VHDS,
    name_field_of,
    short_name,
    type_name_of,
)

Resources: TypeAlias = dict[str, dict[str, Any]]
"""Messages by type and name."""

ORDER: Final = (SDS, CDS, EDS, ECDS, LDS, SRDS, RDS, VHDS, RTDS)
"""What is used is served before what uses it."""

_ALWAYS: Final = frozenset((CDS, LDS))
"""Types that every proxy asks for: it is told at once when there are none."""

_FileState: TypeAlias = tuple[int, int, int]


class ResourceDirectory:
    """Serves a folder through ``plane``; ``poll`` it a few times a second.

    All of the folder is served or nothing of it: while a file is bad, or the folder away, everything stays as it was.
    Versions are digests of the content, so that they mean the same to a control plane that starts again.
    """

    __slots__ = ("_folder", "_plane", "_read", "_seen", "_versions")

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self._plane = plane
        self._folder = folder
        self._seen: dict[Path, _FileState] | None = None
        self._read: dict[Path, _FileState] | None = None
        self._versions: dict[str, str] = {}

    def poll(self) -> list[tuple[str, str]]:
        """Serve what has changed: the types and their new versions. Nothing is read while it changes between two calls.

        Raises ConfigError, once for every state of the folder that cannot be served.
        """
        state = _state(self._folder)
        settled, self._seen = state == self._seen, state
        if state is None or not settled or state == self._read:
            return []
        self._read = state
        return self._serve(read_files(list(state)))

    def _serve(self, resources: Resources) -> list[tuple[str, str]]:
        changed = []
        for type_name in ORDER:
            messages = resources.get(type_name, {})
            version = _digest(messages)
            known = type_name in self._versions or type_name in _ALWAYS or bool(messages)
            if known and self._versions.get(type_name) != version:
                self._versions[type_name] = version
                self._plane.set(type_name, messages, version)
                changed.append((type_name, version))
        return changed


def read_files(files: list[Path]) -> Resources:
    """The resources of some files. Raises ConfigError with file and line."""
    found: Resources = {}
    files_of: dict[tuple[str, str], Path] = {}
    for file in files:
        for type_name, name, message in _read_file(file):
            other = files_of.setdefault((type_name, name), file)
            if name in found.setdefault(type_name, {}):
                raise ConfigError(f"{short_name(type_name)} {name} is already in {other}", file=str(file))
            found[type_name][name] = message
    return found


def _read_file(file: Path) -> list[tuple[str, str, Any]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(error), file=str(file)) from error
    found = []
    for number, document in enumerate(load_documents(text, str(file))):
        for path, tree in _trees(document):
            try:
                found.append(_resource(tree))
            except ConfigError as error:
                error.path = ".".join(filter(None, (path, error.path)))
                raise error.at(file=str(file), line=line_of(text, error.path, number)) from error.__cause__
    return found


def _trees(document: Any) -> list[tuple[str, Any]]:
    """The resources of a document, and where in it they are."""
    if document is None:  # nothing but comments
        return []
    listed = document.get("resources") if isinstance(document, dict) and "@type" not in document else None
    if isinstance(listed, list):
        return [(f"resources[{index}]", tree) for index, tree in enumerate(listed)]
    return [("", document)]


def _resource(tree: Any) -> tuple[str, str, Any]:
    url = tree.get("@type") if isinstance(tree, dict) else None
    type_name = type_name_of(str(url))
    if type_name not in ORDER:
        raise ConfigError('not a resource: "@type" is missing' if url is None else f"{url} is no type of resource")
    message = message_of(type_name, tree)
    name = str(getattr(message, name_field_of(type_name)))
    if not name:
        raise ConfigError("a resource needs a name", path=name_field_of(type_name))
    return type_name, name, message


def _state(folder: Path) -> dict[Path, _FileState] | None:
    """The files, and what changes when their content does; None while something goes away."""
    found = {}
    try:
        for path in sorted(folder.iterdir()):
            if path.suffix in (".yaml", ".yml") and not path.name.startswith(".") and path.is_file():
                status = path.stat()
                found[path] = (status.st_mtime_ns, status.st_size, status.st_ino)
    except FileNotFoundError:
        return None
    return found


def _digest(messages: dict[str, Any]) -> str:
    found = hashlib.sha256()
    for name in sorted(messages):
        data = messages[name].SerializeToString(deterministic=True)
        found.update(len(data).to_bytes(8, "big") + data)
    return found.hexdigest()[:10]
