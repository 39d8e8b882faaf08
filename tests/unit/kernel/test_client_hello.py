"""ClientHellos: what is found, what is refused and for which of BoringSSL's reasons (checked against Envoy 1.40)."""

from __future__ import annotations

import pytest
from tests.unit.hellos import (
    EMPTY,
    WARNING,
    alpn,
    block,
    extension,
    handshake,
    hello,
    hello_body,
    real_hello,
    record,
    server_name,
    short,
    v2_hello,
)

from proxeny.kernel.client_hello import CLOSED, FOUND, NEED_MORE, NOT_TLS, ClientHelloParser

NAMED = handshake(hello_body(server_name(b"a.b")))
ENCRYPTED = b"\x00\x00\x01\x00\x01\x07"


def facts(parser: ClientHelloParser, verdict: int) -> tuple[object, ...]:
    return (
        verdict,
        parser.error,
        parser.processed if verdict else 0,
        parser.version,
        parser.server_name,
        parser.protocols,
        parser.ciphers,
        parser.extensions,
    )


def parse(data: bytes) -> ClientHelloParser:
    """Feed the whole, then byte by byte, then in two halves at every point: the facts must not differ."""
    parser = ClientHelloParser()
    whole = facts(parser, parser.feed(data))
    slow = ClientHelloParser()
    verdict = NEED_MORE
    for size in range(1, len(data) + 1):
        verdict = slow.feed(data[:size])
        if verdict:
            break
    assert facts(slow, verdict) == whole
    for size in range(1, len(data)):
        halved = ClientHelloParser()
        verdict = halved.feed(data[:size]) or halved.feed(data)
        assert facts(halved, verdict) == whole
    return parser


def verdict_of(data: bytes) -> int:
    parse(data)
    return ClientHelloParser().feed(data)


def test_real_hello() -> None:
    data = real_hello()
    parser = parse(data)
    assert parser.error == 0
    assert parser.processed == len(data)
    assert parser.version == 0x0303
    assert parser.server_name == b"Foo.Example.COM"
    assert parser.protocols == [b"h2", b"http/1.1"]
    assert 0x1301 in parser.ciphers
    assert {0, 10, 13, 16, 43, 51} <= {kind for kind, _ in parser.extensions}


def test_without_name_and_protocols() -> None:
    parser = parse(real_hello(None, ()))
    assert (parser.server_name, parser.protocols) == (b"", None)


FOUND_FORMS = {
    "two records": record(NAMED[:20]) + record(NAMED[20:]),
    "a record per byte": b"".join([record(NAMED[at : at + 1]) for at in range(len(NAMED))]),
    "warnings between": record(NAMED[:2]) + WARNING + record(NAMED[2:]),
    "four warnings": WARNING * 4 + record(NAMED),
    "warnings count anew behind data": WARNING * 4 + record(NAMED[:1]) + WARNING * 4 + record(NAMED[1:]),
    "32 empty records": EMPTY * 32 + record(NAMED),
    "empty records count anew behind data": EMPTY * 32 + record(NAMED[:1]) + EMPTY * 32 + record(NAMED[1:]),
    "any minor record version": record(NAMED, version=0x03FF),
    "behind it a second record": record(NAMED) + record(b"abcd"),
    "behind it junk": record(NAMED) + b"abcd",
}


@pytest.mark.parametrize("data", FOUND_FORMS.values(), ids=FOUND_FORMS)
def test_forms(data: bytes) -> None:
    parser = parse(data)
    assert (parser.error, parser.server_name) == (0, b"a.b")


def test_extensions_may_be_missing() -> None:
    body = hello_body()[:-2]
    parser = parse(record(handshake(body)))
    assert (parser.error, parser.extensions, parser.ciphers) == (0, [], [0x1301, 0xC02F])


@pytest.mark.parametrize("version", [0, 0x0300, 0x0303, 0x0305, 0xFFFF])
def test_any_version_is_read(version: int) -> None:
    parser = parse(hello(version=version))
    assert (parser.error, parser.version) == (0, version)


