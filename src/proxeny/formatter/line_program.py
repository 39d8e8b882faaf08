"""A text format as a list of steps that write into one buffer: what most lines consist of without an object for each
piece; any other command through the generated function of its expression.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from proxeny.kernel.headers import HeaderMap
from proxeny.kernel.line import Line

if TYPE_CHECKING:
    from proxeny.network.stream_info import StreamInfo

# What a step does: 0 a literal, 1 a function, 2 to 4 a header of the request, response or trailers, from 10 on a fact
# of the stream info. Numbers and not names: this is compiled, and a name would be looked up each time.
LITERAL_STEP = 0
CALL_STEP = 1
HEADER_STEPS = {"rq": 2, "rs": 3, "tr": 4}
INFO_STEPS = {
    "si.response_code": 10,
    "si.bytes_received": 11,
    "si.bytes_sent": 12,
    "si.protocol": 13,
    "DURATION": 14,
    "START_TIME": 15,
    "UPSTREAM_HOST": 16,
    "RESPONSE_FLAGS": 17,
}
EMPTY = HeaderMap()
_PROTOCOLS = {"HTTP/1.1": b"HTTP/1.1", "HTTP/1.0": b"HTTP/1.0", "HTTP/2": b"HTTP/2", "HTTP/3": b"HTTP/3"}


class Step:
    """One step: ``text`` is a literal or a header's name."""

    __slots__ = ("alternative", "function", "kind", "limit", "text")

    def __init__(
        self,
        kind: int,
        text: bytes = b"",
        alternative: bytes | None = None,
        limit: int = -1,
        function: Callable[..., Any] | None = None,
    ) -> None:
        self.kind = kind
        self.text = text
        self.alternative = alternative
        self.limit = limit
        self.function: Any = function


class LineProgram:
    """The steps of one format; what is absent prints as ``absent``."""

    __slots__ = ("_absent", "_clock", "_line", "_steps")

    def __init__(self, steps: Iterable[Step], absent: bytes) -> None:
        self._steps = list(steps)
        self._absent = absent
        self._line = Line()
        self._clock: Callable[[], int] = monotonic_ns

    def format(
        self,
        rq: HeaderMap | None,
        rs: HeaderMap | None,
        tr: HeaderMap | None,
        si: StreamInfo,
        body: Any = b"",
        log_type: Any = b"NotSet",
    ) -> bytes:
        """The line; headers that are None count as empty."""
        line = self._line
        line.clear()
        for step in self._steps:
            kind = step.kind
            if kind == 0:
                line.put(step.text)
            elif kind >= 10:
                self._put_info(step, si)
            elif kind == 1:
                text = step.function(rq, rs, tr, si, body, log_type)
                line.put(self._absent if text is None else text)
            else:
                headers = rq if kind == 2 else rs if kind == 3 else tr
                if headers is None:
                    headers = EMPTY
                line.put_header(headers, step.text, step.alternative, step.limit, self._absent)
        return line.take()

    def _put_info(self, step: Step, si: StreamInfo) -> None:
        line = self._line
        kind = step.kind
        if kind == 10:
            line.put_int(si.response_code)
        elif kind == 11:
            line.put_int(si.bytes_received)
        elif kind == 12:
            line.put_int(si.bytes_sent)
        elif kind == 13:
            line.put(_PROTOCOLS.get(si.protocol or "", self._absent))
        elif kind == 14:
            end_ns = si.end_ns or self._clock()
            line.put_int((end_ns - si.start_ns) // 1_000_000)
        elif kind == 15:
            line.put_time(si.start_time)
        elif kind == 16:
            host = si.upstream_host
            line.put((self._absent if host is None else host.address.as_bytes()) or self._absent)
        elif si.flags:
            text = step.function(si)
            line.put(text)
        else:
            line.put(b"-")
