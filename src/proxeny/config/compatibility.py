"""Writes docs/compatibility.md: which fields of Envoy's API are served, from the tables that decide it at load.

`python -m proxeny.config.compatibility [--check] [file]`
"""

import sys
from pathlib import Path
from typing import Final

from proxeny.config.message_types import message_descriptor
from proxeny.config.support import AREAS
from proxeny.config.support.table import FieldClass, Table

TARGET: Final = Path("docs/compatibility.md")

_INTRODUCTION: Final = """\
# Compatibility with Envoy's API

<!-- Written by `python -m proxeny.config.compatibility` from src/proxeny/config/support; do not edit. -->

Proxeny reads Envoy's v3 messages as Envoy does. What it then does with a field that is set has three classes:

- **done**: it works as in Envoy;
- **accepted**: taken and checked, but nothing differs by it here: a warning, counted;
- **refused**: the configuration is not loaded, and the error names the field and its path. With
  `--accept-unsupported-fields` such a field is ignored with a warning instead.

A message that is not listed is served as a whole wherever a served field holds it. An extension (a message that stands
in an Any) that is not listed is refused as Envoy refuses an extension that it was built without. Deprecated fields work
and are warned about and counted as in Envoy. Constraints (`validate.rules`) hold for all fields of all classes.
"""


def render() -> str:
    """The whole document."""
    parts = [_INTRODUCTION]
    for title, table in AREAS.items():
        parts.append(f"## {title}\n")
        parts.extend(_message(name, table) for name in sorted(table))
    return "\n".join(parts)


def _message(name: str, table: Table) -> str:
    support = table[name]
    names = [field.name for field in message_descriptor(name).fields]
    lines = [f"### {name}{' (extension)' if support.extension else ''}\n"]
    for kind in FieldClass:
        chosen = [f"`{field}`" for field in names if support.class_of(field) is kind]
        if chosen:
            lines.append(f"- {kind.value}: {', '.join(chosen)}")
    if not names:
        lines.append("- no fields")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Write the document (to the named file or the default one), or with --check say whether it is up to date."""
    check = "--check" in arguments
    names = [argument for argument in arguments if argument != "--check"]
    target = Path(names[0]) if names else TARGET
    if not check:
        target.write_text(render())
        return 0
    if target.exists() and target.read_text() == render():
        return 0
    print(f"{target} is out of date: run python -m proxeny.config.compatibility", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
