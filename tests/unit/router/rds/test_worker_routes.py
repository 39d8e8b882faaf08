"""A worker's route configurations: exchanged when they are whole, their statistics given back when nobody counts."""

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from tests.unit.router.rds.rds_setup import User, rds, routes

from proxeny.config.errors import ConfigError
from proxeny.event.dispatcher import Dispatcher
from proxeny.event.slices import finish
from proxeny.kernel.headers import HeaderMap
from proxeny.network.factory_context import FactoryContext
from proxeny.router.rds.on_demand import PendingRoutes
from proxeny.router.rds.provider import key_of
from proxeny.router.rds.worker_routes import WorkerRoutes
from proxeny.router.route_table import RouteTable
from proxeny.router.scoped_routes import ScopedRouteTable, compile_fragments
from proxeny.stats.store import MainStore, StatTable, WorkerStore

KEY = key_of(rds())
HEADERS = HeaderMap([(b":authority", b"a"), (b":path", b"/"), (b":method", b"GET")])


class Worker:
    def __init__(self) -> None:
        self.dispatcher = Dispatcher(name="test")
        self.main = MainStore()
        self.store = WorkerStore(self.main.create_worker_segment(0))
        self.context = FactoryContext(role="worker", stats=self.store, dispatcher=self.dispatcher)
        self.released: list[list[int]] = []
        self.asked: list[tuple[int, str, str, list[bytes]]] = []
        self.routes = WorkerRoutes(self.context, self.store, self.released.append, self.ask)

    def ask(self, number: int, key: str, host: str, scope: list[bytes]) -> None:
        self.asked.append((number, key, host, scope))

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
    early = User(worker.routes.provider(rds(), "", None))
    assert early.table is None
    worker.set(1)
    late = User(worker.routes.provider(rds(), "", None))
    assert early.table is late.table
    worker.set(2, status=404)
    assert early.table is late.table
    assert early.table.route(HEADERS, None, 0).entry.response_code == 404


def test_nothing_is_exchanged_before_it_is_whole(worker: Worker) -> None:
    user = User(worker.routes.provider(rds(), "", None))
    worker.set(1)
    table = user.table
    message = routes(status=404)
    steps = worker.routes.set(KEY, 2, worker.table(message), message.SerializeToString())
    next(steps)
    assert user.table is table
    finish(steps)
    assert user.table is not table


def test_a_request_keeps_the_statistics_of_its_route(worker: Worker) -> None:
    user = User(worker.routes.provider(rds(), "", None))
    worker.set(1)
    route = user.table.route(HEADERS, None, 0)
    worker.set(2, status=404)
    worker.turn()
    assert worker.released == []
    del route
    worker.turn()
    assert worker.released == [[1]]


def test_what_is_dropped_serves_who_still_has_it(worker: Worker) -> None:
    user = User(worker.routes.provider(rds(), "", None))
    worker.set(1)
    worker.routes.drop(KEY)
    worker.turn()
    assert user.table is not None
    assert worker.released == []
    del user
    worker.turn()
    assert worker.released == [[1]]
    assert worker.routes.provider(rds(), "", None).current is None


def test_one_that_cannot_be_compiled_leaves_what_there_was(worker: Worker) -> None:
    user = User(worker.routes.provider(rds(), "", None))
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
    user = User(worker.routes.provider(rds(), "", None))
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


def scoped_routes(name: str = "s") -> Any:
    made = http_connection_manager_pb2.ScopedRoutes(name=name)
    made.scoped_rds.scoped_rds_config_source.path_config_source.path = "/x"
    return made


def test_scopes_lead_to_routes(worker: Worker) -> None:
    provider = worker.routes.scoped_provider(scoped_routes(), "", None)
    assert worker.routes.scoped_provider(scoped_routes("other name"), "", None) is provider
    worker.set(1)
    worker.routes.set_scopes(provider.key, [], [([b"a"], KEY), ([b"b"], KEY), ([b"c"], "")])
    table = worker.routes.provider(rds(), "", None).current
    assert table is not None
    assert {key: scope.current for key, scope in provider.scopes.items()} == {
        (b"a",): table,
        (b"b",): table,
        (b"c",): None,
    }
    worker.routes.set_scopes(provider.key, [[b"a"]], [([b"c"], KEY)])
    assert {key: scope.current for key, scope in provider.scopes.items()} == {(b"b",): table, (b"c",): table}


