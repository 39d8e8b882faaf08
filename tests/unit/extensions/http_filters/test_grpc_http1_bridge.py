"""The bridge for HTTP/1 clients: framing of messages whose pieces come one by one; exchanges are differential."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from envoy.extensions.filters.http.grpc_http1_bridge.v3.config_pb2 import Config

from proxeny.extensions.http_filters.grpc_http1_bridge import AND_BUFFER, DATA_CONTINUE, FACTORY, GrpcHttp1Bridge
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.headers import HeaderMap


def bridge(protocol: str = "HTTP/1.1", held: Buffer | None = None) -> tuple[GrpcHttp1Bridge, HeaderMap]:
    """A filter that saw the head of a bare message, and the head."""
    context: Any = None
    made = FACTORY.create_filter_factory(Config(upgrade_protobuf_to_grpc=True), "", context).create()
    callbacks: Any = SimpleNamespace(
        stream_info=SimpleNamespace(protocol=protocol),
        clear_route_cache=lambda: None,
        decoding_buffer=lambda: held,
        encoding_buffer=lambda: None,
    )
    made.decoder_callbacks = made.encoder_callbacks = callbacks
    headers = HeaderMap(
        [(b":path", b"/a/b?c"), (b"content-type", b"application/x-protobuf"), (b"content-length", b"5")]
    )
    made.decode_headers(headers, False)
    return made, headers


def test_a_message_in_one_piece_is_framed() -> None:
    made, headers = bridge()
    assert headers.get(b"content-type") == b"application/grpc"
    assert headers.get(b"content-length") is None
    data = Buffer(b"abc")
    assert made.decode_data(data, True) is DATA_CONTINUE
    assert data.take() == b"\0\0\0\0\x03abc"


def test_a_message_in_pieces_is_framed_as_a_whole() -> None:
    held = Buffer(b"abc")
    made, _ = bridge(held=held)
    assert made.decode_data(Buffer(b"abc"), False) is AND_BUFFER
    assert made.decode_data(Buffer(b"de"), True) is DATA_CONTINUE
    assert held.take() == b"\0\0\0\0\x05abc"


def test_over_http2_only_the_type_changes() -> None:
    made, headers = bridge("HTTP/2")
    assert headers.get(b"content-type") == b"application/grpc"
    data = Buffer(b"abc")
    assert made.decode_data(data, True) is DATA_CONTINUE
    assert data.take() == b"abc"


def test_an_answer_of_known_length_loses_its_frame_head_and_the_length() -> None:
    made, _ = bridge()
    headers = HeaderMap([(b":status", b"200"), (b"content-length", b"8")])
    made.encode_headers(headers, False)
    assert headers.get(b"content-length") is None
    data = Buffer(b"\0\0\0\0\x03abc")
    assert made.encode_data(data, True) is DATA_CONTINUE
    assert data.take() == b"abc"
