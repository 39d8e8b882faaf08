"""Streams and calls over grpcio, against a server of grpcio in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from envoy.config.core.v3 import grpc_service_pb2

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.event.dispatcher import Dispatcher
from proxeny.rpc.client_manager import GrpcClientManager
from proxeny.rpc.google_client import GOOGLE_GRPC
from proxeny.stats.store import MainStore


class EchoService(grpc.GenericRpcHandler):
    """``/echo/*``: sends back what comes; a message that begins with "fail" ends the stream with an error."""

    def __init__(self) -> None:
        self.metadata: list[tuple[str, Any]] = []

    def service(self, details: Any) -> Any:
        self.metadata = [(key, value) for key, value in details.invocation_metadata]
        return grpc.stream_stream_rpc_method_handler(self._echo)

    def _echo(self, messages: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for message in messages:
            if message.startswith(b"fail"):
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")
            if message == b"big":
                yield bytes(6 << 20)
            yield message


class Recorder:
    def __init__(self) -> None:
        self.events: asyncio.Queue[Any] = asyncio.Queue()

    def on_message(self, data: bytes) -> None:
        self.events.put_nowait(data)

    def on_close(self, status: int, message: str) -> None:
        self.events.put_nowait((status, message))

    def on_success(self, data: bytes) -> None:
        self.events.put_nowait(("success", data))

    def on_failure(self, status: int, message: str) -> None:
        self.events.put_nowait(("failure", status, message))

    async def next(self) -> Any:
        return await asyncio.wait_for(self.events.get(), 20)


class World:
    def __init__(self) -> None:
        self.service = EchoService()
        self.server = grpc.server(futures.ThreadPoolExecutor(4))
        self.server.add_generic_rpc_handlers((self.service,))
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        self.loop = Dispatcher(name="test")
        asyncio.set_event_loop(self.loop)
        self.store = MainStore()
        self.manager = GrpcClientManager(self.loop, self.store, lambda service: None)  # type: ignore[arg-type,return-value]
        self.stats = self.store.block(GOOGLE_GRPC, "grpc.test.")

    def config(self, **google: Any) -> Any:
        service = grpc_service_pb2.GrpcService()
        service.google_grpc.target_uri = f"127.0.0.1:{self.port}"
        service.google_grpc.stat_prefix = "test"
        for name, value in google.items():
            setattr(service.google_grpc, name, value)
        return service

    def stat(self, name: str) -> int:
        return self.stats.get(GOOGLE_GRPC.slot(name))


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.manager.close()
    world.loop.run_until_complete(asyncio.sleep(0))
    world.server.stop(None).wait()
    world.loop.close()
    asyncio.set_event_loop(None)


def test_messages_go_both_ways_with_metadata(world: World) -> None:
    async def run() -> None:
        config = world.config()
        config.initial_metadata.add(key="X-Team", value="a%%b")
        seen = Recorder()
        stream = world.manager.of(config).open("/echo/Stream", seen, (("x-mine", "1"),))
        assert stream is not None
        for message in (b"one", b"", b"three"):
            stream.send(message)
        assert [await seen.next() for _ in range(3)] == [b"one", b"", b"three"]
        assert ("x-team", "a%b") in world.service.metadata
        assert ("x-mine", "1") in world.service.metadata
        stream.half_close()
        assert await seen.next() == (0, "")

    world.loop.run_until_complete(run())
    assert (world.stat("streams_total"), world.stat("streams_closed_0")) == (1, 1)


def test_an_error_of_the_server_is_told(world: World) -> None:
    async def run() -> None:
        seen = Recorder()
        stream = world.manager.of(world.config()).open("/echo/Stream", seen)
        assert stream is not None
        stream.send(b"fail")
        assert await seen.next() == (8, "enough")
        stream.send(b"lost")
        stream.reset()

    world.loop.run_until_complete(run())
    assert world.stat("streams_closed_8") == 1


def test_nobody_listens(world: World) -> None:
    async def run() -> None:
        config = world.config(target_uri="127.0.0.1:1")
        seen = Recorder()
        stream = world.manager.of(config).open("/echo/Stream", seen)
        assert stream is not None
        stream.send(b"one")
        status, message = await seen.next()
        assert status == 14
        assert "failed to connect" in message

    world.loop.run_until_complete(run())


def test_a_reset_stream_says_nothing_more(world: World) -> None:
    async def run() -> None:
        seen, other = Recorder(), Recorder()
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

    world.loop.run_until_complete(run())
    assert world.stat("streams_closed_0") == world.stat("streams_closed_1") == 0


def test_messages_above_the_limit_end_the_stream(world: World) -> None:
    async def run() -> None:
        seen = Recorder()
        stream = world.manager.of(world.config()).open("/echo/Stream", seen)
        assert stream is not None
        stream.send(b"big")
        status, message = await seen.next()
        assert status == 8
        assert "larger than max" in message
        config = world.config()
        config.google_grpc.channel_args.args["grpc.max_receive_message_length"].int_value = -1
        stream = world.manager.of(config).open("/echo/Stream", seen)
        assert stream is not None
        stream.send(b"big")
        assert len(await seen.next()) == 6 << 20

    world.loop.run_until_complete(run())


def test_calls(world: World) -> None:
    async def run() -> None:
        seen = Recorder()
        client = world.manager.of(world.config())
        client.unary("/echo/Call", b"one", seen)
        assert await seen.next() == ("success", b"one")
        client.unary("/echo/Call", b"fail", seen)
        assert await seen.next() == ("failure", 8, "enough")
        client.unary("/echo/Call", b"one", seen).cancel()

    world.loop.run_until_complete(run())


def test_a_callback_that_raises_ends_its_stream(world: World, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Recorder):
        def on_message(self, data: bytes) -> None:
            raise RuntimeError("no")

    async def run() -> None:
        seen = Broken()
        stream = world.manager.of(world.config()).open("/echo/Stream", seen)
        assert stream is not None
        stream.send(b"one")
        assert await seen.next() == (13, "")

    world.loop.run_until_complete(run())
    assert "could not be handled" in caplog.text


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("X-A b", "x", "Illegal characters in gRPC initial metadata header key: X-A b."),
        ("x-a", "x\ty", "Illegal ASCII value for gRPC initial metadata header key: x-a."),
    ],
)
def test_metadata_that_grpc_does_not_allow(world: World, key: str, value: str, words: str) -> None:
    config = world.config()
    config.initial_metadata.add(key=key, value=value)
    with pytest.raises(ConfigError) as caught:
        world.manager.of(config)
    assert caught.value.message == words


def test_unknown_credentials(world: World) -> None:
    with pytest.raises(ConfigError, match="Unknown google grpc credentials factory: foo"):
        world.manager.of(world.config(credentials_factory_name="foo"))
    config = world.config()
    config.google_grpc.channel_credentials.ssl_credentials.root_certs.filename = "/nonexistent"
    with pytest.raises(ConfigError, match="Invalid path: /nonexistent"):
        world.manager.of(config)
    config.google_grpc.channel_credentials.google_default.SetInParent()
    with pytest.raises(UnsupportedFieldError, match="'google_default'"):
        world.manager.of(config)


def test_call_credentials_need_no_certificates_of_ours(world: World) -> None:
    async def run() -> Any:
        config = world.config()
        config.google_grpc.call_credentials.add(access_token="token")
        seen = Recorder()
        stream = world.manager.of(config).open("/echo/Stream", seen)
        assert stream is not None
        stream.send(b"one")
        return await seen.next()

    # As Envoy's library: a secret is not sent in plain text.
    status, message = world.loop.run_until_complete(run())
    assert status == 16
    assert "security level" in message
