"""The filter on its contract: pieces, limits, routes and ends, as exchanges over HTTP/1 cannot show them."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.extensions.filters.http.grpc_json_transcoder.v3 import transcoder_pb2
from tests.transcoding_protos import descriptor_set, frame, new
from tests.unit.extensions.http_filters.grpc_json_transcoder.configs import config

from proxeny.extensions.http_filters.grpc_json_transcoder import FACTORY
from proxeny.extensions.http_filters.grpc_json_transcoder.config import TranscoderConfig
from proxeny.extensions.http_filters.grpc_json_transcoder.filter import (
    DATA_BUFFER,
    DATA_CONTINUE,
    DATA_NO_BUFFER,
    MOST_PIECE,
    REQUEST_BYTES,
    RESPONSE_BYTES,
    JsonTranscoder,
)
from proxeny.http.filter import FilterHeadersStatus
from proxeny.kernel.buffer import Buffer
from proxeny.kernel.headers import HeaderMap
from proxeny.network.factory_context import FactoryContext
from proxeny.stats.store import MainStore

CONTINUE, STOP = FilterHeadersStatus.CONTINUE, FilterHeadersStatus.STOP_ITERATION
GRPC = [(b":status", b"200"), (b"content-type", b"application/grpc")]


class Info:
    """Of the stream, what is asked for."""

    protocol = "HTTP/2"


class Callbacks:
    """Both sides' callbacks: notes what the filter does."""

    def __init__(self, route_config: TranscoderConfig | None = None) -> None:
        self.route_config = route_config
        self.stream_info = Info()
        self.cleared = 0
        self.resets = 0
        self.request_added = b""
        self.response_added = Buffer()
        self.reply: tuple[int, bytes, str] | None = None
        self.limits = [1 << 20, 1 << 20]
        self.route = None

    def per_filter_config(self) -> TranscoderConfig | None:
        return self.route_config

    def clear_route_cache(self) -> None:
        self.cleared += 1

    def reset_stream(self) -> None:
        self.resets += 1

    def add_decoded_data(self, data: Buffer, streaming: bool) -> None:
        self.request_added += data.take()

    def add_encoded_data(self, data: Buffer, streaming: bool) -> None:
        self.response_added.move_all(data)

    def encoding_buffer(self) -> Buffer:
        return self.response_added

    def send_local_reply(self, code: int, body: bytes, modify: Any, grpc_status: int | None, details: str) -> None:
        self.reply = (code, body, details)

    def decoder_buffer_limit(self) -> int:
        return self.limits[0]

    def encoder_buffer_limit(self) -> int:
        return self.limits[1]

    def set_decoder_buffer_limit(self, limit: int) -> None:
        self.limits[0] = limit

    def set_encoder_buffer_limit(self, limit: int) -> None:
        self.limits[1] = limit


class Stream:
    """A filter with its callbacks."""

    def __init__(self, made: TranscoderConfig | None = None, route_config: TranscoderConfig | None = None) -> None:
        context = FactoryContext(role="worker", stats=MainStore())
        factory = FACTORY.create_filter_factory(transcoder_pb2.GrpcJsonTranscoder(), "http.a.", context)
        self.stats = factory._stats
        self.filter = JsonTranscoder(made or config(), self.stats)
        self.callbacks = Callbacks(route_config)
        self.filter.decoder_callbacks = self.filter.encoder_callbacks = self.callbacks  # type: ignore[assignment]

    def request(self, method: str, path: str, *fields: tuple[bytes, bytes], end: bool = False) -> HeaderMap:
        headers = HeaderMap([(b":method", method.encode()), (b":path", path.encode()), *fields])
        self.filter.decode_headers(headers, end)
        return headers

    def data(self, data: bytes, end: bool) -> bytes:
        buffer = Buffer(data)
        status = self.filter.decode_data(buffer, end)
        assert status is DATA_CONTINUE
        return buffer.take()

    @property
    def buffered(self) -> tuple[int, int]:
        return int(self.stats.get(REQUEST_BYTES)), int(self.stats.get(RESPONSE_BYTES))


def test_the_request_becomes_one_of_grpc() -> None:
    stream = Stream()
    headers = stream.request("GET", "/shelves/7?page_size=2", (b"content-length", b"0"), (b"te", b"gzip"), end=True)
    assert dict(headers.items()) == {
        b":method": b"POST",
        b":path": b"/lib.Library/GetShelf",
        b"content-type": b"application/grpc",
        b"te": b"trailers",
        b"x-envoy-original-path": b"/shelves/7?page_size=2",
        b"x-envoy-original-method": b"GET",
    }
    assert stream.callbacks.request_added == frame(new("lib.ShelfRequest", id=7, page_size=2))
    assert stream.callbacks.cleared == 1


def test_the_route_may_be_kept() -> None:
    stream = Stream(config(match_incoming_request_route=True))
    stream.request("GET", "/shelves/7", end=True)
    assert stream.callbacks.cleared == 0


def test_a_route_has_its_own_configuration() -> None:
    off = TranscoderConfig(transcoder_pb2.GrpcJsonTranscoder(proto_descriptor_bin=b""))
    stream = Stream(route_config=off)
    headers = stream.request("GET", "/shelves/7", end=True)
    assert headers.get(b":method") == b"GET"
    assert stream.filter.encode_headers(HeaderMap(GRPC), False) is CONTINUE
    older = config(services=["old.Older"])
    assert Stream(route_config=older).request("GET", "/shelves/7").get(b":method") == b"GET"
    assert Stream(off, route_config=older).request("POST", "/older").get(b":path") == b"/old.Older/Echo"


def test_limits_are_raised_and_never_lowered() -> None:
    stream = Stream(config(max_request_body_size={"value": 1 << 21}, max_response_body_size={"value": 5}))
    stream.request("POST", "/echo")
    assert stream.callbacks.limits == [1 << 21, 1 << 20]


