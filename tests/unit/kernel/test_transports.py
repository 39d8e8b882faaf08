"""What stands before other transports: prefaces, tunnels, observers."""

import errno
import socket

import pytest
from tests.unit.kernel.test_stream import Recorder, turn_until

from proxeny.kernel.epoll import Poller
from proxeny.kernel.sockets import connect_to, open_socket
from proxeny.kernel.transports import Observed, Preface, StartTls, Tunnel
from proxeny.network.address import ip_address


@pytest.fixture
def poller():
    made = Poller()
    yield made
    made.close()


class Peer:
    """A listening socket, and the stream that connects to it."""

    def __init__(self, poller, transport, send_buffer=0):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.stream = Recorder()
        self.stream.set_transport(transport)
        fd = open_socket(socket.AF_INET)
        if send_buffer:
            with socket.socket(fileno=fd) as borrowed:
                borrowed.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
                borrowed.detach()
        assert connect_to(fd, ip_address("127.0.0.1", self.server.getsockname()[1]).sockaddr) == 0
        self.stream.open(poller, fd, connecting=True)
        self.socket, _ = self.server.accept()
        self.socket.settimeout(10)

    def receive(self, size):
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            assert part
            data += part
        return data

    def close(self):
        self.stream.close_stream()
        self.socket.close()
        self.server.close()


