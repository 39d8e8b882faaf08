"""JSON to messages and back, against protobuf's own translation; what differs from that on purpose is differential."""

from __future__ import annotations

import random
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from tests.transcoding_protos import SCALARS, frame, new
from tests.unit.extensions.http_filters.grpc_json_transcoder.configs import config

from proxeny.extensions.http_filters.grpc_json_transcoder.config import TranscoderConfig
from proxeny.extensions.http_filters.grpc_json_transcoder.request_translator import RequestInfo, RequestTranslator
from proxeny.extensions.http_filters.grpc_json_transcoder.response_translator import ResponseTranslator


def translate(made: TranscoderConfig, name: str, *pieces: bytes, stream: bool = False) -> tuple[bytes, bytes | None]:
    """Messages and error of a body."""
    translator = RequestTranslator(RequestInfo(made.registry, made.type_of(name), (), [], False, False), stream)
    out = b""
    for piece in pieces:
        translator.feed(piece)
        out += translator.read()
    translator.end()
    return out + translator.read(), translator.error


def print_json(made: TranscoderConfig, name: str, data: bytes, stream: bool = False) -> tuple[bytes, bytes | None]:
    """JSON and error of a body of messages, which arrives byte by byte."""
    translator = ResponseTranslator(made.registry, made.type_of(name), stream, made.options)
    out = b""
    for at in range(len(data)):
        translator.feed(data[at : at + 1])
        out += translator.read()
    translator.end()
    out += translator.read()
    return out, None if translator.error is None else translator.error.message


def _scalar(kind: str, draw: random.Random) -> Any:
    if kind in ("double", "float"):
        return draw.choice((0.0, 1.5, -2.25, 1e10, 2.0**-20))
    if kind == "bool":
        return draw.random() < 0.5
    if kind == "string":
        return draw.choice(("", "x", "äß😀", 'a"\\<\n\x00\u2028', "y" * 200))
    if kind == "bytes":
        return draw.randbytes(draw.randrange(6))
    bits = 32 if kind.endswith("32") else 64
    low, high = (0, (1 << bits) - 1) if kind.startswith(("u", "fixed")) else (-(1 << bits - 1), (1 << bits - 1) - 1)
    return draw.choice((0, 1, low, high, draw.randint(low, high)))


def _shelf(draw: random.Random, depth: int = 0) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": _scalar("int64", draw),
        "theme": _scalar("string", draw),
        "color": draw.choice((0, 1, 2, -1, 9)),
    }
    if depth < 3 and draw.random() < 0.5:
        made["inner"] = _shelf(draw, depth + 1)
    made["tags"] = [_scalar("string", draw) for _ in range(draw.randrange(3))]
    return made


def random_message(seed: int) -> Message:
    draw = random.Random(seed)
    fields: dict[str, Any] = {}
    for kind in SCALARS:
        if draw.random() < 0.5:
            fields[f"a_{kind}"] = _scalar(kind, draw)
        if draw.random() < 0.3:
            fields[f"many_{kind}"] = [_scalar(kind, draw) for _ in range(draw.randrange(4))]
    fields["shelf"] = _shelf(draw)
    fields["many_shelf"] = [_shelf(draw) for _ in range(draw.randrange(3))]
    fields["by_number"] = {_scalar("int32", draw): _scalar("string", draw) for _ in range(draw.randrange(4))}
    fields["by_name"] = {_scalar("string", draw): _shelf(draw) for _ in range(draw.randrange(3))}
    fields["when"] = {"seconds": draw.randint(-62135596800, 253402300799), "nanos": draw.choice((0, 1, 120000000))}
    seconds = draw.randint(-1000, 1000)
    fields["lasts"] = {
        "seconds": seconds,
        "nanos": draw.choice((0, 5, 1000)) * (1 if seconds > 0 else -1 if seconds < 0 else 1),
    }
    fields["struct"] = {"a": 1.5, "b": [None, True, "x", {"c": []}], "d": {}}
    fields["mask"] = {"paths": ["a_b.c_d", "e"]}
    fields["box_int64"] = {"value": _scalar("int64", draw)}
    fields["maybe"] = 0
    fields.update(draw.choice(({"one_text": ""}, {"one_number": 0}, {"one_shelf": {}}, {})))
    return new("lib.Everything", **fields)


@pytest.mark.parametrize("seed", range(40))
def test_messages_survive_both_ways(seed: int) -> None:
    made = config()
    message = random_message(seed)
    data = frame(message)
    text, error = print_json(made, "lib.Everything", data)
    assert error is None
    assert json_format.Parse(text, new("lib.Everything")) == message
    for json in (text, json_format.MessageToJson(message).encode()):
        out, error = translate(made, "lib.Everything", json)
        assert error is None
        assert out[:1] == b"\0"
        assert int.from_bytes(out[1:5], "big") == len(out) - 5
        parsed = new("lib.Everything")
        parsed.ParseFromString(out[5:])
        assert parsed == message


