"""What an HTTP/2 codec is told by configuration: ``Http2ProtocolOptions`` and the limits next to it, compiled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError, UnsupportedFieldError
from proxeny.kernel.http1_request import JOINED
from proxeny.kernel.http2_options import Http2Options

if TYPE_CHECKING:
    from collections.abc import Iterable

HEADER_TABLE_SIZE: Final = 1
ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
ENABLE_CONNECT_PROTOCOL: Final = 8

NAMED: Final = {
    "hpack_table_size": HEADER_TABLE_SIZE,
    "max_concurrent_streams": MAX_CONCURRENT_STREAMS,
    "initial_stream_window_size": INITIAL_WINDOW_SIZE,
}
"""Settings that have a field of their own, in the order in which Envoy names them."""

DEFAULTS: Final = {
    "hpack_table_size": 4096,
    "max_concurrent_streams": 1024,
    "initial_stream_window_size": 16 * 1024 * 1024,
    "initial_connection_window_size": 24 * 1024 * 1024,
    "max_outbound_frames": 10000,
    "max_outbound_control_frames": 1000,
    "max_consecutive_inbound_frames_with_empty_payload": 1,
    "max_inbound_priority_frames_per_stream": 100,
    "max_inbound_window_update_frames_per_data_frame_sent": 10,
}
"""Envoy: ``Http2::Utility::OptionsLimits``."""

INTERVAL_JITTER_PERCENT: Final = 15.0
"""``KeepaliveSettings.interval_jitter``."""


@dataclass(slots=True, frozen=True)
class Keepalive:
    """``KeepaliveSettings``; an interval of 0 sends no PING by the clock."""

    interval_ms: int
    timeout_ms: int
    jitter_percent: float
    idle_interval_ms: int
    """Of a client: how long without bytes before a new stream sends a PING first; 0 = never."""


@dataclass(slots=True, frozen=True, eq=False)
class Http2Settings:
    """One codec configuration, shared by all connections that use it."""

    options: Http2Options
    max_concurrent_streams: int
    stream_window: int
    allow_connect: bool
    keepalive: Keepalive | None


def compile_http2(
    config: Any,
    *,
    client: bool = False,
    max_headers_kb: int = 60,
    max_headers_count: int = 100,
    headers_with_underscores_action: int = 0,
    stream_error_on_invalid: bool | None = None,
    discard_host: bool = False,
) -> Http2Settings:
    """From ``Http2ProtocolOptions``; ConfigError in Envoy's words.

    ``stream_error_on_invalid``: what applies where the options do not say it.
    """
    if config.allow_metadata:
        raise UnsupportedFieldError("Http2ProtocolOptions.allow_metadata: METADATA frames are not supported")
    if config.use_oghttp2_codec.value:
        raise UnsupportedFieldError("Http2ProtocolOptions.use_oghttp2_codec: HTTP/2 is spoken by nghttp2")
    custom = _custom_settings(config)
    values = {name: _value(config, name) for name in DEFAULTS}
    settings = [(ENABLE_PUSH, 0)] if client else []
    settings += custom
    settings += [
        (HEADER_TABLE_SIZE, values["hpack_table_size"]),
        (ENABLE_CONNECT_PROTOCOL, int(config.allow_connect)),
        (MAX_CONCURRENT_STREAMS, values["max_concurrent_streams"]),
        (INITIAL_WINDOW_SIZE, values["initial_stream_window_size"]),
    ]
    options = Http2Options(
        settings,
        client=client,
        connection_window=values["initial_connection_window_size"],
        hpack_table_size=values["hpack_table_size"],
    )
    options.max_headers_bytes = max_headers_kb * 1024
    options.max_headers_count = max_headers_count
    options.stream_buffer_limit = values["initial_stream_window_size"]
    options.max_outbound_frames = values["max_outbound_frames"]
    options.max_outbound_control_frames = values["max_outbound_control_frames"]
    options.max_empty_frames = values["max_consecutive_inbound_frames_with_empty_payload"]
    options.max_priority_frames = values["max_inbound_priority_frames_per_stream"]
    options.max_window_updates = values["max_inbound_window_update_frames_per_data_frame_sent"]
    options.underscores = headers_with_underscores_action
    options.discard_host = discard_host
    options.stream_error_on_invalid = _stream_error_on_invalid(config, stream_error_on_invalid)
    if not client:
        options.joined = JOINED
    return Http2Settings(
        options=options,
        max_concurrent_streams=values["max_concurrent_streams"],
        stream_window=values["initial_stream_window_size"],
        allow_connect=config.allow_connect,
        keepalive=_keepalive(config),
    )


def _value(config: Any, name: str) -> int:
    return int(getattr(config, name).value if config.HasField(name) else DEFAULTS[name])


def _stream_error_on_invalid(config: Any, default: bool | None) -> bool:
    if config.HasField("override_stream_error_on_invalid_http_message"):
        return bool(config.override_stream_error_on_invalid_http_message.value)
    return config.stream_error_on_invalid_http_messaging if default is None else default


def _keepalive(config: Any) -> Keepalive | None:
    if not config.HasField("connection_keepalive"):
        return None
    keepalive = config.connection_keepalive
    jitter = keepalive.interval_jitter.value if keepalive.HasField("interval_jitter") else INTERVAL_JITTER_PERCENT
    return Keepalive(
        interval_ms=_milliseconds(keepalive.interval),
        timeout_ms=_milliseconds(keepalive.timeout),
        jitter_percent=jitter,
        idle_interval_ms=_milliseconds(keepalive.connection_idle_interval),
    )


def _milliseconds(duration: Any) -> int:
    total: int = duration.seconds * 1000 + duration.nanos // 1_000_000
    return total


def _custom_settings(config: Any) -> list[tuple[int, int]]:
    """``custom_settings_parameters``, each identifier once; what has a name of its own is refused."""
    found: dict[int, int] = {}
    inconsistent: dict[int, None] = {}
    colliding: dict[str, None] = {}
    for item in config.custom_settings_parameters:
        identifier, value = item.identifier.value, item.value.value
        if found.setdefault(identifier, value) != value:
            inconsistent[identifier] = None
        if identifier == ENABLE_PUSH:
            if value == 1:
                raise ConfigError(
                    "server push is not supported by Envoy and can not be enabled via a SETTINGS parameter."
                )
        elif identifier == ENABLE_CONNECT_PROTOCOL:
            raise ConfigError('the "allow_connect" SETTINGS parameter must only be configured through the named field')
        else:
            colliding.update(_named_too(config, identifier))
    if inconsistent:
        names = ",".join([f"0x{identifier:02x}" for identifier in inconsistent])
        raise ConfigError(f"inconsistent HTTP/2 custom SETTINGS parameter(s) detected; identifiers = {{{names}}}")
    if colliding:
        raise ConfigError(
            f"the {{{','.join(colliding)}}} HTTP/2 SETTINGS parameter(s) can not be configured through both named and "
            "custom parameters"
        )
    return list(found.items())


def _named_too(config: Any, identifier: int) -> Iterable[tuple[str, None]]:
    return [(name, None) for name, number in NAMED.items() if number == identifier and config.HasField(name)]
