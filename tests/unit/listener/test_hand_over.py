"""Sockets from one worker to another: what is known of them, a full inbox, an inbox that outlives its worker."""

import errno
import os
import socket
from collections.abc import Iterator

import pytest

from proxeny.event.dispatcher import Dispatcher
from proxeny.kernel.balance import BalanceTable
from proxeny.listener import hand_over
from proxeny.listener.hand_over import HandedOver, HandOver, Outbox, connection_info_of, hand_over_of
from proxeny.network.address import ip_address
from proxeny.network.stream_info import ConnectionInfo
from proxeny.server.inboxes import Inboxes


class Fixture:
    """Two workers' ends on one dispatcher."""

    def __init__(self) -> None:
        self.dispatcher = Dispatcher()
        self.inboxes = Inboxes(2)
        self.table = BalanceTable.create(2)
        self.workers = [self.worker(index, index + 1) for index in range(2)]
        self.got: list[tuple[HandedOver, bytes]] = []

    def worker(self, index: int, epoch: int) -> HandOver:
        inbox, *outboxes = [os.dup(fd) for fd in self.inboxes.fds(index)]
        return HandOver(self.dispatcher, BalanceTable(self.table.fd, 2, index), epoch, inbox, outboxes)

    def take(self, message: HandedOver, fd: int) -> None:
        with socket.socket(fileno=fd) as taken:
            self.got.append((message, taken.recv(16)))

    def send(self, number: int) -> bool:
        ours, theirs = socket.socketpair()
        with ours:
            ours.send(b"%d" % number)
            sent = self.workers[0].send(1, message(number), theirs.detach())
        return sent

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        self.inboxes.close()
        self.dispatcher.close()


@pytest.fixture
def fixture() -> Iterator[Fixture]:
    made = Fixture()
    yield made
    made.close()


def message(tag: int) -> HandedOver:
    info = ConnectionInfo(ip_address("10.0.0.1", 80), ip_address("10.0.0.2", 4000), 0)
    return hand_over_of(tag, 2, True, info)


def test_all_that_is_known_of_a_connection_arrives() -> None:
    info = ConnectionInfo(ip_address("127.0.0.1", 15001), ip_address("10.0.0.2", 4000), 9)
    info.local_address = ip_address("fe80::1%1", 443)
    info.local_address_restored = True
    info.transport_protocol = "tls"
    info.requested_server_name = "a.test"
    info.requested_application_protocols = ("h2", "http/1.1")
    info.ja3_hash, info.ja4_hash = "3", "4"
    sent = hand_over._decode(hand_over._encode(hand_over_of(1, 2, False, info)))
    found = connection_info_of(sent)
    for name in ConnectionInfo.__slots__:
        if name != "connection_id":
            assert getattr(found, name) == getattr(info, name), name


def test_sockets_arrive_in_order_also_through_a_full_inbox(fixture: Fixture) -> None:
    assert all([fixture.send(number) for number in range(1000)])
    fixture.workers[1].open(fixture.take)
    fixture.dispatcher.run_until(lambda: len(fixture.got) == 1000)
    assert [(found.tag, text) for found, text in fixture.got] == [(n, b"%d" % n) for n in range(1000)]


def test_beyond_the_cap_the_sender_keeps_them(fixture: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand_over, "MOST_WAITING", 3)
    sent = 0
    while fixture.send(sent):
        sent += 1
    assert sent > 3
    # The refused one is still open, and the sender's.
    fixture.workers[1].open(fixture.take)
    fixture.dispatcher.run_until(lambda: len(fixture.got) == sent)


def test_when_too_many_descriptors_are_on_their_way_a_socket_stays_or_waits(
    fixture: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Outbox._sent
    error = [errno.ETOOMANYREFS]
    monkeypatch.setattr(Outbox, "_sent", lambda self, data, fd: error[0] or real(self, data, fd))
    assert not fixture.send(0)
    # What waits for room already is sent later, without spinning.
    error[0] = errno.EAGAIN
    assert fixture.send(1)
    error[0] = errno.ETOOMANYREFS
    fixture.dispatcher.run_once()
    assert fixture.workers[0]._outboxes[1].poller is None
    error[0] = 0
    fixture.workers[1].open(fixture.take)
    fixture.dispatcher.run_until(lambda: len(fixture.got) == 1)


def test_what_a_dead_worker_did_not_take_is_its_successors(fixture: Fixture) -> None:
    for number in range(3):
        fixture.send(number)
    fixture.workers[1].close()
    fixture.workers[1] = fixture.worker(1, 7)
    fixture.workers[1].open(fixture.take)
    fixture.dispatcher.run_until(lambda: len(fixture.got) == 3)
    assert {found.epoch for found, _ in fixture.got} == {2}


def test_a_message_that_cannot_be_served_harms_no_other(fixture: Fixture) -> None:
    def take(found: HandedOver, fd: int) -> None:
        if found.tag == 0:
            os.close(fd)
            raise RuntimeError("a bug")
        fixture.take(found, fd)

    for number in range(2):
        fixture.send(number)
    fixture.workers[1].open(take)
    fixture.dispatcher.run_until(lambda: len(fixture.got) == 1)
