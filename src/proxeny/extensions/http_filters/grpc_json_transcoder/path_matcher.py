"""Which rule a request's method and path belong to: a tree of path segments, built once per configuration.

Literal segments come before ``*``, and ``*`` before ``**``; a branch that leads nowhere is given up for the next one.
The cost depends on the length of the path, not on the number of rules.
"""

from __future__ import annotations

from typing import Any, Final

from proxeny.extensions.http_filters.grpc_json_transcoder.path_template import ONE, REST, Template, parse
from proxeny.extensions.http_filters.grpc_json_transcoder.unescape import ALL, BY_SPEC, Unescaper

ANY_METHOD: Final = b"*"

Binding = tuple[tuple[bytes, ...], bytes]
"""A field path and the value that the URL gives it."""


class Rule:
    """What is registered for a template: a method and where its body goes."""

    __slots__ = ("body_path", "method", "template")

    def __init__(self, template: Template, body_path: tuple[bytes, ...], method: Any) -> None:
        self.template = template
        self.body_path = body_path
        self.method = method


AMBIGUOUS: Final = Rule(Template((), b"", ()), (), None)
"""Stands where two rules claim the same: neither is ever found."""


class _Node:
    """One segment of the tree."""

    __slots__ = ("children", "is_rest", "rules")

    def __init__(self, is_rest: bool) -> None:
        self.children: dict[bytes, _Node] = {}
        self.rules: dict[bytes, Rule] = {}
        """By HTTP method and verb, joined."""
        self.is_rest = is_rest

    def insert(self, segments: tuple[bytes, ...], key: bytes, rule: Rule) -> None:
        """Register ``rule``; what was there before makes both unreachable."""
        node = self
        for segment in segments:
            following = node.children.get(segment)
            if following is None:
                following = node.children[segment] = _Node(segment == REST)
            node = following
        node.rules[key] = AMBIGUOUS if key in node.rules else rule

    def find(self, parts: list[bytes], at: int, key: bytes) -> Rule | None:
        """The rule for what begins at ``parts[at]``."""
        count = len(parts)
        children = self.children
        while True:
            if at == count:
                return self._ending(key)
            child = children.get(parts[at])
            if child is not None and (found := child.find(parts, at + 1, key)) is not None:
                return found
            if not self.is_rest:
                break
            at += 1
        for wildcard in (ONE, REST):
            child = children.get(wildcard)
            if child is not None and (found := child.find(parts, at + 1, key)) is not None:
                return found
        return None

    def _ending(self, key: bytes) -> Rule | None:
        rules = self.rules
        found = rules.get(key) or rules.get(ANY_METHOD)
        if found is None and (rest := self.children.get(REST)) is not None:
            found = rest.rules.get(key) or rest.rules.get(ANY_METHOD)
        return found


class PathMatcher:
    """The rules of a configuration."""

    __slots__ = ("_any_verb", "_ignored", "_plus_is_space", "_root", "_unescape", "_verbs")

    def __init__(
        self, unescape_spec: int, plus_is_space: bool, any_verb: bool, ignored_parameters: frozenset[bytes]
    ) -> None:
        self._root = _Node(False)
        self._verbs: set[bytes] = set()
        self._unescape = BY_SPEC[unescape_spec]
        self._plus_is_space = plus_is_space
        self._any_verb = any_verb
        self._ignored = ignored_parameters

    def register(self, http_method: bytes, path: bytes, body_path: tuple[bytes, ...], method: Any) -> bool:
        """Add a rule; False when its path is malformed."""
        template = parse(path)
        if template is None:
            return False
        self._root.insert(template.segments, http_method + template.verb, Rule(template, body_path, method))
        if template.verb:
            self._verbs.add(template.verb)
        return True

    def lookup(self, http_method: bytes, path: bytes, query: bytes) -> tuple[Rule, list[Binding]] | None:
        """The rule of a request and what its URL binds; path and query without the question mark between them."""
        verb = b""
        colon = path.rfind(b":")
        if colon > path.rfind(b"/"):
            tail = path[colon + 1 :]
            if self._any_verb or tail in self._verbs:
                verb, path = tail, path[:colon]
        parts = path[1:].split(b"/")
        while parts and not parts[-1]:
            parts.pop()
        rule = self._root.find(parts, 0, http_method + verb)
        if rule is None or rule is AMBIGUOUS:
            return None
        bindings = self._bind_path(rule.template, parts)
        if query:
            self._bind_query(query, bindings)
        return rule, bindings

    def _bind_path(self, template: Template, parts: list[bytes]) -> list[Binding]:
        bindings: list[Binding] = []
        for variable in template.variables:
            end = variable.end if variable.end >= 0 else len(parts) + variable.end + 1
            is_multipart = variable.end < 0 or end - variable.start > 1
            unescape: Unescaper = self._unescape if is_multipart else ALL
            value = b"/".join([unescape(part) for part in parts[variable.start : end]])
            bindings.append((variable.field_path, value))
        return bindings

    def _bind_query(self, query: bytes, bindings: list[Binding]) -> None:
        for parameter in query.split(b"&"):
            name, equals, value = parameter.partition(b"=")
            if not name or not equals or name in self._ignored:
                continue
            if self._plus_is_space:
                value = value.replace(b"+", b" ")
            bindings.append((tuple(name.split(b".")), ALL(value)))
