"""A runtime snapshot (Envoy: ``Runtime::Snapshot``): immutable, made in main, sent to every worker as JSON."""

from __future__ import annotations

from typing import Any, Final

import msgspec

DENOMINATORS: Final = {"HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000}
_DENOMINATOR_NUMBERS: Final = (100, 10_000, 1_000_000)
_TRUE: Final = frozenset({"true", "True", "TRUE"})
_FALSE: Final = frozenset({"false", "False", "FALSE"})

RawValue = str | int | float | bool | dict[str, Any]


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One key's value in every reading that it allows; ``raw`` is how it was written."""

    raw: str
    integer: int | None = None
    number: float | None = None
    boolean: bool | None = None
    fraction: tuple[int, int] | None = None


def make_entry(value: RawValue, raw: str | None = None) -> Entry:
    """The readings of a value; text (of files, of operators) is read as YAML would be."""
    if isinstance(value, bool):
        return Entry(raw or str(value).lower(), boolean=value)
    if isinstance(value, int | float):
        return _number(float(value), raw if raw is not None else f"{value:g}")
    if isinstance(value, dict):
        return Entry(raw or str(value), fraction=_fraction(value))
    text = value.strip(" ")
    if text in _TRUE or text in _FALSE:
        return Entry(value, boolean=text in _TRUE)
    number = _parse_number(text)
    if number is not None:
        return _number(number, value)
    return Entry(value, fraction=_fraction_text(text))


def text_entry(value: str) -> Entry:
    """The readings of a string in a Struct: a number at most."""
    number = _parse_number(value.strip(" "))
    return Entry(value) if number is None else _number(number, value)


def _number(value: float, raw: str) -> Entry:
    integer = int(value) if 0 <= value < 2**63 else None
    return Entry(raw, integer=integer, number=value)


def _parse_number(text: str) -> float | None:
    # float() also takes "1_0", " 1 ", "nan" and digits of other scripts.
    if not text.isascii() or not text or text.strip("0123456789+-.eE"):
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) != float("inf") else None


def _fraction_text(text: str) -> tuple[int, int] | None:
    if "numerator" not in text and "denominator" not in text:
        return None
    fields: dict[str, Any] = {}
    for line in text.replace(",", "\n").strip("{} \n").split("\n"):
        name, _, value = line.partition(":")
        name = name.strip(" \t\r").strip('"')
        if name not in ("numerator", "denominator"):
            return None
        fields[name] = value.strip(" \t\r").strip('"')
    return _fraction(fields)


def _fraction(fields: dict[str, Any]) -> tuple[int, int] | None:
    numerator = _parse_number(str(fields.get("numerator", 0)))
    denominator = fields.get("denominator", "HUNDRED")
    if isinstance(denominator, str):
        size = DENOMINATORS.get(denominator)
    else:
        at = int(denominator)
        size = _DENOMINATOR_NUMBERS[at] if 0 <= at < len(_DENOMINATOR_NUMBERS) else None
    if numerator is None or numerator < 0 or size is None:
        return None
    return int(numerator), size


class Snapshot:
    """Entries by key. Readers ask with a default, which also stands for a value of another kind."""

    __slots__ = ("entries",)

    def __init__(self, entries: dict[str, Entry] | None = None) -> None:
        self.entries = entries or {}

    def to_json(self) -> bytes:
        """What travels to a worker."""
        return msgspec.json.encode(self.entries)

    @classmethod
    def from_json(cls, data: bytes) -> Snapshot:
        """The snapshot that ``to_json`` wrote."""
        return cls(msgspec.json.decode(data, type=dict[str, Entry]))


class RuntimeReader:
    """The runtime as factories and filters hold it: ``snapshot`` is replaced, the reader stays."""

    __slots__ = ("snapshot",)

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self.snapshot = snapshot or Snapshot()

    def get_integer(self, key: str, default: int) -> int:
        """The integer of ``key``."""
        entry = self.snapshot.entries.get(key)
        return default if entry is None or entry.integer is None else entry.integer

    def get_float(self, key: str, default: float) -> float:
        """The number of ``key``."""
        entry = self.snapshot.entries.get(key)
        return default if entry is None or entry.number is None else entry.number

    def get_boolean(self, key: str, default: bool) -> bool:
        """The boolean of ``key``."""
        entry = self.snapshot.entries.get(key)
        return default if entry is None or entry.boolean is None else entry.boolean

    def feature_enabled(self, key: str, numerator: int, denominator: int, random_value: int) -> bool:
        """Whether ``random_value`` falls into the fraction of ``key`` (an integer counts as per cent)."""
        entry = self.snapshot.entries.get(key)
        if entry is not None:
            if entry.fraction is not None:
                numerator, denominator = entry.fraction
            elif entry.integer is not None:
                numerator, denominator = entry.integer, 100
        return random_value % denominator < numerator
