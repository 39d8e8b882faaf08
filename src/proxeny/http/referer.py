"""Which ``referer`` values are passed on (Envoy: ``Http::Utility::isValidRefererValue``; RFC 9110 10.1.3)."""

from __future__ import annotations

from typing import Final

from proxeny.matcher.regex import CompiledRegex

_PORT: Final = r"0*(?:[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_ABSOLUTE: Final = (
    rf"[A-Za-z][A-Za-z0-9+.-]*://@?(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::{_PORT})?(?:[/?][\x21\x22\x24-\x7e]*)?"
)
_SEGMENT: Final = r"A-Za-z0-9._~!$&'()*+,;=@%?\-"
_RELATIVE: Final = rf"[{_SEGMENT}]*(?:/[{_SEGMENT}:/]*)?"
_VALID: Final = CompiledRegex(f"{_ABSOLUTE}|{_RELATIVE}")


def is_valid_referer(value: bytes) -> bool:
    """A URI with a host, without user information and fragment; or a relative reference, likewise without fragment."""
    return _VALID.match(value)
