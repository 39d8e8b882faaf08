"""Connection over real sockets: Envoy's ways of closing, half-close, watermarks, filters, callbacks."""

import socket
import struct

import pytest

from proxeny.event.dispatcher import Dispatcher
from proxeny.event.time_source import SimulatedTimeSource
from proxeny.kernel.buffer import Buffer
from proxeny.network.address import ip_address, pipe_address
from proxeny.network.connection import ClientConnection, ServerConnection
from proxeny.network.filter import (
    ConnectionCallbacks,
    ConnectionCloseType,
    ConnectionEvent,
    ConnectionState,
    FilterStatus,
    NetworkFilter,
)
from proxeny.stats.schema import Schema
from proxeny.stats.store import MainStore

LOCAL, REMOTE = ip_address("127.0.0.1", 1), ip_address("127.0.0.1", 2)
REMOTE_CLOSE, LOCAL_CLOSE, CONNECTED = (
    ConnectionEvent.REMOTE_CLOSE,
    ConnectionEvent.LOCAL_CLOSE,
    ConnectionEvent.CONNECTED,
)


class Recorder(ConnectionCallbacks):
    def __init__(self):
        self.events = []

    def on_event(self, event):
        self.events.append(event)

    def on_above_write_buffer_high_watermark(self):
        self.events.append("above")

    def on_below_write_buffer_low_watermark(self):
        self.events.append("below")


class Reader(NetworkFilter):
    def __init__(self, keep=False, action=None):
        self.data = []
        self.news = 0
        self.keep = keep
        self.action = action

    def on_new_connection(self):
        self.news += 1
        return FilterStatus.CONTINUE

    def on_data(self, data, end_stream):
        self.data.append((data.peek() if self.keep else data.take(), end_stream))
        if self.action:
            self.action()
        return FilterStatus.STOP_ITERATION if self.keep else FilterStatus.CONTINUE


@pytest.fixture
def dispatcher():
    made = Dispatcher()
    yield made
    made.close()


@pytest.fixture
def setup(dispatcher):
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
    accepted.setblocking(False)
    peer.settimeout(10)
    connection = ServerConnection(dispatcher, accepted.detach(), LOCAL, REMOTE)
    callbacks = Recorder()
    connection.add_connection_callbacks(callbacks)
    yield connection, peer, callbacks
    peer.close()
    connection.close(ConnectionCloseType.NO_FLUSH)


def fill(connection, dispatcher):
    """Write more than the sockets take; returns what was written."""
    body = bytes(range(256)) * 40_000
    connection.write(body)
    dispatcher.run_once()
    assert connection.write_buffer.length
    return body


def read_all(peer, dispatcher):
    out = bytearray()
    peer.settimeout(0.002)
    while True:
        try:
            data = peer.recv(262_144)
        except TimeoutError:
            dispatcher.run_once()
            continue
        if not data:
            return bytes(out)
        out += data
        dispatcher.run_once()


def test_echo_through_a_filter(dispatcher, setup):
    connection, peer, _callbacks = setup
    reader = Reader(action=lambda: connection.write(b"pong"))
    connection.add_filter(reader)
    assert connection.initialize_read_filters()
    peer.sendall(b"ping")
    dispatcher.run_until(lambda: reader.data)
    assert peer.recv(10) == b"pong"
    assert reader.data == [(b"ping", False)] and reader.news == 1
    assert connection.statistics()["bytes_received"] == 4
    assert "OPEN" in repr(connection)


def test_without_filters_there_is_nothing_to_initialize(setup):
    assert not setup[0].initialize_read_filters()


def test_remote_close_delivers_data_first(dispatcher, setup):
    connection, peer, callbacks = setup
    reader = Reader()
    connection.add_filter(reader)
    connection.initialize_read_filters()
    peer.sendall(b"bye")
    peer.shutdown(socket.SHUT_WR)
    dispatcher.run_until(lambda: callbacks.events)
    assert reader.data == [(b"bye", False)]
    assert callbacks.events == [REMOTE_CLOSE] and connection.state is ConnectionState.CLOSED
    connection.close(ConnectionCloseType.NO_FLUSH)
    connection.write(b"nobody listens")
    assert callbacks.events == [REMOTE_CLOSE]


