"""``envoy.filters.listener.http_inspector``: whether a plain-text connection begins with an HTTP request.

Only the request line is looked at, as Envoy's parser would: any method that is a token, a target that could be one, a
version or none; bytes below a blank separate.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from proxeny.listener.filter import ListenerFilter
from proxeny.network.filter import FilterStatus
from proxeny.stats.schema import Schema

if TYPE_CHECKING:
    from proxeny.kernel.stats import Block
    from proxeny.network.factory_context import FactoryContext

NAME: Final = "envoy.filters.listener.http_inspector"
FIRST_READ: Final = 8 * 1024
MAX_INSPECT: Final = 64 * 1024
"""A request line that does not end within them is an error."""
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""RFC 9113 3.4."""

STATS: Final = Schema(
    "http_inspector", counters=("http10_found", "http11_found", "http2_found", "http_not_found", "read_error")
)
NOT_FOUND: Final = STATS.slot("http_not_found")
READ_ERROR: Final = STATS.slot("read_error")

CONTINUE: Final = FilterStatus.CONTINUE
STOP: Final = FilterStatus.STOP_ITERATION

# Each of these is matched in linear time: what a quantifier takes cannot be taken by what follows it.
_METHOD: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]*")
_TARGET: Final = re.compile(rb"[\x00- ]*([^\x00- ]+)[\x00- ]*")
_VERSION: Final = re.compile(rb"HTTP/[0-9]\.[0-9]")
_PATH: Final = re.compile(rb"[/*][!-~]*")
_SCHEME: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+\-.]*://")
_AUTHORITY: Final = re.compile(rb"([!$%&'()*+,\-.:;=@\[\]_~0-9A-Za-z]*)(?:[/?][!-~]*)?")
_BLANKS: Final = b"\t\v\f\r "
"""May follow a method; any byte up to the blank separates what comes then."""
_SEPARATORS: Final = bytes(range(33))


class Protocol:
    """A version that can be found."""

    __slots__ = ("protocols", "slot")

    def __init__(self, name: str, stat: str) -> None:
        self.protocols = (name,)
        """The connection's application protocols, by their ALPN name."""
        self.slot = STATS.slot(stat)


HTTP10: Final = Protocol("http/1.0", "http10_found")
HTTP11: Final = Protocol("http/1.1", "http11_found")
HTTP2: Final = Protocol("h2c", "http2_found")


def request_line_protocol(line: bytes) -> Protocol | None:
    """The version of a request line without its LF; all but 1.1 count as 1.0. None for what is no request line."""
    line = line.rstrip(_SEPARATORS)
    end = _METHOD.match(line).end()  # type: ignore[union-attr]  # it matches anything
    target = _TARGET.match(line, end)
    if end == 0 or target is None or line[end] not in _BLANKS or not _is_target(target[1], line[:end] == b"CONNECT"):
        return None
    version = line[target.end() :]
    if version and not _VERSION.fullmatch(version):
        return None
    return HTTP11 if line.endswith(b"HTTP/1.1") else HTTP10


def _is_target(target: bytes, connect: bool) -> bool:
    if _PATH.fullmatch(target):
        return True
    start = 0
    if not connect:
        scheme = _SCHEME.match(target)
        if scheme is None:
            return False
        start = scheme.end()
    authority = _AUTHORITY.fullmatch(target, start)
    return authority is not None and b"@@" not in authority[1]


class HttpInspector(ListenerFilter):
    """Inspects one socket."""

    __slots__ = ("_method_ended", "_searched", "_stats", "max_read_bytes")

    def __init__(self, stats: Block) -> None:
        self._stats = stats
        self._searched = 0
        self._method_ended = False
        self.max_read_bytes = FIRST_READ

    def on_accept(self) -> FilterStatus:
        """Wait for the first bytes, unless they are known to be encrypted."""
        return STOP if self.socket.connection_info.transport_protocol in ("", "raw_buffer") else CONTINUE

    def on_data(self, data: bytes) -> FilterStatus:
        """Look for HTTP/2's preface, or for the end of the request line; what can be neither ends it early."""
        size = len(data)
        if PREFACE.startswith(data[: len(PREFACE)]):
            return self._done(HTTP2) if size >= len(PREFACE) else STOP
        end = data.find(b"\n", self._searched)
        if end >= 0:
            return self._done(request_line_protocol(data[:end]))
        if not self._method_ended and not self._is_method(data):
            return self._done(None)
        if size >= MAX_INSPECT:
            self._stats.inc(READ_ERROR)
            self.socket.close()
            return STOP
        self._searched = size
        if size >= self.max_read_bytes:
            self.max_read_bytes = min(2 * self.max_read_bytes, MAX_INSPECT)
        return STOP

    def _is_method(self, data: bytes) -> bool:
        """Whether ``data`` may go on, or has gone on, behind a method."""
        end = _METHOD.match(data, self._searched).end()  # type: ignore[union-attr]  # it matches anything
        self._method_ended = end < len(data)
        return not self._method_ended or (end > 0 and data[end] in _BLANKS)

    def _done(self, found: Protocol | None) -> FilterStatus:
        if found is None:
            self._stats.inc(NOT_FOUND)
        else:
            self._stats.inc(found.slot)
            self.socket.connection_info.requested_application_protocols = found.protocols
        return CONTINUE


class HttpInspectorFactory:
    """The listener filter factory; there is nothing to configure."""

    __slots__ = ("_stats",)

    name = NAME

    def __init__(self, stats: Block) -> None:
        self._stats = stats

    def create(self) -> HttpInspector:
        """The filter of one socket."""
        return HttpInspector(self._stats)


class HttpInspectorExtension:
    """The registered factory."""

    def create_filter_factory(self, config: Any, context: FactoryContext) -> HttpInspectorFactory:
        """There is nothing to configure."""
        return HttpInspectorFactory(context.stats.block(STATS, "http_inspector."))


FACTORY = HttpInspectorExtension()
