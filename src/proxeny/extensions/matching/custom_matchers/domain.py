"""``envoy.matching.custom_matchers.domain_matcher``: a match tree by server name.

The name itself, then ``*.`` and its domains from the longest on, then ``*``; the first that leads to an action counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from proxeny.config.errors import ConfigError
from proxeny.matcher.tree import InputTree, OnMatch

if TYPE_CHECKING:
    from proxeny.matcher.inputs import DataInput
    from proxeny.matcher.tree_compiler import MatchTreeCompiler

MATCHER = "ServerNameMatcher"


class DomainTree(InputTree):
    """The compiled tree: domains as they were configured."""

    __slots__ = ("_domains",)

    def __init__(self, data_input: DataInput, on_no_match: OnMatch | None, domains: dict[bytes, OnMatch]) -> None:
        super().__init__(data_input, on_no_match)
        self._domains = domains

    def candidates(self, value: bytes) -> Iterable[tuple[str, OnMatch]]:
        """The most specific first."""
        if not value:
            return
        for domain in _patterns(value):
            found = self._domains.get(domain)
            if found is not None:
                yield f"'{domain.decode('latin-1')}'", found


def _patterns(name: bytes) -> Iterator[bytes]:
    if not name.startswith(b"*"):
        yield name
    dot = name.find(b".")
    while dot >= 0:
        yield b"*" + name[dot:]
        dot = name.find(b".", dot + 1)
    yield b"*"


def _check(domain: str) -> None:
    if domain == "*":
        return
    if not domain:
        raise ConfigError(f"Empty domain in {MATCHER}")
    star = domain.find("*")
    if star < 0:
        return
    if star > 0 or len(domain) < 3 or domain[1] != ".":
        raise ConfigError(f"Invalid wildcard domain format: {domain}. Only '*' and '*.domain' patterns are supported")
    if "*" in domain[1:]:
        raise ConfigError(f"Invalid wildcard domain format: {domain}. Multiple wildcards are not supported")


class DomainFactory:
    """The registered factory."""

    def create_tree(
        self, message: Any, data_input: DataInput, on_no_match: OnMatch | None, compiler: MatchTreeCompiler
    ) -> DomainTree:
        """ConfigError in Envoy's words."""
        domains: dict[bytes, OnMatch] = {}
        for matcher in message.domain_matchers:
            on_match = compiler.on_match(matcher.on_match)
            for domain in matcher.domains:
                if domain.encode() in domains:
                    raise ConfigError(f"Duplicate domain in {MATCHER}: {domain}")
                _check(domain)
                domains[domain.encode()] = on_match
        return DomainTree(data_input, on_no_match, domains)


FACTORY = DomainFactory()
