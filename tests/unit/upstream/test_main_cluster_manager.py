"""Discovery by types of extensions, and the warming of clusters that are added or changed."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2

from proxeny import extensions
from proxeny.config.errors import ConfigError
from proxeny.config.loader import LoadOptions
from proxeny.network.factory_context import FactoryContext
from proxeny.registry import REGISTRY, Extension
from proxeny.secret.manager import SecretManager
from proxeny.stats.store import MainStore
from proxeny.testing.certificates import Authority
from proxeny.upstream.cluster_config import ClusterConfig
from proxeny.upstream.discovery import Discovery, DiscoveryOwner, PlainClusterFactory
from proxeny.upstream.endpoints import HostEntry
from proxeny.upstream.main_cluster_manager import MainClusterManager
from proxeny.upstream.stats import CLUSTER_MANAGER
from proxeny.xds.manager import XdsManager
from proxeny.xds.validation import DynamicValidation

MakeCluster = Callable[..., Any]
NAME = "tests.clusters.manual"


class Manual:
    """Publishes what the test says."""

    def __init__(self, owner: DiscoveryOwner) -> None:
        self.owner = owner
        self.started = self.closed = False

    def start(self) -> None:
        self.started = True

    def close(self) -> None:
        self.closed = True

    def find(self, *ports: int) -> None:
        self.owner.publish([HostEntry("127.0.0.1", port) for port in ports])
        self.owner.initialized()


class ManualFactory(PlainClusterFactory):
    def __init__(self) -> None:
        super().__init__()
        self.made: list[Manual] = []

    def discovery(self, config: ClusterConfig, owner: DiscoveryOwner) -> Discovery | None:
        self.made.append(Manual(owner))
        return self.made[-1]


FACTORY = ManualFactory()


@pytest.fixture
def made() -> Iterator[list[Manual]]:
    REGISTRY.add(Extension("cluster", NAME, f"{__name__}:FACTORY"))
    FACTORY.made = []
    yield REGISTRY.factory("cluster", NAME).made


class Seen:
    """What the workers would have been told."""

    def __init__(self, main: MainClusterManager) -> None:
        self.events: list[tuple[str, str]] = []
        main.on_cluster_changed = lambda name, table: self._tell("changed", name, table)
        main.on_cluster_removed = lambda name, table: self._tell("removed", name, table)
        main.on_hosts_changed = lambda name, update: self.events.append(("hosts", name))
        self._main = main

    def _tell(self, what: str, name: str, table: Any) -> None:
        self.events.append((what, name))
        self._main.release_stats(table)

    def take(self) -> list[tuple[str, str]]:
        events, self.events = self.events, []
        return events


@pytest.fixture
def main(context: FactoryContext) -> Iterator[MainClusterManager]:
    manager = MainClusterManager(context, 1)
    yield manager
    manager.close()


def manual(static_cluster: MakeCluster, name: str, **fields: Any) -> Any:
    proto = static_cluster(name, **fields)
    proto.cluster_type.name = NAME
    return proto


def counts(context: FactoryContext) -> dict[str, int]:
    block = context.stats.block(CLUSTER_MANAGER, "cluster_manager.")
    return {name: block.get(slot) for slot, name in enumerate(CLUSTER_MANAGER.names) if block.get(slot)}


def test_the_start_waits_for_discovery(
    main: MainClusterManager, context: FactoryContext, static_cluster: MakeCluster, made: list[Manual]
) -> None:
    main.add_static([static_cluster("s", 1), manual(static_cluster, "m")])
    done: list[bool] = []
    main.initialize(lambda: done.append(True))
    assert made[0].started
    assert not done
    made[0].find(5, 6)
    made[0].find(6)
    assert done == [True]
    found = main.find("m")
    assert found is not None
    assert [(entry.port, entry.stat_index) for entry in found.hosts] == [(6, 1)]
    assert [name for name, _ in main.host_updates()] == ["m"]


def test_somebody_waits_for_one_cluster_of_the_start(
    main: MainClusterManager, static_cluster: MakeCluster, made: list[Manual]
) -> None:
    main.add_static([static_cluster("s", 1), manual(static_cluster, "m"), manual(static_cluster, "n")])
    told: list[str] = []
    main.when_initialized("m", lambda: told.append("m"))
    main.when_initialized("s", lambda: told.append("s"))
    main.initialize(lambda: told.append("all"))
    assert told == ["s"]
    made[0].find(5)
    made[0].find(6)
    assert told == ["s", "m"]
    made[1].find(5)
    assert told == ["s", "m", "all"]


def test_an_added_cluster_warms(
    main: MainClusterManager, context: FactoryContext, static_cluster: MakeCluster, made: list[Manual]
) -> None:
    main.initialize(lambda: None)
    seen = Seen(main)
    assert main.add_or_update(manual(static_cluster, "m"))
    assert not main.add_or_update(manual(static_cluster, "m"))
    assert main.find("m") is None
    assert seen.take() == []
    assert counts(context) == {"cluster_added": 1, "warming_clusters": 1}
    made[0].find(5)
    assert seen.take() == [("changed", "m")]
    assert counts(context) == {"cluster_added": 1, "active_clusters": 1}
    made[0].find(5, 6)
    assert seen.take() == [("hosts", "m")]


def test_the_old_cluster_serves_while_the_new_one_warms(
    main: MainClusterManager, context: FactoryContext, static_cluster: MakeCluster, made: list[Manual]
) -> None:
    main.initialize(lambda: None)
    main.add_or_update(manual(static_cluster, "m"))
    made[0].find(5)
    seen = Seen(main)
    old = main.find("m")
    main.add_or_update(manual(static_cluster, "m", connect_timeout="1s"))
    main.add_or_update(manual(static_cluster, "m", connect_timeout="2s"))
    assert main.find("m") is old
    assert made[1].closed
    made[1].find(7)
    made[0].find(6)
    assert seen.take() == [("hosts", "m")]
    made[2].find(8)
    assert seen.take() == [("changed", "m")]
    assert made[0].closed
    new = main.find("m")
    assert new is not None
    assert [entry.port for entry in new.hosts] == [8]
    assert counts(context) == {
        "cluster_added": 1,
        "cluster_modified": 2,
        "cluster_updated": 1,
        "active_clusters": 1,
    }


def test_removed_while_it_warms(
    main: MainClusterManager, context: FactoryContext, static_cluster: MakeCluster, made: list[Manual]
) -> None:
    main.initialize(lambda: None)
    seen = Seen(main)
    main.add_or_update(manual(static_cluster, "m"))
    assert main.remove("m")
    assert made[0].closed
    made[0].find(5)
    assert seen.take() == []
    assert counts(context) == {"cluster_added": 1, "cluster_removed": 1}
    assert ("cluster", "cluster.m.") not in context.stats.entries  # type: ignore[attr-defined]


def test_a_static_cluster_is_warm_at_once(main: MainClusterManager, static_cluster: MakeCluster) -> None:
    main.initialize(lambda: None)
    seen = Seen(main)
    main.add_or_update(static_cluster("s", 1))
    assert seen.take() == [("changed", "s")]
    assert main.remove("s")
    assert seen.take() == [("removed", "s")]


def test_an_unknown_type(main: MainClusterManager, static_cluster: MakeCluster) -> None:
    proto = static_cluster("x")
    proto.cluster_type.name = "no.such.type"
    with pytest.raises(ConfigError, match="Didn't find a registered cluster factory implementation"):
        main.add_or_update(proto)


def test_what_a_removed_cluster_holds_is_let_go_of_at_once(
    main: MainClusterManager, context: FactoryContext, static_cluster: MakeCluster, tmp_path: Path
) -> None:
    extensions.install()
    root = tmp_path / "ca"
    root.write_text(Authority("root").pem)
    validation = DynamicValidation(LoadOptions())
    xds = XdsManager(context.dispatcher, None, None, context.stats, lambda: validation)
    secrets = SecretManager(MainStore(), None, context.dispatcher, lambda: validation, xds)
    context.secrets = secrets
    typed: Any = tls_pb2.UpstreamTlsContext()
    typed.common_tls_context.validation_context.trusted_ca.filename = str(root)
    proto = static_cluster("c", 1)
    proto.transport_socket.typed_config.Pack(typed)
    main.initialize(lambda: None)
    gc.collect()
    gc.disable()
    try:
        main.add_or_update(proto)
        assert len(secrets.snapshot()) == 1
        main.remove("c")
        dispatcher = context.dispatcher
        assert dispatcher is not None
        dispatcher.run_until_complete(asyncio.sleep(0))
        assert secrets.snapshot() == []
    finally:
        gc.enable()
        secrets.close()
