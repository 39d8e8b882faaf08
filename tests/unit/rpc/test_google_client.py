"""What is google_grpc's alone: its credentials, its limits and its statistics."""

from __future__ import annotations

from typing import Any

import pytest

from proxeny.config.errors import ConfigError, UnsupportedFieldError


@pytest.fixture
def world(make_world: Any) -> Any:
    return make_world("google")


def test_streams_are_counted(world: Any, recorder: Any) -> None:
    async def run() -> None:
        seen = recorder()
        client = world.manager.of(world.config())
        for message in (b"one", b"fail"):
            stream = client.open("/echo/Stream", seen)
            stream.send(message)
            stream.half_close()
        ends = [await seen.next() for _ in range(3)]
        assert sorted(end for end in ends if end != b"one") == [(0, ""), (8, "enough")]
        client.open("/echo/Stream", seen).reset()

    world.call(run())
    assert [world.stat(f"streams_{name}") for name in ("total", "closed_0", "closed_8", "closed_1")] == [3, 1, 1, 0]


def test_messages_above_the_limit_end_the_stream(world: Any, recorder: Any) -> None:
    async def run() -> None:
        seen = recorder()
        world.manager.of(world.config()).open("/echo/Stream", seen).send(b"big6")
        status, message = await seen.next()
        assert status == 1
        assert "larger than max" in message
        unlimited = recorder()
        config = world.config()
        config.google_grpc.channel_args.args["grpc.max_receive_message_length"].int_value = -1
        world.manager.of(config).open("/echo/Stream", unlimited).send(b"big6")
        assert len(await unlimited.next()) == 6 << 20

    world.call(run())


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("X-A b", "x", "Illegal characters in gRPC initial metadata header key: X-A b."),
        ("x-a", "x\ty", "Illegal ASCII value for gRPC initial metadata header key: x-a."),
    ],
)
def test_metadata_that_grpc_does_not_allow(world: Any, key: str, value: str, words: str) -> None:
    config = world.config()
    config.initial_metadata.add(key=key, value=value)
    with pytest.raises(ConfigError) as caught:
        world.manager.of(config)
    assert caught.value.message == words


def test_unknown_credentials(world: Any) -> None:
    with pytest.raises(ConfigError, match="Unknown google grpc credentials factory: foo"):
        world.manager.of(world.config(credentials_factory_name="foo"))
    config = world.config()
    config.google_grpc.channel_credentials.ssl_credentials.root_certs.filename = "/nonexistent"
    with pytest.raises(ConfigError, match="Invalid path: /nonexistent"):
        world.manager.of(config)
    config.google_grpc.channel_credentials.google_default.SetInParent()
    with pytest.raises(UnsupportedFieldError, match="'google_default'"):
        world.manager.of(config)


def test_call_credentials_need_no_certificates_of_ours(world: Any, recorder: Any) -> None:
    async def run() -> Any:
        config = world.config()
        config.google_grpc.call_credentials.add(access_token="token")
        seen = recorder()
        stream = world.manager.of(config).open("/echo/Stream", seen)
        assert stream is not None
        stream.send(b"one")
        return await seen.next()

    # As Envoy's library: a secret is not sent in plain text.
    status, message = world.call(run())
    assert status == 16
    assert "security level" in message
