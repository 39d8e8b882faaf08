"""Main's runtime: reads the layers of ``layered_runtime`` and merges them, later layers over earlier ones."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from envoy.config.bootstrap.v3 import bootstrap_pb2

from proxeny.config.errors import ConfigError
from proxeny.event.file_watcher import FileWatcher
from proxeny.kernel.stats import Block
from proxeny.runtime.rtds import RUNTIME_TYPE, RtdsSubscription
from proxeny.runtime.snapshot import Entry, RuntimeReader, Snapshot, make_entry, text_entry
from proxeny.stats.schema import Schema
from proxeny.stats.store import Store
from proxeny.xds.config_source import check_node
from proxeny.xds.init_manager import InitManager
from proxeny.xds.stats import SubscriptionStats

if TYPE_CHECKING:
    from proxeny.xds.manager import XdsManager
    from proxeny.xds.validation import DynamicValidation

log = logging.getLogger("proxeny.runtime")

RUNTIME = Schema(
    "runtime",
    counters=(
        "deprecated_feature_use",
        "load_error",
        "load_success",
        "override_dir_exists",
        "override_dir_not_exists",
    ),
    gauges=("admin_overrides_active", "deprecated_feature_seen_since_process_start", "num_keys", "num_layers"),
)
DEPRECATED_FEATURE_USE = RUNTIME.slot("deprecated_feature_use")
LOAD_ERROR = RUNTIME.slot("load_error")
LOAD_SUCCESS = RUNTIME.slot("load_success")
OVERRIDE_DIR_EXISTS = RUNTIME.slot("override_dir_exists")
OVERRIDE_DIR_NOT_EXISTS = RUNTIME.slot("override_dir_not_exists")
ADMIN_OVERRIDES_ACTIVE = RUNTIME.slot("admin_overrides_active")
DEPRECATED_FEATURE_SEEN = RUNTIME.slot("deprecated_feature_seen_since_process_start")
NUM_KEYS = RUNTIME.slot("num_keys")
NUM_LAYERS = RUNTIME.slot("num_layers")

_MAX_DEPTH = 100
"""Of nested directories and structs (Envoy: ``RuntimeImpl::MaxWalkDepth``)."""

Entries = dict[str, Entry]


def struct_entries(struct: Any, prefix: str = "", depth: int = 0) -> Entries:
    """Entries of a google.protobuf.Struct: nested names joined by dots, a FractionalPercent kept whole."""
    entries: Entries = {}
    if depth > _MAX_DEPTH:
        raise ConfigError(f"Invalid runtime entry value for {prefix}")
    for name, value in struct.fields.items():
        key = f"{prefix}.{name}" if prefix else name
        kind = value.WhichOneof("kind")
        if kind == "string_value":
            entries[key] = text_entry(value.string_value)
        elif kind in ("number_value", "bool_value"):
            entries[key] = make_entry(getattr(value, kind))
        elif kind == "struct_value":
            inner = value.struct_value
            if not inner.fields or "numerator" in inner.fields or "denominator" in inner.fields:
                entries[key] = _fraction_entry(inner)
            else:
                entries.update(struct_entries(inner, key, depth + 1))
        else:
            raise ConfigError(f"Invalid runtime entry value for {key}")
    return entries


def _fraction_entry(struct: Any) -> Entry:
    fields = {name: getattr(value, value.WhichOneof("kind")) for name, value in struct.fields.items()}
    return make_entry(fields, str(struct))


def disk_entries(directory: str) -> Entries:
    """Entries of a directory tree: a file is a key, lines that begin with ``#`` are comments; OSError."""
    entries: Entries = {}
    _walk(directory, "", 0, entries)
    return entries


def _walk(directory: str, prefix: str, depth: int, entries: Entries) -> None:
    if depth > _MAX_DEPTH:
        raise OSError(f"walk depth exceeded at {directory}")
    with os.scandir(directory) as found:
        for item in sorted(found, key=lambda item: item.name):
            if item.name in (".", ".."):
                continue
            key = f"{prefix}.{item.name}" if prefix else item.name
            if item.is_dir():
                _walk(item.path, key, depth + 1, entries)
                continue
            with open(item.path, encoding="utf-8", errors="replace") as file:
                entries[key] = make_entry(_without_comments(file.read()))


