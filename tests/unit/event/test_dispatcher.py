"""Dispatcher: an asyncio loop that runs the data plane."""

import asyncio
import logging
import os
import signal
import socket
import threading

import pytest

from proxeny.event.dispatcher import Dispatcher
from proxeny.event.time_source import SimulatedTimeSource
from proxeny.kernel.epoll import EPOLLET, EPOLLIN, Watcher
from proxeny.kernel.stream import Stream


@pytest.fixture
def dispatcher():
    made = Dispatcher()
    yield made
    made.close()


class Echo(Stream):
    def on_readable(self, eof):
        self.write_buffer.move_all(self.read_buffer)
        self.poller.mark_dirty(self)
        if eof:
            self.shutdown_write()


class Call(Watcher):
    def __init__(self, action):
        self.action = action

    def on_event(self, mask):
        self.action()


def test_asyncio_streams_talk_to_a_data_plane_stream(dispatcher):
    mine, theirs = socket.socketpair()
    mine.setblocking(False)
    stream = Echo()
    stream.open(dispatcher.poller, mine.detach())

    async def client():
        reader, writer = await asyncio.open_connection(sock=theirs)
        writer.write(b"hello" * 100_000)
        writer.write_eof()
        data = await reader.read()
        writer.close()
        await writer.wait_closed()
        return data

    assert dispatcher.run_until_complete(client()) == b"hello" * 100_000
    stream.close_stream()


def test_asyncio_server_and_clients_inside_the_loop(dispatcher):
    async def handle(reader, writer):
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def one(port, number):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        lines = []
        for _ in range(5):
            writer.write(b"line %d\n" % number)
            lines.append(await reader.readline())
        writer.close()
        await writer.wait_closed()
        return lines

    async def main():
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        answers = await asyncio.gather(*[one(port, n) for n in range(20)])
        server.close()
        await server.wait_closed()
        return answers

    assert dispatcher.run_until_complete(main()) == [[b"LINE %d\n" % n] * 5 for n in range(20)]


def test_datagrams_lose_no_wake_up(dispatcher):
    """A datagram transport reads one datagram per wake-up: with an edge-triggered inner epoll the rest would hang."""
    received = []
    done = asyncio.Event()

    class Protocol(asyncio.DatagramProtocol):
        def datagram_received(self, data, address):
            received.append(data)
            if len(received) == 50:
                done.set()

    async def main():
        transport, _ = await dispatcher.create_datagram_endpoint(Protocol, local_addr=("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in range(50):
                sender.sendto(b"%d" % number, transport.get_extra_info("sockname"))
        await asyncio.wait_for(done.wait(), 10)
        transport.close()

    dispatcher.run_until_complete(main())
    assert received == [b"%d" % number for number in range(50)]


def test_a_handler_may_start_tasks(dispatcher):
    mine, theirs = socket.socketpair()
    seen = []

    async def work():
        await asyncio.sleep(0.001)
        seen.append(asyncio.get_running_loop())

    tasks = []
    watcher = Call(lambda: tasks.append(dispatcher.create_task(work())))
    dispatcher.poller.add(watcher, mine.fileno(), EPOLLIN | EPOLLET)
    theirs.send(b"x")
    dispatcher.run_until(lambda: seen)
    assert seen == [dispatcher] and len(tasks) == 1
    dispatcher.poller.remove(watcher)
    mine.close()
    theirs.close()


def test_timers_and_deferred_calls(dispatcher):
    order = []
    timer = dispatcher.create_timer(lambda: (order.append("timer"), dispatcher.defer(lambda: order.append("deferred"))))
    timer.enable(2)
    dispatcher.run_until(lambda: "deferred" in order)
    assert order == ["timer", "deferred"]


def test_what_asyncio_code_defers_does_not_wait_for_an_event(dispatcher):
    seen = []

    async def main():
        dispatcher.defer(lambda: seen.append(1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    dispatcher.run_until_complete(main())
    assert seen == [1]


def test_post_from_another_thread_and_exit(dispatcher):
    seen = []
    thread = threading.Thread(
        target=lambda: (dispatcher.post(lambda: seen.append(threading.current_thread())), dispatcher.exit())
    )
    thread.start()
    dispatcher.run()
    thread.join()
    assert seen == [threading.current_thread()]


def test_an_exception_in_a_timer_or_handler_is_logged_and_the_loop_goes_on(dispatcher, caplog):
    def fail():
        raise ValueError("broken on purpose")

    timer = dispatcher.create_timer(fail)
    timer.enable(0)
    dispatcher.defer(fail)
    with caplog.at_level(logging.ERROR):
        dispatcher.run_until(lambda: dispatcher.handler_errors == 2)
    assert caplog.text.count("broken on purpose") >= 2
    assert dispatcher.statistics()["handler_errors"] == 2


def test_simulated_time_drives_timers():
    source = SimulatedTimeSource(system_time=1_700_000_000.0)
    dispatcher = Dispatcher(source)
    fired = []
    timer = dispatcher.create_timer(lambda: fired.append(dispatcher.now_ms))
    timer.enable(3_600_000)
    dispatcher.run_once()
    assert not fired
    start = dispatcher.now_ms
    source.advance_ms(3_600_000)
    dispatcher.run_once()
    assert fired == [start + 3_600_000]
    assert dispatcher.http_date() == b"Tue, 14 Nov 2023 23:13:20 GMT"
    dispatcher.close()


def test_run_until_gives_up(dispatcher):
    with pytest.raises(TimeoutError):
        dispatcher.run_until(lambda: False, timeout_s=0.01)


def test_a_signal_wakes_a_blocked_loop(dispatcher):
    seen = []
    dispatcher.add_signal_handler(signal.SIGUSR1, lambda: seen.append(1))
    sender = threading.Timer(0.01, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    sender.start()
    dispatcher.run_until(lambda: seen)
    sender.join()
    dispatcher.remove_signal_handler(signal.SIGUSR1)


def test_the_date_changes_with_the_second():
    source = SimulatedTimeSource(system_time=1_700_000_000.75)
    dispatcher = Dispatcher(source)
    dates = []
    for _ in range(3):
        dates.append(dispatcher.http_date()[-6:-4])
        source.advance_ms(249)
        dispatcher.run_once()
    assert dates == [b"20", b"20", b"21"]
    dispatcher.close()


def test_subprocess_and_executor_work(dispatcher):
    async def main():
        process = await asyncio.create_subprocess_exec("true")
        return await process.wait(), await dispatcher.run_in_executor(None, lambda: 7)

    asyncio.set_event_loop(dispatcher)
    try:
        assert dispatcher.run_until_complete(main()) == (0, 7)
        dispatcher.run_until_complete(dispatcher.shutdown_default_executor())
    finally:
        asyncio.set_event_loop(None)
