"""Collections of listeners in files: what of them is delivered, and how the rest is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from envoy.config.core.v3 import config_source_pb2
from envoy.config.listener.v3 import listener_pb2

from proxeny import extensions
from proxeny.config.errors import ConfigError
from proxeny.config.loader import LoadOptions
from proxeny.stats.snapshot import StatsView
from proxeny.stats.store import MainStore
from proxeny.xds.collection import file_path
from proxeny.xds.manager import XdsManager
from proxeny.xds.resource import DecodedResource, ResourceDecoder
from proxeny.xds.stats import SubscriptionStats
from proxeny.xds.subscription import FailureReason
from proxeny.xds.validation import DynamicValidation

TYPES = "type.googleapis.com/envoy.config"


class Owner:
    def __init__(self) -> None:
        self.updates: list[Any] = []
        self.errors: list[str] = []

    def on_config_update(self, resources: Sequence[DecodedResource], version: str) -> None:
        if version == "bad":
            raise ConfigError("refused")
        self.updates.append((version, [(one.name, one.message.name, one.version) for one in resources]))

    def on_config_delta(self, added: Sequence[DecodedResource], removed: Sequence[str], version: str) -> None:
        raise AssertionError("files have whole states")

    def on_config_update_failed(self, reason: FailureReason, error: ConfigError | None) -> None:
        assert reason is FailureReason.UPDATE_REJECTED
        self.errors.append("" if error is None else error.message)


def entry(name: str, port: int = 0) -> str:
    address = f"{{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}"
    listener = f'{{"@type": {TYPES}.listener.v3.Listener, name: of-{name}, address: {address}}}'
    return f'\n  - inline_entry: {{name: {name}, version: "v-{name}", resource: {listener}}}'


def collection(version: str, *entries: str, type_name: str = "listener.v3.ListenerCollection") -> str:
    listed = "".join(entries) or " []"
    return f'version: "{version}"\nresource:\n  "@type": {TYPES}.{type_name}\n  entries:{listed}\n'


def read(tmp_path: Path, text: str, later: str = "") -> tuple[Owner, dict[str, int | None]]:
    """What comes of a file, and of one that is moved there afterwards."""

    async def run() -> tuple[Owner, dict[str, int | None]]:
        extensions.install()
        path = tmp_path / "listeners.yaml"
        path.write_text(text)
        owner, store = Owner(), MainStore()
        validation = DynamicValidation(LoadOptions())
        manager = XdsManager(asyncio.get_running_loop(), None, None, store, lambda: validation)  # type: ignore[arg-type]
        decoder = ResourceDecoder(listener_pb2.Listener, "name", validation)
        stats = SubscriptionStats(store, "lds.")
        subscription = manager.subscribe_collection(
            f"file://{path}", config_source_pb2.ConfigSource(), owner, decoder, stats
        )
        subscription.start()
        if later:
            fresh = tmp_path / "fresh"
            fresh.write_text(later)
            fresh.rename(path)
            async with asyncio.timeout(10):
                while StatsView(store).value("lds.update_attempt") != 2:  # noqa: ASYNC110 - stats set no event
                    await asyncio.sleep(0.001)
        subscription.close()
        counts = ("attempt", "success", "rejected", "failure")
        return owner, {name: StatsView(store).value(f"lds.update_{name}") for name in counts}

    return asyncio.run(run())


def test_entries_that_stand_in_it_are_delivered(tmp_path: Path) -> None:
    elsewhere = '\n  - locator: {scheme: FILE, id: "/x", resource_type: zz}'
    owner, counts = read(tmp_path, collection("7", entry("a"), elsewhere, entry("b")), collection("8"))
    assert owner.updates == [("7", [("a", "of-a", "v-a"), ("b", "of-b", "v-b")]), ("8", [])]
    assert counts == {"attempt": 2, "success": 2, "rejected": 0, "failure": 0}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('version: "9"', "Unknown collection type "),
        (
            f'version: "9"\nresource: {{"@type": {TYPES}.cluster.v3.Cluster, name: foo}}',
            "Invalid structure for collection type envoy.config.cluster.v3.Cluster in ",
        ),
        (
            f'version: "9"\nresource: {{"@type": {TYPES}.cluster.v3.ClusterCollection}}',
            "Invalid structure for collection type envoy.config.cluster.v3.ClusterCollection in ",
        ),
        (collection("9", type_name="listener.v3.Nope"), "could not find @type"),
        (collection("9", entry("a", 70000)), "value must be less than or equal to 65535"),
        ("{", ""),
    ],
)
def test_what_cannot_be_read_counts_as_failure(tmp_path: Path, text: str, words: str) -> None:
    owner, counts = read(tmp_path, text)
    assert words in owner.errors[0]
    assert counts == {"attempt": 1, "success": 0, "rejected": 0, "failure": 1}


def test_what_is_refused_counts_as_rejected(tmp_path: Path) -> None:
    owner, counts = read(tmp_path, collection("bad", entry("a")))
    assert owner.errors == ["refused"]
    assert counts == {"attempt": 1, "success": 0, "rejected": 1, "failure": 0}


def test_locators_of_files() -> None:
    assert file_path("file:///tmp/a%20b.yaml") == "/tmp/a b.yaml"
    assert file_path("file://host/tmp/a") == "/tmp/a"
    assert file_path("file:/tmp/a") == file_path("file:tmp/a") == "/tmp/a"
    assert file_path("file:///tmp/a#entry=x,alt=file:///b") == "/tmp/a"
    assert file_path("xdstp://host/type/id") == ""
    for locator, words in (
        ("foo", "foo does not have a xdstp:, http: or file: scheme"),
        ("file:///a#zz", "Unknown fragment component zz"),
        ("file:///a#alt=x", "x does not have a xdstp:, http: or file: scheme"),
    ):
        with pytest.raises(ConfigError, match=words):
            file_path(locator)


def test_the_file_must_be_there() -> None:
    manager = XdsManager(None, None, None, MainStore(), lambda: DynamicValidation(LoadOptions()))
    with pytest.raises(
        ConfigError, match="paths must refer to an existing path in the system: '/nonex' does not exist"
    ):
        manager.check_collection("file:///nonex", config_source_pb2.ConfigSource(), "envoy.config.listener.v3.Listener")
