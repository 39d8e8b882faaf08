"""Routes that are answered here: ``direct_response``, ``redirect``, and the redirect of ``require_tls``.

The router filter sends the answer; these entries say which (Envoy: ``DirectResponseEntry``, ``Http::Utility::newUri``).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from proxeny.config.errors import ConfigError
from proxeny.router.header_mutation import HeaderMutation
from proxeny.router.path_rewrite import PathRewrite

if TYPE_CHECKING:
    from proxeny.kernel.headers import HeaderMap
    from proxeny.network.stream_info import StreamInfo
    from proxeny.router.route import VirtualHost

_REDIRECT_CODES: Final = (301, 302, 303, 307, 308)
"""By ``RedirectAction.RedirectResponseCode``."""


class DirectResponseEntry:
    """A fixed answer. Its ``Location`` (with a 201 or 3xx) is the request's own URL."""

    __slots__ = ("body", "content_type", "formatter", "matched", "response_code", "response_mutations", "virtual_host")

    is_direct: Final = True
    is_watched: bool = False
    """Whether ``refresh`` has something to look for."""
    idle_timeout_ms: Final = None
    limits_duration: Final = False
    timeout_ms: Final = 0
    max_stream_duration_ms: Final = None

    def __init__(
        self,
        virtual_host: VirtualHost,
        response_code: int,
        body: bytes = b"",
        matched: int = 0,
        response_mutations: tuple[HeaderMutation, ...] = (),
    ) -> None:
        self.virtual_host = virtual_host
        self.response_code = response_code
        self.body = body
        self.content_type = b""
        self.formatter: Any = None
        self.matched = matched
        self.response_mutations = response_mutations

    @property
    def has_location(self) -> bool:
        """Whether the answer carries a ``Location`` (RFC 9110 10.2.2)."""
        return self.response_code == 201 or 300 <= self.response_code < 400

    def refresh(self) -> None:
        """Look whether the answer is another one now."""

    def rewrite_path_header(self, headers: HeaderMap, insert_original_path: bool) -> None:
        """Change ``:path`` before ``new_uri`` reads it."""

    def new_uri(self, headers: HeaderMap) -> bytes:
        """The value of ``Location``."""
        return _uri(scheme_of(headers), headers.get(b":authority") or b"", b"", headers.get(b":path") or b"")

    def finalize_response_headers(
        self, headers: HeaderMap, stream_info: StreamInfo, request_headers: HeaderMap | None = None
    ) -> None:
        """Response header mutations of all levels."""
        for mutation in self.response_mutations:
            mutation.evaluate(headers, request_headers, headers, stream_info)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.response_code})"


class WatchedResponseEntry(DirectResponseEntry):
    """A fixed answer whose body is a file in a watched directory: read again once another file took its place there
    (a move, or a symbolic link that leads elsewhere). A file that cannot be read, or is too large, changes nothing."""

    __slots__ = ("_file", "_limit", "_source")

    is_watched = True

    def __init__(self, entry: DirectResponseEntry, source: Any, limit: int) -> None:
        super().__init__(entry.virtual_host, entry.response_code, entry.body, entry.matched, entry.response_mutations)
        self._source = source
        self._limit = limit
        self._file = self._identity()

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._source.filename)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def refresh(self) -> None:
        """Look for another file."""
        file = self._identity()
        if file is None:
            self._file = None
        if file is None or file == self._file:
            return
        try:
            self.body = read_data_source(self._source, self._limit)
        except ConfigError:
            return
        self._file = file


def scheme_of(headers: HeaderMap) -> bytes:
    """The scheme the client used (``x-forwarded-proto`` before ``:scheme``)."""
    return headers.get(b"x-forwarded-proto") or headers.get(b":scheme") or b"http"


def _uri(scheme: bytes, host: bytes, port: bytes, path: bytes) -> bytes:
    return b"".join((scheme, b"://", host, port, path))


