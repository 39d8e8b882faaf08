"""A DNS cache in main: when names are resolved, told, and forgotten."""

from __future__ import annotations

from collections.abc import Callable

from tests.unit.upstream.dns_cache.conftest import Setup

Make = Callable[..., Setup]


def test_a_host_is_resolved_once_and_told(make: Make) -> None:
    setup = make()
    setup.cache.load("a.test:81", 80)
    setup.cache.load("a.test:81", 80)
    assert [query.name for query in setup.resolver.queries] == ["a.test"]
    assert (setup.stat("host_added"), setup.stat("num_hosts"), setup.count.count) == (1, 1, 1)
    assert not setup.sent
    setup.resolver.answer("127.0.0.1", "127.0.0.2")
    (entry,) = setup.sent
    assert (entry.name, entry.port, entry.addresses, entry.failed) == (
        "a.test:81",
        81,
        ["127.0.0.1", "127.0.0.2"],
        False,
    )
    assert setup.members == {"a.test:81": ["127.0.0.1", "127.0.0.2"]}
    assert (setup.stat("dns_query_success"), setup.stat("host_address_changed")) == (1, 1)
    setup.cache.load("a.test:81", 80, again=False)
    assert len(setup.resolver.queries) == 1
    assert setup.cache.entries() == [entry]


def test_a_host_without_addresses_is_told_why(make: Make) -> None:
    setup = make()
    setup.cache.load("a.test:80", 80)
    setup.resolver.answer(details="cares_norecords:no such name")
    (entry,) = setup.sent
    assert (entry.addresses, entry.details) == ([], "dns_resolution_failure{cares_norecords:no_such_name}")
    assert (entry.failed, setup.members, setup.stat("dns_query_success")) == (False, {}, 1)


def test_addresses_stay_when_a_refresh_fails_or_finds_none(make: Make) -> None:
    setup = make(dns_failure_refresh_rate={"base_interval": "1s", "max_interval": "1s"})
    setup.cache.load("a.test:80", 80)
    setup.resolver.answer("127.0.0.1", ttl=10)
    setup.advance(11)
    assert len(setup.resolver.queries) == 2
    setup.resolver.answer(ok=False)
    setup.advance(2)
    setup.resolver.answer()
    assert setup.members == {"a.test:80": ["127.0.0.1"]}
    assert len(setup.sent) == 1


def test_an_address_moves(make: Make) -> None:
    setup = make()
    setup.cache.load("a.test:80", 80)
    setup.resolver.answer("127.0.0.1", ttl=10)
    setup.advance(11)
    setup.resolver.answer("127.0.0.2", ttl=10)
    assert (setup.members, setup.changes) == ({"a.test:80": ["127.0.0.2"]}, 1)
    assert [entry.addresses for entry in setup.sent] == [["127.0.0.1"], ["127.0.0.2"]]
    assert setup.sent[0].slot == setup.sent[1].slot


def test_a_short_ttl_waits_for_the_least_rate(make: Make) -> None:
    setup = make(dns_min_refresh_rate="20s")
    setup.cache.load("a.test:80", 80)
    setup.resolver.answer("127.0.0.1", ttl=1)
    setup.advance(19)
    assert len(setup.resolver.queries) == 1
    setup.advance(2)
    assert len(setup.resolver.queries) == 2


def test_a_query_times_out(make: Make) -> None:
    setup = make(dns_query_timeout="2s")
    setup.cache.load("a.test:80", 80)
    setup.advance(3)
    assert setup.resolver.queries[0].cancelled
    assert setup.sent[0].details == "dns_resolution_failure{resolve_timeout}"
    assert (setup.stat("dns_query_timeout"), setup.stat("dns_query_failure")) == (1, 1)


def test_without_a_timeout_it_waits(make: Make) -> None:
    setup = make(dns_query_timeout="0s")
    setup.cache.load("a.test:80", 80)
    setup.advance(100)
    assert not setup.sent


def test_a_failure_is_left_alone_until_it_is_asked_for(make: Make) -> None:
    setup = make(disable_dns_refresh_on_failure=True)
    setup.cache.load("a.test:80", 80)
    setup.resolver.answer(ok=False)
    setup.advance(1000)
    assert len(setup.resolver.queries) == 1
    setup.cache.load("a.test:80", 80, again=True)
    setup.cache.load("a.test:80", 80, again=True)
    assert len(setup.resolver.queries) == 2
    assert (setup.stat("host_removed"), setup.stat("host_added"), setup.stat("num_hosts")) == (1, 2, 1)
    setup.resolver.answer("127.0.0.1")
    assert setup.sent[-1].addresses == ["127.0.0.1"]


def test_a_host_that_nobody_used_goes(make: Make) -> None:
    setup = make(host_ttl="5s")
    setup.cache.load("a.test:80", 80)
    setup.resolver.answer("127.0.0.1", ttl=10)
    setup.advance(11)
    assert (setup.asked, setup.forgotten, setup.members) == (["a.test:80"], ["a.test:80"], {})
    assert (setup.stat("host_removed"), setup.stat("num_hosts"), setup.count.count) == (1, 0, 0)


def test_workers_say_when_they_used_a_host(make: Make) -> None:
    setup = make(host_ttl="5s")
    setup.workers = 2
    setup.cache.load("a.test:80", 80)
    setup.resolver.answer("127.0.0.1", ttl=10)
    setup.advance(11)
    setup.cache.on_last_use("a.test:80", 0)
    assert not setup.forgotten
    setup.cache.on_last_use("a.test:80", setup.dispatcher.monotonic_ns() - 1)
    assert (setup.forgotten, len(setup.resolver.queries)) == ([], 2)
    setup.resolver.answer("127.0.0.1", ttl=10)
    setup.advance(11)
    setup.cache.on_last_use("a.test:80", 0)
    setup.cache.on_last_use("a.test:80", 0)
    assert setup.forgotten == ["a.test:80"]
    setup.cache.on_last_use("a.test:80", 0)


def test_a_worker_that_does_not_say_is_not_waited_for(make: Make) -> None:
    setup = make(host_ttl="5s")
    setup.workers = 1
    setup.cache.load("a.test:80", 80)
    setup.resolver.answer("127.0.0.1", ttl=10)
    setup.advance(11)
    assert not setup.forgotten
    setup.advance(2)
    assert setup.forgotten == ["a.test:80"]


def test_hosts_that_are_known_beforehand(make: Make) -> None:
    setup = make(
        preresolve_hostnames=[{"address": "a.test", "port_value": 81}, {"address": "b.test:82", "port_value": 1}]
    )
    setup.cache.start()
    assert [query.name for query in setup.resolver.queries] == ["a.test", "b.test"]
    assert setup.stat("num_hosts") == 2


def test_a_slot_rests_before_it_is_used_again(make: Make) -> None:
    setup = make(host_ttl="1s")
    for number in range(300):
        setup.cache.load(f"a{number}.test:80", 80)
        setup.resolver.answer("127.0.0.1", ttl=1)
        setup.advance(6)
    slots = [entry.slot for entry in setup.sent]
    assert slots[:257] == list(range(257))
    assert slots[257:260] == [0, 1, 2]
    assert setup.stat("num_hosts") <= 1
