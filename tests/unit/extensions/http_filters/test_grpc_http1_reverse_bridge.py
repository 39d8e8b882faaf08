"""The bridge to plain HTTP services: lengths that are told and kept; exchanges are differential."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from envoy.extensions.filters.http.grpc_http1_reverse_bridge.v3.config_pb2 import FilterConfig, FilterConfigPerRoute

from proxeny.extensions.http_filters.grpc_http1_reverse_bridge import DISABLED, FACTORY, ReverseBridge
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.headers import HeaderMap

NONE: Any = None


class Stream:
    """The callbacks of a call that was sent on."""

    def __init__(self, per_route: Any = None, **config: Any) -> None:
        self.replies: list[tuple[int, bytes, Any, str]] = []
        self.trailers = HeaderMap()
        message = FilterConfig(content_type="a/b", withhold_grpc_frames=True, **config)
        self.filter: ReverseBridge = FACTORY.create_filter_factory(message, "", NONE).create()
        callbacks: Any = SimpleNamespace(
            per_filter_config=lambda: per_route,
            clear_route_cache=lambda: None,
            send_local_reply=lambda code, body, modify, status, details: self.replies.append(
                (code, body, status, details)
            ),
            add_encoded_trailers=lambda: self.trailers,
        )
        self.filter.decoder_callbacks = self.filter.encoder_callbacks = callbacks
        self.request = HeaderMap(
            [(b":path", b"/a/b"), (b"content-type", b"application/grpc"), (b"content-length", b"3")]
        )
        self.filter.decode_headers(self.request, False)

    def answer(self, *fields: tuple[bytes, bytes]) -> HeaderMap:
        headers = HeaderMap([(b":status", b"200"), (b"content-type", b"a/b"), *fields])
        self.filter.encode_headers(headers, False)
        return headers


def test_a_route_may_switch_it_off() -> None:
    assert FACTORY.create_route_config(FilterConfigPerRoute(disabled=True), NONE) is DISABLED
    assert FACTORY.create_route_config(FilterConfigPerRoute(), NONE) is None
    assert Stream(DISABLED).request.get(b"content-type") == b"application/grpc"


def test_a_length_shorter_than_a_head_wraps_as_envoys() -> None:
    assert Stream().request.get(b"content-length") == b"18446744073709551614"


@pytest.mark.parametrize("size", [b"4294967296", b"-1", b"six", b""])
def test_a_size_that_no_head_can_tell(size: bytes) -> None:
    stream = Stream(response_size_header="X-Size")
    stream.answer((b"x-size", size))
    assert stream.replies[0][2:] == (13, "grpc_bridge_content_length_missing")


def test_a_body_of_another_size_than_was_told() -> None:
    stream = Stream(response_size_header="X-Size")
    assert stream.answer((b"x-size", b"4")).get(b"content-length") == b"9"
    data = Buffer(b"ab")
    stream.filter.encode_data(data, False)
    assert data.take() == b"\0\0\0\0\x04ab"
    stream.filter.encode_data(Buffer(b"c"), True)
    assert stream.replies[0][2:] == (13, "grpc_bridge_content_length_wrong")


def test_pieces_are_put_together() -> None:
    stream = Stream()
    stream.answer()
    stream.filter.encode_data(Buffer(b"ab"), False)
    data = Buffer(b"c")
    stream.filter.encode_data(data, True)
    assert data.take() == b"\0\0\0\0\x03abc"
    assert stream.trailers.get(b"grpc-status") == b"0"
