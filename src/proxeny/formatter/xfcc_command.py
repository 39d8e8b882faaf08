"""``%XFCC_VALUE(key)%``: one value of the x-forwarded-client-cert header (Envoy: extensions/formatter/xfcc_value)."""

from __future__ import annotations

from collections.abc import Iterator

from proxeny.config.errors import ConfigError
from proxeny.formatter.expression import Expression, Kind, Namespace
from proxeny.formatter.http_commands import Table
from proxeny.formatter.parser import Command
from proxeny.formatter.syntax import Syntax

_KEYS = frozenset(("by", "hash", "cert", "chain", "subject", "uri", "dns"))
_BLANKS = b" \t\n\v\f\r"
_BACKSLASH = ord("\\")
_QUOTE = ord('"')


def _outside_quotes(text: bytes, separator: int) -> Iterator[bytes]:
    """The parts between separators that are not quoted; what begins with an unmatched quote is none."""
    quoted = escaped = False
    start = 0
    for at, byte in enumerate(text):
        if byte == separator and not quoted:
            yield text[start:at]
            start = at + 1
        elif byte == _QUOTE and not escaped:
            quoted = not quoted
        escaped = byte == _BACKSLASH and not escaped
    if not quoted:
        yield text[start:]


def _unescape(value: bytes) -> bytes:
    if value[:1] == b'"' and value[-1:] == b'"' and len(value) >= 2:
        value = value[1:-1]
    if b"\\" not in value:
        return value
    out = bytearray()
    at = 0
    while at < len(value):
        if value[at] == _BACKSLASH and value[at + 1 : at + 2] in (b'"', b"\\"):
            at += 1
        out.append(value[at])
        at += 1
    return bytes(out)


def xfcc_value(header: bytes | None, key: bytes) -> bytes | None:
    """The first value of a key, from the element of the client's own certificate on; None when there is none."""
    for element in _outside_quotes(header or b"", ord(",")):
        for pair in _outside_quotes(element, ord(";")):
            name, _, value = pair.partition(b"=")
            if name.strip(_BLANKS).lower() == key:
                return _unescape(value.strip(_BLANKS))
    return None


def _xfcc(command: Command, names: Namespace) -> Expression:
    key = command.argument.lower()
    if not key:
        raise ConfigError("XFCC_VALUE command requires a subcommand")
    if key not in _KEYS:
        raise ConfigError(f"XFCC_VALUE command does not support subcommand: {key}")
    # A length is taken, and does nothing, in Envoy too.
    source = f"{names.bind(xfcc_value)}(rq.get(b'x-forwarded-client-cert'), {names.bind(key.encode())})"
    return Expression(source, Kind.BYTES)


XFCC: Table = {"XFCC_VALUE": (Syntax.PARAMS_OPTIONAL | Syntax.LENGTH_ALLOWED, _xfcc)}
