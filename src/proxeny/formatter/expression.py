"""Commands become generated Python functions.

Every command yields a Python expression over ``rq`` (request headers), ``rs`` (response headers), ``tr`` (response
trailers), ``si`` (stream info), ``body`` (local reply body) and ``log_type``. A JSON format is one ``TEMPLATE % (...)``
of them; a text format is a list of steps (``line_program``), where only rarer commands need their expression. Only text
of our own gets into the generated source: everything that a user wrote is bound as a constant.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from proxeny.formatter.json_text import json_bytes, json_string, json_value
from proxeny.formatter.line_program import Step
from proxeny.formatter.values import text_of_value
from proxeny.kernel.headers import HeaderMap

Formatted = Callable[..., bytes]

ABSENT = b"-"


class Kind(Enum):
    """What an expression evaluates to."""

    BYTES = "bytes, or None when there is nothing"
    STR = "str; an empty one or None is nothing"
    INT = "int"
    OPTIONAL_INT = "int, or None when there is nothing"
    VALUE = "a JSON value, or None when there is nothing"


class Expression:
    """Python source, what it evaluates to, and whether it can be absent."""

    __slots__ = ("empty_is_absent", "kind", "max_length", "present", "source", "step")

    def __init__(self, source: str, kind: Kind, *, present: bool = False, max_length: int | None = None) -> None:
        self.source = source
        self.kind = kind
        self.present = present or kind is Kind.INT
        self.max_length = max_length
        self.empty_is_absent = True
        """Whether an empty STR counts as nothing."""
        self.step: Step | None = None
        """How a text line writes it without this expression, where it can."""

    def text(self) -> str:
        """Source of an expression for bytes or None."""
        cut = "" if self.max_length is None else f"[:{self.max_length}]"
        if self.kind is Kind.BYTES:
            return self.source if not cut else f"(v{cut} if (v := {self.source}) is not None else None)"
        if self.kind is Kind.STR:
            if not self.empty_is_absent:
                return f'(v.encode("utf-8", "surrogateescape"){cut} if (v := {self.source}) is not None else None)'
            return f'(v.encode("utf-8", "surrogateescape"){cut} if (v := {self.source}) else None)'
        if self.kind is Kind.INT:
            return f'(b"%d" % {self.source}){cut}'
        if self.kind is Kind.OPTIONAL_INT:
            return f'((b"%d" % v){cut} if (v := {self.source}) is not None else None)'
        return f"(v{cut} if (v := text_of_value({self.source})) is not None else None)"

    def json(self) -> str:
        """Source of an expression for a JSON value as bytes, or None when absent; types are kept."""
        if self.kind is Kind.INT:
            return f'(b"%d" % {self.source})'
        if self.kind is Kind.OPTIONAL_INT:
            return f'(b"%d" % v if (v := {self.source}) is not None else None)'
        if self.kind is Kind.VALUE:
            return f"(json_value(v) if (v := {self.source}) is not None else None)"
        return f"(json_string(w) if (w := {self.text()}) is not None else None)"


class Namespace:
    """The constants of one generated function."""

    __slots__ = ("_count", "commands", "names")

    def __init__(self) -> None:
        self._count = 0
        self.commands: set[str] = set()
        """The names of the commands in the format."""
        self.names: dict[str, Any] = {
            "EMPTY": HeaderMap(),
            "json_bytes": json_bytes,
            "json_string": json_string,
            "json_value": json_value,
            "text_of_value": text_of_value,
        }

    def bind(self, value: object) -> str:
        """A fresh name for a constant."""
        self._count += 1
        name = f"c{self._count}"
        self.names[name] = value
        return name

    def function(self, result: str) -> Formatted:
        """Compiles ``return result``; headers that the caller passes as None count as empty."""
        lines = ["def format(rq, rs, tr, si, body=b'', log_type=b'NotSet'):"]
        lines += [f"    if {name} is None: {name} = EMPTY" for name in ("rq", "rs", "tr") if name in result]
        lines.append(f"    return {result}")
        scope = dict(self.names)
        exec(compile("\n".join(lines), "<format>", "exec"), scope)
        made: Formatted = scope["format"]
        return made
