"""Main's half of listeners: add, update, replace, remove, stop, and what becomes of refusals."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryResponse
from tests.unit.server.listener_workers import Fixture, close_all, listener

from proxeny.config.errors import ConfigError
from proxeny.server import messages
from proxeny.server.listener_manager import ListenerManager


class FullTable:
    """A balance table without a row left."""

    def allot_row(self) -> int:
        raise OSError("no row is left in the balance table")


@pytest.fixture
def fixture() -> Iterator[Fixture]:
    made = Fixture()
    asyncio.set_event_loop(made.dispatcher)
    yield made
    made.close()
    asyncio.set_event_loop(None)


def port_of(manager: ListenerManager) -> int:
    return manager.listeners()[0].addresses[0].port


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    return False


def test_add_is_counted_when_every_worker_has_it(fixture: Fixture) -> None:
    fixture.do(lambda: fixture.manager.add_or_update(listener()))
    assert fixture.stat("listener_added") == 1
    assert fixture.stat("listener_create_success") == 0
    assert fixture.stat("total_listeners_warming") == 1
    assert fixture.manager.listeners() == []
    sent = fixture.answer(messages.AddListener)
    # One socket of its own for each worker.
    assert [len(fds) for fds in sent] == [1, 1]
    assert os.fstat(sent[0][0]).st_ino != os.fstat(sent[1][0]).st_ino
    close_all(sent)
    assert fixture.stat("listener_create_success") == 2
    assert (fixture.stat("total_listeners_warming"), fixture.stat("total_listeners_active")) == (0, 1)


def test_the_same_listener_again_is_no_update(fixture: Fixture) -> None:
    results = [fixture.do(lambda: fixture.manager.add_or_update(listener())) for _ in range(2)]
    assert fixture.settle() == ["AddListener"]
    assert results == [True, False]
    assert fixture.stat("listener_modified") == 0


def test_an_update_takes_over_the_sockets(fixture: Fixture) -> None:
    fixture.do(lambda: fixture.manager.add_or_update(listener()))
    before = fixture.answer(messages.AddListener)
    [old] = fixture.manager.listeners()
    sockets = old.sockets
    fixture.do(lambda: fixture.manager.add_or_update(listener(buffer_limit=2000)))
    after = fixture.answer(messages.AddListener)
    assert [os.fstat(fds[0]).st_ino for fds in before] == [os.fstat(fds[0]).st_ino for fds in after]
    close_all(before + after)
    assert fixture.stat("listener_modified") == 1
    # The drain time is 0: the old generation is removed at once; its stats and the new one's are the same blocks.
    assert fixture.settle() == ["StopListener", "RemoveListener"]
    assert fixture.stat("total_listeners_draining") == 0
    [fresh] = fixture.manager.listeners()
    assert fresh.sockets is sockets
    assert old.sockets is None
    assert fresh.fds(0)
    assert not refuses(port_of(fixture.manager))


def test_a_new_backlog_keeps_the_sockets_too(fixture: Fixture) -> None:
    fixture.add(listener(enable_reuse_port=False))
    sockets = fixture.manager.listeners()[0].sockets
    fixture.add(listener(enable_reuse_port=False, tcp_backlog_size=5))
    assert fixture.manager.listeners()[0].sockets is sockets


def test_new_socket_options_need_new_sockets(fixture: Fixture) -> None:
    fixture.add(listener())
    port, before = port_of(fixture.manager), fixture.manager.listeners()[0].sockets
    option = {"level": 1, "name": 9, "int_value": 1}
    fixture.add(listener(port=port))
    assert fixture.manager.listeners()[0].sockets is not before
    before = fixture.manager.listeners()[0].sockets
    fixture.add(listener(port=port, socket_options=[option]))
    assert fixture.manager.listeners()[0].sockets is not before
    assert not refuses(port)


def test_without_reuse_port_they_cannot_be_had(fixture: Fixture) -> None:
    fixture.add(listener(enable_reuse_port=False, port=_free_port()))
    port = port_of(fixture.manager)
    option = {"level": 1, "name": 9, "int_value": 1}
    with pytest.raises(ConfigError, match=f"'one' has duplicate address '127.0.0.1:{port}'"):
        fixture.manager.add_or_update(listener(enable_reuse_port=False, port=port, socket_options=[option]))
    with pytest.raises(ConfigError, match=r"^Listener one: reuse port cannot be changed during an update$"):
        fixture.manager.add_or_update(listener(port=port))
    assert fixture.manager.errors.by_name["one"].details.startswith("Listener one: reuse port")
    assert not refuses(port)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_filter_chains_change_in_place(fixture: Fixture) -> None:
    fixture.add(listener(texts=("a", "b")))
    [old] = fixture.manager.listeners()
    fixture.do(lambda: fixture.manager.add_or_update(listener(texts=("a", "c")), "ignored"))
    sent = [message for message, fds in fixture.supervisor.receive(0) if close_all([fds]) is None]
    [update] = sent
    assert isinstance(update, messages.UpdateListener)
    assert update.tag == old.tag
    fixture.supervisor.workers[0].on_done(messages.Done(update.id))
    assert fixture.settle() == ["RemoveFilterChains"]
    [fresh] = fixture.manager.listeners()
    assert (fresh.tag, fresh.version_info) == (old.tag, old.version_info)
    assert fresh.version != old.version
    assert fixture.stat("listener_in_place_updated") == 1
    assert fixture.stat("listener_modified") == 1
    assert fixture.stat("listener_create_success") == 4
    assert fixture.stat("total_filter_chains_draining") == 0
    assert not refuses(port_of(fixture.manager))


def test_draining_chains_are_counted(fixture: Fixture) -> None:
    made = Fixture(drain_time_s=600)
    asyncio.set_event_loop(made.dispatcher)
    made.add(listener(texts=("a", "b", "c")))
    made.add(listener(texts=("b",)))
    # "b" moved to another port, so all three are gone.
    assert made.stat("total_filter_chains_draining") == 3
    made.add(listener(texts=("b", "c")))
    assert made.stat("total_filter_chains_draining") == 3
    made.close()


@pytest.mark.parametrize(("drain_time_s", "left"), [(600, 1), (0, 0)])
def test_what_chains_discover_ends_when_they_have_drained(drain_time_s: int, left: int, tmp_path: Path) -> None:
    made = Fixture(drain_time_s=drain_time_s, service_node="node", service_cluster="cluster")
    asyncio.set_event_loop(made.dispatcher)
    first = listener(texts=("a",))
    discovered = first.filter_chains[1].filters[0]
    resource = TypedExtensionConfig(name=discovered.name, typed_config=discovered.typed_config)
    response = DiscoveryResponse()
    response.resources.add().Pack(resource)
    source = tmp_path / "filter.pb"
    source.write_bytes(response.SerializeToString())
    discovered.config_discovery.type_urls.append(discovered.typed_config.type_url)
    discovered.config_discovery.config_source.path_config_source.path = str(source)
    made.add(first)
    configs = made.configuration.filter_configs
    assert len(configs.subscriptions()) == 1
    made.add(listener(texts=("b",)))
    for _ in range(5):
        made.turn()
    assert len(configs.subscriptions()) == left
    made.close()
    configs.close()


def test_no_chain_at_all_is_no_update_in_place(fixture: Fixture) -> None:
    fixture.add(listener())
    empty = listener()
    empty.default_filter_chain.CopyFrom(empty.filter_chains[0])
    del empty.filter_chains[:]
    fixture.do(lambda: fixture.manager.add_or_update(empty))
    assert fixture.settle()[0] == "AddListener"
    assert fixture.stat("listener_in_place_updated") == 0


def test_stats_of_all_generations_are_given_back(fixture: Fixture) -> None:
    blocks = dict(fixture.store.entries)
    for number in range(3):
        fixture.add(listener(texts=tuple("abc"[:number])))
        fixture.add(listener(buffer_limit=number + 1))
    fixture.do(lambda: fixture.manager.remove("one"))
    fixture.settle()
    assert fixture.store.entries.keys() == blocks.keys()


def test_a_refused_listener_is_gone(fixture: Fixture) -> None:
    fixture.do(lambda: fixture.manager.add_or_update(listener()))
    close_all(fixture.answer(messages.AddListener, error="no"))
    assert fixture.stat("listener_create_failure") == 2
    assert fixture.settle() == ["RemoveListener"]
    assert fixture.manager.listeners() == []
    assert fixture.manager.errors.by_name["one"].details == "no"


def test_a_refused_update_leaves_the_old_one(fixture: Fixture) -> None:
    fixture.add(listener())
    [old] = fixture.manager.listeners()
    fixture.do(lambda: fixture.manager.add_or_update(listener(buffer_limit=5)))
    close_all(fixture.answer(messages.AddListener, error="no"))
    assert fixture.settle() == ["RemoveListener"]
    assert fixture.manager.listeners() == [old]
    assert not refuses(port_of(fixture.manager))
    # And it can be updated again.
    fixture.add(listener(buffer_limit=6))
    assert fixture.manager.listeners() != [old]


def test_a_refused_update_in_place_is_undone(fixture: Fixture) -> None:
    fixture.add(listener(texts=("a",)))
    [old] = fixture.manager.listeners()
    entries = set(fixture.store.entries)
    fixture.do(lambda: fixture.manager.add_or_update(listener(texts=("b",))))
    close_all(fixture.answer(messages.UpdateListener, error="no"))
    assert fixture.settle() == ["UpdateListener", "RemoveFilterChains", "RemoveFilterChains"]
    assert fixture.manager.listeners() == [old]
    assert set(fixture.store.entries) == entries
    assert not refuses(port_of(fixture.manager))


def test_updates_that_follow_fast_are_sent_one_by_one(fixture: Fixture) -> None:
    add = fixture.manager.add_or_update
    for limit in (1, 2, 3, 4):
        assert fixture.do(lambda limit=limit: add(listener(buffer_limit=limit)))  # type: ignore[misc]
    # The first is on its way; of those that wait only the last is worth sending.
    asked = fixture.settle()
    assert asked.count("AddListener") == 2
    assert fixture.stat("listener_modified") == 3
    assert fixture.manager.warming() == []
    [fresh] = fixture.manager.listeners()
    assert fresh.compiled.proto.per_connection_buffer_limit_bytes.value == 4
    assert not refuses(port_of(fixture.manager))


def test_an_update_in_place_may_wait_for_its_predecessor(fixture: Fixture) -> None:
    add = fixture.manager.add_or_update
    fixture.do(lambda: add(listener(buffer_limit=1)))
    fixture.do(lambda: add(listener(buffer_limit=2)))
    fixture.do(lambda: add(listener(buffer_limit=2, texts=("a",))))
    assert fixture.stat("listener_in_place_updated") == 1
    # Its predecessor was never sent: it is added as a whole.
    assert fixture.settle()[:2] == ["AddListener", "AddListener"]
    [fresh] = fixture.manager.listeners()
    assert len(fresh.compiled.proto.filter_chains) == 2


def test_removed_while_it_warms(fixture: Fixture) -> None:
    fixture.do(lambda: fixture.manager.add_or_update(listener()))
    assert fixture.do(lambda: fixture.manager.remove("one"))
    assert fixture.settle() == ["AddListener", "StopListener", "RemoveListener"]
    assert fixture.manager.listeners() == fixture.manager.draining() == []
    assert fixture.stat("listener_removed") == 1


def test_removed_and_added_again_while_it_warms(fixture: Fixture) -> None:
    port = _free_port()
    one = listener(port=port, enable_reuse_port=False)
    fixture.do(lambda: fixture.manager.add_or_update(one))
    fixture.do(lambda: fixture.manager.remove("one"))
    again = listener(port=port, enable_reuse_port=False, buffer_limit=7)
    assert fixture.do(lambda: fixture.manager.add_or_update(again))
    assert fixture.settle().count("AddListener") == 2
    assert not refuses(port)
    assert fixture.stat("listener_added") == 2


def test_remove_drains_then_removes(fixture: Fixture) -> None:
    manager = fixture.manager
    fixture.add(listener())
    port = port_of(manager)
    blocks = len(fixture.store.entries)
    assert not manager.remove("other")
    fixture.do(lambda: manager.remove("one"))
    assert fixture.stat("listener_removed") == 1
    assert fixture.stat("total_listeners_draining") == 1
    fixture.settle()
    assert refuses(port)
    assert manager.draining() == []
    assert len(fixture.store.entries) < blocks


def test_the_address_of_a_draining_listener_is_taken_over(fixture: Fixture) -> None:
    made = Fixture(drain_time_s=600)
    asyncio.set_event_loop(made.dispatcher)
    port = _free_port()
    made.add(listener(port=port, enable_reuse_port=False))
    sockets = made.manager.listeners()[0].sockets
    made.do(lambda: made.manager.remove("one"))
    # The workers have not stopped yet: binding beside them would fail.
    made.do(lambda: made.manager.add_or_update(listener("two", port=port, enable_reuse_port=False)))
    made.settle()
    assert made.manager.listeners()[0].sockets is sockets
    assert not refuses(port)
    made.close()


def test_an_address_that_is_taken_leaves_all_as_it_was(fixture: Fixture) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        entries = set(fixture.store.entries)
        with pytest.raises(ConfigError, match=f"cannot bind '127.0.0.1:{port}': Address already in use"):
            fixture.manager.add_or_update(listener(port=port))
    assert fixture.stat("listener_create_failure") == 1
    assert fixture.stat("listener_added") == 0
    assert fixture.manager.listeners() == []
    assert set(fixture.store.entries) == entries


def test_two_listeners_of_one_address(fixture: Fixture) -> None:
    port = _free_port()
    fixture.add(listener(port=port))
    entries = set(fixture.store.entries)
    with pytest.raises(ConfigError, match=f"error adding listener: 'two' has duplicate address '127.0.0.1:{port}'"):
        fixture.manager.add_or_update(listener("two", port=port))
    assert fixture.stat("listener_create_failure") == 0
    assert set(fixture.store.entries) == entries


def test_static_listeners_stay(fixture: Fixture) -> None:
    made = Fixture(started=False)
    asyncio.set_event_loop(made.dispatcher)
    made.manager.add_static([made.configuration.listener(listener())])
    made.manager.listen()
    made.do(lambda: [made.manager.feed(worker) for worker in made.supervisor.workers])
    made.settle()
    made.manager.workers_started()
    assert made.stat("listener_create_success") == 2
    assert not made.manager.add_or_update(listener(buffer_limit=3))
    assert not made.manager.remove("one")
    assert made.stat("listener_removed") == 0
    made.close()


def test_a_new_worker_gets_what_the_others_have(fixture: Fixture) -> None:
    fixture.add(listener())
    fixture.add(listener("two"))
    fixture.do(lambda: fixture.manager.add_or_update(listener(texts=("a",))))
    fixture.supervisor.receive(0)
    worker = fixture.supervisor.workers[0]
    fixture.do(lambda: fixture.manager.feed(worker))
    fed = [type(message).__name__ for message, fds in fixture.supervisor.receive(0) if close_all([fds]) is None]
    assert fed == ["AddListener", "AddListener", "UpdateListener"]


def test_a_helper_of_a_dead_worker_accepts_from_new_sockets(fixture: Fixture) -> None:
    fixture.supervisor.helpers = [(1, fixture.supervisor.workers[0])]
    fixture.do(lambda: fixture.manager.add_or_update(listener()))
    assert fixture.settle() == ["AddListener", "AdoptListener"]


def test_stopped_listeners(fixture: Fixture) -> None:
    fixture.add(listener("in", traffic_direction="INBOUND"))
    fixture.add(listener("out"))
    inbound, outbound = (one.addresses[0].port for one in fixture.manager.listeners())
    fixture.do(lambda: fixture.manager.drain_all(False, False, True))
    assert fixture.settle() == ["DrainListener", "StopListener"]
    assert fixture.stat("listener_stopped") == 1
    assert refuses(inbound)
    assert not refuses(outbound)
    assert not fixture.manager.add_or_update(listener("more", traffic_direction="INBOUND"))
    fixture.add(listener("more"))
    fixture.do(lambda: fixture.manager.drain_all(False, False, False))
    fixture.settle()
    assert fixture.stat("listener_stopped") == 3
    assert refuses(outbound)
    # They are still listed, as in Envoy; but a new worker does not get them.
    assert len(fixture.manager.listeners()) == 3
    assert fixture.manager.feed(fixture.supervisor.workers[0]) == []
    assert fixture.manager.listening_fds(0) == []


def test_graceful_drain(fixture: Fixture) -> None:
    fixture.add(listener())
    fixture.do(lambda: fixture.manager.drain_all(True, True, False))
    assert fixture.settle() == ["DrainListener"]
    # Once is enough. Listeners that come later are not told, as in Envoy; workers that come later are.
    fixture.do(lambda: fixture.manager.drain_all(True, False, False))
    assert fixture.settle() == []
    fixture.do(lambda: fixture.manager.add_or_update(listener("two")))
    assert fixture.settle() == ["AddListener"]
    fixture.do(lambda: fixture.manager.feed(fixture.supervisor.workers[0]))
    assert fixture.settle() == ["AddListener", "DrainListener", "AddListener"]


def test_a_large_listener_travels_in_a_memfd(fixture: Fixture) -> None:
    large = listener()
    large.filter_chains[0].name = "x" * 70_000
    fixture.do(lambda: fixture.manager.add_or_update(large))
    sent = fixture.answer(messages.AddListener)
    assert [len(fds) for fds in sent] == [2, 2]
    assert os.fstat(sent[0][0]).st_ino == os.fstat(sent[1][0]).st_ino
    assert os.pread(sent[0][0], 100_000, 0) == large.SerializeToString(deterministic=True)
    close_all(sent)


def test_without_a_row_left_a_listener_serves_unbalanced(fixture: Fixture, caplog: pytest.LogCaptureFixture) -> None:
    fixture.supervisor.balance = FullTable()  # type: ignore[assignment]
    balanced = listener()
    balanced.connection_balance_config.exact_balance.SetInParent()
    fixture.do(lambda: fixture.manager.add_or_update(balanced))
    close_all(fixture.answer(messages.AddListener))
    assert fixture.stat("total_listeners_active") == 1
    assert "are not balanced: no row is left" in caplog.text
