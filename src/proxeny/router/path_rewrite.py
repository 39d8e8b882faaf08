"""Changes of ``:path`` and ``:authority`` on the way upstream or into a redirect (Envoy: ``RouteEntryImplBase``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.matcher.regex import CompiledRegex

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.stream_info import StreamInfo

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

    def apply(
        self, headers: HeaderMap, matched: int, insert_original_path: bool, info: StreamInfo | None = None
    ) -> None:
        """Set ``:path``; ``matched`` is the length of the text that a prefix rewrite replaces, or WHOLE_PATH."""
        path = headers.get(b":path")
        if path is None:
            return
        end = path_end(path)
        if self.prefix:
            new_path = self.prefix + path[end if matched == WHOLE_PATH else matched :]
        elif self.regex is not None:
            rewritten = self.regex.apply(path[:end])
            if not rewritten:
                return
            new_path = rewritten + path[end:]
        else:
            return
        if insert_original_path:
            headers.set(ORIGINAL_PATH, path)
        headers.set(b":path", new_path)


class TemplateRewrite:
    """``path_rewrite``: a format string that gives the path; the query stays. Without a text nothing changes."""

    __slots__ = ("_format",)

    def __init__(self, template: str) -> None:
        self._format = _compile(template, "path", True)

    def apply(
        self, headers: HeaderMap, matched: int, insert_original_path: bool, info: StreamInfo | None = None
    ) -> None:
        """Set ``:path``."""
        path = headers.get(b":path")
        new_path = self._format(headers, None, None, info)
        if path is None or not new_path:
            return
        if insert_original_path:
            headers.set(ORIGINAL_PATH, path)
        headers.set(b":path", new_path + path[path_end(path) :])


def _compile(template: str, what: str, omit_empty_values: bool) -> Callable[..., bytes]:
    from proxeny.formatter.substitution import compile as compile_formatter

    try:
        made: Callable[..., bytes] = compile_formatter(template, omit_empty_values=omit_empty_values).format
    except ConfigError as error:
        raise ConfigError(f"Failed to create {what} rewrite formatter: {error}") from None
    return made


class HostRewrite:
    """``host_rewrite_literal``, ``host_rewrite_header``, ``host_rewrite_path_regex`` or ``host_rewrite``."""

    __slots__ = ("append_x_forwarded_host", "header", "literal", "path_regex", "template")

    def __init__(self, config: Any) -> None:
        """From a ``RouteAction``."""
        self.literal: bytes = config.host_rewrite_literal.encode("utf-8")
        self.header: bytes = config.host_rewrite_header.lower().encode("utf-8")
        has_regex = config.HasField("host_rewrite_path_regex")
        self.path_regex = RegexRewrite(config.host_rewrite_path_regex) if has_regex else None
        self.template = _compile(config.host_rewrite, "host", False) if config.host_rewrite else None
        self.append_x_forwarded_host: bool = config.append_x_forwarded_host

    def apply(self, headers: HeaderMap, keep_original: bool, info: StreamInfo | None = None) -> None:
        """Set ``:authority``, unless the new one is empty."""
        host = self.literal
        if not host and self.header:
            host = headers.get(self.header) or b""
        elif not host and self.path_regex is not None:
            path = headers.get(b":path") or b""
            host = self.path_regex.apply(path[: path_end(path)])
        elif self.template is not None:
            host = self.template(headers, None, None, info)
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
