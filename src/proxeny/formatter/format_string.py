"""Compiles ``config.core.v3.SubstitutionFormatString`` (and DataSource) to formatters."""

from __future__ import annotations

import os
from typing import Any

from google.protobuf.json_format import MessageToDict

from proxeny.config.errors import ConfigError
from proxeny.formatter.http_commands import Table
from proxeny.formatter.metadata_command import METADATA, REQ_WITHOUT_QUERY
from proxeny.formatter.substitution import Formatter, compile, compile_json

_FORMATTERS: dict[str, Table] = {
    "envoy.extensions.formatter.metadata.v3.Metadata": METADATA,
    "envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery": REQ_WITHOUT_QUERY,
}


class CompiledFormat:
    """A formatter and the content type that local replies made with it have."""

    __slots__ = ("content_type", "formatter")

    def __init__(self, formatter: Formatter, content_type: bytes) -> None:
        self.formatter = formatter
        self.content_type = content_type


def compile_format_string(message: Any, commands: Table | None = None) -> CompiledFormat:
    """Compiles a SubstitutionFormatString, with further ``commands``; ConfigError in Envoy's words."""
    extra = extra_commands(message.formatters)
    if commands is not None:
        extra = type(commands)({**extra, **commands})
    omit = message.omit_empty_values
    chosen = message.WhichOneof("format")
    if chosen == "json_format":
        formatter = compile_json(MessageToDict(message.json_format), omit, extra)
    elif chosen == "text_format":
        formatter = compile(message.text_format, omit, extra)
    elif chosen == "text_format_source":
        formatter = compile(data_source_text(message.text_format_source), omit, extra)
    else:
        raise ConfigError("Substitution format string must have a format")
    content_type = message.content_type or ("application/json" if chosen == "json_format" else "text/plain")
    return CompiledFormat(formatter, content_type.encode())


def extra_commands(formatters: Any) -> Table:
    """Commands of the ``formatters`` extensions; an extension that is not known is refused by name."""
    table: Table = {}
    for config in formatters:
        type_name = config.typed_config.type_url.rpartition("/")[2]
        commands = _FORMATTERS.get(type_name)
        if commands is None:
            raise ConfigError(
                f"Didn't find a registered implementation for '{config.name}' with type URL: '{type_name}'"
            )
        table.update(commands)
    return table


def data_source_text(source: Any) -> str:
    """The text of a ``core.v3.DataSource``; files are read now, with Envoy's words when that fails."""
    return data_source_bytes(source).decode("utf-8", "surrogateescape")


def data_source_bytes(source: Any) -> bytes:
    """The bytes of a ``core.v3.DataSource``."""
    chosen = source.WhichOneof("specifier")
    if chosen == "inline_string":
        text: str = source.inline_string
        return text.encode("utf-8", "surrogateescape")
    if chosen == "inline_bytes":
        return bytes(source.inline_bytes)
    if chosen == "environment_variable":
        value = os.environb.get(source.environment_variable.encode())
        if value is None:
            raise ConfigError(f"Environment variable doesn't exist: {source.environment_variable}")
        return value
    if chosen != "filename":
        raise ConfigError("Unexpected DataSource::specifier_case(): 0")
    try:
        with open(source.filename, "rb") as file:
            return file.read()
    except OSError as error:
        raise ConfigError(f"unable to read file: {source.filename}") from error
