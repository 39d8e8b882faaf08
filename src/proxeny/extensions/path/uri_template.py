"""URI templates: ``/users/{id}/*`` matches paths, ``/u/{id}`` rewrites them.

A template is read as Envoy 1.40 reads it (asked of it), to the last oddity: of a literal only ``$ ( ) + .`` are escaped
in the regex that it becomes, so that a ``*`` inside of one repeats the character before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.matcher.regex import CompiledRegex

if TYPE_CHECKING:
    from proxeny.network.factory_context import FactoryContext
    from proxeny.router.path_policy import PathPattern

MATCHER: Final = "envoy.path.match.uri_template.uri_template_matcher"
REWRITER: Final = "envoy.path.rewrite.uri_template.uri_template_rewriter"

MOST_VARIABLES: Final = 5
LONGEST_NAME: Final = 16

_CHARACTERS: Final = "a-zA-Z0-9\\-._~%!$&'()+,;:@=*"
_LITERAL: Final = re.compile(f"[{_CHARACTERS}]+", re.ASCII)
_REWRITE_LITERAL: Final = re.compile(f"[{_CHARACTERS}/]+", re.ASCII)
_VARIABLE_NAME: Final = re.compile("[a-zA-Z][a-zA-Z0-9_]*", re.ASCII)
_TEMPLATE: Final = re.compile("/[!-~]*", re.ASCII)
_ESCAPED: Final = re.compile(r"[$()+.]")

PATH_GLOB: Final = "*"
TEXT_GLOB: Final = "**"
_GLOBS: Final = {PATH_GLOB: f"[{_CHARACTERS}]+", TEXT_GLOB: f"[{_CHARACTERS}/]*"}
_STARS_BEHIND_GLOBS: Final = tuple([glob + "*" for glob in _GLOBS.values()])


class _Parser:
    """Reads one template into a regex; ConfigError with Envoy's reason."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._globs: list[tuple[str, bool]] = []
        """Globs in their order, and whether each is a variable's implied one."""

    def regex(self, template: str) -> str:
        """The regex."""
        if not _TEMPLATE.fullmatch(template):
            raise ConfigError(f'Invalid pattern: "{template}"')
        parts = list(self._segments(template[1:]))
        self._check_names()
        self._check_globs()
        return "/" + "".join(parts)

    def _segments(self, rest: str) -> Iterator[str]:
        while rest:
            segment, rest = self._segment(rest)
            yield segment
            if rest.startswith("/"):
                yield "/"
                rest = rest[1:]
            elif rest:
                # Behind a glob a literal may end the template.
                suffix, rest = _cut(rest)
                yield _literal(suffix, "literal")
                if rest:
                    raise ConfigError("Prefix match not supported.")

    def _segment(self, rest: str) -> tuple[str, str]:
        if rest.startswith("*"):
            glob = TEXT_GLOB if rest.startswith(TEXT_GLOB) else PATH_GLOB
            self._globs.append((glob, False))
            return _GLOBS[glob], rest[len(glob) :]
        if not rest.startswith("{"):
            text, behind = _cut(rest)
            if "{" not in text or "}" not in text:
                return _literal(text, "literal"), behind
        return self._mixed(rest)

    def _mixed(self, rest: str) -> tuple[str, str]:
        """A variable with literals around it."""
        prefix, _, behind = rest.partition("{")
        inner, bracket, behind = behind.partition("}")
        if not bracket:
            raise ConfigError(f'Unmatched variable bracket in mixed pattern: "{rest}"')
        before = _literal(prefix, "prefix literal") if prefix else ""
        variable = self._variable(inner)
        suffix, behind = _cut(behind)
        return before + variable + (_literal(suffix, "suffix literal") if suffix else ""), behind

    def _variable(self, inner: str) -> str:
        name, equals, pattern = inner.partition("=")
        if not _VARIABLE_NAME.fullmatch(name):
            raise ConfigError(f'Invalid variable name: "{name}"')
        self.names.append(name)
        if not equals:
            self._globs.append((PATH_GLOB, True))
            return f"(?P<{name}>{_GLOBS[PATH_GLOB]})"
        if not pattern:
            raise ConfigError("Empty variable match")
        return f"(?P<{name}>{'/'.join(self._parts(pattern))})"

    def _parts(self, pattern: str) -> Iterator[str]:
        while pattern:
            if pattern.startswith("*"):
                glob = TEXT_GLOB if pattern.startswith(TEXT_GLOB) else PATH_GLOB
                self._globs.append((glob, False))
                yield _GLOBS[glob]
                pattern = pattern[len(glob) :]
            else:
                text, pattern = _cut(pattern)
                yield _literal(text, "literal")
            if pattern:
                if not pattern.startswith("/") or len(pattern) == 1:
                    raise ConfigError(f'Invalid variable match: "{pattern}"')
                pattern = pattern[1:]

    def _check_names(self) -> None:
        for number, name in enumerate(self.names):
            if number >= MOST_VARIABLES:
                raise ConfigError(f"Exceeded variable count limit ({MOST_VARIABLES})")
            if len(name) > LONGEST_NAME:
                raise ConfigError(
                    f'Invalid variable name length (length of "{name}" should be at least 1 and no more than '
                    f"{LONGEST_NAME})"
                )
            if name in self.names[:number]:
                raise ConfigError(f'Repeated variable name: "{name}"')

    def _check_globs(self) -> None:
        for before, (_, implied) in zip(self._globs, self._globs[1:], strict=False):
            if before[0] == TEXT_GLOB:
                raise ConfigError(
                    "Implicit variable path glob after text glob." if implied else "Glob after text glob."
                )


