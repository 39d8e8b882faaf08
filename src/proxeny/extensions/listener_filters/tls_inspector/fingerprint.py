"""JA3 and JA4: short texts that tell TLS clients apart by the make of their ClientHello, as Envoy computes them."""

from __future__ import annotations

import struct
from hashlib import md5, sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxeny.kernel.client_hello import ClientHelloParser

GREASE: Final = frozenset(range(0x0A0A, 0x10000, 0x1010))
"""Values that clients strew in so that servers keep ignoring the unknown (RFC 8701)."""
SERVER_NAME: Final = 0
SUPPORTED_GROUPS: Final = 10
EC_POINT_FORMATS: Final = 11
SIGNATURE_ALGORITHMS: Final = 13
ALPN: Final = 16
SUPPORTED_VERSIONS: Final = 43
VERSION_TEXTS: Final = {0x0301: "10", 0x0302: "11", 0x0303: "12", 0x0304: "13"}
NO_HASH: Final = "0" * 12


def ja3(hello: ClientHelloParser) -> str:
    """The MD5, in hex, of version, ciphers, extensions, curves and point formats."""
    contents = dict(hello.extensions)
    fields = (
        (hello.version,),
        _without_grease(hello.ciphers),
        _without_grease([kind for kind, _ in hello.extensions]),
        _numbers(contents.get(SUPPORTED_GROUPS, b"")[2:]),
        contents.get(EC_POINT_FORMATS, b"")[1:],
    )
    text = ",".join(["-".join(map(str, field)) for field in fields])
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def ja4(hello: ClientHelloParser) -> str:
    """``t``, version, with or without server name, counts, ALPN; a hash of the ciphers; one of the extensions."""
    contents = dict(hello.extensions)
    ciphers = _without_grease(hello.ciphers)
    kinds = _without_grease(contents)
    name = "d" if SERVER_NAME in contents else "i"
    counts = f"{min(len(ciphers), 99):02}{min(len(kinds), 99):02}"
    hashed = _hex(sorted(kind for kind in kinds if kind not in (SERVER_NAME, ALPN)))
    algorithms = _hex(_numbers(contents.get(SIGNATURE_ALGORITHMS, b"")[2:]))
    if hashed and algorithms:
        hashed += "_" + algorithms
    head = f"t{_version(hello.version, contents.get(SUPPORTED_VERSIONS))}{name}{counts}{_protocol(contents.get(ALPN))}"
    return f"{head}_{_hash(_hex(sorted(ciphers)))}_{_hash(hashed)}"


def _without_grease(values: Iterable[int]) -> list[int]:
    return [value for value in values if value not in GREASE]


def _numbers(data: bytes) -> tuple[int, ...]:
    """As many 16-bit numbers as there are whole ones."""
    return struct.unpack(f"!{len(data) // 2}H", data[: len(data) // 2 * 2])


def _hex(values: Iterable[int]) -> str:
    return ",".join([f"{value:04x}" for value in values])


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:12] if text else NO_HASH


def _version(legacy: int, supported: bytes | None) -> str:
    """The highest version of the extension, else the hello's own."""
    if supported is not None:
        if not supported or len(supported) <= supported[0]:
            return "00"
        highest = max(_without_grease(_numbers(supported[1 : 1 + supported[0]])), default=0)
        if highest:
            return VERSION_TEXTS.get(highest, "00")
    return VERSION_TEXTS.get(legacy, "00")


def _protocol(content: bytes | None) -> str:
    """First and last character of the first protocol; hex digits where they are no letters or digits."""
    if content is None or len(content) < 3 or not 0 < content[2] <= len(content) - 3:
        return "00"
    first, last = content[3], content[2 + content[2]]
    text = chr(first) + chr(last)
    return text if text.isascii() and text.isalnum() else f"{first >> 4:x}{last & 15:x}"
