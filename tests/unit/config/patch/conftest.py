"""Patches and messages from YAML."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from envoy.config.core.v3 import base_pb2

from proxeny.config.builder import Builder
from proxeny.config.patch.envoy_filter import VALUE_TYPES
from proxeny.config.patch.patch_set import PatchSet
from proxeny.config.patch.proxy import Proxy
from proxeny.config.patch.reader import read_patches
from proxeny.config.patch.schema import ApplyTo
from proxeny.config.yaml_loader import load_yaml

MakePatches = Callable[..., PatchSet]


def message(kind: str, yaml: str) -> Any:
    """A message of the type that patches of ``kind`` are for."""
    made = VALUE_TYPES[ApplyTo[kind]]()
    Builder().build(made, load_yaml(yaml))
    return made


def node(yaml: str = "{}") -> Any:
    made = base_pb2.Node()
    Builder().build(made, load_yaml(yaml))
    return made


@pytest.fixture
def patches(tmp_path: Path) -> MakePatches:
    """``patches("entry", ...)``: entries of ``configPatches`` in YAML, for the node ``proxy``."""

    def make(*entries: str, proxy: str = "{id: sidecar~1}", head: str = "") -> PatchSet:
        path = tmp_path / "patches.yaml"
        path.write_text(f"{head}\nconfigPatches:\n" + "".join(f"- {_indented(entry)}\n" for entry in entries))
        return PatchSet(read_patches([str(path)]).patches, Proxy(node(proxy)))

    return make


def _indented(entry: str) -> str:
    return entry.strip().replace("\n", "\n  ")