@pytest.fixture
def peer(poller):
    made = []

    def make(transport, **options):
        made.append(Peer(poller, transport, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_preface_goes_first(poller, peer):
    composed = []

    def compose(stream):
        composed.append(stream)
        return b"hello\n"

    there = peer(Preface(compose))
    there.stream.write(b"data")
    turn_until(poller, lambda: there.stream.events)
    assert there.stream.events == ["connected"]
    assert there.receive(10) == b"hello\ndata"
    assert composed == [there.stream]
    assert there.stream.transport is None
    there.socket.sendall(b"answer")
    turn_until(poller, lambda: there.stream.received == b"answer")
    assert there.stream.bytes_sent == 4


def test_an_empty_preface(poller, peer):
    there = peer(Preface(lambda stream: b""))
    turn_until(poller, lambda: there.stream.events)
    there.stream.write(b"x")
    turn_until(poller, lambda: not there.stream.unsent)
    assert there.receive(1) == b"x"


def test_a_preface_that_the_socket_does_not_take_at_once(poller, peer):
    preface = bytes(range(256)) * 16384
    there = peer(Preface(lambda stream: preface), send_buffer=4096)
    there.socket.sendall(b"early")
    there.stream.write(b"end")
    poller.wait(1000)
    assert there.stream.events == []
    received = bytearray()
    there.socket.setblocking(False)

    def read():
        try:
            received.extend(there.socket.recv(1 << 20))
        except BlockingIOError:
            pass
        return len(received) == len(preface) + 3

    turn_until(poller, read)
    assert received == preface + b"end"
    turn_until(poller, lambda: there.stream.received == b"early")
    assert there.stream.events == ["connected"]


def test_prefaces_in_a_row(poller, peer):
    there = peer(Preface(lambda stream: b"outer,", Preface(lambda stream: b"inner,")))
    there.stream.write(b"data")
    turn_until(poller, lambda: there.stream.events)
    assert there.receive(16) == b"outer,inner,data"


def accepts(answer):
    """As HTTP proxies answer."""
    if b"\n\n" not in answer:
        return 0
    return answer.index(b"\n\n") + 2 if answer.startswith(b"ok") else -1


def test_a_tunnel_waits_for_its_answer(poller, peer):
    there = peer(Tunnel(lambda stream: b"CONNECT", accepts))
    there.stream.write(b"data")
    turn_until(poller, lambda: there.stream.events == ["connected"])
    assert there.receive(7) == b"CONNECT"
    there.socket.sendall(b"o")
    poller.wait(1000)
    assert there.stream.unsent == 4
    there.socket.sendall(b"k\n\nfirst")
    turn_until(poller, lambda: not there.stream.unsent)
    assert there.receive(4) == b"data"
    turn_until(poller, lambda: there.stream.received == b"first")
    assert there.stream.events == ["connected"]


def test_a_tunnel_to_a_preface(poller, peer):
    there = peer(Tunnel(lambda stream: b"CONNECT", accepts, Preface(lambda stream: b"inner")))
    poller.wait(1000)
    assert there.receive(7) == b"CONNECT"
    assert there.stream.events == []
    there.socket.sendall(b"ok\n\n")
    turn_until(poller, lambda: there.stream.events == ["connected"])
    assert there.receive(5) == b"inner"


@pytest.mark.parametrize("answer", [b"no\n\n", b"ok" + b"x" * 1998])
def test_a_tunnel_that_is_refused(poller, peer, answer):
    there = peer(Tunnel(lambda stream: b"CONNECT", accepts))
    there.socket.sendall(answer)
    turn_until(poller, lambda: there.stream.errors)
    assert there.stream.errors == [errno.ECONNABORTED]


def test_a_tunnel_whose_proxy_goes(poller, peer):
    there = peer(Tunnel(lambda stream: b"CONNECT", accepts))
    there.socket.sendall(b"ok")
    there.socket.shutdown(socket.SHUT_WR)
    turn_until(poller, lambda: there.stream.reads)
    assert there.stream.reads == [(b"", True)]


def test_an_observer(poller, peer):
    told = []
    observed = Observed(lambda stream: told.append("connected"), lambda stream: told.append(stream.fd >= 0))
    there = peer(observed)
    there.stream.write(b"data")
    turn_until(poller, lambda: there.stream.events)
    assert there.receive(4) == b"data"
    there.socket.sendall(b"answer")
    turn_until(poller, lambda: there.stream.received == b"answer")
    there.stream.shutdown_write()
    poller.wait(1000)
    assert there.socket.recv(1) == b""
    assert told == ["connected"]
    there.stream.close_stream()
    there.stream.close_stream()
    assert told == ["connected", True]


def test_an_observer_of_a_preface(poller, peer):
    there = peer(Preface(lambda stream: b"outer,", Observed(lambda stream: None, lambda stream: None)))
    there.stream.write(b"data")
    turn_until(poller, lambda: there.stream.events)
    assert there.receive(10) == b"outer,data"


def test_plain_until_told_otherwise(poller, peer):
    there = peer(StartTls(Preface(lambda stream: b"hello,")))
    there.stream.write(b"plain,")
    turn_until(poller, lambda: there.stream.events == ["connected"])
    assert there.receive(6) == b"plain,"
    there.socket.sendall(b"go")
    turn_until(poller, lambda: there.stream.received == b"go")
    there.stream.transport.start_secure(there.stream)
    there.stream.write(b"secure")
    turn_until(poller, lambda: not there.stream.unsent)
    assert there.receive(12) == b"hello,secure"
    assert there.stream.events == ["connected", "connected"]


def test_an_observer_stays_when_the_preface_behind_it_has_gone(poller, peer):
    told = []
    observed = Observed(
        lambda stream: told.append("connected"),
        lambda stream: told.append("closing"),
        Tunnel(lambda stream: b"CONNECT", accepts, Preface(lambda stream: b"inner,")),
    )
    there = peer(observed)
    there.stream.write(b"data")
    poller.wait(1000)
    there.socket.sendall(b"ok\n\nfirst")
    turn_until(poller, lambda: there.stream.received == b"first")
    assert there.receive(17) == b"CONNECTinner,data"
    assert there.stream.events == ["connected"]
    there.stream.close_stream()
    assert told == ["connected", "closing"]


def test_observers_of_a_session_that_begins_late(poller, peer):
    told = []
    late = StartTls(Preface(lambda stream: b"secure,"))
    outer = Observed(lambda stream: None, lambda stream: told.append("outer"), late)
    there = peer(Observed(lambda stream: None, lambda stream: told.append("outermost"), outer))
    there.stream.write(b"plain,")
    turn_until(poller, lambda: there.stream.events and not there.stream.unsent)
    late.start_secure(there.stream)
    there.stream.write(b"data")
    turn_until(poller, lambda: not there.stream.unsent)
    assert there.receive(17) == b"plain,secure,data"
    there.stream.close_stream()
    assert told == ["outermost", "outer"]
