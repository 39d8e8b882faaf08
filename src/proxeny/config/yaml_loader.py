"""YAML text to a plain tree by yaml-cpp's rules, as Envoy reads it.

libyaml splits the text into events; what a scalar *means* is decided here. Only unquoted scalars of a few exact
spellings are booleans, integers or null; all others stay strings and the field's type decides (`1.10`, `.inf`, `1:30`).
Integers beyond 32 bits become decimal strings, as Envoy makes them. The first document counts, the last of duplicate
keys wins, `<<` is an ordinary key, unknown tags are ignored and an entry whose key is tagged `!ignore` is dropped.
Lines are not kept: an error reads the text once more (`line_of`), so a good configuration pays nothing for marks.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NoReturn

from yaml import _yaml
from yaml.error import MarkedYAMLError
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from yaml.reader import ReaderError

from proxeny.config import field_path
from proxeny.config.errors import ConfigError

Tree = Any  # dict[str, Tree] | list[Tree] | str | int | float | bool | None: recursive, and read in hot loops

# protobuf's JSON reader, through which Envoy reads YAML too, stops at this depth.
MAX_DEPTH: Final = 100
_TOO_DEEP: Final = "the configuration is nested too deeply"
# Values that aliases may stand for in all. Envoy has no bound here: it runs out of memory.
MAX_ALIASED_VALUES: Final = 1_000_000

_INT32: Final = range(-(2**31), 2**31)
_INT64: Final = range(-(2**63), 2**63)
_MAX_DIGITS: Final = 40  # what is longer fits no integer type (and is slow to convert)
# First characters that an integer can have; anything else is not tried as one.
_INT_START: Final = frozenset("0123456789+-")
_INTEGER: Final = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)\Z", re.ASCII)
# Lines of blanks and tabs alone: empty lines to yaml-cpp, a fault to libyaml.
_BLANK_LINE: Final = re.compile(r"^ *\t[ \t]*$", re.MULTILINE)
# The non-specific tag `! 5` makes a string; libyaml does not report it, so documents that use it are looked at closer.
_NON_SPECIFIC_TAG: Final = re.compile(r"(?:^|[\s,\[{])!\s", re.MULTILINE)


def _casings(words: Iterable[str], value: bool | None) -> dict[str, bool | None]:
    return {spelling: value for word in words for spelling in (word, word.upper(), word.capitalize())}


_BOOLEANS: Final[Mapping[str, bool | None]] = {
    **_casings(("y", "yes", "true", "on"), True),
    **_casings(("n", "no", "false", "off"), False),
}
_NULLS: Final = _casings(("null", "~", ""), None)
_WORDS: Final[Mapping[str, bool | None]] = {**_BOOLEANS, **_NULLS}


def _integer(text: str) -> int | str:
    """An integer in C's notation (`10`, `010` octal, `0x10`); the text itself when it is none."""
    if len(text) > _MAX_DIGITS or _INTEGER.match(text) is None:
        return text
    digits = text.lstrip("+-")
    value = int(digits, 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" else 10)
    if text[0] == "-":
        value = -value
    if value in _INT32:
        return value
    return str(value) if value in _INT64 else text


def is_string(text: str) -> bool:
    """Whether an unquoted scalar is the string that it is written as."""
    return text not in _WORDS and _integer(text) == text


def _tagged_scalar(text: str) -> Tree:
    """A scalar with a tag, quoted or not: yaml-cpp converts it, but never to null."""
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    return _integer(text)


class _Composer:
    """Builds one document's tree; `values` counts what aliases stand for."""

    __slots__ = ("_anchors", "_next", "_text", "aliased_values")

    def __init__(self, next_event: Callable[[], Any], text: str | None) -> None:
        self._next = next_event
        self._text = text  # only when non-specific tags may occur in it
        self._anchors: dict[str, tuple[Tree, int]] = {}
        self.aliased_values = 0

    def node(self, event: Any, depth: int) -> Tree:
        """The value that starts with `event`."""
        kind = type(event)
        if kind is ScalarEvent:
            value = self._scalar(event)
            if event.anchor is not None:
                self._anchors[event.anchor] = (value, 1)
            return value
        if kind is AliasEvent:
            return self._alias(event)
        if depth > MAX_DEPTH:
            raise ConfigError(_TOO_DEEP, line=event.start_mark.line + 1)
        tree: Tree
        if kind is MappingStartEvent:
            tree = self._mapping(depth)
        else:
            tree = []
            while type(item := self._next()) is not SequenceEndEvent:
                tree.append(self.node(item, depth + 1))
        if event.anchor is not None:
            self._anchors[event.anchor] = (tree, _size(tree))
        return tree

    def _scalar(self, event: Any) -> Tree:
        text: str = event.value
        plain, quoted = event.implicit
        if quoted:
            return text
        if not plain:
            return _tagged_scalar(text)
        if self._text is not None and self._text.startswith("!", event.start_mark.index):
            return text
        if text in _WORDS:
            return _WORDS[text]
        return _integer(text) if text[0] in _INT_START else text

    def _mapping(self, depth: int) -> dict[str, Tree]:
        tree: dict[str, Tree] = {}
        next_event = self._next
        while type(key_event := next_event()) is not MappingEndEvent:
            value_key = self._key(key_event)
            ignored = getattr(key_event, "tag", None) == "!ignore"
            event = next_event()
            # The common scalars (no anchor, no tag) are converted right here.
            if type(event) is ScalarEvent and event.anchor is None and event.implicit[1]:
                value = event.value
            else:
                value = self.node(event, depth + 1)
            if not ignored:
                tree[value_key] = value
        return tree

    def _key(self, event: Any) -> str:
        if type(event) is AliasEvent:
            key = self._alias(event)
            if isinstance(key, dict | list):
                _bad_key(event)
            return "null" if key is None else str(key)
        if type(event) is not ScalarEvent:
            _bad_key(event)
        text: str = event.value
        if event.anchor is not None:
            self._anchors[event.anchor] = (text, 1)
        return "null" if event.implicit[0] and text in _NULLS else text

    def _alias(self, event: Any) -> Tree:
        found = self._anchors.get(event.anchor)
        if found is None:
            raise ConfigError(f"the alias '*{event.anchor}' has no anchor", line=event.start_mark.line + 1)
        value, size = found
        self.aliased_values += size
        if self.aliased_values > MAX_ALIASED_VALUES:
            raise ConfigError("aliases multiply the configuration too much", line=event.start_mark.line + 1)
        return value


def _bad_key(event: Any) -> NoReturn:
    raise ConfigError("a key of a mapping must be a scalar", line=event.start_mark.line + 1)


def _size(tree: Tree) -> int:
    """The number of values in `tree`, each alias counted as often as it occurs (bounded by the cap)."""
    size = 0
    todo = [tree]
    while todo and size <= MAX_ALIASED_VALUES:
        value = todo.pop()
        size += 1
        if isinstance(value, dict):
            todo.extend(value.values())
        elif isinstance(value, list):
            todo.extend(value)
    return size


def load_yaml(text: str, file: str | None = None) -> Tree:
    """The first document of `text`; raises ConfigError naming the line."""
    documents = _load(text, file, 1)
    return documents[0] if documents else None


def load_documents(text: str, file: str | None = None) -> list[Tree]:
    """All documents of `text`; raises ConfigError naming the line."""
    return _load(text, file, None)


def _load(text: str, file: str | None, most: int | None) -> list[Tree]:
    try:
        return _compose(text, file, most)
    except ConfigError:
        cleared = _BLANK_LINE.sub("", text)
        if cleared == text:
            raise
        return _compose(cleared, file, most)


def _compose(text: str, file: str | None, most: int | None) -> list[Tree]:
    documents: list[Tree] = []
    try:
        get_event = _yaml.CParser(text).get_event
        tagged = text if _NON_SPECIFIC_TAG.search(text) else None
        while len(documents) != most and _next_document(get_event):
            documents.append(_Composer(get_event, tagged).node(get_event(), 1))
    except MarkedYAMLError as error:
        raise _syntax_error(error).at(file=file) from error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"yaml: {error.reason}", file=file, line=line) from error
    except UnicodeEncodeError as error:
        raise ConfigError("yaml: the text is not valid UTF-8", file=file) from error
    except ConfigError as error:
        raise error.at(file=file) from None
    return documents


