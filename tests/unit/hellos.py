"""ClientHellos: real ones from the ssl module, and ones made by hand, field by field."""

from __future__ import annotations

import ssl
import struct
from collections.abc import Sequence


def real_hello(server_name: str | None = "Foo.Example.COM", protocols: Sequence[str] = ("h2", "http/1.1")) -> bytes:
    """What OpenSSL sends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    sent = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=server_name).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return sent.read()


def short(data: bytes) -> bytes:
    """A block behind its length in one byte."""
    return bytes([len(data)]) + data


def block(data: bytes) -> bytes:
    """A block behind its length in two bytes."""
    return struct.pack("!H", len(data)) + data


def extension(kind: int, content: bytes = b"") -> bytes:
    return struct.pack("!H", kind) + block(content)


def server_name(name: bytes) -> bytes:
    return extension(0, block(b"\x00" + block(name)))


def alpn(*protocols: bytes) -> bytes:
    return extension(16, block(b"".join([short(name) for name in protocols])))


def hello_body(
    *extensions: bytes,
    version: int = 0x0303,
    session: bytes = b"",
    ciphers: Sequence[int] = (0x1301, 0xC02F),
    compression: bytes = b"\x00",
) -> bytes:
    suites = block(b"".join([struct.pack("!H", cipher) for cipher in ciphers]))
    head = struct.pack("!H", version) + b"R" * 32 + short(session) + suites + short(compression)
    return head + block(b"".join(extensions))


def handshake(body: bytes, kind: int = 1) -> bytes:
    return bytes([kind]) + struct.pack("!I", len(body))[1:] + body


def record(data: bytes, kind: int = 22, version: int = 0x0301) -> bytes:
    return struct.pack("!BHH", kind, version, len(data)) + data


def hello(*extensions: bytes, **fields: object) -> bytes:
    """A hello in one record."""
    return record(handshake(hello_body(*extensions, **fields)))  # type: ignore[arg-type]


def v2_hello(ciphers: bytes = b"\x00\x00\x05", version: bytes = b"\x03\x01", session: bytes = b"") -> bytes:
    """A hello in SSLv2's form."""
    lengths = struct.pack("!HHH", len(ciphers), len(session), 16)
    message = b"\x01" + version + lengths + ciphers + session + b"R" * 16
    return struct.pack("!H", 0x8000 | len(message)) + message


WARNING = record(b"\x01\x5a", 21)
EMPTY = record(b"")