ALERTED = {f"alert {code}": (record(bytes([2, code]), 21), 1000 + code) for code in (0, 40, 255)}
REFUSED = {
    "plain text": (b"hello world", 247),
    "GET": (b"GET / HTTP/1.1\r\n", 156),
    "HEAD": (b"HEAD /", 156),
    "POST": (b"POST /", 156),
    "PUT": (b"PUT /", 156),
    "CONNECT": (b"CONNECT a:1", 155),
    "major record version": (record(NAMED, version=0x0401), 247),
    "later major record version": (record(NAMED[:5]) + record(NAMED[5:], version=0x0201), 247),
    "too long a record": (b"\x16\x03\x01\x41\x41", 146),
    "change cipher spec": (record(b"\x01", 20) + record(NAMED), 225),
    "empty change cipher spec": (record(b"", 20), 225),
    "change cipher spec inside": (record(NAMED[:20]) + record(b"\x01", 20) + record(NAMED[20:]), 225),
    "application data": (record(b"x", 23), 225),
    "unknown record": (record(b"x", 99), 225),
    "33 empty records": (EMPTY * 33 + record(NAMED), 219),
    "warnings keep the count of empty records": (EMPTY * 16 + WARNING + EMPTY * 17, 219),
    "five warnings": (WARNING * 5, 220),
    "empty records keep the count of warnings": (WARNING * 4 + EMPTY + WARNING, 220),
    "long alert": (record(b"\x01\x5a\x01", 21), 102),
    "empty alert": (record(b"", 21), 102),
    "alert of no level": (record(b"\x03\x01", 21), 227),
    **ALERTED,
    "server hello": (record(handshake(hello_body(), 2)), 223),
    "too long a message": (record(b"\x01\x00\x40\x01"), 150),
    "trailing bytes": (record(handshake(hello_body() + b"x")), 131),
    "cut short": (record(handshake(hello_body()[:-1])), 131),
    "long session id": (hello(session=b"s" * 33), 131),
    "no ciphers": (hello(ciphers=()), 131),
    "no compression": (hello(compression=b""), 131),
    "extension twice": (hello(extension(99), extension(98), extension(99)), 131),
    "cut extension": (record(handshake(hello_body()[:-2] + block(b"\x00\x01\x00\x09\x01"))), 131),
    "two messages": (record(handshake(hello_body()) + b"\x01"), 255),
    "empty name": (hello(server_name(b"")), 149),
    "name with NUL": (hello(server_name(b"a\x00b")), 149),
    "long name": (hello(server_name(b"a" * 256)), 149),
    "two names": (hello(extension(0, block((b"\x00" + block(b"a")) * 2))), 149),
    "other kind of name": (hello(extension(0, block(b"\x01" + block(b"a")))), 149),
    "empty name list": (hello(extension(0, block(b""))), 149),
    "empty name extension": (hello(extension(0)), 149),
    "encrypted hello, empty": (hello(extension(0xFE0D)), 137),
    "encrypted hello, cut": (hello(extension(0xFE0D, ENCRYPTED + block(b"e"))), 137),
    "encrypted hello before name": (hello(extension(0), extension(0xFE0D)), 137),
    "SSLv2 hello, too long": (b"\x90\x01\x01\x03\x01" + b"0" * 20, 200),
    "SSLv2 hello, too short": (b"\x80\x02\x01\x03\x01", 199),
    "SSLv2 hello, odd ciphers": (v2_hello(b"\x00\x00\x05\x05"), 137),
    "SSLv2 hello without ciphers": (v2_hello(b""), 131),
    "SSLv2 hello of old ciphers": (v2_hello(b"\x01\x00\x05"), 131),
    "SSLv2 hello, later": (record(NAMED[:5]) + v2_hello(), 247),
    "SSLv2 version": (v2_hello(version=b"\x02\x00"), 247),
}


@pytest.mark.parametrize(("data", "reason"), REFUSED.values(), ids=REFUSED)
def test_refused(data: bytes, reason: int) -> None:
    parser = parse(data)
    assert parser.error == reason


@pytest.mark.parametrize(
    ("data", "processed"),
    [(b"hello world", 5), (record(b"x", 99) + b"more", 6), (hello() + b"more", len(hello())), (EMPTY * 40, 33 * 5)],
)
def test_processed(data: bytes, processed: int) -> None:
    parser = ClientHelloParser()
    assert parser.feed(data) != NEED_MORE
    assert parser.processed == processed


def test_close_notify() -> None:
    assert verdict_of(record(b"\x01\x00", 21)) == CLOSED


@pytest.mark.parametrize(
    "data", [b"abcd", hello()[:-1], record(b"\x01\x00\x40\x00"), record(NAMED[:3]), b"\x16\x03\x01\x40\x01ab"]
)
def test_needs_more(data: bytes) -> None:
    assert verdict_of(data) == NEED_MORE


def test_sslv2_form() -> None:
    parser = parse(v2_hello(b"\x00\x00\x05\x07\x00\xc0\x00\x13\x01", session=b"ss"))
    assert (parser.error, parser.version, parser.ciphers) == (0, 0x0301, [5, 0x1301])
    assert (parser.extensions, parser.server_name, parser.protocols) == ([], b"", None)


@pytest.mark.parametrize("content", [b"\x01", b"\x01x", b"\x07junk", ENCRYPTED + block(b"") + block(b"p")])
def test_encrypted_hellos_that_pass(content: bytes) -> None:
    assert parse(hello(extension(0xFE0D, content))).error == 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00",
        block(b""),
        block(b"x"),
        block(short(b"h2") + b"\x00"),
        block(short(b"h2")) + b"x",
        block(b"\x05h2"),
    ],
)
def test_malformed_protocols_are_none(content: bytes) -> None:
    parser = parse(hello(extension(16, content)))
    assert (parser.error, parser.protocols) == (0, None)


def test_odd_bytes_are_kept() -> None:
    parser = parse(hello(server_name(b'A b"\xff\n%'), alpn(b"h2", b"\xff\x00")))
    assert (parser.server_name, parser.protocols) == (b'A b"\xff\n%', [b"h2", b"\xff\x00"])


def test_largest_hello() -> None:
    data = hello(extension(99, b"x" * (16384 - len(hello_body()) - 4)))
    parser = ClientHelloParser()
    assert parser.feed(data[:-1]) == NEED_MORE
    # It stands in one record of 16,388 bytes, more than TLS allows.
    assert (parser.feed(data), parser.error) == (NOT_TLS, 147)
    split = ClientHelloParser()
    assert split.feed(record(data[5:8000]) + record(data[8000:])) == FOUND


def test_all_extension_types_once() -> None:
    kinds = range(0x2000, 0x2F00)
    parser = ClientHelloParser()
    message = handshake(hello_body(*[extension(kind) for kind in kinds]))
    assert parser.feed(b"".join([record(message[at : at + 4000]) for at in range(0, len(message), 4000)])) == FOUND
    assert [kind for kind, _ in parser.extensions] == list(kinds)
