"""``Http2ProtocolOptions`` of the connection manager."""
# ruff: noqa: E501 - a case is a line

from tests.differential.validate.corpus import Verdict, manager


def _options(name: str, fields: str, stricter: str = "") -> Verdict:
    return manager(f"http2-{name}", f"http2_protocol_options: {{{fields}}}", stricter=stricter)


def _custom(name: str, *pairs: tuple[int, int], more: str = "") -> Verdict:
    items = ", ".join(f"{{identifier: {identifier}, value: {value}}}" for identifier, value in pairs)
    return _options(f"custom-{name}", f"custom_settings_parameters: [{items}]{more}")


CASES = [
    _options("empty", ""),
    _options("all", "hpack_table_size: 0, max_concurrent_streams: 1, initial_stream_window_size: 65535, initial_connection_window_size: 65535, allow_connect: true, max_outbound_frames: 1, max_outbound_control_frames: 1, max_consecutive_inbound_frames_with_empty_payload: 0, max_inbound_priority_frames_per_stream: 0, max_inbound_window_update_frames_per_data_frame_sent: 1, override_stream_error_on_invalid_http_message: true"),
    _options("streams-0", "max_concurrent_streams: 0"),
    _options("streams-most", "max_concurrent_streams: 2147483647"),
    _options("streams-too-many", "max_concurrent_streams: 2147483648"),
    _options("window-small", "initial_stream_window_size: 65534"),
    _options("window-large", "initial_stream_window_size: 2147483648"),
    _options("connection-window-small", "initial_connection_window_size: 65534"),
    _options("outbound-0", "max_outbound_frames: 0"),
    _options("control-0", "max_outbound_control_frames: 0"),
    _options("updates-0", "max_inbound_window_update_frames_per_data_frame_sent: 0"),
    _options("older-stream-error", "stream_error_on_invalid_http_messaging: true"),
    _options("keepalive", "connection_keepalive: {interval: 1s, timeout: 1s, interval_jitter: {value: 10}}"),
    _options("keepalive-idle", "connection_keepalive: {connection_idle_interval: 1s, timeout: 1s}"),
    _options("keepalive-without-timeout", "connection_keepalive: {interval: 1s}"),
    _options("keepalive-short", "connection_keepalive: {interval: 0.0001s, timeout: 1s}"),
    _options("keepalive-timeout-short", "connection_keepalive: {interval: 1s, timeout: 0.0001s}"),
    _options("keepalive-jitter", "connection_keepalive: {interval: 1s, timeout: 1s, interval_jitter: {value: 101}}"),
    _options("metadata", "allow_metadata: true", stricter="METADATA frames are not built"),
    _options("metadata-size", "max_metadata_size: 5"),
    _options("oghttp2", "use_oghttp2_codec: true", stricter="another library of Envoy's"),
    _options("not-oghttp2", "use_oghttp2_codec: false"),
    _custom("other", (16, 5), (4096, 1)),
    _custom("twice-alike", (16, 5), (16, 5)),
    _custom("twice-differently", (16, 5), (16, 6), (17, 1), (17, 2)),
    _custom("streams", (3, 5)),
    _custom("streams-too", (3, 5), more=", max_concurrent_streams: 5"),
    _custom("all-too", (1, 5), (3, 5), (4, 70000), more=", hpack_table_size: 1, max_concurrent_streams: 5, initial_stream_window_size: 70000"),
    _custom("push", (2, 1)),
    _custom("no-push", (2, 0)),
    _custom("connect", (8, 1)),
    _custom("no-connect", (8, 0)),
    _custom("push-and-more", (2, 1), (8, 1), (9, 1), (9, 2)),
    _custom("identifier", (65536, 1)),
    _options("custom-without-value", "custom_settings_parameters: [{identifier: 9}]"),
    _options("custom-without-identifier", "custom_settings_parameters: [{value: 9}]"),
    manager("codec-http2", "codec_type: HTTP2"),
    manager("codec-http3", "codec_type: HTTP3"),
    manager("flush-timeout", "stream_flush_timeout: 1s"),
]  # fmt: skip
