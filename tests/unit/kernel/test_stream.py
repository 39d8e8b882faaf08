"""Stream over real socket pairs: end of stream, fairness, read-disable, connect, write order."""

import errno
import socket
import struct

import pytest

from proxeny.kernel.epoll import Poller
from proxeny.kernel.sockets import connect_to, open_socket, so_error
from proxeny.kernel.stream import Stream
from proxeny.network.address import ip_address


class Recorder(Stream):
    def __init__(self):
        self.reads = []
        self.errors = []
        self.events = []
        self.on_read = None

    def on_readable(self, eof):
        self.reads.append((self.read_buffer.take(), eof))
        if self.on_read:
            self.on_read()

    def on_writable_drained(self):
        self.events.append("drained")

    def on_bytes_sent(self, n):
        self.events.append(("sent", n))

    def on_connected(self):
        self.events.append("connected")

    def on_early_close(self):
        self.events.append("early close")

    def on_transport_error(self, error):
        self.errors.append(error)
        self.close_stream()

    @property
    def received(self):
        return b"".join(data for data, _ in self.reads)


@pytest.fixture
def poller():
    made = Poller()
    yield made
    made.close()


@pytest.fixture
def pair(poller):
    """A stream and the plain blocking socket at its other end."""
    mine, theirs = socket.socketpair()
    mine.setblocking(False)
    stream = Recorder()
    stream.open(poller, mine.detach())
    theirs.settimeout(10)
    yield stream, theirs
    theirs.close()
    stream.close_stream()


def tcp_pair():
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
    return accepted, client


def turn_until(poller, condition):
    for _ in range(10_000):
        if condition():
            return
        poller.wait(1000)
    raise AssertionError("the condition did not come true")


def test_data_and_fin_in_one_event_are_both_seen(poller, pair):
    stream, peer = pair
    peer.sendall(b"request")
    peer.shutdown(socket.SHUT_WR)
    poller.wait(1000)
    assert stream.reads == [(b"request", True)]
    assert stream.half_closed_remote
    assert poller.wait(0) == 0


def test_a_fin_alone_is_read(poller, pair):
    stream, peer = pair
    peer.sendall(b"a")
    poller.wait(1000)
    peer.close()
    poller.wait(1000)
    assert stream.reads == [(b"a", False), (b"", True)]


def test_a_stream_reads_256_kb_and_then_waits_for_its_next_turn(poller):
    accepted, client = tcp_pair()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    accepted.setblocking(False)
    client.setblocking(False)
    total = 0
    try:
        while total < 3 << 20:
            total += client.send(bytes(65536))
    except BlockingIOError:
        pass
    assert total > 600_000
    stream = Recorder()
    stream.open(poller, accepted.detach())
    poller.wait(1000)
    assert len(stream.reads) == 1
    assert 262_144 <= len(stream.reads[0][0]) < 262_144 + 65_536
    turn_until(poller, lambda: len(stream.received) == total)
    assert all(len(data) < 262_144 + 65_536 for data, _ in stream.reads)
    stream.close_stream()
    client.close()


def test_a_busy_stream_does_not_starve_another(poller, pair):
    quiet, quiet_peer = pair
    accepted, client = tcp_pair()
    accepted.setblocking(False)
    client.setblocking(False)
    busy = Recorder()

    def keep_it_full():
        try:
            while True:
                client.send(bytes(65536))
        except BlockingIOError:
            pass

    busy.on_read = keep_it_full
    busy.open(poller, accepted.detach())
    keep_it_full()
    poller.wait(1000)
    quiet_peer.sendall(b"me too")
    for _ in range(3):
        poller.wait(1000)
    assert quiet.received == b"me too"
    assert len(busy.reads) <= 4
    busy.close_stream()
    client.close()


def test_read_disable_is_counted_and_remembers_the_edge(poller, pair):
    stream, peer = pair
    assert stream.read_disable(True)
    assert not stream.read_disable(True)
    peer.sendall(b"x")
    poller.wait(1000)
    assert not stream.reads
    assert not stream.read_disable(False)
    poller.wait(0)
    assert not stream.reads
    assert stream.read_disable(False)
    poller.wait(1000)
    assert stream.received == b"x"
    with pytest.raises(RuntimeError):
        stream.read_disable(False)


def test_disabling_inside_the_handler_keeps_the_rest_in_the_kernel(poller, pair):
    stream, peer = pair
    stream.on_read = lambda: stream.read_disable_count or stream.read_disable(True)
    peer.sendall(b"one")
    poller.wait(1000)
    peer.sendall(b"two")
    peer.shutdown(socket.SHUT_WR)
    poller.wait(1000)
    assert stream.reads == [(b"one", False)]
    stream.read_disable(False)
    poller.wait(1000)
    assert stream.reads[1:] == [(b"two", True)]


def test_bytes_left_in_the_buffer_are_delivered_again_on_resume(poller):
    seen = []

    class Keeper(Recorder):
        def on_readable(self, eof):
            seen.append((self.read_buffer.peek(), eof))
            if len(seen) == 1:
                self.read_disable(True)

    mine, theirs = socket.socketpair()
    mine.setblocking(False)
    keeper = Keeper()
    keeper.open(poller, mine.detach())
    theirs.sendall(b"kept")
    poller.wait(1000)
    keeper.read_disable(False)
    poller.wait(1000)
    assert seen == [(b"kept", False), (b"kept", False)]
    keeper.close_stream()
    theirs.close()


