"""Answers at random, of frames that are nearly right: every stream ends or stays open, and nothing is left behind."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import hpack
import pytest

STATUSES = ("200", "200", "200", "103", "abc", "")
TEXTS = ("0", "99999999999999999999", "-1", "\0", "a" * 5000)
LENGTHS = (0, 1, 5, 1 << 31, (1 << 32) - 1)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


class Answers:
    """Made of a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def next(self) -> bytes:
        chance = self._random
        if chance.random() < 0.1:
            return chance.randbytes(chance.randrange(200))
        encoder = hpack.Encoder()
        data = frame(4, 0, 0, b"")
        if chance.random() < 0.9:
            name = chance.choice(("x", "grpc-status", "content-length", ":bad", "X"))
            head = [(":status", chance.choice(STATUSES)), (name, chance.choice(TEXTS))]
            data += frame(1, 4, 1, encoder.encode(head))
        for _ in range(chance.randrange(6)):
            data += self._frame(encoder)
        return data

    def _frame(self, encoder: Any) -> bytes:
        chance = self._random
        kind = chance.randrange(9)
        if kind < 4:
            message = bytes((chance.choice((0, 0, 1, 2, 255)),)) + chance.choice(LENGTHS).to_bytes(4, "big")
            flags = chance.choice((0, 0, 1, 8))
            return frame(0, flags, chance.choice((1, 1, 1, 3, 0)), message + chance.randbytes(chance.randrange(9)))
        if kind == 4:
            payload = chance.randbytes(chance.randrange(40))
            return frame(chance.randrange(12), chance.randrange(256), chance.randrange(4), payload)
        if kind == 5:
            status = chance.choice(("0", "7", "-1", "1e3", "\u00b2")).encode()
            return frame(1, 5, 1, encoder.encode([(b"grpc-status", status), (b"grpc-message", chance.randbytes(4))]))
        if kind == 6:
            return frame(3, 0, 1, struct.pack(">I", chance.randrange(16)))
        if kind == 7:
            return frame(7, 0, 0, struct.pack(">II", chance.choice((0, 1, 99)), chance.randrange(14)))
        return frame(4, 0, 0, struct.pack(">HI", chance.randrange(10), chance.choice((0, 1, 1 << 31, 100))))


@pytest.fixture
def hostile() -> Iterator[int]:
    """The port of a server that gives such answers and hangs up."""
    answers = Answers(7)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    accepted, _ = listener.accept()
                    with accepted, contextlib.suppress(OSError):
                        accepted.settimeout(5)
                        accepted.recv(65536)
                        accepted.sendall(answers.next())
                        # What was sent is to arrive before the connection's end.
                        accepted.shutdown(socket.SHUT_WR)
                        while accepted.recv(65536):
                            pass

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def test_hostile_answers(make_world: Any, recorder: Any, hostile: int, caplog: pytest.LogCaptureFixture) -> None:
    world = make_world("envoy")
    world.add_cluster("hostile", hostile)

    async def run() -> set[int]:
        client = world.manager.of(world.config(cluster_name="hostile", max_receive_message_length=1000))
        ends = set()
        for _ in range(200):
            seen = recorder()
            client.open("/a/B", seen).send(b"x")
            while not isinstance(end := await seen.next(), tuple):
                assert isinstance(end, bytes)
            ends.add(end[0])
        seen = recorder()
        world.manager.of(world.config()).open("/echo/Stream", seen).send(b"one")
        assert await seen.next() == b"one"
        await world.until(lambda: world.cluster_stat("upstream_cx_active", "hostile") == 0)
        return ends

    ends = world.call(run())
    assert {2, 13, 14} <= ends
    assert world.cluster_stat("upstream_rq_active", "hostile") == 0
    assert "Traceback" not in caplog.text