def _without_comments(text: str) -> str:
    """As Envoy: empty lines go too, and only what equals the last line, comment or not, ends without a newline."""
    lines = [line for line in text.split("\n") if line]
    last = lines[-1] if lines else ""
    kept = [line for line in lines if not line.startswith("#")]
    return "".join([line.rstrip(" \t\f\v\r") if line == last else f"{line}\n" for line in kept])


class RuntimeLoader(RuntimeReader):
    """Main's runtime; ``on_change`` hears of every new snapshot."""

    __slots__ = ("_admin", "_init_manager", "_layers", "_loop", "_rtds", "_service_cluster", "_stats", "_store",
                 "_watcher", "layer_names", "layer_values", "on_change")  # fmt: skip

    def __init__(
        self, bootstrap: Any, store: Store, service_cluster: str = "", loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        """``loop``: where a disk layer is watched; without one it is only checked that it could be.

        Raises ConfigError.
        """
        super().__init__()
        self._layers = list(bootstrap.layered_runtime.layers)
        if bootstrap.HasField("layered_runtime") and not self._layers:
            self._layers.append(bootstrap_pb2.RuntimeLayer(admin_layer={}))
        self._watcher: FileWatcher | None = None
        self._loop = loop
        self._store = store
        self._rtds: dict[str, RtdsSubscription] = {}
        """By the layer's name."""
        self._init_manager = InitManager("RTDS")
        self._service_cluster = service_cluster
        self._stats: Block = store.block(RUNTIME, "runtime.")
        self._admin: Entries = {}
        self.layer_names: list[str] = []
        self.layer_values: list[Entries] = []
        self.on_change: Callable[[Snapshot], None] | None = None
        self._check()
        for slot in (ADMIN_OVERRIDES_ACTIVE, DEPRECATED_FEATURE_SEEN, NUM_KEYS, NUM_LAYERS):
            self._stats.set(slot, 0)
        for layer in self._layers:
            kind = layer.WhichOneof("layer_specifier")
            if kind == "disk_layer":
                self._watch(layer.disk_layer.symlink_root, loop)
            elif kind == "rtds_layer":
                rtds = self._rtds[layer.name] = RtdsSubscription(layer.rtds_layer, self.load)
                self._init_manager.add(rtds.target)
        self.load()

    def connect(self, xds: XdsManager, node: Any, validation: DynamicValidation) -> None:
        """Make the subscriptions of layers that are discovered; ConfigError. ``node``: who asks."""
        for layer in self._layers:
            if layer.name in self._rtds:
                check_node(node, RUNTIME_TYPE)
                xds.check_source(layer.rtds_layer.rtds_config)
                if self._loop is not None:
                    stats = SubscriptionStats(self._store, "runtime.")
                    self._rtds[layer.name].connect(xds, validation, stats)

    def start_rtds(self, on_ready: Callable[[], object]) -> None:
        """Fetch those layers; ``on_ready`` is called once all have come, or will not come."""

        def ready() -> None:
            log.info("RTDS has finished initialization")
            on_ready()

        self._init_manager.initialize(ready)

    def _watch(self, root: str, loop: asyncio.AbstractEventLoop | None) -> None:
        """Load anew whenever something (most often another symbolic link) is moved to ``root``."""
        if not root:
            raise ConfigError("invalid file path ")
        try:
            if loop is None:
                os.stat(os.path.dirname(root) or ".")
                return
            if self._watcher is None:
                self._watcher = FileWatcher(loop)
            self._watcher.add(root, self.load)
        except OSError as error:
            raise ConfigError(f"unable to add filesystem watch for file {root}: {error.strerror}") from None

    def close(self) -> None:
        """Watch no more."""
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
        for rtds in self._rtds.values():
            rtds.close()

    def _check(self) -> None:
        seen: set[str] = set()
        admin_layers = 0
        for layer in self._layers:
            if layer.name in seen:
                raise ConfigError(f"Duplicate layer name: {layer.name}")
            seen.add(layer.name)
            kind = layer.WhichOneof("layer_specifier")
            admin_layers += kind == "admin_layer"
            if admin_layers > 1:
                raise ConfigError("Too many admin layers specified in LayeredRuntime, at most one may be specified")

    def replace_static_layers(self, layers: Iterable[Any]) -> None:
        """Other values of static layers, which are named as those that there are; ConfigError: nothing changed."""
        fresh = {layer.name: layer for layer in layers}
        for layer in fresh.values():
            struct_entries(layer.static_layer)
        self._layers = [fresh.get(layer.name, layer) for layer in self._layers]
        self.load()

    def load(self) -> None:
        """Read all layers again."""
        names: list[str] = []
        values: list[Entries] = []
        failed = False
        disk_layers = 0
        for layer in self._layers:
            kind = layer.WhichOneof("layer_specifier")
            if kind == "static_layer":
                entries = struct_entries(layer.static_layer)
            elif kind == "admin_layer":
                entries = self._admin
            elif kind == "rtds_layer":
                entries = struct_entries(self._rtds[layer.name].struct)
            else:
                try:
                    read = self._disk(layer.disk_layer)
                except OSError as error:
                    log.debug("error loading runtime values for layer %s: %s", layer.name, error)
                    failed = True
                    continue
                if read is None:
                    continue
                entries = read
                disk_layers += 1
            names.append(layer.name)
            values.append(dict(entries))
        # As Envoy counts: a second disk layer is taken for the override.
        self._stats.inc(OVERRIDE_DIR_EXISTS if disk_layers > 1 else OVERRIDE_DIR_NOT_EXISTS)
        self._publish(names, values, failed)

    def _disk(self, layer: Any) -> Entries | None:
        directory = os.path.join(layer.symlink_root, layer.subdirectory) if layer.subdirectory else layer.symlink_root
        if layer.append_service_cluster:
            directory = os.path.join(directory, self._service_cluster)
        if not os.path.isdir(directory):
            return None
        return disk_entries(directory)

    def _publish(self, names: list[str], values: list[Entries], failed: bool) -> None:
        self.layer_names, self.layer_values = names, values
        merged: Entries = {}
        for entries in values:
            merged.update(entries)
        self.snapshot = Snapshot(merged)
        self._stats.inc(LOAD_ERROR if failed else LOAD_SUCCESS)
        self._stats.set(NUM_KEYS, len(merged))
        self._stats.set(NUM_LAYERS, len(names))
        self._stats.set(ADMIN_OVERRIDES_ACTIVE, 1 if self._admin else 0)
        if self.on_change is not None:
            self.on_change(self.snapshot)

    @property
    def has_admin_layer(self) -> bool:
        """Whether /runtime_modify is allowed."""
        return any(layer.WhichOneof("layer_specifier") == "admin_layer" for layer in self._layers)

    def merge_admin_values(self, values: dict[str, str]) -> None:
        """/runtime_modify: an empty value removes a key; ConfigError without an admin layer."""
        if not self.has_admin_layer:
            raise ConfigError("No admin layer specified")
        for key, value in values.items():
            if value:
                self._admin[key] = make_entry(value)
            else:
                self._admin.pop(key, None)
        self.load()

    def count_deprecated(self, uses: int) -> None:
        """Uses of deprecated fields that a configuration load found."""
        if uses:
            self._stats.add(DEPRECATED_FEATURE_USE, uses)
            self._stats.set(DEPRECATED_FEATURE_SEEN, self._stats.get(DEPRECATED_FEATURE_SEEN) + uses)

    def layer_table(self) -> tuple[list[str], dict[str, list[str]]]:
        """Layer names, and each key's raw value in each layer ("" where it has none)."""
        keys = {key for entries in self.layer_values for key in entries}
        empty = Entry("")
        return self.layer_names, {
            key: [entries.get(key, empty).raw for entries in self.layer_values] for key in sorted(keys)
        }
