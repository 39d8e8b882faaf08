"""c-ares against a name server of the test's own: families, faults, every option."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from tests.name_server import AAAA, A, Fault, NameServer

from proxeny.event.dispatcher import Dispatcher
from proxeny.network.factory_context import FactoryContext
from proxeny.upstream import cares_resolver, dns_resolver
from proxeny.upstream.cares_resolver import CaresResolver
from proxeny.upstream.dns_options import ALL, AUTO, V4_ONLY, V4_PREFERRED, V6_ONLY
from proxeny.upstream.dns_resolver import CARES, DnsAnswer
from proxeny.upstream.dns_resolver_config import CaresOptions

Stats = Callable[[], dict[str, int]]


class Asker:
    """Resolvers of one name server, and their counts."""

    def __init__(self, dispatcher: Dispatcher, context: FactoryContext, server: NameServer) -> None:
        self.dispatcher = dispatcher
        self.server = server
        self.block = dns_resolver.stats_of(context)
        self.resolvers: list[CaresResolver] = []

    def resolver(self, **options: object) -> CaresResolver:
        settings = {"servers": (f"127.0.0.1:{self.server.port}",), "no_search": False, **options}
        resolver = CaresResolver(self.dispatcher, CaresOptions(**settings), self.block)  # type: ignore[arg-type]
        self.resolvers.append(resolver)
        return resolver

    def ask(self, name: str, family: int = V4_ONLY, resolver: CaresResolver | None = None) -> DnsAnswer:
        answers: list[DnsAnswer] = []
        resolver = resolver or (self.resolvers[0] if self.resolvers else self.resolver())
        resolver.resolve(name, family, answers.append)
        assert not answers
        self.dispatcher.run_until(lambda: answers)
        return answers[0]

    def stats(self) -> dict[str, int]:
        return {name: value for slot, name in enumerate(CARES.names) if (value := self.block.get(slot))}


@pytest.fixture
def server() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.close()


@pytest.fixture
def asker(dispatcher: Dispatcher, context: FactoryContext, server: NameServer) -> Iterator[Asker]:
    asker = Asker(dispatcher, context, server)
    yield asker
    for resolver in asker.resolvers:
        resolver.close()
    dispatcher.run_until_complete(asyncio.sleep(0))


BOTH = ["127.0.0.4", "::2", "127.0.0.3", "127.0.0.4"]


@pytest.mark.parametrize(
    ("family", "expected", "asked"),
    [
        (V4_ONLY, ["127.0.0.4", "127.0.0.3"], [A]),
        (V6_ONLY, ["::2"], [AAAA]),
        (AUTO, ["::2"], [AAAA]),
        (V4_PREFERRED, ["127.0.0.4", "127.0.0.3"], [A]),
        (ALL, ["127.0.0.4", "127.0.0.3", "::2"], [A, AAAA]),
    ],
)
def test_families(asker: Asker, server: NameServer, family: int, expected: list[str], asked: list[int]) -> None:
    server.records = {"a.test": BOTH}
    assert asker.ask("a.test", family) == (True, expected, 300, "cares_success:Successful completion")
    assert sorted(query.kind for query in server.queries) == asked
    assert asker.stats() == {"resolve_total": 1}


def test_second_family_when_the_first_has_nothing(asker: Asker, server: NameServer) -> None:
    server.records = {"four.test": ["127.0.0.2"], "six.test": ["::2"]}
    assert asker.ask("four.test", AUTO).addresses == ["127.0.0.2"]
    assert asker.ask("six.test", V4_PREFERRED).addresses == ["::2"]
    assert asker.stats() == {"resolve_total": 4, "not_found": 2}


@pytest.mark.parametrize(
    ("failing", "family"), [(AAAA, AUTO), (A, V4_PREFERRED), (A, ALL), (AAAA, ALL)], ids=["auto", "v4", "a", "aaaa"]
)
def test_a_family_that_fails_counts_only_when_the_other_has_nothing(
    asker: Asker, server: NameServer, failing: int, family: int
) -> None:
    server.faults[("a.test", failing)] = Fault.SERVFAIL
    server.records = {"a.test": ["::2" if failing == A else "127.0.0.2"]}
    assert asker.ask("a.test", family).ok
    server.records = {"a.test": []}
    assert not asker.ask("a.test", family).ok


class Features:
    """Runtime features that are off."""

    def get_boolean(self, key: str, default: bool) -> bool:
        assert key == cares_resolver.PRESERVE_FAILURE
        assert default
        return False


def test_a_failure_of_the_first_family_may_be_forgotten(asker: Asker, server: NameServer) -> None:
    server.faults[("a.test", AAAA)] = Fault.SERVFAIL
    server.records = {"a.test": []}
    resolver = CaresResolver(
        asker.dispatcher, CaresOptions((f"127.0.0.1:{server.port}",)), asker.block, runtime=Features()
    )
    asker.resolvers.append(resolver)
    assert asker.ask("a.test", AUTO, resolver).ok


@pytest.mark.parametrize(
    ("what", "ok", "details", "stats"),
    [
        (None, True, "cares_norecords:Domain name not found", {"not_found": 1}),
        ([], True, "cares_norecords:DNS server returned answer with no data", {"not_found": 1}),
        (Fault.LOOP, True, "cares_norecords:DNS server returned answer with no data", {"not_found": 1}),
        (
            Fault.SERVFAIL,
            False,
            "cares_failure:DNS server returned general failure",
            {"get_addr_failure": 1, "reinits": 1},
        ),
        (Fault.REFUSED, False, "cares_failure:DNS server refused query", {"get_addr_failure": 1, "reinits": 1}),
        (
            Fault.NOTIMP,
            False,
            "cares_failure:DNS server does not implement requested operation",
            {"get_addr_failure": 1, "reinits": 1},
        ),
        (Fault.GARBAGE, False, "cares_failure:Misformatted DNS reply", {"get_addr_failure": 1}),
        (Fault.SILENCE, False, "cares_failure:Timeout while contacting DNS servers", {"timeouts": 2}),
        (Fault.TRUNCATED, True, "cares_norecords:DNS server returned answer with no data", {"not_found": 1}),
    ],
    ids=["nxdomain", "empty", "loop", "servfail", "refused", "notimp", "garbage", "silence", "truncated"],
)
def test_faults(
    asker: Asker, server: NameServer, what: Fault | list[str] | None, ok: bool, details: str, stats: dict[str, int]
) -> None:
    resolver = asker.resolver(timeout_ms=10, tries=2)
    server.records = {} if what is None else {"a.test": what}
    assert asker.ask("a.test", resolver=resolver) == (ok, [], 0, details)
    assert asker.stats() == {"resolve_total": 1, **stats}
    server.records = {"a.test": ["127.0.0.2"]}
    assert asker.ask("a.test", resolver=resolver).addresses == ["127.0.0.2"]


@pytest.mark.parametrize("name", ["x" * 70 + ".test", "x." * 150, "a..b", "a b", "é.test", "a\udcff.test", "a\0.test"])
def test_no_name_is_too_odd_to_ask(asker: Asker, name: str) -> None:
    answer = asker.ask(name, ALL)
    assert answer.addresses == []


def test_aliases_and_a_thousand_addresses(asker: Asker, server: NameServer) -> None:
    many = [f"10.0.{i // 250}.{i % 250}" for i in range(1000)]
    server.records = {"big.test": many}
    server.aliases = {"alias.test": "big.test"}
    assert asker.ask("alias.test").addresses == many
    assert [query.tcp for query in server.queries] == [False, True]


def test_no_answer_is_kept(asker: Asker, server: NameServer) -> None:
    server.records = {"a.test": ["127.0.0.2"]}
    assert asker.ask("a.test").addresses == ["127.0.0.2"]
    server.records = {"a.test": ["127.0.0.3"]}
    assert asker.ask("a.test").addresses == ["127.0.0.3"]


def test_literals_and_the_hosts_file_need_no_server(asker: Asker, server: NameServer) -> None:
    assert asker.ask("127.0.0.9", V6_ONLY).addresses == ["127.0.0.9"]
    assert not asker.ask("::1", V4_ONLY).ok
    assert asker.ask("::1", V4_PREFERRED).addresses == ["::1"]
    assert asker.ask("localhost").addresses == ["127.0.0.1"]
    assert not server.queries


def test_cancelled_and_closed_queries_are_not_answered(
    asker: Asker, server: NameServer, dispatcher: Dispatcher
) -> None:
    server.records = {"a.test": ["127.0.0.2"], "b.test": ["127.0.0.3"]}
    answers: list[DnsAnswer] = []
    resolver = asker.resolver()
    query = resolver.resolve("a.test", V4_ONLY, answers.append)
    query.cancel()
    asker.ask("b.test", resolver=resolver)
    dispatcher.run_until(lambda: "pending_resolutions" not in asker.stats())
    query.cancel()
    resolver.resolve("a.test", V4_ONLY, answers.append)
    resolver.close()
    resolver.close()
    dispatcher.run_until_complete(asyncio.sleep(0))
    assert not answers


def test_a_channel_that_cannot_be_made_is_a_failure(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*arguments: object) -> None:
        raise OSError("Failed to initialize a c-ares channel: Out of memory")

    monkeypatch.setattr(cares_resolver, "AresChannel", none_left)
    assert asker.ask("a.test") == (False, [], 0, "Failed to initialize a c-ares channel: Out of memory")


def test_servers_that_cannot_be_set_are_a_failure(asker: Asker) -> None:
    answer = asker.ask("a.test", resolver=asker.resolver(servers=("not an address",)))
    assert (answer.ok, answer.addresses) == (False, [])
    assert answer.details.startswith("Failed to set the servers")


def test_pending_questions_are_counted(asker: Asker, server: NameServer) -> None:
    server.records = {"a.test": Fault.SILENCE}
    asker.resolver().resolve("a.test", V4_ONLY, lambda answer: None)
    assert asker.stats() == {"resolve_total": 1, "pending_resolutions": 1}


# -- options -----------------------------------------------------------------------------------------------------
def test_tcp_and_edns(asker: Asker, server: NameServer) -> None:
    server.records = {"a.test": ["127.0.0.2"]}
    for options in ({}, {"use_tcp": True}, {"no_search": True}, {"edns_payload": 4000}):
        asker.ask("a.test", resolver=asker.resolver(**options))
    assert [(query.tcp, query.payload) for query in server.queries] == [
        (False, 1232),
        (True, 0),
        (False, 0),
        (False, 4000),
    ]


def test_a_channel_that_timed_out_is_replaced_when_asked(asker: Asker, server: NameServer) -> None:
    server.records = {"a.test": Fault.SILENCE}
    asker.ask("a.test", resolver=asker.resolver(timeout_ms=10, tries=1, reinit_on_timeout=True))
    assert asker.stats() == {"resolve_total": 1, "timeouts": 1, "reinits": 1}


def test_a_channel_of_an_age_is_replaced(asker: Asker, server: NameServer, dispatcher: Dispatcher) -> None:
    server.records = {"slow.test": Fault.SILENCE, "a.test": ["127.0.0.2"]}
    resolver = asker.resolver(channel_ms=5)
    answers: list[DnsAnswer] = []
    resolver.resolve("slow.test", V4_ONLY, answers.append)
    dispatcher.run_until(lambda: asker.stats().get("reinits", 0) >= 3)
    assert asker.ask("a.test", resolver=resolver).ok
    # The old one still waits for its answer, and nobody else does.
    assert len(resolver._retired) == 1
    assert not answers


def test_udp_sockets_serve_so_many_questions(asker: Asker, server: NameServer, dispatcher: Dispatcher) -> None:
    server.records = {f"{i}.test": ["127.0.0.2"] for i in range(6)}
    for limit, ports in ((0, 1), (2, 3)):
        server.queries.clear()
        resolver = asker.resolver(udp_max_queries=limit)
        answers: list[DnsAnswer] = []
        for i in range(6):
            resolver.resolve(f"{i}.test", V4_ONLY, answers.append)
        dispatcher.run_until(lambda answers=answers: len(answers) == 6)  # type: ignore[misc]
        assert len({query.source_port for query in server.queries}) == ports


def test_rotation_over_name_servers(asker: Asker, server: NameServer) -> None:
    second = NameServer()
    try:
        for each in (server, second):
            each.records = {"a.test": ["127.0.0.2"]}
        servers = (f"127.0.0.1:{server.port}", f"127.0.0.1:{second.port}")
        steady = asker.resolver(servers=servers)
        for _ in range(20):
            asker.ask("a.test", resolver=steady)
        assert (len(server.queries), len(second.queries)) == (20, 0)
        rotating = asker.resolver(servers=servers, rotate=True)
        for _ in range(40):
            asker.ask("a.test", resolver=rotating)
        assert second.queries
    finally:
        second.close()


def test_the_next_server_is_asked_when_one_fails(asker: Asker, server: NameServer) -> None:
    second = NameServer()
    try:
        server.records = {"a.test": Fault.REFUSED}
        second.records = {"a.test": ["127.0.0.2"]}
        resolver = asker.resolver(servers=(f"127.0.0.1:{server.port}", f"127.0.0.1:{second.port}"))
        assert asker.ask("a.test", resolver=resolver).addresses == ["127.0.0.2"]
    finally:
        second.close()


def test_servers_as_fallback_give_way_to_the_systems(
    asker: Asker, server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from proxeny.upstream import cares_channel

    server.records = {"a.test": ["127.0.0.2"]}
    monkeypatch.setattr(cares_channel, "_system_servers", lambda channel: "127.0.0.1:53")
    assert asker.ask("a.test", resolver=asker.resolver(servers_as_fallback=True)).ok
    server.queries.clear()
    monkeypatch.setattr(cares_channel, "_system_servers", lambda channel: "192.0.2.9:53")
    asker.resolver(servers_as_fallback=True).resolve("a.test", V4_ONLY, lambda answer: None)
    assert asker.ask("a.test", resolver=asker.resolver()).ok
    assert len(server.queries) == 1


def test_families_without_a_route_are_not_asked_for(
    asker: Asker, server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.records = {"a.test": BOTH}
    resolver = asker.resolver(filter_unroutable=True)
    monkeypatch.setattr(cares_resolver, "_has_v6", lambda: False)
    monkeypatch.setattr(cares_resolver, "_has_v4", lambda: True)
    assert asker.ask("a.test", AUTO, resolver).addresses == ["127.0.0.4", "127.0.0.3"]
    assert asker.ask("a.test", V6_ONLY, resolver) == (True, [], 0, "cares_success:Successful completion")
    monkeypatch.setattr(cares_resolver, "_has_v4", lambda: False)
    assert asker.ask("a.test", V4_PREFERRED, resolver).addresses == []
    assert [query.kind for query in server.queries] == [A]


def test_the_interfaces_are_read() -> None:
    assert isinstance(cares_resolver._has_v4(), bool)
    assert isinstance(cares_resolver._has_v6(), bool)