def test_a_list_of_messages_comes_as_it_is_read() -> None:
    made = config()
    translator = RequestTranslator(RequestInfo(made.registry, made.type_of("lib.Shelf"), (), [], False, False), True)
    translator.feed(b'[{"id":1},{"id"')
    assert translator.read() == frame(new("lib.Shelf", id=1))
    translator.feed(b":2}")
    assert translator.read() == frame(new("lib.Shelf", id=2))
    translator.feed(b",{}]")
    translator.end()
    assert translator.read() == frame(b"")
    assert translator.error is None
    assert translator.stored == 0


def test_a_stream_of_messages() -> None:
    shelves = frame(new("lib.Shelf", id=1)) + frame(b"")
    assert print_json(config(), "lib.Shelf", shelves, stream=True) == (b'[{"id":"1"},{}]', None)
    assert print_json(config(), "lib.Shelf", b"", stream=True) == (b"[]", None)
    lines = config(print_options={"stream_newline_delimited": True})
    assert print_json(lines, "lib.Shelf", shelves, stream=True) == (b'{"id":"1"}\n{}\n', None)
    events = config(print_options={"stream_sse_style_delimited": True})
    assert print_json(events, "lib.Shelf", shelves, stream=True) == (b'data: {"id":"1"}\n\ndata: {}\n\n', None)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"\0\0", b"Incomplete gRPC frame header received"),
        (b"\0\0\0\0\x05ab", b"Incomplete gRPC frame expected size: 5 actual size: 2"),
        (b"\x01\0\0\0\0", b"Unsupported gRPC frame flag: 1"),
        (frame(b"\x08"), b"unexpected EOF"),
        (frame(b"\x22" * 300), None),
    ],
)
def test_broken_answers(data: bytes, error: bytes | None) -> None:
    assert print_json(config(), "lib.Shelf", data)[1] == error or error is None


def test_messages_within_messages_are_limited() -> None:
    data = b""
    for _ in range(3000):
        data = b"\x22" + _length(len(data)) + data
    assert print_json(config(), "lib.Shelf", frame(data))[1] == b"allowed depth exceeded"
    groups = b"\xfb\x3f" * 30_000
    assert print_json(config(), "lib.Shelf", frame(groups)) == (b"{}", None)


def test_what_is_in_an_any_counts_on() -> None:
    data = b""
    for _ in range(500):
        url = b"type.googleapis.com/google.protobuf.Any"
        data = b"\x0a" + _length(len(url)) + url + b"\x12" + _length(len(data)) + data
    assert print_json(config(), "google.protobuf.Any", frame(data))[1] == b"allowed depth exceeded"


def test_a_url_may_lead_deep() -> None:
    made = config()
    type_ = made.type_of("lib.ShelfRequest")
    path = made.resolve(type_, (b"shelf", *[b"inner"] * 5000, b"id"))
    translator = RequestTranslator(RequestInfo(made.registry, type_, (), [(path, b"7")], False, False), False)
    translator.end()
    assert len(translator.read()) > 10_000
    translator = RequestTranslator(RequestInfo(made.registry, type_, (), [(path, b"x")], False, False), False)
    translator.end()
    translator.read()
    assert translator.error is not None
    assert translator.error.startswith(b"shelf.inner.inner.")


def test_many_bindings_beside_many_fields_are_not_slow() -> None:
    made = config()
    type_ = made.type_of("lib.ShelfRequest")
    sizes = made.resolve(type_, (b"sizes",))
    info = RequestInfo(made.registry, type_, (), [(sizes, b"1")] * 20_000, False, False)
    translator = RequestTranslator(info, False)
    translator.feed(b'{"' + b'page_size":1,"' * 20_000 + b'open":true}')
    translator.end()
    assert len(translator.read()) == 5 + 20_000 * 4 + 2


def _length(size: int) -> bytes:
    out = bytearray()
    while size > 127:
        out.append(size & 127 | 128)
        size >>= 7
    return bytes((*out, size))


def test_a_map_entry_may_be_empty() -> None:
    text, error = print_json(config(), "lib.Everything", frame(b"\xa2\x03\x00\x9a\x03\x00\xaa\x03\x00\xb2\x03\x00"))
    assert (text, error) == (b'{"byName":{"":{}},"byNumber":{"0":""},"byFlag":{"false":"0"},"values":{}}', None)


def test_garbage_behind_a_message_is_of_no_interest_once_it_left() -> None:
    out, error = translate(config(), "lib.Shelf", b'{"id":1}', b"garbage")
    assert (out, error) == (frame(new("lib.Shelf", id=1)), None)
    assert translate(config(), "lib.Shelf", b'{"id":1}garbage')[1] is not None
