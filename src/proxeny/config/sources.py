"""Configuration files and texts to messages, by Envoy's rule of file name endings.

`.pb` is binary, `.pb_text` text format, `.yaml`/`.yml` YAML, anything else JSON (in any case). Faults name the file
and, where the form has lines, the line.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

from google.protobuf import descriptor_pool, text_format, unknown_fields
from google.protobuf.message import DecodeError, Message

from proxeny.config.anys import open_any
from proxeny.config.builder import Builder
from proxeny.config.errors import ConfigError, UnknownFieldError
from proxeny.config.message_types import message_descriptor
from proxeny.config.scalars import json_error
from proxeny.config.yaml_loader import MAX_DEPTH, Tree, line_of, load_yaml


@dataclass(slots=True)
class Source:
    """One text that was read: where it came from, and what finds a field's line in it."""

    file: str | None
    text: str | None = None
    unknown: list[str] = field(default_factory=list)

    def place(self, error: ConfigError) -> ConfigError:
        """`error` with the file and line of its field path."""
        if error.line is None and error.path and self.text is not None:
            error.line = line_of(self.text, error.path)
        return error.at(file=self.file)


def read_file(path: str, message: Message, allow_unknown: bool) -> Source:
    """Fill `message` from a file; raises ConfigError."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"Invalid path: {path} ({error.strerror})") from error
    ending = path.lower()
    source = Source(path)
    if ending.endswith(".pb"):
        _parse_binary(path, data, message)
        unknown = _unknown_numbers(message)
        if unknown and not allow_unknown:
            raise UnknownFieldError(f"Protobuf message ({unknown[0]}) has unknown fields", file=path)
        source.unknown = unknown
        return source
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError("the file is not valid UTF-8", None, path, data.count(b"\n", 0, error.start) + 1) from error
    if ending.endswith(".pb_text"):
        _parse_text(path, text, message)
        return source
    source.text = text
    tree = load_yaml(text, path) if ending.endswith((".yaml", ".yml")) else load_json(text, path)
    fill(message, tree, source, allow_unknown)
    return source


def read_yaml(text: str, message: Message, allow_unknown: bool) -> Source:
    """Fill `message` from YAML that was given on the command line."""
    source = Source("--config-yaml", text)
    fill(message, load_yaml(text, source.file), source, allow_unknown)
    return source


def fill(message: Message, tree: Tree, source: Source, allow_unknown: bool) -> None:
    """Fill `message` from a tree; faults are placed in `source`."""
    if not isinstance(tree, dict | list):
        raise ConfigError("Unable to convert YAML as JSON: not a mapping", file=source.file)
    try:
        Builder(source.unknown if allow_unknown else None).build(message, tree)
    except ConfigError as error:
        raise source.place(error) from error.__cause__


def _refuse_constant(name: str) -> NoReturn:
    raise json_error(f"invalid number: '{name}'")


def load_json(text: str, file: str | None = None) -> Tree:
    """A JSON document as a tree; nesting is bounded as for YAML."""
    try:
        tree = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise json_error(f"{error.msg} at column {error.colno}").at(file=file, line=error.lineno) from None
    except ConfigError as error:
        raise error.at(file=file) from None
    except (RecursionError, ValueError) as error:
        raise json_error(str(error)).at(file=file) from None
    level = [tree]
    for _ in range(MAX_DEPTH + 1):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return tree
    raise json_error("message is too deeply nested").at(file=file)


def _parse_binary(path: str, data: bytes, message: Message) -> None:
    name = message.DESCRIPTOR.full_name
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        # Envoy starts with an empty bootstrap here; nobody can want that.
        raise ConfigError(f'Unable to parse file "{path}" as a binary protobuf (type {name})', file=path) from error


def _unknown_numbers(message: Any) -> list[str]:
    """What a binary message has that its type does not, Any contents included."""
    found: list[str] = []
    extra = unknown_fields.UnknownFieldSet(message)
    if len(extra):
        numbers = ", ".join(str(extra[index].field_number) for index in range(len(extra)))
        found.append(f"type {message.DESCRIPTOR.full_name} with unknown field set {{{numbers}}}")
    if message.DESCRIPTOR.full_name == "google.protobuf.Any" and message.type_url:
        return found + _unknown_numbers(open_any(message))
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None:
            continue
        if descriptor.message_type.GetOptions().map_entry:
            children = [item for item in value.values() if isinstance(item, Message)]
        else:
            children = list(value) if descriptor.is_repeated else [value]
        for child in children:
            found += _unknown_numbers(child)
    return found


class _Pool:
    """The descriptor pool that text_format asks for Any types: imports on first use."""

    FindExtensionByName: Final = staticmethod(descriptor_pool.Default().FindExtensionByName)

    @staticmethod
    def FindMessageTypeByName(name: str) -> Any:
        return message_descriptor(name)


def _parse_text(path: str, text: str, message: Message) -> None:
    name = message.DESCRIPTOR.full_name
    try:
        text_format.Parse(text, message, descriptor_pool=_Pool())  # type: ignore[arg-type]
    except (text_format.ParseError, KeyError) as error:
        line = getattr(error, "GetLine", lambda: None)()
        detail = str(error).partition(" : ")[2] or str(error)
        raise ConfigError(
            f'Unable to parse file "{path}" as a text protobuf (type {name}): {detail}', None, path, line
        ) from error