def test_a_request_above_the_limit() -> None:
    stream = Stream(config(max_request_body_size={"value": 10}))
    stream.request("POST", "/echo")
    assert stream.filter.decode_data(Buffer(b'{"a_string":"'), False) is DATA_NO_BUFFER
    assert stream.callbacks.reply is not None
    assert stream.callbacks.reply[0] == 413
    assert stream.callbacks.reply[2] == "grpc_json_transcode_failure{request_buffer_size_limit_reached}"


def test_what_was_read_counts_no_more() -> None:
    stream = Stream(config(max_request_body_size={"value": 10}))
    stream.request("POST", "/echo")
    sent = b"".join(stream.data(piece, False) for piece in (b'{"a_string', b'":"0123456', b"789"))
    sent += stream.data(b'"}', True)
    assert sent == frame(new("lib.Everything", a_string="0123456789"))
    assert stream.buffered == (0, 0)


def test_gauges_fall_back_when_a_stream_breaks_off() -> None:
    stream = Stream()
    stream.request("POST", "/files/a")
    assert stream.filter.decode_data(Buffer(b"12345"), False) is DATA_BUFFER
    assert stream.buffered == (5, 0)
    assert stream.filter.encode_headers(HeaderMap(GRPC), False) is STOP
    assert stream.filter.encode_data(Buffer(b"\0\0\0\0\x09abc"), False) is DATA_NO_BUFFER
    assert stream.buffered == (5, 3)
    stream.filter.on_destroy()
    assert stream.buffered == (0, 0)


def test_a_streamed_http_body_goes_in_pieces_that_grpc_takes() -> None:
    stream = Stream()
    stream.request("PUT", "/files/a", (b"content-type", b"a/b"))
    out = stream.data(b"x" * (MOST_PIECE + 5), True)
    first = new("lib.FileRequest", file={"content_type": "a/b", "data": b"x" * MOST_PIECE}, name="a")
    second = new("lib.FileRequest", file={"data": b"x" * 5})
    messages = []
    while out:
        size = 5 + int.from_bytes(out[1:5], "big")
        messages.append(new("lib.FileRequest"))
        messages[-1].ParseFromString(out[5:size])
        out = out[size:]
    assert messages == [first, second]


def test_a_message_of_an_http_body_that_cannot_be_read_resets() -> None:
    stream = Stream()
    stream.request("GET", "/files/a", end=True)
    stream.filter.encode_headers(HeaderMap(GRPC), False)
    assert stream.filter.encode_data(Buffer(frame(b"\x12\x05a")), False) is DATA_NO_BUFFER
    assert stream.callbacks.resets == 1
    assert stream.filter.encode_data(Buffer(b"more"), True) is DATA_CONTINUE


def test_an_http_body_without_trailers_comes_to_an_end() -> None:
    stream = Stream()
    stream.request("GET", "/files/a", end=True)
    head = HeaderMap(GRPC)
    assert stream.filter.encode_headers(head, False) is STOP
    body = Buffer(frame(new("google.api.HttpBody", content_type="a/b", data=b"x")))
    assert stream.filter.encode_data(body, True) is DATA_CONTINUE
    assert body.take() == b"x"
    assert head.get(b"content-type") == b"a/b"


def test_a_stream_of_http_bodies_begins_with_the_first_message() -> None:
    stream = Stream()
    stream.request("GET", "/all/a", end=True)
    head = HeaderMap(GRPC)
    assert stream.filter.encode_headers(head, False) is STOP
    whole = frame(new("google.api.HttpBody", content_type="a/b", data=b"x"))
    assert stream.filter.encode_data(Buffer(whole[:6]), False) is DATA_BUFFER
    rest = Buffer(whole[6:])
    assert stream.filter.encode_data(rest, False) is DATA_CONTINUE
    assert (rest.take(), head.get(b"content-type")) == (b"x", b"a/b")


@pytest.mark.parametrize(("protocol", "kept"), [("HTTP/2", b"grpc-status"), ("HTTP/1.1", None)])
def test_clients_of_http1_hear_of_no_trailers(protocol: str, kept: bytes | None) -> None:
    stream = Stream()
    stream.callbacks.stream_info.protocol = protocol
    stream.request("GET", "/shelves/1", end=True)
    head = HeaderMap([*GRPC, (b"trailer", b"grpc-status")])
    stream.filter.encode_headers(head, False)
    stream.filter.encode_data(Buffer(frame(new("lib.Shelf", id=1))), False)
    stream.filter.encode_trailers(HeaderMap([(b"grpc-status", b"0"), (b"grpc-message", b"fine")]))
    assert head.get(b"trailer") == kept
    assert stream.callbacks.response_added.peek() == b'{"id":"1"}'
    assert head.get(b"content-length") == b"10"
    assert (head.get(b"grpc-status"), head.get(b"grpc-message")) == (b"0", b"fine")
    assert stream.buffered == (0, 0)


def test_a_descriptor_file(tmp_path: Any) -> None:
    file = tmp_path / "library.bin"
    file.write_bytes(descriptor_set())
    made = TranscoderConfig(transcoder_pb2.GrpcJsonTranscoder(proto_descriptor=str(file), services=["lib.Library"]))
    assert Stream(made).request("GET", "/shelves/1").get(b":path") == b"/lib.Library/GetShelf"


def test_a_body_in_many_pieces_is_not_slow() -> None:
    stream = Stream()
    stream.request("POST", "/files/a")
    piece = Buffer()
    for _ in range(200_000):
        piece.append(b"x")
        assert stream.filter.decode_data(piece, False) is DATA_BUFFER
    assert len(stream.data(b"", True)) > 200_000
