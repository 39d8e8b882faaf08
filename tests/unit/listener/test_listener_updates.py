"""Updates in place in a worker: what stays, what goes."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.listener.conftest import ECHO, listener_proto
from tests.unit.listener.test_active_tcp_listener import Worker

from proxeny.config.errors import ConfigError
from proxeny.listener.config import ListenerConfig
from proxeny.network.factory_context import FactoryContext

LOOPBACK = {"source_prefix_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]}


def greeting(text: str) -> dict[str, Any]:
    return {
        "name": "envoy.filters.network.direct_response",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config",
            "response": {"inline_string": text},
        },
    }


BEFORE = [
    {"name": "loop", "filter_chain_match": LOOPBACK, "filters": [ECHO]},
    {"name": "one", "filter_chain_match": {"destination_port": 1}, "filters": [greeting("one")]},
]


@pytest.fixture
def worker(context: FactoryContext) -> Iterator[Worker]:
    made = Worker(context, filter_chains=BEFORE, default_filter_chain={"filters": [ECHO]})
    yield made
    made.close()


def update(worker: Worker, context: FactoryContext, version: int = 2, **fields: Any) -> ListenerConfig:
    before = {"filter_chains": BEFORE, "default_filter_chain": {"filters": [ECHO]}}
    origin = worker.handler.config_of(1)
    config = ListenerConfig.compile(listener_proto(**before | fields), context, origin)
    worker.handler.update_listener(1, config, version)
    return config


def test_equal_chains_are_the_same_objects(worker: Worker, context: FactoryContext) -> None:
    fresh = update(worker, context, filter_chains=[BEFORE[0], {"name": "new", "filters": [ECHO]}])
    before = worker.config
    assert fresh.drain is before.drain
    assert fresh.listener_filters is before.listener_filters
    kept = [one for one in fresh.chains.values() if one in before.chains.values()]
    assert sorted(one.name for one in kept) == ["", "loop"]


def test_the_default_chain_is_another_one_than_an_equal_chain(context: FactoryContext) -> None:
    chain = {"filters": [ECHO]}
    config = ListenerConfig.compile(listener_proto(filter_chains=[chain], default_filter_chain=chain), context)
    assert len(config.chains) == 2


def test_connections_of_chains_that_stay_live_on(worker: Worker, context: FactoryContext) -> None:
    client = worker.connect()
    client.sendall(b"x")
    assert worker.received(client, 1) == b"x"
    update(worker, context, filter_chains=[BEFORE[0]])
    worker.handler.remove_filter_chains(1, 2)
    client.sendall(b"y")
    assert worker.received(client, 1) == b"y"
    [active] = worker.listener.connections
    assert not active.chain.drain.started


def test_connections_of_chains_that_go_drain_and_are_closed(worker: Worker, context: FactoryContext) -> None:
    client = worker.connect()
    client.sendall(b"x")
    assert worker.received(client, 1) == b"x"
    update(worker, context, filter_chains=[BEFORE[1]])
    [active] = worker.listener.connections
    assert active.chain.drain.started
    # The listener itself does not drain, and new connections find the new chains.
    assert not worker.listener.config.drain.started
    other = worker.connect()
    other.sendall(b"z")
    assert worker.received(other, 1) == b"z"
    worker.handler.remove_filter_chains(1, 2)
    worker.wait(lambda: worker.is_closed(client))
    assert len(worker.listener.connections) == 1


def test_a_chain_that_comes_back_is_a_new_one(worker: Worker, context: FactoryContext) -> None:
    client = worker.connect()
    client.sendall(b"x")
    assert worker.received(client, 1) == b"x"
    update(worker, context, 2, filter_chains=[BEFORE[1]])
    update(worker, context, 3)
    worker.handler.remove_filter_chains(1, 3)
    assert len(worker.listener.connections) == 1
    worker.handler.remove_filter_chains(1, 2)
    worker.wait(lambda: worker.is_closed(client))


def test_an_update_that_does_not_compile_changes_nothing(worker: Worker, context: FactoryContext) -> None:
    with pytest.raises(ConfigError, match="no filter chains specified"):
        ListenerConfig.compile(listener_proto(filter_chains=[]), context, worker.config)
    assert worker.listener.config is worker.config


def test_what_is_unknown_is_passed_over(worker: Worker) -> None:
    worker.handler.remove_filter_chains(1, 99)
    worker.handler.remove_filter_chains(99, 1)
    assert worker.handler.config_of(99) is None
    fd = os.dup(worker.sockets.fds(0)[0])
    worker.handler.adopt(99, 1, [fd])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
