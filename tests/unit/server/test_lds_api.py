"""What an LDS update does to the listeners."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from envoy.config.core.v3 import base_pb2, config_source_pb2
from envoy.config.listener.v3 import listener_pb2
from tests.unit.server.listener_workers import Fixture, listener

from proxeny.config.errors import ConfigError
from proxeny.config.loader import LoadOptions
from proxeny.server.lds_api import LdsApi
from proxeny.server.listener_dump import dump_listeners
from proxeny.xds.init_manager import InitManager
from proxeny.xds.manager import XdsManager
from proxeny.xds.resource import DecodedResource
from proxeny.xds.subscription import FailureReason
from proxeny.xds.validation import DynamicValidation


class Setup:
    def __init__(self, folder: Path) -> None:
        self.fixture = Fixture(drain_time_s=600)
        file = folder / "lds.json"
        file.write_text("{}")
        source = config_source_pb2.ConfigSource(path=str(file))
        node = base_pb2.Node(id="i", cluster="c")
        dispatcher, store = self.fixture.dispatcher, self.fixture.store
        manager = self.fixture.manager
        validation = DynamicValidation(LoadOptions())
        xds = XdsManager(dispatcher, None, node, store, lambda: validation)
        self.lds = LdsApi(xds, source, node, manager, store, validation)

    def update(self, version: str, *protos: listener_pb2.Listener, error: str = "") -> str:
        """The error, if there is one; the workers carry everything out."""
        resources = [
            DecodedResource(one.name, one, version, ConfigError(error) if error and one.name == "bad" else None)
            for one in protos
        ]
        failure = ""

        def apply() -> None:
            nonlocal failure
            try:
                self.lds.on_config_update(resources, version)
            except ConfigError as refused:
                failure = str(refused)

        self.fixture.do(apply)
        self.fixture.settle()
        return failure

    def names(self) -> list[str]:
        return [one.name for one in self.fixture.manager.listeners()]


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Setup]:
    made = Setup(tmp_path)
    asyncio.set_event_loop(made.fixture.dispatcher)
    yield made
    made.lds.close()
    made.fixture.close()
    asyncio.set_event_loop(None)


def test_the_state_of_the_world(setup: Setup) -> None:
    assert setup.update("1", listener("a"), listener("b")) == ""
    assert setup.names() == ["a", "b"]
    assert setup.update("2", listener("c"), listener("b")) == ""
    assert setup.names() == ["b", "c"]
    assert setup.lds.version_info == "2"
    assert setup.update("3", listener("c"), listener("b")) == ""
    assert setup.lds.version_info == "2"  # nothing was applied
    assert [one.name for one in setup.fixture.manager.draining()] == ["a"]
    setup.update("4")
    assert setup.names() == []


def test_the_good_part_of_an_update_holds(setup: Setup) -> None:
    bad = listener("bad", texts=("x", "x"))
    bad.filter_chains[2].CopyFrom(bad.filter_chains[1])
    failure = setup.update("1", listener("a"), bad, listener("b"))
    assert failure.startswith("Error adding/updating listener(s) bad: error adding listener '127.0.0.1:0': filter")
    assert setup.names() == ["a", "b"]
    assert setup.lds.version_info == "1"
    errors = [(one.name, one.error.details) for one in dump_listeners(setup.fixture.manager, {}) if one.error]
    assert [name for name, _ in errors] == ["bad", ""]
    assert "same matching rules" in errors[0][1]
    # The next update forgets them.
    assert setup.update("2", listener("a"), listener("b")) == ""
    assert all(one.error is None for one in dump_listeners(setup.fixture.manager, {}))


def test_what_could_not_be_decoded_is_refused_by_name(setup: Setup) -> None:
    failure = setup.update("1", listener("a"), listener("bad"), error="not served")
    assert failure == "Error adding/updating listener(s) bad: not served\n"
    assert setup.names() == ["a"]
    assert "bad" in setup.fixture.manager.errors.by_name


def test_a_refused_update_of_a_listener_leaves_it(setup: Setup) -> None:
    setup.update("1", listener("bad"))
    assert setup.update("2", listener("bad", buffer_limit=3), error="no")
    assert setup.names() == ["bad"]
    assert setup.lds.version_info == "1"


def test_two_of_one_name(setup: Setup) -> None:
    failure = setup.update("1", listener("a"), listener("a", buffer_limit=1))
    assert failure == "Error adding/updating listener(s) a: duplicate listener a found\n"
    [one] = setup.fixture.manager.listeners()
    assert one.compiled.proto.per_connection_buffer_limit_bytes.value == 1000


def test_listeners_without_a_name_are_new_each_time(setup: Setup) -> None:
    setup.update("1", listener(""))
    [first] = setup.names()
    setup.update("2", listener(""))
    [second] = setup.names()
    assert first != second


def test_states(setup: Setup) -> None:
    setup.update("1", listener("a"))
    setup.update("2", listener("a", buffer_limit=1))
    setup.update("3", listener("a", buffer_limit=2))
    resource = DecodedResource("a", listener("a", buffer_limit=3), "4")
    setup.fixture.do(lambda: setup.lds.on_config_update([resource], "4"))
    [one] = dump_listeners(setup.fixture.manager, {})
    assert one.active is not None
    assert one.warming is not None
    assert one.draining is not None
    # Of two that drain the older one shows, as in Envoy.
    assert (one.active.version, one.warming.version, one.draining.version) == ("3", "4", "1")


def test_a_start_waits_for_the_first_answer_and_no_longer(setup: Setup) -> None:
    ready: list[str] = []
    manager = InitManager("server")
    manager.add(setup.lds.target)
    manager.initialize(lambda: ready.append("once"))
    setup.lds.on_config_update_failed(FailureReason.CONNECTION_FAILURE, None)
    setup.lds.on_config_update_failed(FailureReason.UPDATE_REJECTED, ConfigError("unreadable"))
    assert ready == ["once"]


def test_before_the_workers_start_everything_warms(tmp_path: Path) -> None:
    made = Fixture(started=False)
    asyncio.set_event_loop(made.dispatcher)
    made.manager.add_or_update(listener("a"), "1")
    made.manager.add_or_update(listener("a", buffer_limit=1), "2")
    assert made.stat("total_listeners_active") == 1
    assert made.stat("listener_modified") == 1
    [one] = dump_listeners(made.manager, {})
    assert one.active is None
    assert one.warming is not None
    assert one.warming.version == "2"
    assert made.manager.remove("a")
    assert made.manager.listeners() == made.manager.draining() == []
    made.close()
