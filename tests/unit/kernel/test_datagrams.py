"""Datagram sockets over the loopback: flows, lengths, batches, lost packets, errors."""

import errno
import socket
import struct
from collections.abc import Callable, Iterator

import pytest

from proxeny.kernel.datagrams import (
    DatagramArena,
    DatagramSocket,
)
from proxeny.kernel.epoll import Poller, Watcher
from proxeny.kernel.sockets import local_sockaddr

IP_PKTINFO = 8
SO_RXQ_OVFL = 40
UDP_SEGMENT = 103
UDP_GRO = 104
SOL_UDP = 17


Make = Callable[..., socket.socket]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[socket.socket] = []

    def one(family: int = socket.AF_INET, fileno: int | None = None) -> socket.socket:
        made.append(socket.socket(family, socket.SOCK_DGRAM, fileno=fileno))
        made[-1].settimeout(10)
        return made[-1]

    yield one
    for sock in made:
        sock.close()


class Collector(DatagramSocket):
    def __init__(self) -> None:
        self.seen: list[tuple[bytes | None, bytes]] = []
        self.dropped = 0
        self.errors: list[int] = []
        self.turns = 0

    def on_datagram(self, flow: bytes | None, data: bytes) -> None:
        if data == b"fail":
            raise RuntimeError("this packet only")
        if data == b"close":
            self.close()
        self.seen.append((flow, data))

    def on_dropped(self, count: int) -> None:
        self.dropped += count

    def on_receive_error(self, error: int) -> None:
        self.errors.append(error)

    def on_received(self) -> None:
        self.turns += 1

    @property
    def data(self) -> list[bytes]:
        return [data for _, data in self.seen]


def bound(family: int = socket.AF_INET, host: str = "127.0.0.1") -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.setblocking(False)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    made.bind((host, 0))
    return made


def opened(poller: Poller, sock: socket.socket, size: int = 1500, messages: int = 4) -> Collector:
    collector = Collector()
    fd = sock.detach()
    collector.open(poller, fd, DatagramArena(messages, size), local_sockaddr(fd))
    return collector


def addresses(flow: bytes | None) -> tuple[tuple[str, int], tuple[str, int]]:
    assert flow is not None
    halves = flow[: len(flow) // 2], flow[len(flow) // 2 :]
    names = []
    for half in halves:
        port = int.from_bytes(half[2:4], "big")
        four = len(half) == 16
        ip = socket.inet_ntop(socket.AF_INET if four else socket.AF_INET6, half[4:8] if four else half[8:24])
        names.append((ip, port))
    return names[0], names[1]


@pytest.mark.parametrize(
    ("family", "host", "to", "seen_as"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET, "0.0.0.0", "127.0.0.3", "127.0.0.3"),
        (socket.AF_INET6, "::1", "::1", "::1"),
        (socket.AF_INET6, "::", "::1", "::1"),
        (socket.AF_INET6, "::", "127.0.0.4", "::ffff:127.0.0.4"),
    ],
)
def test_a_flow_names_peer_and_local_address_and_can_be_answered(
    make: Make, family: int, host: str, to: str, seen_as: str
) -> None:
    poller = Poller()
    server = bound(family, host)
    port = server.getsockname()[1]
    six = family == socket.AF_INET6
    level, name = (socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO) if six else (socket.IPPROTO_IP, IP_PKTINFO)
    server.setsockopt(level, name, 1)
    collector = opened(poller, server)
    client = make(socket.AF_INET6 if ":" in to else socket.AF_INET)
    client.sendto(b"hello", (to, port))
    poller.run_turn(1000)
    ((flow, data),) = collector.seen
    peer, local = addresses(flow)
    assert data == b"hello"
    assert peer[1] == client.getsockname()[1]
    assert local == (seen_as, port)
    assert flow is not None
    assert collector.reply(flow, b"answer") == 0
    answer, source = client.recvfrom(100)
    assert (answer, source[0], source[1]) == (b"answer", to, port)
    collector.close()


def test_lengths_from_none_to_the_arena_size_and_above(make: Make) -> None:
    poller = Poller()
    server = bound()
    address = server.getsockname()
    collector = opened(poller, server, size=100)
    client = make()
    for size in (0, 1, 99, 100, 101, 5000, 2):
        client.sendto(b"x" * size, address)
    while len(collector.seen) < 5:
        poller.run_turn(1000)
    assert [len(data) for data in collector.data] == [0, 1, 99, 100, 2]
    assert collector.dropped == 2
    collector.close()