def test_remote_reset(dispatcher, setup):
    connection, peer, callbacks = setup
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    dispatcher.run_until(lambda: callbacks.events)
    assert callbacks.events == [REMOTE_CLOSE] and connection.remote_reset


def test_half_close_the_peer_first(dispatcher, setup):
    connection, peer, callbacks = setup
    connection.enable_half_close(True)
    reader = Reader()
    connection.add_filter(reader)
    connection.initialize_read_filters()
    peer.sendall(b"question")
    peer.shutdown(socket.SHUT_WR)
    dispatcher.run_until(lambda: reader.data)
    assert reader.data == [(b"question", True)] and not callbacks.events
    connection.write(b"answer", True)
    dispatcher.run_until(lambda: callbacks.events)
    assert callbacks.events == [LOCAL_CLOSE]
    assert peer.recv(100) == b"answer" and peer.recv(100) == b""


def test_half_close_we_first(dispatcher, setup):
    connection, peer, callbacks = setup
    connection.enable_half_close(True)
    reader = Reader()
    connection.add_filter(reader)
    connection.initialize_read_filters()
    connection.write(b"done", True)
    dispatcher.run_once()
    assert peer.recv(100) == b"done" and peer.recv(100) == b""
    assert not callbacks.events
    peer.sendall(b"still here")
    peer.shutdown(socket.SHUT_WR)
    dispatcher.run_until(lambda: callbacks.events)
    assert b"".join(data for data, _ in reader.data) == b"still here"
    assert reader.data[-1][1]
    assert callbacks.events == [REMOTE_CLOSE]


def test_half_close_of_both_with_data_still_to_be_sent(dispatcher, setup):
    connection, peer, callbacks = setup
    connection.enable_half_close(True)
    reader = Reader()
    connection.add_filter(reader)
    connection.initialize_read_filters()
    body = fill(connection, dispatcher)
    connection.write(b"", True)
    peer.shutdown(socket.SHUT_WR)
    dispatcher.run_until(lambda: reader.data)
    assert not callbacks.events
    assert read_all(peer, dispatcher) == body
    dispatcher.run_until(lambda: callbacks.events)
    assert callbacks.events == [LOCAL_CLOSE]


def test_flush_write_sends_everything_and_closes(dispatcher, setup):
    connection, peer, callbacks = setup
    body = fill(connection, dispatcher)
    connection.close(ConnectionCloseType.FLUSH_WRITE, "done")
    assert connection.state is ConnectionState.CLOSING and not callbacks.events
    assert read_all(peer, dispatcher) == body
    dispatcher.run_until(lambda: callbacks.events)
    assert callbacks.events == [LOCAL_CLOSE]
    assert connection.connection_info.local_close_reason == "done"


def test_flush_write_without_data_closes_now(dispatcher, setup):
    connection, peer, callbacks = setup
    connection.close(ConnectionCloseType.FLUSH_WRITE)
    assert callbacks.events == [LOCAL_CLOSE]
    assert peer.recv(1) == b""


def test_no_flush_loses_what_the_socket_does_not_take(dispatcher, setup):
    connection, peer, callbacks = setup
    body = fill(connection, dispatcher)
    connection.close(ConnectionCloseType.NO_FLUSH)
    assert callbacks.events == [LOCAL_CLOSE]
    assert len(read_all(peer, dispatcher)) < len(body)


def test_no_flush_sends_what_the_socket_takes_at_once(dispatcher, setup):
    connection, peer, callbacks = setup
    connection.write(b"last words")
    connection.close(ConnectionCloseType.NO_FLUSH)
    assert callbacks.events == [LOCAL_CLOSE]
    assert peer.recv(100) == b"last words"


def test_abort_resets(dispatcher, setup):
    connection, peer, callbacks = setup
    connection.close(ConnectionCloseType.ABORT_RESET)
    assert callbacks.events == [LOCAL_CLOSE]
    with pytest.raises(ConnectionResetError):
        peer.recv(1)


