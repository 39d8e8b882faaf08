"""protoc-gen-validate's rules of one field, compiled to a function: value -> why it is refused, or None.

The rules are the `validate.rules` options of xds-protos; the words are those of the C++ code that Envoy is built with.
How messages nest is validate.py's business.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import re2

Check = Callable[[Any], str | None]

# validate.KnownRegex HTTP_HEADER_NAME = 1, HTTP_HEADER_VALUE = 2: (strict, not strict).
_HEADER_PATTERNS: Final = {
    1: (r"^:?[0-9a-zA-Z!#$%&'*+\-.^_|~`]+$", r"^[^\x00\n\r]*$"),
    2: (r"^[^\x00-\x08\x0a-\x1f\x7f]*$", r"^[^\x00\n\r]*$"),
}
_NANOS: Final = 1_000_000_000


def nanoseconds(duration: Any) -> int:
    """A google.protobuf.Duration as one integer."""
    return int(duration.seconds) * _NANOS + int(duration.nanos)


def go_duration(nanos: int) -> str:
    """A duration as Go prints it (`1ms`, `5m0s`): so it stands in PGV's messages."""
    if nanos < 0:
        return "-" + go_duration(-nanos)
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if 0 < nanos < size * 1000 and nanos < _NANOS:
            return f"{_decimal(nanos, size)}{unit}"
    minutes, rest = divmod(nanos, 60 * _NANOS)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest, _NANOS)}s"
    return f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}" if minutes else text


def _decimal(value: int, size: int) -> str:
    whole, part = divmod(value, size)
    return f"{whole}.{part:0{len(str(size)) - 1}d}".rstrip("0") if part else str(whole)


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def compile_rules(rules: Any) -> Check | None:
    """The check of a scalar, enum, duration or Any value under `validate.FieldRules`; None when nothing is asked."""
    kind = rules.WhichOneof("type")
    if kind is None:
        return None
    compiler = _COMPILERS.get(kind, _number_checks)
    return _all_of(compiler(getattr(rules, kind)))


def _all_of(checks: Sequence[Check]) -> Check | None:
    if len(checks) < 2:
        return checks[0] if checks else None

    def check(value: Any) -> str | None:
        for one in checks:
            reason = one(value)
            if reason is not None:
                return reason
        return None

    return check


def _bounds(rules: Any, convert: Callable[[Any], Any], show: Callable[[Any], str]) -> list[Check]:
    """lt, lte, gt, gte: one check; a lower bound above the upper one means "outside"."""
    limit = {name: convert(getattr(rules, name)) for name in ("lt", "lte", "gt", "gte") if rules.HasField(name)}
    lower = next((name for name in ("gt", "gte") if name in limit), None)
    upper = next((name for name in ("lt", "lte") if name in limit), None)
    low, high = limit.get(lower or ""), limit.get(upper or "")
    words = {"lt": "less than", "lte": "less than or equal to", "gt": "greater than", "gte": "greater than or equal to"}
    if lower is None or upper is None:
        name = lower or upper
        if name is None:
            return []
        reason = f"value must be {words[name]} {show(limit[name])}"
    elif high < low:  # type: ignore[operator]
        brackets = ("[" if upper == "lt" else "(", "]" if lower == "gt" else ")")
        reason = f"value must be outside range {brackets[0]}{show(high)}, {show(low)}{brackets[1]}"
        above, below = _above(lower, low), _below(upper, high)
        return [lambda value: None if above(convert(value)) or below(convert(value)) else reason]
    else:
        brackets = ("(" if lower == "gt" else "[", ")" if upper == "lt" else "]")
        reason = f"value must be inside range {brackets[0]}{show(low)}, {show(high)}{brackets[1]}"
    above, below = _above(lower, low), _below(upper, high)
    return [lambda value: None if above(number := convert(value)) and below(number) else reason]


def _above(name: str | None, low: Any) -> Callable[[Any], bool]:
    if name is None:
        return lambda value: True
    return (lambda value: value > low) if name == "gt" else (lambda value: value >= low)


def _below(name: str | None, high: Any) -> Callable[[Any], bool]:
    if name is None:
        return lambda value: True
    return (lambda value: value < high) if name == "lt" else (lambda value: value <= high)


def _same(value: Any) -> Any:
    return value


def _membership(rules: Any, convert: Callable[[Any], Any], show: Callable[[Any], str]) -> list[Check]:
    """const, in, not_in."""
    checks: list[Check] = []
    names = {field.name for field in rules.DESCRIPTOR.fields}
    if "const" in names and rules.HasField("const"):
        wanted = convert(rules.const)
        reason = f"value must equal {show(wanted)}"
        checks.append(lambda value: None if convert(value) == wanted else reason)
    allowed = [convert(item) for item in getattr(rules, "in")] if "in" in names else []
    if allowed:
        reason_in = f"value must be in list [{' '.join(map(show, allowed))}]"
        checks.append(lambda value: None if convert(value) in allowed else reason_in)
    refused = [convert(item) for item in rules.not_in] if "not_in" in names else []
    if refused:
        reason_not_in = f"value must not be in list [{' '.join(map(show, refused))}]"
        checks.append(lambda value: reason_not_in if convert(value) in refused else None)
    return checks


def _number_checks(rules: Any) -> list[Check]:
    return _membership(rules, _same, _number) + _bounds(rules, _same, _number)


def _bool_checks(rules: Any) -> list[Check]:
    return _membership(rules, _same, lambda value: str(value).lower())


