"""The binding to c-ares: what a channel gives back, and that nothing of it stays."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from tests.name_server import Fault, NameServer

from proxeny.event.dispatcher import Dispatcher
from proxeny.upstream import cares_channel
from proxeny.upstream.cares_channel import AresChannel, Found
from proxeny.upstream.dns_resolver_config import CaresOptions


@pytest.fixture
def server() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_addresses_with_their_ttls(dispatcher: Dispatcher, server: NameServer) -> None:
    server.records = {"a.test": ["127.0.0.2", "::2"]}
    server.ttl = 7
    channel = AresChannel(dispatcher, CaresOptions((f"127.0.0.1:{server.port}",)))
    answers: list[tuple[int, int, Found]] = []
    channel.getaddrinfo(b"a.test", socket.AF_UNSPEC, lambda *answer: answers.append(answer))
    assert not channel.is_idle
    dispatcher.run_until(lambda: answers)
    assert answers == [(0, 0, [("127.0.0.2", 7), ("::2", 7)])]
    assert channel.is_idle
    channel.close()


def test_what_needs_no_server_is_answered_at_once(dispatcher: Dispatcher) -> None:
    channel = AresChannel(dispatcher, CaresOptions())
    answers: list[tuple[int, int, Found]] = []
    channel.getaddrinfo(b"fe80::1%2", socket.AF_UNSPEC, lambda *answer: answers.append(answer))
    channel.getaddrinfo(b"127.0.0.3", socket.AF_INET, lambda *answer: answers.append(answer))
    assert [found[0][0] for _, _, found in answers if found][-1] == "127.0.0.3"
    assert len(answers) == 2
    channel.close()


def test_a_closed_channel_leaves_nothing(dispatcher: Dispatcher, server: NameServer) -> None:
    server.records = {"a.test": Fault.SILENCE}
    before = descriptors()
    answers: list[object] = []
    for _ in range(20):
        channel = AresChannel(dispatcher, CaresOptions((f"127.0.0.1:{server.port}",)))
        for family in (socket.AF_INET, socket.AF_INET6):
            channel.getaddrinfo(b"a.test", family, lambda *answer: answers.append(answer))
        assert descriptors() > before
        channel.close()
        channel.close()
        assert channel.is_idle
    dispatcher.run_once()
    assert not answers
    assert descriptors() == before


def test_statuses_in_words() -> None:
    assert cares_channel.strerror(cares_channel.ENOTFOUND) == "Domain name not found"
