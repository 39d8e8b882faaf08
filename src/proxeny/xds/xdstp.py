"""Names of the form ``xdstp://authority/type/id?key=value`` (Envoy: ``XdsResourceIdentifier``)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

from proxeny.config.errors import ConfigError

SCHEME: Final = "xdstp:"
_ESCAPED: Final = re.compile("%[0-9A-Fa-f]{2}")
_IN_AUTHORITY: Final = frozenset("%/?#")
_IN_ID: Final = frozenset("%:?#[]")
_IN_QUERY: Final = frozenset("%#[]&=")


@dataclass(slots=True)
class XdstpName:
    """A name in its parts, unescaped."""

    authority: str
    type_name: str
    id: str
    context: dict[str, str] = field(default_factory=dict)
    fragment: str = ""
    """Of a locator: what is behind the #, as it is written."""

    def encode(self) -> str:
        """As text, with the context's keys in order."""
        id_part = "/".join(_escape(part, _IN_ID) for part in self.id.split("/"))
        query = "&".join(
            f"{_escape(key, _IN_QUERY)}={_escape(value, _IN_QUERY)}" for key, value in sorted(self.context.items())
        )
        return (
            f"xdstp://{_escape(self.authority, _IN_AUTHORITY)}/{self.type_name}{'/' + id_part if self.id else ''}"
            f"{'?' + query if query else ''}{'#' + self.fragment if self.fragment else ''}"
        )


def is_xdstp(name: str) -> bool:
    """Whether it is such a name."""
    return name.startswith(SCHEME)


def decode(name: str) -> XdstpName:
    """The parts of a name; ConfigError in Envoy's words."""
    if not is_xdstp(name):
        raise ConfigError(f"{name} does not have an xdstp: scheme")
    rest = name[len(SCHEME) :]
    host, slash, path = rest.removeprefix("//").partition("/")
    path, _, query = (slash + path if slash else "/").partition("?")
    type_name, _, resource_id = path[1:].partition("/")
    if not type_name:
        raise ConfigError(f"Resource type missing from {path}")
    return XdstpName(_unescape(host), type_name, _unescape(resource_id), _context(query))


def decode_locator(locator: str) -> XdstpName:
    """The parts of a collection's locator, which may have directives behind a #; ConfigError."""
    name, _, fragment = locator.partition("#")
    decoded = decode(name)
    decoded.fragment = fragment
    return decoded


def normalized(name: str) -> str:
    """The one text of all names that mean the same; other names as they are. ConfigError."""
    return decode(name).encode() if is_xdstp(name) else name


def is_glob(name: str) -> bool:
    """Whether it names a collection: whatever stands in the place of a last *."""
    return is_xdstp(name) and (name.endswith("/*") or "/*?" in name)


def glob_of(name: str) -> str:
    """The collection that a (normalized) name belongs to."""
    parts = decode(name)
    parent, slash, _ = parts.id.rpartition("/")
    parts.id = f"{parent}{slash}*"
    return parts.encode()


def _context(query: str) -> dict[str, str]:
    context = {}
    for pair in query.split("&") if query else ():
        key, _, value = pair.partition("=")
        context[_unescape(key)] = _unescape(value)
    return context


def _escape(text: str, reserved: frozenset[str]) -> str:
    if text.isascii() and text.isprintable() and not reserved.intersection(text) and "~" not in text:
        return text
    return "".join(_escape_character(character, reserved) for character in text)


def _escape_character(character: str, reserved: frozenset[str]) -> str:
    if " " <= character < "~" and character not in reserved:
        return character
    return "".join(f"%{byte:02X}" for byte in character.encode())


def _unescape(text: str) -> str:
    return unquote_to_bytes(text).decode("utf-8", "replace") if _ESCAPED.search(text) else text