def test_an_error_in_one_packet_spares_the_others(make: Make) -> None:
    poller = Poller()
    failures: list[Exception] = []
    poller.error_hook = lambda watcher, error: failures.append(error)
    server = bound()
    address = server.getsockname()
    collector = opened(poller, server)
    client = make()
    for data in (b"one", b"fail", b"two"):
        client.sendto(data, address)
    while len(collector.seen) < 2:
        poller.run_turn(1000)
    assert collector.data == [b"one", b"two"]
    assert [str(failure) for failure in failures] == ["this packet only"]
    collector.close()


def test_closing_while_a_batch_is_delivered(make: Make) -> None:
    poller = Poller()
    server = bound()
    address = server.getsockname()
    collector = opened(poller, server)
    client = make()
    for data in (b"one", b"close", b"two"):
        client.sendto(data, address)
    while b"close" not in collector.data:
        poller.run_turn(1000)
    poller.run_turn(0)
    assert collector.data == [b"one", b"close"]
    assert collector.fd == -1
    collector.close()


def test_many_packets_are_taken_in_turns(make: Make) -> None:
    poller = Poller()
    server = bound()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    address = server.getsockname()
    collector = opened(poller, server, messages=32)
    client = make()
    for number in range(100):
        client.sendto(b"%d" % number, address)
    while len(collector.seen) < 100:
        poller.run_turn(1000)
    assert collector.data == [b"%d" % number for number in range(100)]
    assert collector.turns <= 100
    collector.close()


def test_packets_without_room_in_the_queue_are_counted_once(make: Make) -> None:
    poller = Poller()
    server = bound()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    server.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
    address = server.getsockname()
    twin = make(fileno=socket.dup(server.fileno()))
    collector = opened(poller, server)
    client = make()
    for _ in range(100):
        client.sendto(b"x" * 1000, address)
    while poller.run_turn(0):
        pass
    client.sendto(b"last", address)
    while b"last" not in collector.data:
        poller.run_turn(1000)
    received = len(collector.seen) - 1
    assert received + collector.dropped == 100
    assert collector.dropped > 0
    # Whoever takes the socket over does not count them again.
    collector.close()
    heir = opened(poller, twin)
    client.sendto(b"more", address)
    while not heir.seen:
        poller.run_turn(1000)
    assert heir.dropped == 0
    heir.close()


def test_connected_sockets_hear_of_icmp_errors(make: Make) -> None:
    poller = Poller()
    closed = bound()
    address = closed.getsockname()
    closed.close()
    sock = make()
    sock.setblocking(False)
    sock.connect(address)
    collector = Collector()
    collector.open(poller, sock.detach(), DatagramArena(1, 100))
    assert collector.send(b"anyone?") == 0
    while not collector.errors:
        poller.run_turn(1000)
    assert collector.errors == [errno.ECONNREFUSED]
    collector.close()


def test_coalesced_packets_are_taken_apart(make: Make) -> None:
    poller = Poller()
    server = bound()
    server.setsockopt(SOL_UDP, UDP_GRO, 1)
    address = server.getsockname()
    collector = opened(poller, server, size=65535)
    client = make()
    data = b"a" * 1000 + b"b" * 1000 + b"c" * 300
    client.sendmsg([data], [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", 1000))], 0, address)
    while len(collector.seen) < 3:
        poller.run_turn(1000)
    assert collector.data == [b"a" * 1000, b"b" * 1000, b"c" * 300]
    collector.close()


def test_an_address_of_another_family_is_an_error_not_a_crash() -> None:
    poller = Poller()
    server = bound()
    collector = opened(poller, server)
    assert collector.send_to(b"x", b"\x0a\x00" + bytes(26)) != 0
    assert collector.send_to(b"x", bytes(16), b"short") != 0
    assert collector.reply(b"", b"x") != 0
    collector.close()
    assert isinstance(collector, Watcher)


def test_an_arena_needs_room() -> None:
    with pytest.raises(ValueError, match="room"):
        DatagramArena(0, 100)
