"""What clients of both kinds do alike: streams and calls against a server of grpcio."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(params=["google", "envoy"])
def world(request: pytest.FixtureRequest, make_world: Any) -> Any:
    return make_world(request.param)


def test_messages_go_both_ways_with_metadata(world: Any, recorder: Any) -> None:
    async def run() -> None:
        config = world.config()
        config.initial_metadata.add(key="X-Team", value="a%%b")
        seen = recorder()
        stream = world.manager.of(config).open("/echo/Stream", seen, (("x-mine", "1"),))
        assert stream is not None
        for message in (b"one", b"", b"three"):
            stream.send(message)
        assert [await seen.next() for _ in range(3)] == [b"one", b"", b"three"]
        assert ("x-team", "a%%b") in world.service.metadata
        assert ("x-mine", "1") in world.service.metadata
        stream.half_close()
        assert (await seen.next())[0] == 0

    world.call(run())


def test_an_error_of_the_server_is_told(world: Any, recorder: Any) -> None:
    async def run() -> None:
        seen = recorder()
        stream = world.manager.of(world.config()).open("/echo/Stream", seen)
        assert stream is not None
        stream.send(b"fail")
        status, message = await seen.next()
        assert status == 8
        assert message.startswith("enough")
        stream.send(b"lost")
        stream.reset()

    world.call(run())


def test_nobody_listens(world: Any, recorder: Any) -> None:
    async def run() -> None:
        config = world.unreachable()
        seen = recorder()
        stream = world.manager.of(config).open("/echo/Stream", seen)
        assert stream is not None
        stream.send(b"one")
        status, message = await seen.next()
        assert status == {"google": 13, "envoy": 14}[world.kind]
        assert "connect" in message

    world.call(run())


def test_a_reset_stream_says_nothing_more(world: Any, recorder: Any) -> None:
    async def run() -> None:
        seen, other = recorder(), recorder()
        client = world.manager.of(world.config())
        stream = client.open("/echo/Stream", seen)
        again = client.open("/echo/Stream", other)
        assert stream is not None and again is not None
        stream.send(b"one")
        assert await seen.next() == b"one"
        stream.send(b"two")
        stream.reset()
        again.send(b"last")
        assert await other.next() == b"last"
        client.close()
        assert seen.events.empty()

    world.call(run())


def test_calls(world: Any, recorder: Any) -> None:
    async def run() -> None:
        seen = recorder()
        client = world.manager.of(world.config())
        client.unary("/echo/Call", b"one", seen)
        assert await seen.next() == ("success", b"one")
        client.unary("/echo/Call", b"fail", seen)
        outcome, status, message = await seen.next()
        assert (outcome, status) == ("failure", 8)
        assert message.startswith("enough")
        client.unary("/echo/Call", b"one", seen).cancel()

    world.call(run())


def test_a_callback_that_raises_ends_its_stream(world: Any, recorder: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(recorder):
        def on_message(self, data: bytes) -> None:
            raise RuntimeError("no")

    async def run() -> None:
        seen = Broken()
        stream = world.manager.of(world.config()).open("/echo/Stream", seen)
        assert stream is not None
        stream.send(b"one")
        assert (await seen.next())[0] == 13

    world.call(run())
    assert "could not be handled" in caplog.text