def simulated():
    source = SimulatedTimeSource()
    dispatcher = Dispatcher(source)
    mine, peer = socket.socketpair()
    mine.setblocking(False)
    connection = ServerConnection(dispatcher, mine.detach(), LOCAL, pipe_address(""))
    callbacks = Recorder()
    connection.add_connection_callbacks(callbacks)
    connection.set_delayed_close_timeout_ms(1000)
    counted = []
    connection.on_delayed_close_timeout = lambda: counted.append(1)
    return source, dispatcher, connection, peer, callbacks, counted


def test_delayed_close_ends_by_its_timeout():
    source, dispatcher, connection, peer, callbacks, counted = simulated()
    connection.write(b"error page")
    connection.close(ConnectionCloseType.FLUSH_WRITE_AND_DELAY)
    dispatcher.run_once()
    assert peer.recv(100) == b"error page"
    source.advance_ms(999)
    dispatcher.run_once()
    assert connection.state is ConnectionState.CLOSING and not counted
    source.advance_ms(2)
    dispatcher.run_once()
    assert callbacks.events == [LOCAL_CLOSE] and counted == [1]
    assert connection.connection_info.local_close_reason == "triggered_delayed_close_timeout"
    peer.close()
    dispatcher.close()


def test_delayed_close_ends_when_the_peer_hangs_up():
    _source, dispatcher, connection, peer, callbacks, counted = simulated()
    connection.close(ConnectionCloseType.FLUSH_WRITE_AND_DELAY)
    peer.sendall(b"ignored")
    dispatcher.run_once()
    assert not callbacks.events
    peer.close()
    dispatcher.run_until(lambda: callbacks.events)
    assert callbacks.events == [REMOTE_CLOSE] and not counted
    dispatcher.close()


def test_delayed_close_counts_from_the_last_progress():
    source, dispatcher, connection, peer, callbacks, counted = simulated()
    fill(connection, dispatcher)
    connection.close(ConnectionCloseType.FLUSH_WRITE)
    source.advance_ms(900)
    peer.recv(1 << 20)
    dispatcher.run_once()
    source.advance_ms(900)
    dispatcher.run_once()
    assert connection.state is ConnectionState.CLOSING and not counted
    source.advance_ms(200)
    dispatcher.run_once()
    assert callbacks.events == [LOCAL_CLOSE] and counted == [1]
    peer.close()
    dispatcher.close()


def test_watermarks_reach_the_callbacks(dispatcher, setup):
    connection, peer, callbacks = setup
    connection.set_buffer_limits(100_000)
    body = fill(connection, dispatcher)
    assert callbacks.events == ["above"] and connection.above_high_watermark
    connection.write(b"", True)
    assert read_all(peer, dispatcher) == body
    assert callbacks.events == ["above", "below"]


def test_a_full_read_buffer_stops_reading_until_it_is_drained(dispatcher, setup):
    connection, peer, _callbacks = setup
    connection.set_buffer_limits(1000)
    reader = Reader(keep=True)
    connection.add_filter(reader)
    connection.initialize_read_filters()
    peer.sendall(b"x" * 3000)
    dispatcher.run_until(lambda: connection.read_buffer.length >= 3000)
    assert connection.read_disable_count == 1
    peer.sendall(b"y")
    dispatcher.run_once()
    assert connection.read_buffer.length == 3000
    connection.read_buffer.drain(3000)
    dispatcher.run_until(lambda: connection.read_buffer.length)
    assert connection.read_buffer.peek() == b"y"


def test_early_close_of_a_read_disabled_downstream(dispatcher, setup):
    connection, peer, callbacks = setup
    connection.read_disable(True)
    peer.close()
    dispatcher.run_until(lambda: callbacks.events)
    assert callbacks.events == [REMOTE_CLOSE]


def test_no_early_close_when_it_is_off_or_with_half_close(dispatcher, setup):
    connection, peer, callbacks = setup
    reader = Reader()
    connection.add_filter(reader)
    connection.initialize_read_filters()
    connection.enable_half_close(True)
    connection.read_disable(True)
    peer.sendall(b"answer")
    peer.shutdown(socket.SHUT_WR)
    dispatcher.run_once()
    assert not callbacks.events and not reader.data
    connection.read_disable(False)
    dispatcher.run_until(lambda: reader.data)
    assert reader.data == [(b"answer", True)]


