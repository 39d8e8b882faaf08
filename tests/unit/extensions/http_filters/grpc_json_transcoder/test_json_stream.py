"""The JSON parser: the same events however the text is cut, and errors with what is around them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxeny.extensions.http_filters.grpc_json_transcoder.json_stream import JsonStreamParser, Scalar


class Recorder:
    """An ObjectWriter that makes Python values of what it hears."""

    def __init__(self) -> None:
        self.events: list[tuple[str, bytes, Scalar]] = []

    def start_object(self, name: bytes) -> None:
        self.events.append(("{", name, None))

    def end_object(self) -> None:
        self.events.append(("}", b"", None))

    def start_list(self, name: bytes) -> None:
        self.events.append(("[", name, None))

    def end_list(self) -> None:
        self.events.append(("]", b"", None))

    def render(self, name: bytes, value: Scalar) -> None:
        self.events.append(("", name, value))


def parse(*pieces: bytes) -> tuple[list[tuple[str, bytes, Scalar]], bytes | None]:
    recorder = Recorder()
    parser = JsonStreamParser(recorder)
    for piece in pieces:
        error = parser.parse(piece)
        if error is not None:
            return recorder.events, error
    return recorder.events, parser.finish()


TEXT = (
    '{"a": 1, \'b\' : -2.5e3, c_$1:[true,false,null,"x\\u00e4\\ud83d\\ude00\\n\\q"], "": {"d":[],"e":{},},'
    ' "big":18446744073709551615,"less":-9223372036854775808,"more":18446744073709551616, "ä\\"":"😀"} '
).encode()


def test_every_cut_gives_the_same() -> None:
    whole = parse(TEXT)
    assert whole[1] is None
    for at in range(len(TEXT)):
        assert parse(TEXT[:at], TEXT[at:]) == whole
    assert parse(*(TEXT[at : at + 1] for at in range(len(TEXT)))) == whole


def test_what_is_heard() -> None:
    events, error = parse(b'{"a":[1,-1,1.0,"x",null,true],b:{}}')
    assert error is None
    assert events == [
        ("{", b"", None), ("[", b"a", None), ("", b"", 1), ("", b"", -1), ("", b"", 1.0), ("", b"", b"x"),
        ("", b"", None), ("", b"", True), ("]", b"", None), ("{", b"b", None), ("}", b"", None), ("}", b"", None),
    ]  # fmt: skip
    assert [type(value) for _, _, value in events[2:5]] == [int, int, float]


@pytest.mark.parametrize("value", [0, 1.5, "text", [], {}, [1, [2, {"a": None}]], {"a": {"b": [True, "é"]}}])
def test_json_is_understood(value: Any) -> None:
    assert parse(json.dumps(value).encode())[1] is None


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"", b"Unexpected end of string. Expected a value.\n\n^"),
        (b"{} x", b"Parsing terminated before end of input.\n{} x\n   ^"),
        (b"{]", b"Expected an object key or }.\n{]\n ^"),
        (b'{"a"1}', b'Expected : between key:value pair.\n{"a"1}\n    ^'),
        (b"[1 2]", b"Expected , or ] after array value.\n[1 2]\n   ^"),
        (b'{"a":1 2}', b'Expected , or } after key:value pair.\n{"a":1 2}\n       ^'),
        (b"{true:1}", b"Expected an object key or }.\n{true:1}\n     ^"),
        (b"[01]", b"Octal/hex numbers are not valid JSON values.\n[01]\n ^"),
        (b"[1.2.3]", b"Unable to parse number.\n[1.2.3]\n ^"),
        (b"[1e999]", b"Number exceeds the range of double.\n[1e999]\n ^"),
        (b'["\\u12"]', b'Invalid escape sequence.\n["\\u12"]\n  ^'),
        (b'["\\udc00"]', b'Invalid unicode code point.\n["\\udc00"]\n  ^'),
        (b'["\\ud800abcdef"]', b'Missing low surrogate.\n["\\ud800abcdef"]\n  ^'),
        (b'["\\ud800\\u0041"]', b'Invalid low surrogate.\n["\\ud800\\u0041"]\n  ^'),
        (b'["abc', b"Closing quote expected in string.\n\n^"),
        (b'["\xff"]', b'Encountered non UTF-8 code points.\n\xff"]\n^'),
        (b"[" + b" " * 30 + b"?" + b" " * 30, b"Expected a value or ] within an array.\n?" + b" " * 19 + b"\n^"),
    ],
)
def test_errors(text: bytes, error: bytes) -> None:
    assert parse(text)[1] == error


def test_depth_is_limited() -> None:
    assert parse(b"[" * 100 + b"]" * 100)[1] is None
    assert parse(b"[" * 101)[1] == b"Message too deep. Max recursion depth reached in array"
    assert parse(b'{"a":' * 101)[1] == b"Message too deep. Max recursion depth reached for key 'a'"


def test_a_long_number_is_not_slow() -> None:
    assert parse(b"[" + b"1" * 200_000 + b"]")[1] == b"Number exceeds the range of double.\n[" + b"1" * 20 + b"\n ^"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b'{"a":@', b"Expected a value.\n@" + b"x" * 19 + b"\n^"),
        (b'["\xff', b"Encountered non UTF-8 code points.\n\xff" + b"x" * 19 + b"\n^"),
        (b"[1 @", b"Expected , or ] after array value.\n@" + b"x" * 19 + b"\n^"),
    ],
)
def test_lost_texts_are_not_kept(text: bytes, error: bytes) -> None:
    parser = JsonStreamParser(Recorder())
    assert parser.parse(text) is None
    for _ in range(5000):
        assert parser.parse(b"x" * 10) is None
    assert len(parser._leftover) <= 20
    assert parser.finish() == error


def test_what_is_lost_may_turn_out_to_be_no_utf8() -> None:
    lost = b"[@" + b"x" * 50
    wrong = b"Encountered non UTF-8 code points.\n@" + b"x" * 19 + b"\n^"
    assert parse(lost, b"\xc3", b"\xa4")[1] == b"Expected a value or ] within an array.\n@" + b"x" * 19 + b"\n^"
    assert parse(lost, b"\xc3")[1] == wrong
    assert parse(lost + b"\xff", b"more")[1] == wrong
    assert parse(b"[@\xff")[1] == b"Encountered non UTF-8 code points.\n@\xff\n^"


@pytest.mark.parametrize("begin", [b"[1", b"{a", b'["'])
def test_a_token_in_many_pieces_is_not_slow(begin: bytes) -> None:
    parser = JsonStreamParser(Recorder())
    assert parser.parse(begin) is None
    errors = [error for _ in range(10_000) if (error := parser.parse(b"1")) is not None]
    assert bool(errors) == (begin != b'["')