def test_early_close_is_told_only_while_reads_are_disabled(poller, pair):
    stream, peer = pair
    stream.detect_early_close_now = True
    stream.read_disable(True)
    peer.sendall(b"unread")
    poller.wait(1000)
    assert not stream.events
    peer.close()
    poller.wait(1000)
    assert stream.events == ["early close"] and not stream.reads


def test_early_close_that_came_before_the_disable_is_told_too(poller, pair):
    stream, peer = pair
    stream.detect_early_close_now = True
    stream.read_disable(True)
    stream.detect_early_close_now = False
    peer.close()
    poller.wait(1000)
    assert not stream.events
    stream.detect_early_close_now = True
    stream.read_disable(False)
    stream.read_disable(True)
    poller.wait(1000)
    assert stream.events == ["early close"]


def test_without_detection_the_data_and_the_fin_wait(poller, pair):
    stream, peer = pair
    stream.detect_early_close_now = False
    stream.read_disable(True)
    peer.sendall(b"response")
    peer.close()
    poller.wait(1000)
    poller.wait(0)
    assert not stream.events and not stream.reads
    stream.read_disable(False)
    poller.wait(1000)
    assert stream.reads == [(b"response", True)]


def test_data_before_a_reset_is_delivered_before_the_error(poller):
    accepted, client = tcp_pair()
    accepted.setblocking(False)
    stream = Recorder()
    stream.open(poller, accepted.detach())
    client.sendall(b"last words")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    turn_until(poller, lambda: stream.errors)
    assert stream.received == b"last words"
    assert stream.errors == [errno.ECONNRESET]
    assert stream.fd == -1


def test_writes_of_one_handler_leave_together_and_in_order(poller, pair):
    stream, peer = pair

    def answer():
        stream.write_buffer.append(b"head ")
        poller.mark_dirty(stream)
        stream.write_buffer.append(bytes(5000))
        poller.mark_dirty(stream)

    stream.notify_sent = True
    stream.on_read = answer
    peer.sendall(b"go")
    poller.wait(1000)
    assert stream.events == [("sent", 5005)]
    assert peer.recv(10000) == b"head " + bytes(5000)


def test_a_blocked_write_continues_and_then_ends_the_stream(poller, pair):
    stream, peer = pair
    body = bytes(range(256)) * 20_000
    stream.write_buffer.append(body)
    poller.mark_dirty(stream)
    stream.shutdown_write()
    stream.notify_drained = True
    poller.wait(0)
    assert stream.write_blocked and stream.write_buffer.length
    received = bytearray()
    while True:
        data = peer.recv(65536)
        if not data:
            break
        received += data
        poller.wait(0)
    assert bytes(received) == body
    assert stream.events[-1] == "drained"
    assert stream.bytes_sent == len(body)


def test_a_write_to_a_gone_peer_is_an_error(poller, pair):
    stream, peer = pair
    stream.read_disable(True)
    peer.close()
    stream.write_buffer.append(b"x")
    poller.mark_dirty(stream)
    poller.wait(0)
    assert stream.errors == [errno.EPIPE]


def test_connect_success_sends_what_was_written_before(poller):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = ip_address("127.0.0.1", server.getsockname()[1])
        fd = open_socket(address.family)
        assert connect_to(fd, address.sockaddr) == 0
        stream = Recorder()
        stream.open(poller, fd, True)
        stream.write_buffer.append(b"early")
        poller.mark_dirty(stream)
        turn_until(poller, lambda: stream.events)
        peer, _ = server.accept()
        assert stream.events == ["connected"]
        assert peer.recv(10) == b"early"
        assert so_error(stream.fd) == 0
        peer.close()
        stream.close_stream()


def test_connect_failure_is_reported_while_still_connecting(poller):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = ip_address("127.0.0.1", server.getsockname()[1])
    fd = open_socket(address.family)
    assert connect_to(fd, address.sockaddr) in (0, errno.ECONNREFUSED)
    stream = Recorder()
    stream.open(poller, fd, True)
    turn_until(poller, lambda: stream.errors)
    assert stream.errors == [errno.ECONNREFUSED] and stream.connecting


def test_a_spurious_event_is_harmless(poller, pair):
    stream, peer = pair
    poller.mark_ready(stream)
    poller.wait(0)
    poller.mark_dirty(stream)
    poller.wait(0)
    assert not stream.reads and not stream.errors
    peer.sendall(b"fine")
    poller.wait(1000)
    assert stream.received == b"fine"


def test_close_with_reset(poller):
    accepted, client = tcp_pair()
    accepted.setblocking(False)
    stream = Recorder()
    stream.open(poller, accepted.detach())
    stream.close_stream(True)
    stream.close_stream(True)
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    client.close()


def test_an_idle_stream_holds_no_memory_for_its_buffers(poller, pair):
    stream, peer = pair
    for _ in range(3):
        peer.sendall(b"ping")
        poller.wait(1000)
    assert stream.read_buffer.length == 0
    assert stream.bytes_received == 12
