"""Listener filters over real sockets: order, peeking, draining, waiting, time-outs, hang-ups, hand-off."""

import socket
import struct
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.listener.conftest import ECHO, listener_proto

from proxeny.listener import stats as s
from proxeny.listener.config import ListenerConfig
from proxeny.listener.connection_handler import ConnectionHandler
from proxeny.listener.filter import ListenerFilter
from proxeny.listener.socket_factory import ListenSocketFactory
from proxeny.network.address import ip_address
from proxeny.network.factory_context import FactoryContext
from proxeny.network.filter import FilterStatus

CONTINUE, STOP = FilterStatus.CONTINUE, FilterStatus.STOP_ITERATION


class Reads(ListenerFilter):
    """Waits for ``most`` bytes, or an end of line, and writes down what it was shown."""

    def __init__(self, seen: list[bytes], most: int = 64, drains: int = 0) -> None:
        self.seen = seen
        self.max_read_bytes = most
        self.drains = drains
        self.closed = False

    def on_accept(self) -> FilterStatus:
        return STOP

    def on_data(self, data: bytes) -> FilterStatus:
        self.seen.append(data)
        if b"\n" not in data and len(data) < self.max_read_bytes:
            return STOP
        self.socket.drain(self.drains)
        return CONTINUE

    def on_close(self) -> None:
        self.closed = True


class Calls(ListenerFilter):
    """Runs a function on accept."""

    def __init__(self, function: Callable[[Any], FilterStatus]) -> None:
        self.function = function

    def on_accept(self) -> FilterStatus:
        return self.function(self.socket)


class Fixture:
    """A handler with listeners whose filters the test makes."""

    def __init__(self, context: FactoryContext) -> None:
        assert context.dispatcher is not None
        self.context = context
        self.dispatcher = context.dispatcher
        self.handler = ConnectionHandler(context)
        self.sockets: list[ListenSocketFactory] = []
        self.clients: list[socket.socket] = []

    def listener(self, *makers: Callable[[], ListenerFilter], **fields: Any) -> Any:
        config = ListenerConfig.compile(listener_proto(**{"name": f"l{len(self.sockets)}", **fields}), self.context)
        config.listener_filters = tuple((SimpleNamespace(name="test", create=make), None) for make in makers)
        sockets = ListenSocketFactory(config, 1)
        self.sockets.append(sockets)
        listener = self.handler.add_listener(len(self.sockets), config, [socket.dup(fd) for fd in sockets.fds(0)])
        return listener

    def connect(self, at: int = 0) -> socket.socket:
        to = self.sockets[at].addresses[0]
        client = socket.create_connection((to.ip, to.port))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.clients.append(client)
        return client

    def wait(self, predicate: Callable[[], object]) -> None:
        self.dispatcher.run_until(predicate)

    def received(self, client: socket.socket, size: int) -> bytes:
        client.setblocking(False)
        data = bytearray()

        def more() -> bool:
            try:
                data.extend(client.recv(65536))
            except BlockingIOError:
                pass
            return len(data) >= size

        self.wait(more)
        return bytes(data)

    def ended(self, client: socket.socket) -> bool:
        client.setblocking(False)
        try:
            return client.recv(1) == b""
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.handler.close()
        self.dispatcher.run_once()
        for sockets in self.sockets:
            sockets.close()
        for client in self.clients:
            client.close()


@pytest.fixture
def fixture(context: FactoryContext) -> Iterator[Fixture]:
    made = Fixture(context)
    yield made
    made.close()


def test_peeked_bytes_reach_the_connection_whatever_the_split(fixture: Fixture) -> None:
    seen: list[bytes] = []
    listener = fixture.listener(lambda: Reads(seen))
    text = b"hello there\n"
    for split in range(1, len(text)):
        seen.clear()
        client = fixture.connect()
        client.sendall(text[:split])
        fixture.wait(lambda: seen)
        assert not listener.connections
        client.sendall(text[split:])
        assert fixture.received(client, len(text)) == text
        assert seen[0] == text[:split] and seen[-1] == text
        client.close()
        fixture.wait(lambda: not listener.connections)
    assert listener.config.stats.get(s.PRE_CX_ACTIVE) == 0


def test_one_filter_drains_and_the_next_sees_the_rest(fixture: Fixture) -> None:
    first: list[bytes] = []
    second: list[bytes] = []
    fixture.listener(lambda: Reads(first, 5, drains=5), lambda: Reads(second, 4))
    client = fixture.connect()
    client.sendall(b"12345abcdef")
    assert fixture.received(client, 6) == b"abcdef"
    assert (first, second) == ([b"12345"], [b"abcd"])


def test_a_filter_may_ask_for_more_than_it_first_said(fixture: Fixture) -> None:
    seen: list[bytes] = []

    class Grows(Reads):
        def on_data(self, data: bytes) -> FilterStatus:
            self.seen.append(data)
            if len(data) == 8:
                return CONTINUE
            self.max_read_bytes = 8
            return STOP

    fixture.listener(lambda: Grows(seen, 2))
    client = fixture.connect()
    client.sendall(b"12345678")
    assert fixture.received(client, 8) == b"12345678"
    assert seen == [b"12", b"12345678"]


