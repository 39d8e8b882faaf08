"""Http2ProtocolOptions, compiled."""

from typing import Any

import pytest
from envoy.config.core.v3 import protocol_pb2 as pb
from google.protobuf import json_format

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.http.http2.settings import Http2Settings, compile_http2


def compiled(more: dict[str, Any] | None = None, **arguments: Any) -> Http2Settings:
    return compile_http2(json_format.ParseDict(more or {}, pb.Http2ProtocolOptions()), **arguments)


def test_defaults_are_envoys():
    settings = compiled()
    options = settings.options
    assert (settings.max_concurrent_streams, settings.stream_window) == (1024, 16777216)
    assert options.connection_window == 25165824
    assert (options.max_headers_bytes, options.max_headers_count) == (61440, 100)
    assert (options.max_outbound_frames, options.max_outbound_control_frames) == (10000, 1000)
    assert (options.max_empty_frames, options.max_priority_frames, options.max_window_updates) == (1, 100, 10)
    assert options.settings_count == 4
    assert settings.keepalive is None and not settings.allow_connect and not options.stream_error_on_invalid


def test_custom_settings_come_once():
    parameters = [{"identifier": 16, "value": 1}, {"identifier": 16, "value": 1}, {"identifier": 3, "value": 5}]
    assert compiled({"customSettingsParameters": parameters}).options.settings_count == 6


def test_a_client_refuses_push():
    assert compiled(client=True).options.settings_count == 5
    assert compiled(client=True).options.client


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ([(2, 1)], "server push is not supported"),
        ([(8, 0)], '"allow_connect" SETTINGS parameter must only be configured'),
        ([(9, 1), (9, 2), (16, 1), (16, 2)], r"identifiers = \{0x09,0x10\}"),
        ([(3, 5), (1, 5)], r"the \{max_concurrent_streams\} HTTP/2 SETTINGS"),
    ],
)
def test_what_custom_settings_may_not_be(parameters: list[tuple[int, int]], words: str):
    items = [{"identifier": identifier, "value": value} for identifier, value in parameters]
    with pytest.raises(ConfigError, match=words):
        compiled({"customSettingsParameters": items, "maxConcurrentStreams": 7})


@pytest.mark.parametrize("field", ["allowMetadata", "useOghttp2Codec"])
def test_refused(field: str):
    with pytest.raises(UnsupportedFieldError):
        compiled({field: True})


def test_who_says_that_only_the_stream_ends():
    assert compiled(stream_error_on_invalid=True).options.stream_error_on_invalid
    own = {"overrideStreamErrorOnInvalidHttpMessage": False}
    assert not compiled(own, stream_error_on_invalid=True).options.stream_error_on_invalid
    assert compiled({"streamErrorOnInvalidHttpMessaging": True}).options.stream_error_on_invalid
    older = {"streamErrorOnInvalidHttpMessaging": True}
    assert not compiled(older, stream_error_on_invalid=False).options.stream_error_on_invalid


def test_keepalive():
    keepalive = compiled({"connectionKeepalive": {"interval": "2s", "timeout": "1.5s"}}).keepalive
    assert keepalive is not None
    assert (keepalive.interval_ms, keepalive.timeout_ms, keepalive.jitter_percent) == (2000, 1500, 15.0)
    assert keepalive.idle_interval_ms == 0
