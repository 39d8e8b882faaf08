"""The maps of compiled modules (``x.pxd`` beside ``x.py``) agree with the source: an attribute that only one of them
names would be an AttributeError at run time, or memory for nothing."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import proxeny

ROOT = Path(proxeny.__file__).parent
MAPS = [path for path in sorted(ROOT.rglob("*.pxd")) if path.with_suffix(".py").exists()]


def declared(path: Path) -> dict[str, set[str]]:
    """C attributes by class, as the map says."""
    found: dict[str, set[str]] = {}
    names: set[str] = set()
    for line in path.read_text().splitlines():
        if match := re.match(r"cdef class (\w+)", line):
            names = found[match[1]] = set()
        elif line.startswith("    cdef ") and "(" not in line:
            first, *rest = line.split(",")
            names.update([first.split()[-1], *[name.strip() for name in rest]])
    return found


def slots(path: Path) -> dict[str, set[str]]:
    """``__slots__`` by class, as the source says."""
    found: dict[str, set[str]] = {}
    for node in ast.parse(path.read_text()).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for statement in node.body:
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__slots__":
                value = eval(ast.unparse(statement.value), vars(importlib.import_module(module_of(path))))
                found[node.name] = {value} if isinstance(value, str) else set(value)
    return found


def module_of(path: Path) -> str:
    return ".".join(["proxeny", *path.relative_to(ROOT).with_suffix("").parts])


@pytest.mark.parametrize("path", MAPS, ids=lambda path: module_of(path))
def test_map_agrees_with_the_source(path: Path) -> None:
    in_source = slots(path.with_suffix(".py"))
    for name, attributes in declared(path).items():
        assert attributes == in_source.get(name, set()), name


@pytest.mark.parametrize("path", MAPS, ids=lambda path: module_of(path))
def test_module_is_compiled(path: Path) -> None:
    """A failed build must be loud: there is no slow twin."""
    module = importlib.import_module(module_of(path))
    assert module.__file__ is not None and module.__file__.endswith(".so")


@pytest.mark.parametrize("path", MAPS, ids=lambda path: module_of(path))
def test_module_can_be_imported_first(path: Path) -> None:
    """A map's types are imported before its module's body runs: a cycle would fail for whoever comes first."""
    command = [sys.executable, "-c", f"import {module_of(path)}"]
    assert subprocess.run(command, check=False, timeout=60, capture_output=True).stderr == b""
