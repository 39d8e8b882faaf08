"""A small control plane: it serves the resources in a folder of YAML files over xDS, and again whenever they change.

    python control_plane.py resources --port 18000

A file is as Envoy's own for a config source by path: `resources:`, a list of messages that say their `@type`. How the
resources are spread over files does not matter.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from pathlib import Path
from typing import Any

from proxeny.config.errors import ConfigError
from proxeny.config.yaml_loader import load_yaml
from proxeny.testing.xds import ControlPlane, Request, short_name
from proxeny.testing.xds.types import SHORT_NAMES, type_name_of

POLL_S = 0.2


def read(folder: Path) -> dict[str, list[Any]]:
    """The resources of all files, by type. Raises ConfigError."""
    found: dict[str, list[Any]] = {type_name: [] for type_name in SHORT_NAMES}
    for path in sorted(folder.glob("*.yaml")):
        tree = load_yaml(path.read_text(), str(path))
        for resource in tree.get("resources") or [] if isinstance(tree, dict) else []:
            found.setdefault(type_name_of(str(resource["@type"])), []).append(resource)
    return found


class Folder:
    """Keeps a control plane equal to a folder. What cannot be read changes nothing, and is told."""

    def __init__(self, folder: Path, plane: ControlPlane) -> None:
        self._folder = folder
        self._plane = plane
        self._seen: list[tuple[str, int]] = []
        self._served: dict[str, str] = {}

    def look(self) -> None:
        """Serve what changed since the last look."""
        seen = sorted((path.name, path.stat().st_mtime_ns) for path in self._folder.glob("*.yaml"))
        if seen == self._seen and self._served:
            return
        self._seen = seen
        try:
            for type_name, resources in read(self._folder).items():
                version = hashlib.sha256(repr(resources).encode()).hexdigest()[:12]
                if self._served.get(type_name) != version:
                    self._plane.set(type_name, resources, version)
                    self._served[type_name] = version
                    print(f"{short_name(type_name)} {version}: {len(resources)} resources", flush=True)
        except (ConfigError, KeyError, TypeError) as error:
            print(f"not served: {error}", flush=True)


def tell_refusals(plane: ControlPlane, since: int) -> int:
    """Print what clients refused; the mark to go on from."""
    upto = plane.mark()
    for event in plane.log[since:upto]:
        if isinstance(event, Request) and event.error is not None:
            print(f"refused: {short_name(event.type_name)}: {event.error}", flush=True)
    return upto


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=18000)
    args = parser.parse_args()
    with ControlPlane(port=args.port, identifier="examples/control_plane") as plane:
        folder, mark = Folder(args.folder, plane), 0
        folder.look()
        print(f"serving at {plane.host}:{plane.port}", flush=True)
        while True:
            time.sleep(POLL_S)
            folder.look()
            mark = tell_refusals(plane, mark)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