class SslRedirectEntry(DirectResponseEntry):
    """The answer to a plaintext request where ``require_tls`` asks for TLS."""

    __slots__ = ()

    def new_uri(self, headers: HeaderMap) -> bytes:
        """The same URL with https."""
        return _uri(b"https", headers.get(b":authority") or b"", b"", headers.get(b":path") or b"")


class RedirectEntry(DirectResponseEntry):
    """``RedirectAction``."""

    __slots__ = ("host", "path", "path_has_query", "path_rewrite", "port", "scheme", "strip_query")

    def __init__(
        self, virtual_host: VirtualHost, config: Any, matched: int, response_mutations: tuple[HeaderMutation, ...]
    ) -> None:
        code = _REDIRECT_CODES[config.response_code]
        super().__init__(virtual_host, code, b"", matched, response_mutations)
        self.scheme: bytes = b"https" if config.https_redirect else config.scheme_redirect.encode("utf-8")
        self.host: bytes = config.host_redirect.encode("utf-8")
        self.port: bytes = b":%d" % config.port_redirect if config.port_redirect else b""
        self.path: bytes = config.path_redirect.encode("utf-8")
        self.path_has_query = b"?" in self.path
        self.path_rewrite = PathRewrite.compile(config)
        self.strip_query: bool = config.strip_query

    def rewrite_path_header(self, headers: HeaderMap, insert_original_path: bool) -> None:
        """``prefix_rewrite`` or ``regex_rewrite``."""
        if self.path_rewrite is not None:
            self.path_rewrite.apply(headers, self.matched, insert_original_path)

    def new_uri(self, headers: HeaderMap) -> bytes:
        """The value of ``Location``: the request's URL with the configured parts replaced."""
        scheme = self.scheme or scheme_of(headers)
        host = self.host or _request_host(headers, scheme, self.port)
        return _uri(scheme, host, self.port, self._new_path(headers.get(b":path") or b""))

    def _new_path(self, current: bytes) -> bytes:
        path = self.path or current
        if self.path and not self.path_has_query:
            query = current.find(b"?")
            if query >= 0:
                path += current[query:]
        if self.strip_query and not self.path_has_query:
            path = path.partition(b"?")[0]
        return path


def _request_host(headers: HeaderMap, new_scheme: bytes, new_port: bytes) -> bytes:
    """The request's host without its port where that is replaced, or was the default of the scheme that is left."""
    host = headers.get(b":authority") or b""
    colon = host.rfind(b"]:") + 1 if host.startswith(b"[") else host.rfind(b":")
    if colon <= 0:
        return host
    old_scheme, port = scheme_of(headers), host[colon:]
    remove = bool(new_port)
    if new_scheme != old_scheme:
        remove = remove or (old_scheme == b"https" and port == b":443") or (old_scheme == b"http" and port == b":80")
    return host[:colon] if remove else host


def read_data_source(source: Any, limit: int) -> bytes:
    """A ``core.v3.DataSource`` of at most ``limit`` bytes; ConfigError in Envoy's words."""
    kind = source.WhichOneof("specifier")
    if kind == "filename":
        try:
            with open(source.filename, "rb") as file:
                body = file.read(limit + 1)
                size = os.fstat(file.fileno()).st_size
        except FileNotFoundError:
            raise ConfigError(f"file {source.filename} does not exist") from None
        except OSError:
            raise ConfigError(f"unable to read file: {source.filename}") from None
        if max(size, len(body)) > limit:
            raise ConfigError(f"file {source.filename} size is {size} bytes; maximum is {limit}")
        return body
    if kind == "environment_variable":
        value = os.environb.get(source.environment_variable.encode("utf-8"))
        if value is None:
            raise ConfigError(f"Environment variable doesn't exist: {source.environment_variable}")
        body = value
    else:
        body = source.inline_bytes if kind == "inline_bytes" else source.inline_string.encode("utf-8")
    if len(body) > limit:
        raise ConfigError(f"response body size is {len(body)} bytes; maximum is {limit}")
    return body
