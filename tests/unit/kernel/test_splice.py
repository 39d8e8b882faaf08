"""SplicePump and PipePool: bytes arrive whole and in order, by buffer and by pipe, under back-pressure and closes."""

import os
import random
import socket
import threading

import pytest

from proxeny.kernel.epoll import Poller
from proxeny.kernel.splice import PipePool, SplicePump
from proxeny.kernel.stream import Stream


class Leg(Stream):
    def __init__(self):
        self.ended = 0
        self.errors = []
        self.other = None

    def on_readable(self, eof):
        if eof:
            self.ended += 1
            self.other.shutdown_write()

    def on_transport_error(self, error):
        self.errors.append(error)
        self.close_stream()


def tcp_leg(poller):
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
    accepted.setblocking(False)
    leg = Leg()
    leg.open(poller, accepted.detach())
    peer.settimeout(20)
    return leg, peer


@pytest.fixture
def relay():
    """Two TCP legs with pumps both ways: (poller, pool, pump there, pump back, client socket, server socket)."""
    poller, pool = Poller(), PipePool(4)
    left, client = tcp_leg(poller)
    right, server = tcp_leg(poller)
    left.other, right.other = right, left
    there, back = SplicePump(left, right, pool), SplicePump(right, left, pool)
    there.attach()
    back.attach()
    yield poller, pool, there, back, client, server
    for end in (client, server):
        end.close()
    for leg in (left, right):
        leg.close_stream()
    poller.close()


def send_all(peer, data):
    def run():
        peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def receive(peer, poller, pause=False):
    """Everything up to the end of the stream; reads only now and then when `pause`."""
    out = bytearray()
    peer.setblocking(False)
    generator = random.Random(1)
    while True:
        poller.wait(1)
        if pause and generator.random() < 0.7:
            continue
        try:
            data = peer.recv(200_000)
        except BlockingIOError:
            continue
        if not data:
            return bytes(out)
        out += data


def test_small_messages_go_through_the_buffers(relay):
    poller, pool, there, back, client, server = relay
    for number in range(20):
        client.sendall(b"ping %d" % number)
        poller.wait(1000)
        assert server.recv(100) == b"ping %d" % number
        server.sendall(b"pong")
        poller.wait(1000)
        assert client.recv(100) == b"pong"
    assert there.spliced == back.spliced == 0
    assert pool.statistics() == {"made": 0, "idle": 0}


def test_bulk_is_spliced_whole_and_in_order(relay):
    poller, pool, there, _back, client, server = relay
    body = random.Random(2).randbytes(8_000_000)
    thread = send_all(client, body)
    assert receive(server, poller) == body
    thread.join()
    assert there.moved == len(body) and there.spliced > 0
    assert there.source.ended == 1 and there.source.bytes_received == len(body) == there.sink.bytes_sent
    assert pool.statistics()["idle"] == pool.made


def test_a_slow_reader_stops_the_source_and_loses_nothing(relay):
    poller, pool, _there, _back, client, server = relay
    body = random.Random(3).randbytes(6_000_000)
    thread = send_all(client, body)
    assert receive(server, poller, pause=True) == body
    thread.join()
    assert pool.statistics()["idle"] == pool.made


def test_both_directions_at_once(relay):
    poller, _pool, _there, _back, client, server = relay
    up, down = random.Random(4).randbytes(3_000_000), random.Random(5).randbytes(3_000_000)
    threads = [send_all(client, up), send_all(server, down)]
    got = {}
    reader = threading.Thread(target=lambda: got.update(down=read_blocking(client)))
    reader.start()
    got["up"] = receive(server, poller)
    while reader.is_alive():
        poller.wait(1)
    for thread in (*threads, reader):
        thread.join()
    assert got == {"up": up, "down": down}


def read_blocking(peer):
    out = bytearray()
    while data := peer.recv(200_000):
        out += data
    return bytes(out)


def test_without_pipes_the_buffers_do_the_work(relay):
    poller, _, there, back, client, server = relay
    there.detach()
    empty = PipePool(0)
    again = SplicePump(back.sink, back.source, empty)
    again.attach()
    body = random.Random(6).randbytes(2_000_000)
    thread = send_all(client, body)
    assert receive(server, poller) == body
    thread.join()
    assert again.spliced == 0 and empty.made == 0


def test_bytes_read_before_the_pump_are_moved_first(relay):
    poller, pool, there, _back, client, server = relay
    source, sink = there.source, there.sink
    there.detach()
    client.sendall(b"early ")
    poller.wait(1000)
    assert source.read_buffer.peek() == b"early "
    SplicePump(source, sink, pool).attach()
    client.sendall(b"late")
    out = b""
    while out != b"early late":
        poller.wait(1000)
        out += server.recv(100)


def test_what_is_in_the_pipe_still_arrives_when_the_source_is_gone(relay):
    poller, pool, there, _back, client, server = relay
    client.setblocking(False)
    sent = 0
    while not there.in_pipe:
        try:
            sent += client.send(bytes(100_000))
        except BlockingIOError:
            poller.wait(1)
    sink = there.sink
    assert sink.unsent >= there.in_pipe
    arrived = there.moved
    there.source.close_stream()
    sink.shutdown_write()
    assert len(receive(server, poller)) == arrived
    assert pool.statistics()["idle"] == pool.made == 1


def test_a_pipe_with_bytes_of_a_dead_sink_is_never_lent_again(relay):
    poller, pool, there, _back, client, _server = relay
    client.setblocking(False)
    while not there.in_pipe:
        try:
            client.send(bytes(100_000))
        except BlockingIOError:
            poller.wait(1)
    there.sink.close_stream()
    assert pool.statistics() == {"made": 0, "idle": 0}


def test_a_pump_that_is_dropped_while_it_runs(relay):
    poller, _pool, there, back, client, server = relay
    left, right = there.source, there.sink
    del there, back

    def close_both(eof):
        left.close_stream()
        right.close_stream()

    class Closer(Leg):
        def on_readable(self, eof):
            close_both(eof)

    server.shutdown(socket.SHUT_WR)
    client.shutdown(socket.SHUT_WR)
    right.on_transport_error(1)
    left.on_transport_error(1)
    poller.wait(0)
    assert left.fd == right.fd == -1


def test_the_idle_timer_starts_anew_when_bytes_move(relay):
    poller, pool, there, _back, client, _server = relay
    source, sink = there.source, there.sink
    there.detach()
    timer = poller.wheel.create(lambda: None)
    SplicePump(source, sink, pool, timer, 5000).attach()
    poller.wait(0)
    assert not timer.enabled
    client.sendall(b"x")
    poller.wait(1000)
    assert timer.enabled
    assert timer.deadline_ms == poller.wheel.now_ms + 5000


def test_descriptors_of_the_pool_are_given_back():
    before = set(os.listdir("/proc/self/fd"))
    poller, pool = Poller(), PipePool(2)
    left, client = tcp_leg(poller)
    right, server = tcp_leg(poller)
    left.other, right.other = right, left
    SplicePump(left, right, pool).attach()
    thread = send_all(client, bytes(3_000_000))
    assert len(receive(server, poller)) == 3_000_000
    thread.join()
    assert pool.made >= 1
    left.close_stream()
    right.close_stream()
    client.close()
    server.close()
    poller.close()
    del pool, left, right, poller
    assert set(os.listdir("/proc/self/fd")) <= before
