"""Floating-point numbers as Envoy's pages write them."""

from __future__ import annotations

import math


def general(value: float) -> str:
    """``{:g}``: six significant digits."""
    return f"{value:g}"


def plain(value: float) -> str:
    """The shortest text that reads back as the same number, without a needless ``.0``; ``nan``."""
    return repr(value).removesuffix(".0")


def precise(value: float) -> str:
    """``{:.32g}``, as Prometheus pages have it."""
    return f"{value:.32g}"


def shortest(value: float) -> str:
    """JSON: the shorter one of the fixed and the scientific form (3e+05, 1800000); ``null`` for nan."""
    if math.isnan(value):
        return "null"
    fixed = plain(value)
    digits, _, exponent = f"{value:.16e}".partition("e")
    for precision in range(17):
        candidate = f"{value:.{precision}e}"
        if float(candidate) == value:
            digits, _, exponent = candidate.partition("e")
            break
    scientific = f"{digits}e{exponent}"
    return scientific if "e" in fixed or len(scientific) < len(fixed) else fixed