def _syntax_error(error: MarkedYAMLError) -> ConfigError:
    """libyaml's complaint; its own bound of nesting is one of ours."""
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else None
    if "nesting depth" in str(error.problem):
        return ConfigError(_TOO_DEEP, line=line)
    column = f" at column {mark.column + 1}" if mark else ""
    return ConfigError(f"yaml: {error.problem}{column}", line=line)


def _next_document(get_event: Callable[[], Any]) -> bool:
    """Consumes the events up to the first one inside the next document; False at the end of the text."""
    while (event := get_event()) is not None and type(event) is not StreamEndEvent:
        if type(event) is DocumentStartEvent:
            return True
    return False


def line_of(text: str, path: str, document: int = 0) -> int | None:
    """The line of the field `path` in a document of `text`, or of the nearest field around it that is there."""
    try:
        get_event = _yaml.CParser(text).get_event
        for _ in range(document + 1):
            if not _next_document(get_event):
                return None
        return _line(get_event, get_event(), field_path.split(path)) or 1
    except (MarkedYAMLError, ReaderError, UnicodeEncodeError):
        return None


def _line(next_event: Callable[[], Any], event: Any, path: list[field_path.PathItem]) -> int | None:
    """Consumes the value that starts with `event`; the line of what of `path` is found below it, if anything is."""
    found: int | None = None if path else event.start_mark.line + 1
    head, rest = (path[0], path[1:]) if path else (None, [])
    if type(event) is MappingStartEvent:
        while type(key := next_event()) is not MappingEndEvent:
            name = key.value if type(key) is ScalarEvent else None
            if name is None:
                _skip(next_event, key)
            if name is not None and isinstance(head, str) and same_field(name, head):
                line = key.start_mark.line + 1
                inner = _line(next_event, next_event(), rest)
                found = (inner or line) if rest else line
            else:
                _skip(next_event, next_event())
    elif type(event) is SequenceStartEvent:
        index = 0
        while type(item := next_event()) is not SequenceEndEvent:
            if index == head:
                found = _line(next_event, item, rest) or item.start_mark.line + 1
            else:
                _skip(next_event, item)
            index += 1
    return found


def same_field(written: str, name: str) -> bool:
    """Whether a key as written (camelCase allowed) means the field or key `name`."""
    return written == name or ("_" in name and written.lower() == name.replace("_", ""))


def _skip(next_event: Callable[[], Any], event: Any) -> None:
    depth = 0
    while True:
        kind = type(event)
        if kind is MappingStartEvent or kind is SequenceStartEvent:
            depth += 1
        elif kind is MappingEndEvent or kind is SequenceEndEvent:
            depth -= 1
        if depth == 0:
            return
        event = next_event()
