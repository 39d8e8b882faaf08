"""Times in formats: Envoy's default ISO form and strftime formats with fractions (Envoy: DateFormatter)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from proxeny.config.errors import ConfigError

_NEWLINE = re.compile(r"%[-_0^#]*[1-9]*(E|O)?n")
# %3f: fraction in digits; %f: nine; %s: seconds; %E3S, %E*S: seconds with fraction; %Ez: +00:00.
_FRACTION = re.compile(r"%([1-9])?f|%s|%E([0-9*])([Sf])|%Ez|%E4Y|%ET|%Z|%z|%%")

TimeText = Callable[[float], bytes]


class IsoTime:
    """``2026-11-23T08:44:23.123Z`` (or ``+0100`` for local time); the part up to the second is kept between calls."""

    __slots__ = ("_head", "_local", "_second", "_tail")

    def __init__(self, local: bool = False) -> None:
        self._local = local
        self._second = -1
        self._head = b""
        self._tail = b"Z"

    def __call__(self, seconds: float) -> bytes:
        second = int(seconds)
        if second != self._second:
            parts = time.localtime(second) if self._local else time.gmtime(second)
            self._head = time.strftime("%Y-%m-%dT%H:%M:%S", parts).encode()
            if self._local:
                self._tail = time.strftime("%z", parts).encode()
            self._second = second
        return b"%b.%03d%b" % (self._head, int((seconds - second) * 1000), self._tail)


class PatternTime:
    """A strftime format with Envoy's and absl's additions; everything but fractions is kept for a second."""

    __slots__ = ("_digits", "_literals", "_local", "_second", "_template")

    def __init__(self, pattern: str, local: bool = False) -> None:
        if _NEWLINE.search(pattern):
            raise ConfigError("Invalid header configuration. Format string contains newline.")
        self._local = local
        self._second = -1
        self._template = b""
        self._literals: list[str] = []
        # After literal i stands the fraction of _digits[i] digits; 0 stands for absl's "as many as needed".
        self._digits: list[int] = []
        self._split(pattern)

    def _split(self, pattern: str) -> None:
        literal = ""
        position = 0
        for match in _FRACTION.finditer(pattern):
            literal += pattern[position : match.start()]
            position = match.end()
            found = match.group(0)
            if found.endswith("f"):
                digits = match.group(1) or match.group(2) or "9"
            elif match.group(3):
                literal += "%S" if match.group(2) == "0" else "%S."
                digits = match.group(2)
            else:
                literal += found
                continue
            if digits == "0":
                continue
            self._literals.append(literal)
            self._digits.append(0 if digits == "*" else int(digits))
            literal = ""
        self._literals.append(literal + pattern[position:])

    def _strftime(self, literal: str, second: int) -> str:
        parts = time.localtime(second) if self._local else time.gmtime(second)
        zone = time.strftime("%z", parts)
        special = {
            "%s": str(second),
            "%Ez": f"{zone[:3]}:{zone[3:]}",
            "%E4Y": f"{parts.tm_year:04d}",
            "%ET": "T",
            "%z": zone,
            "%Z": parts.tm_zone if self._local else "UTC",
        }
        done = _FRACTION.sub(lambda match: special.get(match.group(0), match.group(0)), literal)
        return time.strftime(done, parts) if done else ""

    def __call__(self, seconds: float) -> bytes:
        micros = int(seconds * 1_000_000 + 0.5)
        second, micros = divmod(micros, 1_000_000)
        if second != self._second:
            pieces = [self._strftime(literal, second).replace("%", "%%") for literal in self._literals]
            self._template = "%b".join(pieces).encode("utf-8", "surrogateescape")
            self._second = second
        fraction = b"%09d" % (micros * 1000)
        return self._template % tuple(
            [fraction[:digits] if digits else fraction.rstrip(b"0") or b"0" for digits in self._digits]
        )


def time_text(pattern: str, local: bool = False) -> TimeText:
    """A function from seconds since the epoch to text; an empty pattern gives the default form."""
    return PatternTime(pattern, local) if pattern else IsoTime(local)
