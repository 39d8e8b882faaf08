"""Files of EnvoyFilter resources to patches: YAML of any number of documents, or JSON.

A document is an EnvoyFilter as Kubernetes has it, a List of them, or the bare ``spec`` of one. Patches are ordered by
the priority of their resource, then as they were written (Istio: then by creation time).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from google.protobuf import json_format

from proxeny.config import field_path
from proxeny.config.builder import Builder
from proxeny.config.errors import ConfigError
from proxeny.config.patch.checks import check_match, checked_operation
from proxeny.config.patch.envoy_filter import VALUE_TYPES, Patch
from proxeny.config.patch.schema import ApplyTo, Context, EnvoyFilter, FilterClass
from proxeny.config.sources import load_json
from proxeny.config.yaml_loader import Tree, line_of, load_documents

API_VERSION: Final = "networking.istio.io/v1alpha3"
KIND: Final = "EnvoyFilter"
_LISTS: Final = ("List", "EnvoyFilterList")
_KEYS: Final = frozenset(("apiVersion", "kind", "metadata", "spec", "status"))
_LIST_KEYS: Final = frozenset(("apiVersion", "kind", "metadata", "items"))


@dataclass(slots=True)
class PatchFiles:
    """What was read: the patches in the order they are applied, and what is worth telling."""

    patches: list[Patch] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Document:
    """One document of a file: what names it in messages, and what finds the line of a fault."""

    file: str
    text: str
    index: int
    is_only: bool

    @property
    def title(self) -> str:
        return self.file if self.is_only else f"{self.file}, document {self.index + 1}"

    def place(self, error: ConfigError) -> ConfigError:
        """``error`` with file, document and line of its path."""
        line = line_of(self.text, error.path, self.index) if error.path else None
        error.at(file=self.file, line=line)
        if not self.is_only:
            error.path = f"document {self.index + 1}: {error.path}" if error.path else f"document {self.index + 1}"
        return error


@dataclass(slots=True)
class _Resource:
    """One EnvoyFilter before it is built: its name, the path and the tree of its spec."""

    name: str
    path: str
    spec: Tree


def read_patches(paths: Sequence[str], allow_unknown: bool = False) -> PatchFiles:
    """All patches of ``paths``; ConfigError names file, document and field. Unknown fields are errors or noted."""
    read = PatchFiles()
    for path in paths:
        for document, tree in _documents(path):
            try:
                for resource in _resources(tree, ""):
                    _read_resource(resource, document, read, allow_unknown)
            except ConfigError as error:
                raise document.place(error) from error.__cause__
    read.patches.sort(key=lambda patch: patch.priority)
    return read


def _documents(path: str) -> Iterator[tuple[_Document, Tree]]:
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"Invalid path: {path} ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError("the file is not valid UTF-8", file=path) from error
    trees = [load_json(text, path)] if path.lower().endswith(".json") else load_documents(text, path)
    if all(tree is None for tree in trees):
        raise ConfigError("no EnvoyFilter in it", file=path)
    for index, tree in enumerate(trees):
        if tree is not None:
            yield _Document(path, text, index, len(trees) == 1), tree


def _resources(tree: Tree, path: str) -> Iterator[_Resource]:
    """The EnvoyFilters of one document."""
    if not isinstance(tree, dict):
        raise ConfigError("not an EnvoyFilter: not a mapping", path)
    if "kind" not in tree and "apiVersion" not in tree:
        if "configPatches" not in tree and "config_patches" not in tree:
            raise ConfigError("neither an EnvoyFilter (apiVersion, kind, spec) nor a spec (configPatches)", path)
        yield _Resource("", path, tree)
        return
    kind = tree.get("kind")
    if kind in _LISTS:
        _check_keys(tree, _LIST_KEYS, path)
        items = tree.get("items") or []
        if not isinstance(items, list):
            raise ConfigError("not a list", field_path.join(path, "items"))
        for index, item in enumerate(items):
            yield from _resources(item, field_path.join(path, f"items[{index}]"))
        return
    if kind != KIND:
        raise ConfigError(f"kind '{kind}' is not {KIND}", field_path.join(path, "kind"))
    if tree.get("apiVersion") != API_VERSION:
        text = f"apiVersion '{tree.get('apiVersion')}' is not {API_VERSION}"
        raise ConfigError(text, field_path.join(path, "apiVersion"))
    _check_keys(tree, _KEYS, path)
    spec = tree.get("spec")
    yield _Resource(_name(tree.get("metadata")), field_path.join(path, "spec"), {} if spec is None else spec)


def _check_keys(tree: dict[str, Tree], known: frozenset[str], path: str) -> None:
    for key in tree:
        if key not in known:
            raise ConfigError(f"an {KIND} has no such field: '{key}'", field_path.join(path, field_path.key(key)))


def _name(metadata: Tree) -> str:
    """``namespace/name``, as far as they are there."""
    if not isinstance(metadata, dict):
        return ""
    return "/".join(str(metadata[key]) for key in ("namespace", "name") if metadata.get(key))


def _read_resource(resource: _Resource, document: _Document, read: PatchFiles, allow_unknown: bool) -> None:
    title = f"{document.title}: {KIND} {resource.name}" if resource.name else document.title
    message = EnvoyFilter()
    builder = Builder(read.unknown if allow_unknown else None)
    try:
        builder.build(message, resource.spec)
        if message.HasField("workload_selector") and message.target_refs:
            raise ConfigError("only one of targetRefs or workloadSelector can be set")
        if message.target_refs:
            read.warnings.append(f"{title}: targetRefs are not evaluated: the patches apply to this proxy")
        for index, entry in enumerate(message.config_patches):
            origin = f"{title}, {_index_path(resource.path, index)}"
            try:
                read.patches.append(_patch(entry, origin, message, builder, read.warnings))
            except ConfigError as error:
                error.path = field_path.join(f"config_patches[{index}]", error.path or "")
                raise
    except ConfigError as error:
        error.path = field_path.join(resource.path, error.path or "")
        raise


def _index_path(path: str, index: int) -> str:
    """``configPatches[2]``, behind the place in a List."""
    head = path.removesuffix("spec").removesuffix(".")
    return field_path.join(head, f"configPatches[{index}]")


def _patch(entry: Any, origin: str, resource: Any, builder: Builder, warnings: list[str]) -> Patch:
    operation = checked_operation(entry)
    kind = ApplyTo(entry.apply_to)
    patch = Patch(
        origin,
        kind,
        operation,
        Context(entry.match.context),
        entry.match,
        filter_class=FilterClass(entry.patch.filter_class),
        labels=dict(resource.workload_selector.labels) if resource.HasField("workload_selector") else None,
        priority=resource.priority,
    )
    warnings += [f"{patch}: {text}" for text in check_match(entry, operation)]
    if entry.patch.HasField("value"):
        patch.value = VALUE_TYPES[kind]()
        try:
            builder.build(patch.value, json_format.MessageToDict(entry.patch.value))
        except ConfigError as error:
            error.path = field_path.join("patch.value", error.path or "")
            raise
    return patch