def test_one_that_waits_for_something_else_continues_later(fixture: Fixture) -> None:
    waiting: list[Any] = []

    def wait(accepted: Any) -> FilterStatus:
        waiting.append(accepted)
        return STOP

    listener = fixture.listener(lambda: Calls(wait))
    client = fixture.connect()
    client.sendall(b"x")
    fixture.wait(lambda: waiting)
    fixture.dispatcher.run_once()
    assert listener.config.stats.get(s.PRE_CX_ACTIVE) == 1
    waiting[0].continue_filter_chain(True)
    assert fixture.received(client, 1) == b"x"
    other = fixture.connect()
    fixture.wait(lambda: len(waiting) == 2)
    waiting[1].continue_filter_chain(False)
    fixture.wait(lambda: fixture.ended(other))
    assert listener.config.stats.get(s.CX_TOTAL) == 1


@pytest.mark.parametrize("reset", [False, True])
def test_the_peer_hangs_up(fixture: Fixture, reset: bool) -> None:
    made: list[Reads] = []

    def make() -> Reads:
        made.append(Reads([]))
        return made[-1]

    listener = fixture.listener(make)
    client = fixture.connect()
    fixture.wait(lambda: listener.sockets)
    if reset:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    slot = s.LISTENER_FILTER_ERROR if reset else s.LISTENER_FILTER_REMOTE_CLOSE
    fixture.wait(lambda: listener.config.stats.get(slot) == 1)
    assert made[0].closed and not listener.sockets
    assert listener.config.stats.get(s.PRE_CX_ACTIVE) == 0
    assert listener.config.stats.get(s.CX_TOTAL) == 0


def test_the_peer_hangs_up_behind_less_than_was_wanted(fixture: Fixture) -> None:
    made: list[Reads] = []

    def make() -> Reads:
        made.append(Reads([]))
        return made[-1]

    listener = fixture.listener(make)
    client = fixture.connect()
    client.sendall(b"half")
    fixture.wait(lambda: made and made[0].seen)
    client.close()
    fixture.wait(lambda: listener.config.stats.get(s.LISTENER_FILTER_REMOTE_CLOSE) == 1)
    assert made[0].closed and not listener.sockets


def test_the_client_that_a_filter_found_is_the_one_of_the_connection(fixture: Fixture) -> None:
    found = ip_address("192.0.2.7", 7)

    def find(accepted: Any) -> FilterStatus:
        assert accepted.stream_info.downstream_remote_address.ip == "127.0.0.1"
        accepted.connection_info.remote_address = found
        return CONTINUE

    listener = fixture.listener(lambda: Calls(find))
    fixture.connect()
    fixture.wait(lambda: listener.connections)
    (active,) = listener.connections
    assert active.connection.stream_info.downstream_remote_address == found


def test_the_time_out_closes_or_continues(fixture: Fixture) -> None:
    closes = fixture.listener(lambda: Reads([]), listener_filters_timeout="0.005s")
    client = fixture.connect()
    fixture.wait(lambda: fixture.ended(client))
    assert closes.config.stats.get(s.PRE_CX_TIMEOUT) == 1
    assert closes.config.stats.get(s.CX_TOTAL) == 0
    goes_on = fixture.listener(
        lambda: Reads([]), listener_filters_timeout="0.005s", continue_on_listener_filters_timeout=True
    )
    client = fixture.connect(1)
    client.sendall(b"no end of line")
    assert fixture.received(client, 14) == b"no end of line"
    assert goes_on.config.stats.get(s.PRE_CX_TIMEOUT) == 2


def test_a_filter_that_closes_or_fails_ends_its_socket_only(fixture: Fixture) -> None:
    def refuse(accepted: Any) -> FilterStatus:
        accepted.close("refused")
        return STOP

    def fail(accepted: Any) -> FilterStatus:
        raise RuntimeError("a bug")

    functions = iter([refuse, fail, lambda accepted: CONTINUE])
    listener = fixture.listener(lambda: Calls(next(functions)))
    for _ in range(2):
        client = fixture.connect()
        fixture.wait(lambda client=client: fixture.ended(client))
    client = fixture.connect()
    client.sendall(b"fine")
    assert fixture.received(client, 4) == b"fine"
    assert listener.config.stats.get(s.PRE_CX_ACTIVE) == 0


def test_a_filter_that_fails_on_data(fixture: Fixture) -> None:
    class Fails(Reads):
        def on_data(self, data: bytes) -> FilterStatus:
            raise RuntimeError("a bug")

    listener = fixture.listener(lambda: Fails([]))
    client = fixture.connect()
    fixture.wait(lambda: listener.sockets)
    client.sendall(b"x")
    fixture.wait(lambda: fixture.ended(client))
    assert not listener.sockets and listener.config.stats.get(s.PRE_CX_ACTIVE) == 0