def _cut(text: str) -> tuple[str, str]:
    """Up to a slash, and from it on."""
    head, slash, tail = text.partition("/")
    return head, slash + tail


def _literal(text: str, what: str) -> str:
    if not _LITERAL.fullmatch(text):
        raise ConfigError(f'Invalid {what}: "{text}"')
    return _ESCAPED.sub(r"\\\g<0>", text)


class UriTemplate:
    """A template that was read."""

    __slots__ = ("names", "regex", "template")

    def __init__(self, template: str) -> None:
        parser = _Parser()
        regex = parser.regex(template)
        self.template = template.encode()
        self.names = frozenset(parser.names)
        # A star behind a glob is no regex, and so no path matches, as in Envoy.
        self.regex = None if any(star in regex for star in _STARS_BEHIND_GLOBS) else regex.encode()


class UriTemplateRewriter:
    """Puts what the variables of a template matched into another."""

    __slots__ = ("_parts", "_regex")

    def __init__(self, parts: list[bytes | int], regex: CompiledRegex | None) -> None:
        """``parts``: literals, and numbers of groups from 1 on."""
        self._parts = parts
        self._regex = regex

    def rewrite(self, path: bytes) -> bytes | None:
        """None when the path, changed since it was matched, does not fit any more."""
        groups = None if self._regex is None else self._regex.groups(path)
        if groups is None:
            return None
        return b"".join([part if isinstance(part, bytes) else groups[part - 1] for part in self._parts])


def parse_rewrite(template: str) -> list[tuple[str, bool]]:
    """Literals (False) and variables (True); ConfigError for what is no rewrite template."""
    words = f"path_rewrite_policy.path_template_rewrite {template} is invalid"
    if not template.startswith("/") or "//" in template:
        raise ConfigError(words)
    parts: list[tuple[str, bool]] = []
    rest = template
    while rest:
        literal, bracket, rest = rest.partition("{")
        if literal:
            if not _REWRITE_LITERAL.fullmatch(literal):
                raise ConfigError(words)
            parts.append((literal, False))
        if not bracket:
            break
        name, closing, rest = rest.partition("}")
        if not closing or not _VARIABLE_NAME.fullmatch(name):
            raise ConfigError(words)
        parts.append((name, True))
    return parts


class UriTemplateMatchFactory:
    """The registered factory of the matcher."""

    def create_pattern(self, message: Any, context: FactoryContext) -> UriTemplate:
        """ConfigError in Envoy's words."""
        try:
            return UriTemplate(message.path_template)
        except ConfigError as error:
            raise ConfigError(f"path_match_policy.path_template {message.path_template} is invalid: {error}") from error


class UriTemplateRewriteFactory:
    """The registered factory of the rewriter."""

    def create_rewriter(
        self, message: Any, pattern: PathPattern | None, context: FactoryContext
    ) -> UriTemplateRewriter:
        """ConfigError in Envoy's words."""
        template = message.path_template_rewrite
        parts = parse_rewrite(template)
        if not isinstance(pattern, UriTemplate):
            raise ConfigError(f"unable to use {REWRITER} extension without {MATCHER} extension")
        if not pattern.names.issuperset([text for text, is_variable in parts if is_variable]):
            raise ConfigError(
                f"mismatch between variables in path_match_policy {pattern.template.decode()} and path_rewrite_policy "
                f"{template}"
            )
        if pattern.regex is None:
            return UriTemplateRewriter([], None)
        regex = CompiledRegex(pattern.regex)
        numbers = regex.group_names()
        return UriTemplateRewriter(
            [numbers[text] if is_variable else text.encode() for text, is_variable in parts], regex
        )


MATCH = UriTemplateMatchFactory()
REWRITE = UriTemplateRewriteFactory()
