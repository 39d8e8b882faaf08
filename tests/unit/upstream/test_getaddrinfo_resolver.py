"""The system's resolver on threads; what it answers is the test's."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from proxeny.event.dispatcher import Dispatcher
from proxeny.upstream.dns_options import ALL, AUTO, V4_ONLY, V4_PREFERRED, V6_ONLY
from proxeny.upstream.dns_resolver import DnsAnswer
from proxeny.upstream.dns_resolver_config import GetAddrInfoOptions
from proxeny.upstream.getaddrinfo_resolver import NO_FLAGS, GetAddrInfoResolver

Ask = Callable[..., DnsAnswer]
FOUR = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", 0))
SIX = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::2", 0, 0, 0))


class System:
    """Stands for getaddrinfo(3)."""

    def __init__(self) -> None:
        self.answers: list[object] = [[FOUR, SIX]]
        self.asked: list[bytes] = []
        self.flags = -1
        self.gate = threading.Event()
        self.gate.set()

    def getaddrinfo(self, name: bytes, *args: object, flags: int, **more: object) -> object:
        self.asked.append(name)
        self.flags = flags
        self.gate.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    system = System()
    monkeypatch.setattr(socket, "getaddrinfo", system.getaddrinfo)
    return system


@pytest.fixture
def ask(dispatcher: Dispatcher, system: System) -> Iterator[Ask]:
    resolvers: list[GetAddrInfoResolver] = []

    def ask(family: int = AUTO, retries: int | None = None) -> DnsAnswer:
        resolver = GetAddrInfoResolver(dispatcher, GetAddrInfoOptions(retries, 1))
        resolvers.append(resolver)
        answers: list[DnsAnswer] = []
        resolver.resolve("a.test", family, answers.append)
        dispatcher.run_until(lambda: answers)
        return answers[0]

    yield ask
    for resolver in resolvers:
        resolver.close()


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        (V4_ONLY, ["127.0.0.2"]),
        (V6_ONLY, ["::2"]),
        (AUTO, ["::2"]),
        (V4_PREFERRED, ["127.0.0.2"]),
        (ALL, ["::2", "127.0.0.2"]),
    ],
)
def test_families(ask: Ask, family: int, expected: list[str]) -> None:
    assert ask(family) == (True, expected, 60, "Success")


def test_the_other_family_when_one_is_missing(ask: Ask, system: System) -> None:
    system.answers = [[FOUR, FOUR]]
    assert ask(AUTO).addresses == ["127.0.0.2"]
    assert ask(V6_ONLY) == (True, [], 0, "Success")
    system.answers = [[SIX]]
    assert ask(V4_PREFERRED).addresses == ["::2"]


def test_a_name_that_does_not_exist_is_a_failure(ask: Ask, system: System) -> None:
    system.answers = [socket.gaierror(socket.EAI_NONAME, "Name or service not known")]
    assert ask() == (False, [], 0, "Name or service not known")
    system.answers = [ValueError("odd")]
    assert ask() == (False, [], 0, "odd")


def test_what_fails_for_the_moment_is_tried_again(ask: Ask, system: System) -> None:
    again = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    system.answers = [again, again, again, [FOUR]]
    assert ask().addresses == ["127.0.0.2"]
    assert len(system.asked) == 4
    system.answers = [again]
    system.asked.clear()
    assert ask(retries=2) == (False, [], 0, "Temporary failure in name resolution")
    assert len(system.asked) == 3
    system.asked.clear()
    assert not ask(retries=0).ok
    assert len(system.asked) == 1


class Features:
    """Runtime features that are on."""

    def get_boolean(self, key: str, default: bool) -> bool:
        assert (key, default) == (NO_FLAGS, False)
        return True


def test_families_that_no_interface_has(dispatcher: Dispatcher, system: System, ask: Ask) -> None:
    ask()
    assert system.flags == socket.AI_ADDRCONFIG
    resolver = GetAddrInfoResolver(dispatcher, GetAddrInfoOptions(), Features())
    answers: list[DnsAnswer] = []
    resolver.resolve("a.test", AUTO, answers.append)
    dispatcher.run_until(lambda: answers)
    assert system.flags == 0
    resolver.close()


def wait_for_threads(reached: Callable[[], bool]) -> None:
    """What threads do before they answer wakes no dispatcher."""
    deadline = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_threads_work_side_by_side(dispatcher: Dispatcher, system: System) -> None:
    system.gate.clear()
    resolver = GetAddrInfoResolver(dispatcher, GetAddrInfoOptions(threads=3))
    answers: list[DnsAnswer] = []
    for i in range(5):
        resolver.resolve(f"{i}.test", AUTO, answers.append)
    wait_for_threads(lambda: len(system.asked) == 3)
    system.gate.set()
    dispatcher.run_until(lambda: len(answers) == 5)
    assert sorted(system.asked) == [b"0.test", b"1.test", b"2.test", b"3.test", b"4.test"]
    resolver.close()


def test_cancelled_and_closed(dispatcher: Dispatcher, system: System) -> None:
    system.gate.clear()
    resolver = GetAddrInfoResolver(dispatcher, GetAddrInfoOptions())
    answers: list[DnsAnswer] = []
    first = resolver.resolve("a.test", AUTO, answers.append)
    second = resolver.resolve("b.test", AUTO, answers.append)
    wait_for_threads(lambda: bool(system.asked))
    first.cancel()
    second.cancel()
    system.gate.set()
    resolver.resolve("c.test", AUTO, answers.append)
    dispatcher.run_until(lambda: answers)
    assert len(answers) == 1
    assert system.asked == [b"a.test", b"c.test"]
    resolver.resolve("d.test", AUTO, answers.append)
    resolver.close()
    dispatcher.run_until_complete(asyncio.sleep(0.01))
    assert len(answers) == 1