def _duration_checks(rules: Any) -> list[Check]:
    return _membership(rules, nanoseconds, go_duration) + _bounds(rules, nanoseconds, go_duration)


def _enum_checks(rules: Any) -> list[Check]:
    return _membership(rules, _same, str)


def enum_check(rules: Any, enum_type: Any) -> Check | None:
    """The check of an enum field; only defined numbers pass, whether `defined_only` is asked for or not."""
    checks = _enum_checks(rules.enum) if rules is not None else []
    known = frozenset(enum_type.values_by_number)
    checks.append(lambda value: None if value in known else "value must be one of the defined enum values")
    return _all_of(checks)


def _lengths(rules: Any, exact: str, low: str, high: str, measure: Callable[[Any], int], unit: str) -> list[Check]:
    """len, min and max of one measure."""
    if exact and rules.HasField(exact):
        wanted = getattr(rules, exact)
        return [lambda value: None if measure(value) == wanted else f"value length must be {wanted} {unit}"]
    minimum = getattr(rules, low) if rules.HasField(low) else None
    maximum = getattr(rules, high) if rules.HasField(high) else None
    if minimum is not None and maximum is not None:
        reason = f"value length must be between {minimum} and {maximum} {unit}, inclusive"
        return [lambda value: None if minimum <= measure(value) <= maximum else reason]
    if minimum is not None:
        reason_min = f"value length must be at least {minimum} {unit}"
        return [lambda value: None if measure(value) >= minimum else reason_min]
    if maximum is not None:
        reason_max = f"value length must be at most {maximum} {unit}"
        return [lambda value: None if measure(value) <= maximum else reason_max]
    return []


def _affixes(rules: Any) -> list[Check]:
    checks: list[Check] = []
    if rules.HasField("prefix"):
        prefix = rules.prefix
        checks.append(lambda v: None if v.startswith(prefix) else f'value does not have prefix "{prefix}"')
    if rules.HasField("suffix"):
        suffix = rules.suffix
        checks.append(lambda v: None if v.endswith(suffix) else f'value does not have suffix "{suffix}"')
    if rules.HasField("contains"):
        part = rules.contains
        checks.append(lambda v: None if part in v else f'value does not contain substring "{part}"')
    return checks


def _pattern(pattern: str, shown: str | None = None) -> Check:
    compiled = re2.compile(pattern)
    reason = f'value does not match regex pattern "{shown or pattern}"'
    return lambda value: None if compiled.search(value) else reason


def _string_checks(rules: Any) -> list[Check]:
    checks = _membership(rules, _same, str)
    checks += _lengths(rules, "len", "min_len", "max_len", len, "characters")
    checks += _lengths(rules, "len_bytes", "min_bytes", "max_bytes", lambda value: len(value.encode()), "bytes")
    checks += _affixes(rules)
    if rules.HasField("not_contains"):
        part = rules.not_contains
        checks.append(lambda value: f'value contains substring "{part}"' if part in value else None)
    if rules.HasField("pattern"):
        checks.append(_pattern(rules.pattern))
    if rules.WhichOneof("well_known") == "well_known_regex" and rules.well_known_regex in _HEADER_PATTERNS:
        strict = not rules.HasField("strict") or rules.strict
        pattern = _HEADER_PATTERNS[rules.well_known_regex][0 if strict else 1]
        checks.append(_pattern(pattern))
    return _unless_empty(checks) if rules.ignore_empty else checks


def _unless_empty(checks: list[Check]) -> list[Check]:
    check = _all_of(checks)
    return [] if check is None else [lambda value: check(value) if value else None]


def _bytes_checks(rules: Any) -> list[Check]:
    checks = _membership(rules, _same, repr)
    checks += _lengths(rules, "len", "min_len", "max_len", len, "bytes")
    checks += _affixes(rules)
    return _unless_empty(checks) if rules.ignore_empty else checks


def _any_checks(rules: Any) -> list[Check]:
    checks: list[Check] = []
    allowed, refused = set(getattr(rules, "in")), set(rules.not_in)
    if allowed:
        reason = f"type URL must be in list [{' '.join(sorted(allowed))}]"
        checks.append(lambda value: None if value.type_url in allowed else reason)
    if refused:
        reason_not = f"type URL must not be in list [{' '.join(sorted(refused))}]"
        checks.append(lambda value: reason_not if value.type_url in refused else None)
    return checks


_COMPILERS: Final[dict[str, Callable[[Any], list[Check]]]] = {
    "bool": _bool_checks,
    "string": _string_checks,
    "bytes": _bytes_checks,
    "enum": _enum_checks,
    "any": _any_checks,
    "duration": _duration_checks,
    "repeated": lambda rules: [],
    "map": lambda rules: [],
    "timestamp": lambda rules: [],
}


def size_check(low: int | None, high: int | None, unit: str) -> Check | None:
    """min/max items of a list or pairs of a map (`unit`: "item(s)", "pair(s)")."""
    if low is not None and high is not None:
        reason = f"value must contain between {low} and {high} {unit}, inclusive"
        return lambda value: None if low <= len(value) <= high else reason
    if low is not None:
        return lambda value: None if len(value) >= low else f"value must contain at least {low} {unit}"
    if high is not None:
        return lambda value: None if len(value) <= high else f"value must contain no more than {high} {unit}"
    return None


def unique_check(value: Any) -> str | None:
    """repeated.unique (scalars only; Envoy uses it for nothing else)."""
    return None if len(set(value)) == len(value) else "repeated value must contain unique items"