def test_a_request_waits_for_the_routes_of_its_scope(worker: Worker) -> None:
    provider = worker.routes.scoped_provider(scoped_routes(), "", None)
    message = scoped_routes()
    message.scope_key_builder.fragments.add().header_value_extractor.name = "x"
    message.scope_key_builder.fragments[0].header_value_extractor.index = 0
    table = ScopedRouteTable("s", compile_fragments(message), provider.scopes)
    worker.set(1)
    worker.routes.set_scopes(provider.key, [], [([b"there"], KEY), ([b"late"], "")])
    heard: list[bool] = []

    def wait(scope: bytes) -> PendingRoutes | None:
        return provider.request_update(table, HeaderMap([(b"x", scope)]), heard.append)

    assert wait(b"there") is None
    assert wait(b"nowhere") is None
    assert provider.request_update(table, HeaderMap([]), heard.append) is None
    assert worker.asked == []
    first, second = wait(b"late"), wait(b"late")
    assert first is not None and second is not None
    assert worker.asked == [(1, provider.key, "", [b"late"])] * 2  # one question
    first.cancel()
    for number in (1, 1, 2):
        worker.routes.questions.answered(number, True)
    assert heard == [True]
    second.cancel()  # too late, and no harm
    wait(b"late")
    assert worker.asked[2:] == [(2, provider.key, "", [b"late"])]


def test_requests_that_come_and_go_ask_one_question(worker: Worker) -> None:
    questions = worker.routes.questions
    heard: list[str] = []
    for _ in range(3):
        questions.ask("k", lambda found: heard.append("gone"), host="h").cancel()
    waiting: list[PendingRoutes] = []

    def fail(found: bool) -> None:
        waiting.pop().cancel()
        raise RuntimeError

    questions.ask("k", fail, host="h")
    waiting.append(questions.ask("k", lambda found: heard.append("cancelled by the first"), host="h"))
    questions.ask("k", lambda found: heard.append(f"last {found}"), host="h")
    questions.ask("k", lambda found: heard.append("other host"), host="i")
    assert worker.asked == [(1, "k", "h", [])] * 6 + [(2, "k", "i", [])]
    questions.answered(1, True)
    assert heard == ["last True"]


def test_a_request_waits_for_its_virtual_host(worker: Worker) -> None:
    provider = worker.routes.provider(rds(), "", None)
    user = User(provider)
    heard: list[bool] = []
    headers = HeaderMap([(b":authority", b"Some.Host:80")])
    assert provider.request_update(None, headers, heard.append) is None
    worker.set(1)
    assert provider.request_update(user.table, headers, heard.append) is None
    worker.set(2, vhds={"config_source": {"ads": {}}})
    assert provider.request_update(user.table, headers, heard.append) is not None
    assert worker.asked == [(1, KEY, "some.host:80", [])]
    worker.routes.questions.answered(1, False)
    assert heard == [False]


def test_scopes_that_nobody_has_any_more_are_forgotten(worker: Worker) -> None:
    provider = worker.routes.scoped_provider(scoped_routes(), "", None)
    worker.routes.set_scopes(provider.key, [], [([b"a"], KEY)])
    worker.routes.set_scopes(provider.key, [[b"a"]], [])
    assert worker.routes.scoped_provider(scoped_routes(), "", None) is not provider


def test_digests_may_come_along(worker: Worker) -> None:
    user = User(worker.routes.provider(rds(), "", worker.context))
    message = routes()
    table = worker.table(message)
    compiled = RouteTable.compile(message, FactoryContext(role="main", stats=worker.main), False)
    digests = msgspec.msgpack.encode(compiled.digests())
    for serial in (1, 2):
        finish(worker.routes.set(KEY, serial, table, message.SerializeToString(), digests))
        if serial == 1:
            before = user.table
    assert user.table is not before
    assert user.table.virtual_hosts[0] is before.virtual_hosts[0]
