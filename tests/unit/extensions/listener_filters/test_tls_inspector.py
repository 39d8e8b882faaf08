"""The TLS inspector: what it writes about a connection, what it counts, how much it reads, when it closes."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2
from google.protobuf.json_format import ParseDict
from tests.unit.extensions.listener_filters.accepted import Accepted, context, counters, splits
from tests.unit.hellos import alpn, extension, hello, real_hello, record, server_name, short, v2_hello

from proxeny.extensions.listener_filters.tls_inspector import FACTORY
from proxeny.network.factory_context import FactoryContext

NAME = "envoy.filters.listener.tls_inspector"
VERSION_13 = extension(43, short(b"\x03\x04"))


def inspector(made_in: FactoryContext, **fields: Any) -> Accepted:
    message = ParseDict(fields, tls_inspector_pb2.TlsInspector())
    return Accepted(FACTORY.create_filter_factory(message, made_in).create()).accept()


def inspect(*pieces: bytes, **fields: Any) -> tuple[Accepted, dict[str, int]]:
    made_in = context()
    accepted = inspector(made_in, **fields).receive(pieces)
    return accepted, {name.removeprefix("tls_inspector."): count for name, count in counters(made_in).items()}


def failure(accepted: Accepted) -> str | None:
    metadata: dict[str, Any] = (accepted.stream_info.dynamic_metadata_map or {}).get(NAME, {})
    return metadata.get("failure_reason")


def test_real_hello_at_every_split() -> None:
    data = real_hello()
    for pieces in splits(data):
        accepted, counted = inspect(*pieces)
        assert accepted.passed
        info = accepted.connection_info
        assert info.transport_protocol == "tls"
        assert info.requested_server_name == "foo.example.com"
        assert info.requested_application_protocols == ("h2", "http/1.1")
        assert (info.ja3_hash, info.ja4_hash, info.transport_failure_reason) == ("", "", "")
        assert counted == {"tls_found": 1, "sni_found": 1, "alpn_found": 1}
        assert accepted.there == data


def test_bytes_processed() -> None:
    made_in = context()
    inspector(made_in).receive([hello() + b"more"])
    entry = made_in.stats.entries["tls_inspector", "tls_inspector."]  # type: ignore[attr-defined]
    block = made_in.stats.block(entry.schema, entry.prefix)
    assert block.count(entry.schema.slot("bytes_processed")) == 1


def test_nothing_asked_for() -> None:
    accepted, counted = inspect(hello())
    assert accepted.connection_info.requested_server_name == ""
    assert accepted.connection_info.requested_application_protocols == ()
    assert counted == {"tls_found": 1, "sni_not_found": 1, "alpn_not_found": 1}


def test_bytes_that_are_no_text() -> None:
    accepted, _ = inspect(hello(server_name(b"\xc4A\n"), alpn(b"\xff")))
    assert accepted.connection_info.requested_server_name == "\xc4a\n"
    assert accepted.connection_info.requested_application_protocols == ("\xff",)


def test_plain_text_goes_on() -> None:
    accepted, counted = inspect(b"GET / HTTP/1.1\r\n" * 2000)
    assert accepted.passed
    assert accepted.connection_info.transport_protocol == "raw_buffer"
    assert failure(accepted) == "ClientHelloNotDetected"
    assert accepted.connection_info.transport_failure_reason == (
        "TLS_error|error:1000009c:SSL routines:OPENSSL_internal:HTTP_REQUEST:TLS_error_end"
    )
    assert counted == {"tls_not_found": 1}


def test_unnamed_reason() -> None:
    accepted, _ = inspect(record(b"\x02\xff", 21))
    assert accepted.connection_info.transport_failure_reason == (
        "TLS_error|error:100004e7:SSL routines:OPENSSL_internal:reason(1255):TLS_error_end"
    )


def test_plain_text_is_closed_where_asked() -> None:
    accepted, counted = inspect(b"hello world", close_connection_on_client_hello_parsing_errors=True)
    assert accepted.closed
    assert failure(accepted) == "ClientHelloNotDetected"
    assert counted == {"tls_not_found": 1}


def test_much_plain_text_is_closed_as_too_large_a_hello() -> None:
    accepted, counted = inspect(
        b"x" * 300, close_connection_on_client_hello_parsing_errors=True, max_client_hello_size=256
    )
    assert accepted.closed
    assert failure(accepted) == "ClientHelloTooLarge"
    assert counted == {"client_hello_too_large": 1}


@pytest.mark.parametrize("version", [0x0200, 0x0300, 0x0305, 0xFEFF])
def test_versions_that_are_closed(version: int) -> None:
    accepted, counted = inspect(hello(server_name(b"q"), alpn(b"h2"), version=version), enable_ja3_fingerprinting=True)
    assert accepted.closed
    assert accepted.connection_info.requested_server_name == "q"
    assert len(accepted.connection_info.ja3_hash) == 32
    assert failure(accepted) == "ClientHelloInvalidTlsVersion"
    assert "CONNECTION_REJECTED" in accepted.connection_info.transport_failure_reason
    assert counted == {"tls_not_found": 1, "sni_found": 1}


def test_close_notify_closes() -> None:
    accepted, counted = inspect(record(b"\x01\x00", 21))
    assert accepted.closed
    assert (failure(accepted), counted) == (None, {})


@pytest.mark.parametrize(("size", "found"), [(600, True), (601, False), (2000, False)])
def test_size_limit(size: int, found: bool) -> None:
    data = hello(extension(99, b"x" * (size - len(hello(extension(99))))))
    for pieces in ([data], [data[:300], data[300:]], [data[at : at + 7] for at in range(0, size, 7)]):
        accepted, counted = inspect(*pieces, max_client_hello_size=600, initial_read_buffer_size=256)
        assert (accepted.passed, accepted.closed) == (found, not found)
        assert failure(accepted) == (None if found else "ClientHelloTooLarge")
        assert counted.get("client_hello_too_large", 0) == (not found)


def test_read_size_doubles() -> None:
    accepted = inspector(context(), max_client_hello_size=1000, initial_read_buffer_size=256)
    tested = accepted._filter
    sizes = [tested.max_read_bytes]
    for size in (100, 200, 255, 256, 511, 512):
        accepted.receive([b"\x16\x03\x01\x30\x00".ljust(size, b"\x01")[len(accepted.there) :]])
        sizes.append(tested.max_read_bytes)
    assert sizes == [256, 256, 256, 256, 512, 512, 1000]


def test_the_first_read_is_no_larger_than_the_limit() -> None:
    accepted = inspector(context(), max_client_hello_size=300, initial_read_buffer_size=65536)
    assert accepted._filter.max_read_bytes == 300
    assert inspector(context())._filter.max_read_bytes == 16384


FINGERPRINTS = {
    "versions": (hello(VERSION_13), "b46c6295f2988c92872ed92441a25ba0", "t13i020100_c1929292aa6b_b9a491fefe05"),
    "nothing": (hello(), "6ac28f635e78b6e59638f7a1e035f458", "t12i020000_c1929292aa6b_000000000000"),
    "grease": (
        hello(
            extension(10, b"\x00\x06\x1a\x1a\x00\x1d\x00\x17"),
            extension(11, b"\x01\x00"),
            extension(13, b"\x00\x04\x1a\x1a\x04\x01"),
            extension(0x2A2A),
            ciphers=(0x3A3A, 0x1301),
        ),
        "410178637a32ac7defdd9bdf2845d559",
        "t12i010300_0f2cb44170f4_731b3491e755",
    ),
    "odd lists": (
        hello(
            extension(10, b"\x00\x06\x1a"),
            extension(11, b"\x01\x00\x01\x07"),
            extension(13, b"\x00\x04\x1a\x1a\x04"),
        ),
        "54c58a4c9005e9b3011af286f8744ce0",
        "t12i020300_c1929292aa6b_b19a618dae4d",
    ),
    "grease only": (
        hello(extension(0x2A2A), ciphers=(0x3A3A,)),
        "bddda940f9963577c41d7c28b1a5f65f",
        "t12i000000_000000000000_000000000000",
    ),
    "many": (
        hello(*[extension(kind + 1000) for kind in range(120)], ciphers=range(1, 131)),
        "c2cdc95f3dc312c52f8646058e498a82",
        "t12i999900_0224c91a52d3_9a64cc934c88",
    ),
    "SSLv2": (
        v2_hello(b"\x00\x00\x05" * 7),
        "4fbae10828072c4caa1a764b0e56c26a",
        "t10i070000_5c39147d877b_000000000000",
    ),
}


@pytest.mark.parametrize(("data", "ja3", "ja4"), FINGERPRINTS.values(), ids=FINGERPRINTS)
def test_fingerprints(data: bytes, ja3: str, ja4: str) -> None:
    """The values that Envoy 1.40 logs."""
    accepted, _ = inspect(data, enable_ja3_fingerprinting=True, enable_ja4_fingerprinting=True)
    assert (accepted.connection_info.ja3_hash, accepted.connection_info.ja4_hash) == (ja3, ja4)


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (alpn(b"h2"), "h2"),
        (alpn(b"a"), "aa"),
        (alpn(b"\xff\xfe"), "fe"),
        (alpn(b"\xab"), "ab"),
        (alpn(b"A\xff"), "4f"),
        (extension(16, b"\x00\x05\x05h2"), "00"),
        (extension(16, b""), "00"),
        (extension(43, b"\x09\x03\x04"), "00"),
        (extension(43, short(b"\x1a\x1a")), "12"),
        (extension(43, short(b"\x03\x05\x03\x01")), "00"),
        (extension(43, short(b"\x03\x02\x03\x01")), "11"),
        (extension(43, b""), "00"),
    ],
)
def test_ja4_parts(part: bytes, text: str) -> None:
    accepted, _ = inspect(hello(part), enable_ja4_fingerprinting=True)
    head = accepted.connection_info.ja4_hash.partition("_")[0]
    assert (head[1:3] if part.startswith(b"\x00\x2b") else head[-2:]) == text
