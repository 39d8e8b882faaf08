"""A worker's route configurations: exchanged when they are whole, their statistics given back when nobody counts."""

import asyncio
from collections.abc import Iterator

import pytest
from tests.unit.router.rds.rds_setup import User, rds, routes

from proxeny.config.errors import ConfigError
from proxeny.event.dispatcher import Dispatcher
from proxeny.event.slices import finish
from proxeny.kernel.headers import HeaderMap
from proxeny.network.factory_context import FactoryContext
from proxeny.router.rds.provider import rds_key
from proxeny.router.rds.worker_routes import WorkerRoutes
from proxeny.router.route_table import RouteTable
from proxeny.stats.store import MainStore, StatTable, WorkerStore

KEY = rds_key(rds())
HEADERS = HeaderMap([(b":authority", b"a"), (b":path", b"/"), (b":method", b"GET")])


class Worker:
    def __init__(self) -> None:
        self.dispatcher = Dispatcher(name="test")
        self.main = MainStore()
        self.store = WorkerStore(self.main.create_worker_segment(0))
        self.context = FactoryContext(role="worker", stats=self.store, dispatcher=self.dispatcher)
        self.released: list[list[int]] = []
        self.routes = WorkerRoutes(self.context, self.store, self.released.append)

    def table(self, message: object) -> StatTable:
        """What main allots for it."""
        with self.main.recording() as table:
            RouteTable.compile(message, FactoryContext(role="main", stats=self.main), False)
        return table

    def set(self, serial: int, **fields: object) -> None:
        message = routes(**fields)  # type: ignore[arg-type]
        finish(self.routes.set(KEY, serial, self.table(message), message.SerializeToString()))

    def turn(self) -> None:
        self.dispatcher.run_until_complete(asyncio.sleep(0))


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.routes.close()
    made.dispatcher.close()


def test_routes_before_and_after_their_users(worker: Worker) -> None:
    early = User(worker.routes.provider(rds(), "", worker.context))
    assert early.table is None
    worker.set(1)
    late = User(worker.routes.provider(rds(), "", worker.context))
    assert early.table is late.table
    worker.set(2, status=404)
    assert early.table is late.table
    assert early.table.route(HEADERS, None, 0).entry.response_code == 404


def test_nothing_is_exchanged_before_it_is_whole(worker: Worker) -> None:
    user = User(worker.routes.provider(rds(), "", worker.context))
    worker.set(1)
    table = user.table
    message = routes(status=404)
    steps = worker.routes.set(KEY, 2, worker.table(message), message.SerializeToString())
    next(steps)
    assert user.table is table
    finish(steps)
    assert user.table is not table


def test_a_request_keeps_the_statistics_of_its_route(worker: Worker) -> None:
    user = User(worker.routes.provider(rds(), "", worker.context))
    worker.set(1)
    route = user.table.route(HEADERS, None, 0)
    worker.set(2, status=404)
    worker.turn()
    assert worker.released == []
    del route
    worker.turn()
    assert worker.released == [[1]]


def test_what_is_dropped_serves_who_still_has_it(worker: Worker) -> None:
    user = User(worker.routes.provider(rds(), "", worker.context))
    worker.set(1)
    worker.routes.drop(KEY)
    worker.turn()
    assert user.table is not None
    assert worker.released == []
    del user
    worker.turn()
    assert worker.released == [[1]]
    assert worker.routes.provider(rds(), "", worker.context).current is None


def test_one_that_cannot_be_compiled_leaves_what_there_was(worker: Worker) -> None:
    user = User(worker.routes.provider(rds(), "", worker.context))
    worker.set(1)
    table = user.table
    message = routes()
    message.virtual_hosts.add().CopyFrom(message.virtual_hosts[0])
    with pytest.raises(ConfigError):
        finish(worker.routes.set(KEY, 2, worker.table(routes()), message.SerializeToString()))
    assert user.table is table


def two_hosts(*statuses: int) -> object:
    message = routes(status=statuses[0])
    for status in statuses[1:]:
        host = message.virtual_hosts.add()
        host.CopyFrom(routes(status=status).virtual_hosts[0])
        host.name = host.domains[0] = f"h{status}"
    return message


def test_a_virtual_host_that_is_taken_over_counts_for_the_new_version(worker: Worker) -> None:
    user = User(worker.routes.provider(rds(), "", worker.context))
    for serial, statuses in enumerate([(200, 201), (200, 202), (200, 203)], 1):
        message = two_hosts(*statuses)
        finish(worker.routes.set(KEY, serial, worker.table(message), message.SerializeToString()))  # type: ignore[attr-defined]
        if serial == 1:
            kept = user.table.route(HEADERS, None, 0)
            leaving = user.table.route(HeaderMap([(b":authority", b"h201"), (b":path", b"/")]), None, 0)
    assert user.table.route(HEADERS, None, 0) is kept
    worker.dispatcher.run_until(lambda: worker.released == [[2]])
    del leaving
    worker.dispatcher.run_until(lambda: worker.released == [[2], [1]])
