"""Hostile answers to our own questions: whatever a name server sends, each question comes to an end."""

import random
from collections.abc import Iterator

import pytest
from tests.name_server import NameServer

from proxeny.event.dispatcher import Dispatcher
from proxeny.network.address import ip_address
from proxeny.network.factory_context import FactoryContext
from proxeny.stats.store import MainStore
from proxeny.upstream import dns_resolver
from proxeny.upstream.cares_resolver import CaresResolver
from proxeny.upstream.dns_options import ALL, V4_ONLY
from proxeny.upstream.dns_resolver import CARES, DnsAnswer
from proxeny.upstream.dns_resolver_config import CaresOptions

QUESTIONS = 200


@pytest.fixture
def server() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.close()


@pytest.mark.parametrize("seed", range(6))
def test_garbled_answers(server: NameServer, seed: int) -> None:
    chance = random.Random(seed)

    def garble(answer: bytes) -> bytes:
        """The id and the question mostly stay: else the answer is thrown away unread."""
        spoilt = bytearray(answer)
        for _ in range(chance.randrange(1, 6)):
            spoilt[chance.randrange(2 if chance.random() < 0.9 else 0, len(spoilt))] = chance.randrange(256)
        cut = chance.random()
        if cut < 0.2:
            del spoilt[chance.randrange(1, len(spoilt)) :]
        elif cut < 0.3:
            spoilt += chance.randbytes(chance.randrange(1, 600))
        return bytes(spoilt)

    server.records = {f"{i}.test": ["127.0.0.2", "::2", "127.0.0.3"] for i in range(QUESTIONS)}
    server.aliases = {f"{i}.test": f"{i + 1}.test" for i in range(0, QUESTIONS, 3)}
    server.garble = garble
    dispatcher = Dispatcher()
    stats = dns_resolver.stats_of(FactoryContext(role="main", stats=MainStore(), dispatcher=dispatcher))
    options = CaresOptions((f"127.0.0.1:{server.port}",), timeout_ms=20, tries=2, udp_max_queries=3)
    resolver = CaresResolver(dispatcher, options, stats)
    answers: list[DnsAnswer] = []
    for i in range(QUESTIONS):
        resolver.resolve(f"{i}.test", ALL if i % 2 else V4_ONLY, answers.append)
    dispatcher.run_until(lambda: len(answers) == QUESTIONS, 60)
    for answer in answers:
        assert answer.ok or not answer.addresses
        for address in answer.addresses:
            ip_address(address)
        assert answer.ttl_s >= 0
    assert stats.get(CARES.slot("pending_resolutions")) == 0
    server.garble = None
    answers.clear()
    resolver.resolve("1.test", V4_ONLY, answers.append)
    dispatcher.run_until(lambda: answers)
    assert answers[0].addresses == ["127.0.0.2", "127.0.0.3"]
    resolver.close()
    dispatcher.run_once()
    dispatcher.close()