def restores(ip: str, port: int) -> Callable[[], ListenerFilter]:
    def restore(accepted: Any) -> FilterStatus:
        accepted.restore_local_address(ip_address(ip, port))
        return CONTINUE

    return lambda: Calls(restore)


def test_hand_off_to_the_exact_address_then_the_wildcard_then_nobody(fixture: Fixture) -> None:
    destination = ["10.1.1.1"]

    def restore(accepted: Any) -> FilterStatus:
        accepted.restore_local_address(ip_address(destination[0], 8080))
        return CONTINUE

    def not_binding(ip: str) -> Any:
        address = {"socket_address": {"address": ip, "port_value": 8080}}
        return fixture.listener(address=address, bind_to_port=False, filter_chains=[{"filters": [ECHO]}])

    redirect = fixture.listener(lambda: Calls(restore), use_original_dst=True)
    exact = not_binding("10.1.1.1")
    wildcard = not_binding("0.0.0.0")

    def goes_to(ip: str, listener: Any) -> None:
        destination[0] = ip
        before = len(listener.connections)
        client = fixture.connect()
        client.sendall(b"hi")
        assert fixture.received(client, 2) == b"hi"
        assert len(listener.connections) == before + 1
        active = list(listener.connections)[-1]
        info = active.connection.connection_info
        assert info.local_address == ip_address(ip, 8080)
        assert info.direct_local_address.port == fixture.sockets[0].addresses[0].port
        assert info.local_address_restored and info.connection_id == active.connection.id

    goes_to("10.1.1.1", exact)
    goes_to("10.1.1.2", wildcard)
    exact.stop()
    goes_to("10.1.1.1", wildcard)
    wildcard.stop()
    goes_to("10.1.1.1", redirect)
    assert redirect.config.stats.get(s.PRE_CX_ACTIVE) == 0


def test_without_use_original_dst_the_connection_stays(fixture: Fixture) -> None:
    redirect = fixture.listener(restores("10.1.1.1", 8080))
    address = {"socket_address": {"address": "10.1.1.1", "port_value": 8080}}
    fixture.listener(address=address, bind_to_port=False)
    client = fixture.connect()
    client.sendall(b"hi")
    assert fixture.received(client, 2) == b"hi"
    assert len(redirect.connections) == 1


def test_removing_the_listener_ends_the_sockets_that_wait(fixture: Fixture) -> None:
    listener = fixture.listener(lambda: Reads([]))
    client = fixture.connect()
    fixture.wait(lambda: listener.sockets)
    fixture.handler.remove_listener(1)
    fixture.wait(lambda: fixture.ended(client))
    assert not listener.sockets


@pytest.mark.parametrize("text", [b"", b"not a line"])
def test_a_peer_that_ends_before_a_filter_has_enough_is_let_go(fixture: Fixture, text: bytes) -> None:
    made: list[Reads] = []

    def make() -> Reads:
        made.append(Reads([]))
        return made[-1]

    listener = fixture.listener(make)
    client = fixture.connect()
    client.sendall(text)
    client.shutdown(socket.SHUT_WR)
    fixture.wait(lambda: fixture.ended(client))
    assert made[0].closed
    assert listener.config.stats.get(s.LISTENER_FILTER_REMOTE_CLOSE) == 1
    assert listener.config.stats.get(s.PRE_CX_ACTIVE) == 0


def test_all_that_a_peer_sent_before_its_end_is_used(fixture: Fixture) -> None:
    listener = fixture.listener(lambda: Reads([], drains=3), lambda: Reads([]))
    client = fixture.connect()
    client.sendall(b"ab\ncd\n")
    client.shutdown(socket.SHUT_WR)
    fixture.wait(lambda: listener.config.stats.get(s.CX_TOTAL) == 1)
    # The end came once, while the first filter waited; the second one would wait for ever.
    late = fixture.connect()
    late.sendall(b"ab\ncd")
    late.shutdown(socket.SHUT_WR)
    fixture.wait(lambda: fixture.ended(late))
    assert listener.config.stats.get(s.LISTENER_FILTER_REMOTE_CLOSE) == 1


def test_a_reset_between_peek_and_drain_ends_the_socket(fixture: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def reset(fd: int, size: int) -> None:
        raise ConnectionResetError(104, "recv")

    monkeypatch.setattr("proxeny.listener.active_tcp_socket.discard", reset)
    listener = fixture.listener(lambda: Reads([], drains=3), lambda: Reads([]))
    client = fixture.connect()
    client.sendall(b"ab\ncd\n")
    fixture.wait(lambda: fixture.ended(client))
    assert listener.config.stats.get(s.LISTENER_FILTER_ERROR) == 1
    assert listener.config.stats.get(s.PRE_CX_ACTIVE) == 0