def test_callbacks_may_leave_while_they_are_called(dispatcher, setup):
    connection, _peer, callbacks = setup
    late = Recorder()

    class Remover(ConnectionCallbacks):
        def on_event(self, event):
            connection.remove_connection_callbacks(late)
            connection.remove_connection_callbacks(self)

    connection.add_connection_callbacks(Remover())
    connection.add_connection_callbacks(late)
    connection.close(ConnectionCloseType.NO_FLUSH)
    assert callbacks.events == [LOCAL_CLOSE] and late.events == []


def test_an_exception_in_a_filter_closes_that_connection_only(dispatcher, setup, caplog):
    connection, peer, callbacks = setup

    def fail():
        raise ValueError("broken filter")

    connection.add_filter(Reader(action=fail))
    connection.initialize_read_filters()
    peer.sendall(b"x")
    dispatcher.run_until(lambda: callbacks.events)
    assert callbacks.events == [LOCAL_CLOSE]
    assert "broken filter" in caplog.text
    assert dispatcher.handler_errors == 1


def test_closing_inside_on_data_is_safe(dispatcher, setup):
    connection, peer, callbacks = setup
    reader = Reader(action=lambda: connection.close(ConnectionCloseType.NO_FLUSH))
    behind = Reader()
    connection.add_filter(reader)
    connection.add_filter(behind)
    connection.initialize_read_filters()
    peer.sendall(b"x")
    peer.shutdown(socket.SHUT_WR)
    dispatcher.run_until(lambda: callbacks.events)
    dispatcher.run_once()
    assert callbacks.events == [LOCAL_CLOSE]
    assert behind.data == [] and len(reader.data) == 1


def test_filters_in_order_and_continue_reading(dispatcher, setup):
    connection, peer, _callbacks = setup
    order = []

    class Gate(NetworkFilter):
        open = False

        def on_new_connection(self):
            order.append("gate new")
            return FilterStatus.CONTINUE

        def on_data(self, data, end_stream):
            order.append("gate data")
            return FilterStatus.CONTINUE if self.open else FilterStatus.STOP_ITERATION

    class Last(NetworkFilter):
        def on_new_connection(self):
            order.append("last new")
            return FilterStatus.CONTINUE

        def on_data(self, data, end_stream):
            order.append(data.take())
            return FilterStatus.CONTINUE

    gate = Gate()
    connection.add_filter(gate)
    connection.add_filter(Last())
    connection.initialize_read_filters()
    peer.sendall(b"abc")
    dispatcher.run_until(lambda: "gate data" in order)
    assert order == ["gate new", "last new", "gate data"]
    gate.open = True
    connection.continue_reading(gate)
    assert order[3:] == [b"abc"]
    injected = Buffer(b"injected")
    connection.inject_read_data(gate, injected)
    assert order[4:] == [b"injected"]


def test_write_filters_run_in_reverse_and_may_stop_or_change(dispatcher, setup):
    connection, peer, _callbacks = setup

    class Wrap(NetworkFilter):
        def __init__(self, text, stop=False):
            self.text = text
            self.stop = stop

        def on_write(self, data, end_stream):
            if self.stop:
                self.held = data.take()
                return FilterStatus.STOP_ITERATION
            data.append(self.text)
            return FilterStatus.CONTINUE

    first, second = Wrap(b"1"), Wrap(b"2")
    connection.add_filter(first)
    connection.add_filter(second)
    connection.write(b"x")
    dispatcher.run_once()
    assert peer.recv(10) == b"x21"
    second.stop = True
    connection.write(b"held")
    dispatcher.run_once()
    connection.inject_write_data(second, Buffer(second.held))
    dispatcher.run_once()
    assert peer.recv(10) == b"held1"


def test_client_connects_and_both_sides_have_no_delay(dispatcher):
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = ClientConnection(dispatcher, ip_address(*server.getsockname()))
        callbacks = Recorder()
        client.add_connection_callbacks(callbacks)
        client.write(b"early")
        client.connect()
        assert not callbacks.events
        dispatcher.run_until(lambda: callbacks.events)
        assert callbacks.events == [CONNECTED]
        peer, address = server.accept()
        assert client.connection_info.local_address.as_string() == f"{address[0]}:{address[1]}"
        assert peer.recv(10) == b"early"
        probe = socket.socket(fileno=client.fd)
        assert probe.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        probe.detach()
        client.close(ConnectionCloseType.NO_FLUSH)
        assert peer.recv(10) == b""
        peer.close()


