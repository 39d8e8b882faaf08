"""RtdsSubscription: a layer that comes, changes and goes."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.core.v3.base_pb2 import Node
from envoy.service.runtime.v3 import rtds_pb2

from proxeny.config.errors import ConfigError
from proxeny.config.loader import LoadOptions
from proxeny.runtime.loader import RuntimeLoader
from proxeny.stats.store import MainStore
from proxeny.xds.resource import DecodedResource, ResourceDecoder
from proxeny.xds.subscription import FailureReason
from proxeny.xds.validation import DynamicValidation


class FakeXds:
    """Subscriptions that somebody else drives."""

    def __init__(self) -> None:
        self.callbacks: list[Any] = []
        self.started: list[list[str]] = []
        self.closed = 0

    def check_source(self, source: Any) -> None:
        """Any will do."""

    def subscribe(self, source: Any, callbacks: Any, decoder: ResourceDecoder, stats: Any) -> FakeXds:
        assert decoder.type_name == "envoy.service.runtime.v3.Runtime"
        self.callbacks.append(callbacks)
        return self

    def start(self, names: list[str]) -> None:
        self.started.append(list(names))

    def close(self) -> None:
        self.closed += 1


def bootstrap(*names: str) -> Any:
    message = bootstrap_pb2.Bootstrap()
    for name in names:
        layer = message.layered_runtime.layers.add(name=f"layer {name}")
        layer.rtds_layer.name = name
        layer.rtds_layer.rtds_config.ads.SetInParent()
    message.layered_runtime.layers.add(name="by hand").admin_layer.SetInParent()
    return message


def resource(name: str, **values: Any) -> DecodedResource:
    message: Any = rtds_pb2.Runtime(name=name)
    message.layer.update(values)
    return DecodedResource(name, message, "v1")


@pytest.fixture
def xds() -> FakeXds:
    return FakeXds()


@pytest.fixture
def store() -> MainStore:
    return MainStore()


def loader_of(xds: FakeXds, store: MainStore, *names: str, loop: Any = "a loop") -> RuntimeLoader:
    loader = RuntimeLoader(bootstrap(*names), store, "", loop)
    loader.connect(xds, Node(id="node", cluster="cluster"), DynamicValidation(LoadOptions()))
    return loader


def counter(store: MainStore, name: str) -> int:
    entry = store.entries["runtime", "runtime."]
    return store.segment.block(entry.base, entry.schema.size).get(entry.schema.slot(name))


def test_a_layer_is_empty_until_it_comes_and_may_change(xds: FakeXds, store: MainStore) -> None:
    loader = loader_of(xds, store, "one")
    ready: list[bool] = []
    loader.start_rtds(lambda: ready.append(True))
    assert (xds.started, ready) == ([["one"]], [])
    assert loader.get_integer("a", 7) == 7
    xds.callbacks[0].on_config_update([resource("one", a=1, b={"c": "x"})], "v1")
    assert (loader.get_integer("a", 7), loader.layer_names, ready) == (1, ["layer one", "by hand"], [True])
    xds.callbacks[0].on_config_update([resource("one", a=2)], "v2")
    assert (loader.get_integer("a", 7), len(ready)) == (2, 1)
    assert counter(store, "load_success") == 3
    loader.close()
    assert xds.closed == 1


def test_later_layers_cover_it(xds: FakeXds, store: MainStore) -> None:
    loader = loader_of(xds, store, "one", "two")
    loader.start_rtds(lambda: None)
    xds.callbacks[1].on_config_update([resource("two", a=2)], "v1")
    xds.callbacks[0].on_config_update([resource("one", a=1, b=1)], "v1")
    assert (loader.get_integer("a", 0), loader.get_integer("b", 0)) == (2, 1)
    loader.merge_admin_values({"a": "3"})
    assert loader.get_integer("a", 0) == 3


def test_the_start_waits_for_all_or_for_those_that_will_not_come(xds: FakeXds, store: MainStore) -> None:
    loader = loader_of(xds, store, "one", "two")
    ready: list[bool] = []
    loader.start_rtds(lambda: ready.append(True))
    xds.callbacks[0].on_config_update([resource("one")], "v1")
    xds.callbacks[1].on_config_update_failed(FailureReason.CONNECTION_FAILURE, None)
    assert not ready
    xds.callbacks[1].on_config_update_failed(FailureReason.FETCH_TIMED_OUT, None)
    assert ready


def test_what_is_no_layer_of_this_name_is_refused(xds: FakeXds, store: MainStore) -> None:
    loader = loader_of(xds, store, "one")
    loader.start_rtds(lambda: None)
    callbacks = xds.callbacks[0]
    callbacks.on_config_update([resource("one", a=1)], "v1")
    with pytest.raises(ConfigError, match=r"^Unexpected RTDS runtime \(expecting one\): two$"):
        callbacks.on_config_update([resource("two", a=2)], "v2")
    words = "Unexpected RTDS resource length, number of added resources {}, number of removed resources {}"
    with pytest.raises(ConfigError) as caught:
        callbacks.on_config_update([], "v2")
    assert str(caught.value) == words.format(0, 0)
    with pytest.raises(ConfigError) as caught:
        callbacks.on_config_delta([resource("one")], ["one"], "v2")
    assert str(caught.value) == words.format(1, 1)
    refused = resource("one", a=2)
    refused.error = ConfigError("not this one")
    with pytest.raises(ConfigError, match="not this one"):
        callbacks.on_config_update([refused], "v2")
    assert loader.get_integer("a", 0) == 1


def test_values_that_no_runtime_has_leave_what_there_was(xds: FakeXds, store: MainStore) -> None:
    loader = loader_of(xds, store, "one")
    loader.start_rtds(lambda: None)
    xds.callbacks[0].on_config_update([resource("one", a=1)], "v1")
    with pytest.raises(ConfigError, match="Invalid runtime entry value for b"):
        xds.callbacks[0].on_config_update([resource("one", b=None)], "v2")
    loader.load()
    assert loader.get_integer("a", 0) == 1


def test_a_removed_layer_is_empty(xds: FakeXds, store: MainStore) -> None:
    loader = loader_of(xds, store, "one")
    loader.start_rtds(lambda: None)
    callbacks = xds.callbacks[0]
    callbacks.on_config_delta([resource("one", a=1)], [], "")
    with pytest.raises(ConfigError, match=r"^Unexpected removal of unknown RTDS runtime layer two, expected one$"):
        callbacks.on_config_delta([], ["two"], "")
    assert loader.get_integer("a", 0) == 1
    callbacks.on_config_delta([], ["one"], "")
    assert loader.get_integer("a", 0) == 0


def test_without_a_loop_nothing_is_subscribed_to(xds: FakeXds, store: MainStore) -> None:
    loader_of(xds, store, "one", loop=None)
    assert not xds.callbacks


def test_who_asks_has_a_name(xds: FakeXds, store: MainStore) -> None:
    loader = RuntimeLoader(bootstrap("one"), store)
    with pytest.raises(ConfigError, match="Runtime: node 'id' and 'cluster' are required"):
        loader.connect(xds, Node(), DynamicValidation(LoadOptions()))
