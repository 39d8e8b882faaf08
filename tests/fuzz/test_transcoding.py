"""Hostile templates, paths, JSON and messages for the gRPC-JSON transcoder: each is read, or refused with words."""

import random

import pytest
from google.protobuf import json_format
from tests.transcoding_protos import frame, new
from tests.unit.extensions.http_filters.grpc_json_transcoder.configs import config
from tests.unit.extensions.http_filters.grpc_json_transcoder.test_translators import random_message

from proxeny.extensions.http_filters.grpc_json_transcoder.path_matcher import PathMatcher
from proxeny.extensions.http_filters.grpc_json_transcoder.request_translator import RequestInfo, RequestTranslator
from proxeny.extensions.http_filters.grpc_json_transcoder.response_translator import ResponseTranslator

ROUNDS = 150
TEMPLATE_PARTS = (b"/", b"*", b"**", b"{", b"}", b"=", b":", b".", b"a", b"b", b"{a}", b"{a=b/*}", b"\xff", b"%2F")
JSON_PARTS = b"{}[]\":,\\u0123456789.eE+-tfn\x00\xff \n'"


def spoilt(chance: random.Random, data: bytes, alphabet: bytes) -> bytes:
    """Some bytes changed, left out or put in."""
    out = bytearray(data)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(out) + 1)
        if chance.random() < 0.3:
            del out[at : at + chance.randrange(1, 4)]
        else:
            out[at : at + chance.randrange(2)] = bytes((chance.choice(alphabet),))
    return bytes(out)


def pieces(chance: random.Random, data: bytes) -> list[bytes]:
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(4)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@pytest.mark.parametrize("seed", range(4))
def test_templates_and_paths(seed: int) -> None:
    chance = random.Random(seed)
    matcher = PathMatcher(seed % 3, seed % 2 == 0, seed == 1, frozenset())
    for _ in range(ROUNDS * 10):
        matcher.register(b"GET", b"".join(chance.choices(TEMPLATE_PARTS, k=chance.randrange(12))), (), "method")
    for _ in range(ROUNDS * 10):
        path = b"/" + b"".join(chance.choices(TEMPLATE_PARTS, k=chance.randrange(20)))
        found = matcher.lookup(b"GET", path, b"&".join(chance.choices(TEMPLATE_PARTS, k=3)))
        assert found is None or all(isinstance(value, bytes) for _, value in found[1])


@pytest.mark.parametrize("seed", range(4))
def test_json(seed: int) -> None:
    """Pieces of any size give the message of the whole; what cannot be read has an error."""
    chance = random.Random(seed)
    made = config()
    type_ = made.type_of("lib.Everything")
    for number in range(ROUNDS):
        text = json_format.MessageToJson(random_message(number), indent=None).encode()
        if chance.random() < 0.9:
            text = spoilt(chance, text, JSON_PARTS)
        results = []
        for cut in ([text], pieces(chance, text)):
            translator = RequestTranslator(RequestInfo(made.registry, type_, (), [], False, False), False)
            out = b""
            for piece in cut:
                translator.feed(piece)
                out += translator.read()
            translator.end()
            out += translator.read()
            results.append((out, translator.error is None))
            if out:
                new("lib.Everything").ParseFromString(out[5:])
        (whole, fine), (cut_up, cut_fine) = results
        # Behind a whole message nothing is read any more.
        assert (whole, fine) == (cut_up, cut_fine) or (not fine and cut_fine and cut_up)


@pytest.mark.parametrize("seed", range(4))
def test_messages(seed: int) -> None:
    chance = random.Random(seed)
    made = config(print_options={"always_print_primitive_fields": seed % 2 == 0, "add_whitespace": seed < 2})
    type_ = made.type_of("lib.Everything")
    for number in range(ROUNDS):
        data = spoilt(chance, random_message(number).SerializeToString(), bytes(range(256)))
        framed = frame(data) if chance.random() < 0.9 else spoilt(chance, frame(data), bytes(range(256)))
        translator = ResponseTranslator(made.registry, type_, seed == 3, made.options)
        text = b""
        for piece in pieces(chance, framed):
            translator.feed(piece)
            text += translator.read()
        translator.end()
        text += translator.read()
        assert translator.error.message if translator.error is not None else text.decode("utf-8")
