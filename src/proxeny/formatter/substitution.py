"""Formatters: a format string or a JSON template compiled to one function (Envoy: FormatterImpl, JsonFormatterImpl)."""

from __future__ import annotations

from typing import Any

from proxeny.config.errors import ConfigError
from proxeny.formatter.expression import Expression, Formatted, Namespace
from proxeny.formatter.http_commands import ClosedTable, Table, http_commands
from proxeny.formatter.json_text import json_bytes, json_number, json_string
from proxeny.formatter.line_program import CALL_STEP, LITERAL_STEP, LineProgram, Step
from proxeny.formatter.metadata_command import METADATA
from proxeny.formatter.parser import Command, parse
from proxeny.formatter.stream_commands import stream_commands
from proxeny.formatter.syntax import check_syntax
from proxeny.formatter.xfcc_command import XFCC

DEFAULT_FORMAT = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" '
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% "
    "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "
    '"%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" '
    '"%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"\n'
)
"""Envoy's default access log line."""


class Formatter:
    """A compiled format.

    ``format(request_headers, response_headers, response_trailers, stream_info, local_reply_body=b"",
    log_type=b"NotSet")`` returns bytes; headers may be None. ``constant`` is the text of a format without commands,
    else None; ``commands`` are the names of its commands.
    """

    __slots__ = ("commands", "constant", "format", "program")

    format: Formatted

    def __init__(self, names: Namespace, function: Formatted, constant: bytes | None = None) -> None:
        self.format = function
        self.constant = constant
        self.commands = frozenset(names.commands)
        self.program: LineProgram | None = None
        """What ``format`` is a method of, for a text format."""


def expression_of(command: Command, names: Namespace, extra: Table | None = None) -> Expression:
    """The expression of one command; commands of configured extensions come first, as in Envoy."""
    entry = extra.get(command.name) if extra else None
    if entry is None and isinstance(extra, ClosedTable):
        raise ConfigError(f"Invalid format substitution: {command.name}")
    if entry is None:
        entry = _COMMANDS.get(command.name)
    if entry is None:
        if command.name == "CEL":
            raise ConfigError("Not supported here: the CEL formatter")
        raise ConfigError(f"Not supported field in StreamInfo: {command.name}")
    names.commands.add(command.name)
    syntax, build = entry
    check_syntax(command, syntax)
    return build(command, names)


_COMMANDS: Table = {**http_commands(expression_of), **stream_commands(), **METADATA, **XFCC}


def compile(text: str, omit_empty_values: bool = False, extra: Table | None = None) -> Formatter:
    """Compiles a format string; what is absent prints as ``-``, or as nothing with ``omit_empty_values``."""
    parts = parse(text)
    names = Namespace()
    if not any(isinstance(part, Command) for part in parts):
        constant = "".join([part for part in parts if isinstance(part, str)]).encode("utf-8", "surrogateescape")
        return Formatter(names, names.function(names.bind(constant)), constant)
    absent = b"" if omit_empty_values else b"-"
    program = LineProgram([_step(part, names, extra) for part in parts], absent)
    made = Formatter(names, program.format)
    made.program = program
    return made


def _step(part: str | Command, names: Namespace, extra: Table | None) -> Step:
    if isinstance(part, str):
        return Step(LITERAL_STEP, _encode(part))
    expression = expression_of(part, names, extra)
    if expression.step is not None:
        return expression.step
    return Step(CALL_STEP, function=names.function(expression.text()))


def compile_json(fields: dict[str, Any], omit_empty_values: bool = False, extra: Table | None = None) -> Formatter:
    """Compiles a JSON template to a formatter of lines; keys come sorted, single commands keep their type."""
    names = Namespace()
    if omit_empty_values:
        return Formatter(names, names.function(f"{_omitting_map(fields, names, extra, root=True)} + b'\\n'"))
    template, sources = _json(fields, names, extra)
    return Formatter(names, names.function(_fill(names, template + b"\n", sources)))


def _fill(names: Namespace, template: bytes, sources: list[str]) -> str:
    # `template % (source, source, )`: one C call joins everything.
    return f"{names.bind(template)} % ({' '.join([source + ',' for source in sources])})"


def _json(value: Any, names: Namespace, extra: Table | None) -> tuple[bytes, list[str]]:
    # A template for `%` and the sources of its values.
    if isinstance(value, dict):
        items = [
            (json_string(_encode(key)).replace(b"%", b"%%"), _json(value[key], names, extra)) for key in sorted(value)
        ]
        template = b"{" + b",".join([key + b":" + inner[0] for key, inner in items]) + b"}"
        return template, [source for _, inner in items for source in inner[1]]
    if isinstance(value, list):
        inner_values = [_json(item, names, extra) for item in value]
        return (
            b"[" + b",".join([inner[0] for inner in inner_values]) + b"]",
            [source for inner in inner_values for source in inner[1]],
        )
    if isinstance(value, str) and "%" in value:
        source = _json_scalar(value, names, extra, b"-")
        null = names.bind(b"null")
        return b"%b", [f"(w if (w := {source}) is not None else {null})"]
    return _constant(value).replace(b"%", b"%%"), []


def _constant(value: Any) -> bytes:
    if value is None:
        return b"null"
    if isinstance(value, bool):
        return b"true" if value else b"false"
    return json_string(_encode(value)) if isinstance(value, str) else json_number(value)


def _json_scalar(text: str, names: Namespace, extra: Table | None, absent: bytes) -> str:
    # One command keeps its type (None: absent); several parts, or `%%`, make a string.
    parts = parse(text)
    if len(parts) == 1 and isinstance(parts[0], Command):
        return expression_of(parts[0], names, extra).json()
    absent_name = names.bind(absent)
    template = b""
    sources = []
    for part in parts:
        if isinstance(part, str):
            template += json_bytes(_encode(part)).replace(b"%", b"%%")
            continue
        expression = expression_of(part, names, extra)
        template += b"%b"
        sources.append(f"(json_bytes(w) if (w := {expression.text()}) is not None else {absent_name})")
    return _fill(names, b'"%b"' % template, sources)


def _omitting_map(fields: dict[str, Any], names: Namespace, extra: Table | None, root: bool = False) -> str:
    # Absent values leave no key; a map left empty is absent itself, except the outermost one.
    pairs = []
    for key in sorted(fields):
        source = _omitting(fields[key], names, extra)
        if source is not None:
            pairs.append(f"({names.bind(json_string(_encode(key)) + b':')}, {source})")
    joined = names.bind(_join_map)
    return f"{joined}(({''.join([pair + ', ' for pair in pairs])}), {root})"


def _omitting(value: Any, names: Namespace, extra: Table | None) -> str | None:
    if value is None:
        return None
    if isinstance(value, dict):
        return _omitting_map(value, names, extra)
    if isinstance(value, list):
        items = [source for source in (_omitting(item, names, extra) for item in value) if source is not None]
        return f"{names.bind(_join_list)}(({''.join([item + ', ' for item in items])}))"
    if isinstance(value, str) and "%" in value:
        return f"({_json_scalar(value, names, extra, b'')})"
    return names.bind(_constant(value))


def _join_map(pairs: tuple[tuple[bytes, bytes | None], ...], root: bool) -> bytes | None:
    kept = [key + value for key, value in pairs if value is not None]
    return b"{" + b",".join(kept) + b"}" if kept or root else None


def _join_list(items: tuple[bytes | None, ...]) -> bytes:
    return b"[" + b",".join([item for item in items if item is not None]) + b"]"


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
