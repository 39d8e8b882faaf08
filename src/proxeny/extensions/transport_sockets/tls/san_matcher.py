"""Which subject alternative names of a peer are right (Envoy: ``StringSanMatcher``, ``Utility::dnsNameMatch``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from proxeny.config.errors import ConfigError
from proxeny.kernel.tls_certificate import object_identifier
from proxeny.matcher.string import ExactMatcher, StringMatcher, compile_string_matcher

# Kinds of names (RFC 5280 4.2.1.6: GeneralName).
OTHER_NAME: Final = 0
EMAIL: Final = 1
DNS: Final = 2
URI: Final = 6
IP_ADDRESS: Final = 7

_KINDS: Final = {1: EMAIL, 2: DNS, 3: URI, 4: IP_ADDRESS, 5: OTHER_NAME}
"""By ``SubjectAltNameMatcher.SanType``."""
_UNTYPED_KINDS: Final = (DNS, URI, EMAIL, IP_ADDRESS)
"""What the deprecated ``match_subject_alt_names`` looks at, a matcher for each."""


class AlternativeName(NamedTuple):
    """One name of a certificate: its value as text (bytes that are no UTF-8 as surrogates), and of others their OID."""

    kind: int
    text: str
    oid: str = ""

    @property
    def value(self) -> bytes:
        """The bytes in the certificate, NUL bytes and all."""
        return self.text.encode("utf-8", "surrogateescape")


class SanMatcher:
    """Names of one kind."""

    __slots__ = ("kind", "matcher")

    def __init__(self, kind: int, matcher: StringMatcher) -> None:
        self.kind = kind
        self.matcher = matcher

    def match(self, name: AlternativeName) -> bool:
        """Whether a name is right."""
        return name.kind == self.kind and self.matcher.match(name.value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.kind}, {self.matcher.describe()})"


class DnsSanMatcher(SanMatcher):
    """The DNS names that stand for a host: wildcards of the certificate count (RFC 6125 6.4)."""

    __slots__ = ("host",)

    def __init__(self, host: bytes) -> None:
        super().__init__(DNS, ExactMatcher(host))
        self.host = host

    def match(self, name: AlternativeName) -> bool:
        """Whether a name is right."""
        return name.kind == DNS and dns_name_match(self.host, name.value)


class OtherNameSanMatcher(SanMatcher):
    """Other names with one OID."""

    __slots__ = ("oid",)

    def __init__(self, oid: str, matcher: StringMatcher) -> None:
        super().__init__(OTHER_NAME, matcher)
        self.oid = oid

    def match(self, name: AlternativeName) -> bool:
        """Whether a name is right."""
        return name.oid == self.oid and super().match(name)


def compile_san_matchers(config: Any) -> tuple[SanMatcher, ...]:
    """The matchers of a ``CertificateValidationContext``; ConfigError in Envoy's words."""
    if config.match_typed_subject_alt_names:
        return tuple(_compile(one) for one in config.match_typed_subject_alt_names)
    return tuple(_of_kind(kind, one) for one in config.match_subject_alt_names for kind in _UNTYPED_KINDS)


def _compile(config: Any) -> SanMatcher:
    kind = _KINDS[config.san_type]
    if kind != OTHER_NAME:
        return _of_kind(kind, config.matcher)
    oid = object_identifier(config.oid)
    if not oid or (config.oid[0].isdecimal() and oid != config.oid):
        # By numbers BoringSSL takes them as they are printed only.
        raise ConfigError(f"Failed to create SAN matcher for OTHER_NAME with OID: {config.oid}")
    return OtherNameSanMatcher(oid, compile_string_matcher(config.matcher))


def _of_kind(kind: int, config: Any) -> SanMatcher:
    if kind == DNS and config.WhichOneof("match_pattern") == "exact":
        return DnsSanMatcher(config.exact.encode())
    return SanMatcher(kind, compile_string_matcher(config))


def matches_any(matchers: Sequence[SanMatcher], names: Iterable[AlternativeName]) -> bool:
    """Whether one of the names satisfies one of the matchers."""
    return any(matcher.match(name) for name in names for matcher in matchers)


def is_in_list(names: Iterable[AlternativeName], expected: Sequence[bytes]) -> bool:
    """Whether one of the names is in a list: DNS names with their wildcards, all others as they are."""
    for name in names:
        value = name.value
        if name.kind == DNS:
            if any(dns_name_match(one, value) for one in expected):
                return True
        elif value in expected:
            return True
    return False


def dns_name_match(host: bytes, pattern: bytes) -> bool:
    """Whether a certificate's DNS name stands for ``host``: its first label may hold one ``*``, unless an A-label."""
    host, pattern = host.lower(), pattern.lower()
    if host == pattern:
        return True
    label, dot, rest = pattern.partition(b".")
    host_label, host_dot, host_rest = host.partition(b".")
    if not dot or not host_dot or host_rest != rest:
        return False
    if b"*" not in label or b"*" in rest or label.startswith(b"xn--"):
        return False
    return _label_matches(host_label, label)


def _label_matches(label: bytes, pattern: bytes) -> bool:
    if pattern == b"*":
        return True
    before, star, after = pattern.partition(b"*")
    if not star or b"*" in after:
        return False
    return len(pattern) <= len(label) + 1 and label.startswith(before) and label.endswith(after)