def test_connect_refused(dispatcher):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = ip_address(*server.getsockname())
    client = ClientConnection(dispatcher, address)
    callbacks = Recorder()
    client.add_connection_callbacks(callbacks)
    client.connect()
    assert not callbacks.events
    dispatcher.run_until(lambda: callbacks.events)
    assert callbacks.events == [REMOTE_CLOSE]
    assert client.transport_failure_reason == "delayed connect error: Connection refused"


def test_connect_fails_at_once_but_reports_later(dispatcher, tmp_path):
    client = ClientConnection(dispatcher, pipe_address(str(tmp_path / "missing")))
    callbacks = Recorder()
    client.add_connection_callbacks(callbacks)
    client.connect()
    assert not callbacks.events
    dispatcher.run_until(lambda: callbacks.events)
    assert callbacks.events == [REMOTE_CLOSE]
    reason = f"immediate connect error: No such file or directory|remote address:{tmp_path / 'missing'}"
    assert client.transport_failure_reason == reason


def test_a_bad_source_address_is_a_local_failure(dispatcher):
    client = ClientConnection(dispatcher, ip_address("127.0.0.1", 9), source_address=ip_address("192.0.2.1"))
    callbacks = Recorder()
    client.add_connection_callbacks(callbacks)
    client.connect()
    dispatcher.run_until(lambda: callbacks.events)
    assert callbacks.events == [LOCAL_CLOSE]
    assert "failed to bind to 192.0.2.1:0" in client.transport_failure_reason


def test_closing_before_the_connect_is_done(dispatcher):
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = ClientConnection(dispatcher, ip_address(*server.getsockname()))
        callbacks = Recorder()
        client.add_connection_callbacks(callbacks)
        client.connect()
        client.close(ConnectionCloseType.NO_FLUSH)
        assert callbacks.events == [LOCAL_CLOSE]
        dispatcher.run_once()
        assert callbacks.events == [LOCAL_CLOSE]


def test_an_upstream_processes_data_and_then_the_fin(dispatcher):
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = ClientConnection(dispatcher, ip_address(*server.getsockname()))
        callbacks, reader = Recorder(), Reader()
        client.add_connection_callbacks(callbacks)
        client.add_filter(reader)
        client.initialize_read_filters()
        client.connect()
        dispatcher.run_until(lambda: callbacks.events)
        peer, _ = server.accept()
        client.read_disable(True)
        peer.sendall(b"response")
        peer.close()
        dispatcher.run_once()
        assert callbacks.events == [CONNECTED]
        client.read_disable(False)
        dispatcher.run_until(lambda: len(callbacks.events) == 2)
        assert reader.data == [(b"response", False)]
        assert callbacks.events == [CONNECTED, REMOTE_CLOSE]


def test_stream_info_starts_when_the_connection_did(dispatcher, setup):
    connection = setup[0]
    info = connection.stream_info
    assert info is connection.stream_info
    assert abs(info.start_time - dispatcher.system_time()) < 60
    assert info.start_ns <= dispatcher.monotonic_ns()


def test_byte_statistics(dispatcher, setup):
    connection, peer, _callbacks = setup
    schema = Schema("test_connection", ("rx", "tx"), ("rx_buffered", "tx_buffered"))
    block = MainStore().block(schema, "test.")
    connection.set_stats(
        block, schema.slot("rx"), schema.slot("rx_buffered"), schema.slot("tx"), schema.slot("tx_buffered")
    )
    connection.add_filter(Reader(keep=True))
    connection.initialize_read_filters()
    peer.sendall(b"12345")
    dispatcher.run_until(lambda: connection.read_buffer.length)
    assert block.get(schema.slot("rx")) == block.get(schema.slot("rx_buffered")) == 5
    fill(connection, dispatcher)
    assert block.get(schema.slot("tx_buffered")) == connection.write_buffer.length
    connection.close(ConnectionCloseType.NO_FLUSH)
    assert block.get(schema.slot("rx_buffered")) == block.get(schema.slot("tx_buffered")) == 0
    assert block.get(schema.slot("tx")) == connection.bytes_sent
