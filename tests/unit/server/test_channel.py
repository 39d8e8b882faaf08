"""Frames and descriptors through a socket pair."""

import asyncio
import os
import socket

import pytest

from proxeny.server import messages
from proxeny.server.channel import Channel, ChannelError, FrameReader, frames


def receive_one(channel: Channel) -> tuple[messages.Any, list[int]]:
    while True:
        received = channel.receive()
        assert received is not None
        if received:
            assert len(received) == 1
            return received[0]


def same_file(a: int, b: int) -> bool:
    return os.fstat(a).st_ino == os.fstat(b).st_ino


@pytest.mark.parametrize("count", [0, 1, 3, 200, 201, 405])
def test_descriptors_keep_their_order(count: int) -> None:
    here, sock = Channel.pair()
    there = Channel(sock)
    files = [os.memfd_create(f"f{index}") for index in range(count)]
    try:
        here.send(messages.AddListener(1, 2, 3, [("listener", "listener.x.", 7)], ["a"]), files)
        message, fds = receive_one(there)
        assert message == messages.AddListener(1, 2, 3, [("listener", "listener.x.", 7)], ["a"])
        assert len(fds) == count
        assert all(same_file(a, b) for a, b in zip(files, fds, strict=True))
        assert all(not os.get_inheritable(fd) for fd in fds)
        for fd in fds:
            os.close(fd)
    finally:
        for fd in files:
            os.close(fd)
        here.close()
        there.close()


def test_every_split_point() -> None:
    sent = [messages.WorkerStarted(5), messages.Done(1, "no"), messages.SetRuntime(b"{}")]
    data = b"".join(frame for message in sent for frame, _ in frames(message, []))
    for cut in range(len(data) + 1):
        reader = FrameReader()
        found = reader.feed(data[:cut], []) + reader.feed(data[cut:], [])
        assert [message for message, _ in found] == sent


def test_a_frame_that_is_too_large_is_refused() -> None:
    with pytest.raises(ChannelError):
        FrameReader().feed(b"\xff\xff\xff\xff\0\0", [])


def test_a_slow_reader_does_not_block_the_sender() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        here, sock = Channel.pair()
        there = Channel(sock)
        got: list[int] = []
        ended = asyncio.Event()
        here.attach(loop, lambda message, fds: None, lambda: None)
        payload = b"x" * 300_000
        for number in range(20):
            here.send(messages.UpdateHosts(str(number), payload))
        here.send(messages.Stop())

        def on_message(message: messages.Any, fds: list[int]) -> None:
            if isinstance(message, messages.UpdateHosts):
                assert message.update == payload
                got.append(int(message.name))
            else:
                here.close()

        there.attach(loop, on_message, ended.set)
        await ended.wait()
        assert got == list(range(20))
        assert there.closed

    asyncio.run(run())


def test_untaken_descriptors_are_closed() -> None:
    here, sock = Channel.pair()
    there = Channel(sock)
    ours, theirs = socket.socketpair()
    with ours:
        [(frame, _)] = frames(messages.Stop(), [])
        socket.send_fds(here._sock, [frame[:3]], [theirs.fileno()])
        theirs.close()
        assert there.receive() == []
        there.close()
        assert ours.recv(1) == b""
    here.close()


def test_sending_to_a_peer_that_is_gone_is_no_error() -> None:
    here, sock = Channel.pair()
    sock.close()
    here.send(messages.Stop())
    assert here.receive() is None
    here.close()
    here.send(messages.Stop())
