"""Compiles spdlog's pattern syntax (``--log-format``) to a formatter of Python log records.

A pattern is text with flags ``%x``; between ``%`` and the flag may stand an alignment (``-`` left, ``=`` centre), a
width and ``!`` (cut to the width). Unknown flags are printed as they are written.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable

from proxeny.server.components import LEVEL_NAMES, component_of

Piece = Callable[[logging.LogRecord], str]

_FLAG = re.compile(r"%(?:([-=]?)(\d{1,3})(!?))?(.)", re.DOTALL)
_STRFTIME = {
    **{flag: f"%{flag}" for flag in "aAbBYmdHIMSpcC"},
    "h": "%b",
    "C": "%y",
    "D": "%m/%d/%y",
    "x": "%m/%d/%y",
    "T": "%H:%M:%S",
    "X": "%H:%M:%S",
    "R": "%H:%M",
    "r": "%I:%M:%S %p",
    "z": "%z",
    "c": "%a %b %e %H:%M:%S %Y",
}
_MAX_WIDTH = 64


def source_path(pathname: str) -> str:
    """A source file as messages name it: from the package's folder on."""
    _, found, rest = pathname.rpartition("/proxeny/")
    return f"proxeny/{rest}" if found else pathname


def level_name(record: logging.LogRecord) -> str:
    """spdlog's name of the record's level."""
    return LEVEL_NAMES.get(record.levelno) or record.levelname.lower()


def _message(record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.exc_info and record.exc_info[0] is not None:
        text = f"{text}\n{_TRACEBACKS.formatException(record.exc_info)}"
    return text


def _strftime(pattern: str) -> Piece:
    last_second, last_text = -1, ""

    def render(record: logging.LogRecord) -> str:
        nonlocal last_second, last_text
        second = int(record.created)
        if second != last_second:
            last_second, last_text = second, time.strftime(pattern, time.localtime(second))
            if pattern == "%z":
                last_text = f"{last_text[:3]}:{last_text[3:]}"
        return last_text

    return render


def _elapsed(scale: float) -> Piece:
    last = time.time()

    def render(record: logging.LogRecord) -> str:
        nonlocal last
        passed, last = max(0.0, record.created - last), record.created
        return str(int(passed * scale))

    return render


def _fraction(scale: int, digits: int) -> Piece:
    # Rounded to microseconds first: a float of today's seconds holds no more.
    return lambda record: f"{round(record.created * 1_000_000) % 1_000_000 * scale // 1_000_000:0{digits}d}"


_TRACEBACKS = logging.Formatter()
_PLAIN: dict[str, Piece] = {
    "v": _message,
    "+": _message,
    "_": _message,
    "j": _message,
    "l": level_name,
    "L": lambda record: level_name(record)[0].upper(),
    "n": lambda record: component_of(record.name),
    "t": lambda record: str(threading.get_native_id()),
    "P": lambda record: str(os.getpid()),
    "g": lambda record: source_path(record.pathname),
    "s": lambda record: record.filename,
    "#": lambda record: str(record.lineno),
    "@": lambda record: f"{source_path(record.pathname)}:{record.lineno}",
    "!": lambda record: record.funcName,
    "e": _fraction(1000, 3),
    "f": _fraction(1_000_000, 6),
    "F": _fraction(1_000_000_000, 9),
    "E": lambda record: str(int(record.created)),
    "%": lambda record: "%",
    "^": lambda record: "",
    "$": lambda record: "",
}
_ELAPSED = {"i": 1e6, "u": 1e6, "o": 1e3, "O": 1.0}


def _aligned(piece: Piece, side: str, width: int, cut: bool) -> Piece:
    adjust = {"": str.rjust, "-": str.ljust, "=": str.center}[side]
    if cut:
        return lambda record: adjust(piece(record), width)[:width]
    return lambda record: adjust(piece(record), width)


def compile_format(pattern: str) -> Callable[[logging.LogRecord], str]:
    """A function that renders a record under ``pattern``, without the newline at the end."""
    pieces: list[str | Piece] = []
    at = 0
    for match in _FLAG.finditer(pattern):
        pieces.append(pattern[at : match.start()])
        at = match.end()
        side, width, cut, flag = match.groups()
        if flag in _STRFTIME:
            piece = _strftime(_STRFTIME[flag])
        elif flag in _ELAPSED:
            piece = _elapsed(_ELAPSED[flag])
        elif flag in _PLAIN:
            piece = _PLAIN[flag]
        else:
            pieces.append(match.group())
            continue
        pieces.append(_aligned(piece, side, min(int(width), _MAX_WIDTH), bool(cut)) if width else piece)
    pieces.append(pattern[at:])
    parts = [piece for piece in pieces if piece]
    return lambda record: "".join([part if isinstance(part, str) else part(record) for part in parts])
