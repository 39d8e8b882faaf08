"""Changes of ``:path`` and ``:authority`` on the way upstream or into a redirect (Envoy: ``RouteEntryImplBase``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.matcher.regex import CompiledRegex

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap

WHOLE_PATH: Final = -1
"""For ``matched``: the route matched the path as a whole (regexes, CONNECT)."""

ORIGINAL_PATH: Final = b"x-envoy-original-path"
ORIGINAL_HOST: Final = b"x-envoy-original-host"


def path_end(path: bytes) -> int:
    """Where the path proper ends: before a query or a fragment."""
    query = path.find(b"?")
    fragment = path.find(b"#", 0, query) if query >= 0 else path.find(b"#")
    return fragment if fragment >= 0 else query if query >= 0 else len(path)


class RegexRewrite:
    """``RegexMatchAndSubstitute``."""

    __slots__ = ("regex", "substitution")

    def __init__(self, config: Any) -> None:
        self.regex = CompiledRegex(config.pattern.regex)
        self.substitution: bytes = config.substitution.encode("utf-8")

    def apply(self, text: bytes) -> bytes:
        """``text`` with all matches replaced."""
        return self.regex.replace_all(text, self.substitution)


class PathRewrite:
    """A prefix rewrite or a regex rewrite (never both)."""

    __slots__ = ("prefix", "regex")

    def __init__(self, prefix: bytes, regex: RegexRewrite | None) -> None:
        self.prefix = prefix
        self.regex = regex

    @classmethod
    def compile(cls, config: Any) -> PathRewrite | None:
        """From a message with ``prefix_rewrite`` and ``regex_rewrite`` (RouteAction, RedirectAction)."""
        prefix = config.prefix_rewrite.encode("utf-8")
        regex = RegexRewrite(config.regex_rewrite) if config.HasField("regex_rewrite") else None
        return cls(prefix, regex) if prefix or regex is not None else None

    def apply(self, headers: HeaderMap, matched: int, insert_original_path: bool) -> None:
        """Set ``:path``; ``matched`` is the length of the text that a prefix rewrite replaces, or WHOLE_PATH."""
        path = headers.get(b":path")
        if path is None:
            return
        end = path_end(path)
        if self.prefix:
            new_path = self.prefix + path[end if matched == WHOLE_PATH else matched :]
        elif self.regex is not None:
            new_path = self.regex.apply(path[:end]) + path[end:]
        else:
            return
        if insert_original_path:
            headers.set(ORIGINAL_PATH, path)
        headers.set(b":path", new_path)


class HostRewrite:
    """``host_rewrite_literal``, ``host_rewrite_header`` or ``host_rewrite_path_regex``."""

    __slots__ = ("append_x_forwarded_host", "header", "literal", "path_regex")

    def __init__(self, config: Any) -> None:
        """From a ``RouteAction``."""
        self.literal: bytes = config.host_rewrite_literal.encode("utf-8")
        self.header: bytes = config.host_rewrite_header.lower().encode("utf-8")
        has_regex = config.HasField("host_rewrite_path_regex")
        self.path_regex = RegexRewrite(config.host_rewrite_path_regex) if has_regex else None
        self.append_x_forwarded_host: bool = config.append_x_forwarded_host

    def apply(self, headers: HeaderMap, keep_original: bool) -> None:
        """Set ``:authority``, unless the new one is empty."""
        host = self.literal
        if not host and self.header:
            host = headers.get(self.header) or b""
        elif not host and self.path_regex is not None:
            path = headers.get(b":path") or b""
            host = self.path_regex.apply(path[: path_end(path)])
        if host:
            update_authority(headers, host, self.append_x_forwarded_host, keep_original)


def update_authority(headers: HeaderMap, host: bytes, append_x_forwarded_host: bool, keep_original: bool) -> None:
    """Replace ``:authority`` (Envoy: ``Utility::updateAuthority``): the old one is remembered where asked."""
    old = headers.get(b":authority")
    if append_x_forwarded_host and old:
        forwarded = headers.get_joined(b"x-forwarded-host")
        if not forwarded or forwarded.rpartition(b",")[2] != old:
            headers.append_value(b"x-forwarded-host", old)
    if keep_original and old:
        headers.set(ORIGINAL_HOST, old)
    headers.set(b":authority", host)
