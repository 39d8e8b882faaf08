"""Substitution formats (``%REQ(X)%`` ...) compiled once per configuration to plain functions."""

from proxeny.formatter.format_string import CompiledFormat, compile_format_string
from proxeny.formatter.substitution import DEFAULT_FORMAT, Formatter, compile, compile_json

__all__ = ["DEFAULT_FORMAT", "CompiledFormat", "Formatter", "compile", "compile_format_string", "compile_json"]
