"""One direction of one request through its filters: who saw what, who stopped, what is held.

Positions count along the path (0 is the filter that sees things first). A filter that stopped holds the headers, and
perhaps the data, for those behind it until it says continue; ``resume`` then goes on from there. Both directions work
alike, so the rules stand once here, and DecodePath and EncodePath say only which hooks are called and where the path
ends. Envoy: ``source/common/http/filter_manager.cc``.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from proxeny.http.filter import FilterDataStatus, FilterHeadersStatus, FilterTrailersStatus
from proxeny.kernel.buffer import Buffer

if TYPE_CHECKING:
    from proxeny.http.filter import StreamFilter
    from proxeny.http.filter_manager import FilterManager
    from proxeny.kernel.headers import HeaderMap


class Iteration(IntEnum):
    """Where one filter stands in the iteration."""

    CONTINUE = 0
    STOP_SINGLE = 1
    STOP_ALL_BUFFER = 2
    STOP_ALL_WATERMARK = 3


class Calling(IntEnum):
    """Which hook is running now; decides what ``add_data`` does."""

    NONE = 0
    HEADERS = 1
    DATA = 2
    TRAILERS = 3


CONTINUE = FilterHeadersStatus.CONTINUE
STOP_ITERATION = FilterHeadersStatus.STOP_ITERATION
DONT_END_STREAM = FilterHeadersStatus.CONTINUE_AND_DONT_END_STREAM
STOP_ALL_BUFFER = FilterHeadersStatus.STOP_ALL_ITERATION_AND_BUFFER
DATA_CONTINUE = FilterDataStatus.CONTINUE
DATA_NO_BUFFER = FilterDataStatus.STOP_ITERATION_NO_BUFFER
DATA_WATERMARK = FilterDataStatus.STOP_ITERATION_AND_WATERMARK
TRAILERS_CONTINUE = FilterTrailersStatus.CONTINUE


class FilterPath:
    """The iteration over one direction; ``filters`` are in path order."""

    __slots__ = (
        "aborted",
        "above_watermark",
        "buffered",
        "calling",
        "complete",
        "ended",
        "filters",
        "headers",
        "headers_passed",
        "last",
        "manager",
        "states",
        "stopped",
        "streaming",
        "trailers",
        "trailers_from",
    )

    def __init__(self, manager: FilterManager, filters: list[StreamFilter]) -> None:
        count = len(filters)
        self.manager = manager
        self.filters = filters
        self.last = count - 1
        self.states = [0] * count
        self.headers_passed = [True] * count
        self.ended = [False] * count
        self.headers: HeaderMap | None = None
        self.trailers: HeaderMap | None = None
        self.trailers_from = -1
        """Behind which filter trailers are due that it added while it saw the last data."""
        self.buffered: Buffer | None = None
        self.calling = 0
        self.stopped = False
        self.streaming = False
        self.complete = False
        self.aborted = False
        self.above_watermark = False

    # What a direction defines.

    def hooks(self, kind: int) -> tuple[int, ...]:
        """Positions of the filters that override the hook of this kind (Calling)."""
        raise AssertionError("abstract")

    def call_headers(self, filter_: StreamFilter, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """The direction's header hook."""
        raise AssertionError("abstract")

    def call_data(self, filter_: StreamFilter, data: Buffer, end_stream: bool) -> FilterDataStatus:
        """The direction's data hook."""
        raise AssertionError("abstract")

    def call_trailers(self, filter_: StreamFilter, trailers: HeaderMap) -> FilterTrailersStatus:
        """The direction's trailer hook."""
        raise AssertionError("abstract")

    def call_complete(self, filter_: StreamFilter) -> None:
        """The direction's notice that all was seen."""
        raise AssertionError("abstract")

    def end_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """Headers came out at the end of the path."""

    def end_data(self, data: Buffer, end_stream: bool) -> None:
        """Data came out at the end of the path."""

    def end_trailers(self, trailers: HeaderMap) -> None:
        """Trailers came out at the end of the path."""

    def above_limit(self, streaming: bool) -> None:
        """More is held than the limit allows."""
        raise AssertionError("abstract")

    def below_limit(self) -> None:
        """What was held back may flow again."""
        raise AssertionError("abstract")

    def limit(self) -> int:
        """Bytes that may be held."""
        raise AssertionError("abstract")

    def terminal(self, position: int) -> bool:
        """Whether the filter there answers for the rest of the path (its stopping stops nobody)."""
        raise AssertionError("abstract")

    # The iteration.

    def run_headers(self, start: int, headers: HeaderMap, end_stream: bool) -> None:
        """Pass the headers to the filters from ``start`` on."""
        self.headers = headers
        continue_at = -1
        for position in self.hooks(Calling.HEADERS):
            if position < start:
                continue
            end = end_stream and continue_at < 0
            self.ended[position] = end
            self.calling = Calling.HEADERS
            status = self.call_headers(self.filters[position], headers, end)
            self.calling = Calling.NONE
            if end:
                self.call_complete(self.filters[position])
            if self.aborted:
                return
            if status is DONT_END_STREAM:
                end_stream = False
                self.complete = False
            elif status is not CONTINUE and not self.terminal(position):
                self._stop_at_headers(position, status)
                self._continue_data(continue_at)
                return
            if end_stream and self.buffered is not None and continue_at < 0:
                continue_at = position
        self.end_headers(headers, end_stream and continue_at < 0)
        self._continue_data(continue_at)

    def take_over(self, position: int, status: FilterHeadersStatus, headers: HeaderMap, end_stream: bool) -> None:
        """Go on behind a filter that was called without this path and answered ``status``."""
        self.headers = headers
        self.complete = end_stream
        for seen in range(position + 1):
            self.ended[seen] = end_stream
        if status is DONT_END_STREAM:
            self.complete = end_stream = False
        elif status is not CONTINUE:
            self._stop_at_headers(position, status)
            return
        added = end_stream and self.buffered is not None
        self.run_headers(position + 1, headers, end_stream and not added)
        if added:
            self._continue_data(position)

    def _stop_at_headers(self, position: int, status: FilterHeadersStatus) -> None:
        self.stopped = True
        self.headers_passed[position] = False
        if status is STOP_ITERATION:
            self.states[position] = Iteration.STOP_SINGLE
        elif status is STOP_ALL_BUFFER:
            self.states[position] = Iteration.STOP_ALL_BUFFER
        else:
            self.states[position] = Iteration.STOP_ALL_WATERMARK

    def _continue_data(self, position: int) -> None:
        """A filter added a body to a message without one: run it through the filters behind."""
        if position >= 0 and not self.aborted:
            self.states[position] = Iteration.STOP_SINGLE
            self.resume(position)

    def run_data(self, start: int, data: Buffer, end_stream: bool) -> None:
        """Pass body bytes to the filters from ``start`` on."""
        if self.aborted:
            return
        positions = range(self.last + 1) if self.stopped else self.hooks(Calling.DATA)
        for position in positions:
            if position < start:
                continue
            state = self.states[position]
            if state >= Iteration.STOP_ALL_BUFFER:
                self._hold(data, state == Iteration.STOP_ALL_WATERMARK)
                return
            if self.ended[position]:
                return
            end = end_stream and self.trailers is None
            self.ended[position] = end
            self.calling = Calling.DATA
            status = self.call_data(self.filters[position], data, end)
            self.calling = Calling.NONE
            if end:
                self.call_complete(self.filters[position])
            if self.aborted:
                return
            if not self._after_data(position, state, status, data):
                self._run_added_trailers()
                return
        self.end_data(data, end_stream and self.trailers_from < 0)
        self._run_added_trailers()

    def add_trailers(self, position: int, trailers: HeaderMap) -> None:
        """Trailers of a message without any, from a filter that sees its end; those behind see them after the data."""
        self.trailers = trailers
        if self.calling == Calling.DATA:
            self.trailers_from = position

    def _run_added_trailers(self) -> None:
        added_by, self.trailers_from = self.trailers_from, -1
        if added_by >= 0 and not self.aborted and self.trailers is not None:
            self.run_trailers(added_by + 1, self.trailers)

    def _after_data(self, position: int, state: int, status: FilterDataStatus, data: Buffer) -> bool:
        """Whether to go on with the next filter."""
        if status is DATA_CONTINUE:
            if state != Iteration.STOP_SINGLE:
                return True
            self._hold(data, self.streaming)
            self.resume(position)
            return False
        if not self.terminal(position):
            self.stopped = True
            self.states[position] = Iteration.STOP_SINGLE
        if status is not DATA_NO_BUFFER:
            self._hold(data, status is DATA_WATERMARK)
        elif len(data):
            data.drain(len(data))
        return self.terminal(position)

    def run_trailers(self, start: int, trailers: HeaderMap) -> None:
        """Pass trailers to the filters from ``start`` on; they end the direction."""
        if self.aborted:
            return
        self.trailers = trailers
        positions = range(self.last + 1) if self.stopped else self.hooks(Calling.TRAILERS)
        for position in positions:
            if position < start:
                continue
            state = self.states[position]
            if state >= Iteration.STOP_ALL_BUFFER:
                return
            self.calling = Calling.TRAILERS
            status = self.call_trailers(self.filters[position], trailers)
            self.calling = Calling.NONE
            self.ended[position] = True
            self.call_complete(self.filters[position])
            if self.aborted:
                return
            if status is TRAILERS_CONTINUE:
                if state == Iteration.STOP_SINGLE:
                    self.resume(position)
                    return
            elif not self.terminal(position):
                self.stopped = True
                self.states[position] = Iteration.STOP_SINGLE
                return
        self.end_trailers(trailers)

    def resume(self, position: int) -> None:
        """Go on behind a filter that stopped, with all that was held (``continue_decoding``/``continue_encoding``)."""
        state = self.states[position]
        if self.aborted or (state == Iteration.CONTINUE and self.headers_passed[position]):
            return
        self.states[position] = Iteration.CONTINUE
        self.stopped = any(self.states)
        # A filter that stopped everything has not seen the data yet: it is next in line itself.
        following = position if state >= Iteration.STOP_ALL_BUFFER else position + 1
        trailers_at = following if self.trailers_from < 0 else self.trailers_from + 1
        self.trailers_from = -1
        held = self.buffered
        if not self.headers_passed[position]:
            self.headers_passed[position] = True
            if self.headers is not None:
                self.run_headers_behind(position, self.complete and held is None and self.trailers is None)
        if self.aborted:
            return
        if held is not None and self.buffered is held:
            self.buffered = None
            self._release()
            self.run_data(following, held, self.complete and self.trailers is None)
        if self.trailers is not None and not self.aborted:
            self.run_trailers(trailers_at, self.trailers)

    def run_headers_behind(self, position: int, end_stream: bool) -> None:
        """The headers, for those behind ``position``; what is held stays held meanwhile."""
        held, self.buffered = self.buffered, None
        assert self.headers is not None
        self.run_headers(position + 1, self.headers, end_stream)
        if held is not None:
            if self.buffered is not None:
                held.move_all(self.buffered)
            self.buffered = held

    def add_data(self, position: int, data: Buffer, streaming: bool) -> None:
        """Body bytes that a filter adds: held until its hook returns, or passed on from its trailer hook."""
        if self.calling == Calling.TRAILERS and self.states[position] == Iteration.CONTINUE:
            self.calling = Calling.NONE
            self.run_data(position + 1, data, False)
            self.calling = Calling.TRAILERS
        else:
            self.streaming = streaming
            self._hold(data, streaming)

    def inject_data(self, position: int, data: Buffer, end_stream: bool) -> None:
        """Body bytes straight to the filters behind ``position``; the headers go first."""
        if not self.headers_passed[position]:
            self.headers_passed[position] = True
            self.states[position] = Iteration.CONTINUE
            self.stopped = any(self.states)
            self.run_headers_behind(position, False)
        if not self.aborted:
            self.run_data(position + 1, data, end_stream)

    def _hold(self, data: Buffer, streaming: bool) -> None:
        if self.buffered is None:
            self.buffered = Buffer()
        if data is not self.buffered:
            self.buffered.move_all(data)
        limit = self.limit()
        if limit and len(self.buffered) > limit and not self.above_watermark:
            self.above_watermark = streaming
            self.above_limit(streaming)

    def _release(self) -> None:
        if self.above_watermark:
            self.above_watermark = False
            self.below_limit()


class DecodePath(FilterPath):
    """The request's way: first filter to terminal filter."""

    __slots__ = ()

    def hooks(self, kind: int) -> tuple[int, ...]:
        """See FilterPath."""
        chain = self.manager.chain
        if kind == Calling.HEADERS:
            return chain.decode_headers
        return chain.decode_data if kind == Calling.DATA else chain.decode_trailers

    def call_headers(self, filter_: StreamFilter, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """See FilterPath."""
        return filter_.decode_headers(headers, end_stream)

    def call_data(self, filter_: StreamFilter, data: Buffer, end_stream: bool) -> FilterDataStatus:
        """See FilterPath."""
        return filter_.decode_data(data, end_stream)

    def call_trailers(self, filter_: StreamFilter, trailers: HeaderMap) -> FilterTrailersStatus:
        """See FilterPath."""
        return filter_.decode_trailers(trailers)

    def call_complete(self, filter_: StreamFilter) -> None:
        """See FilterPath."""
        filter_.decode_complete()

    def terminal(self, position: int) -> bool:
        """See FilterPath."""
        return position == self.last

    def limit(self) -> int:
        """See FilterPath."""
        return self.manager.decoder_limit

    def above_limit(self, streaming: bool) -> None:
        """See FilterPath."""
        if streaming:
            self.manager.request_data_too_large()
        else:
            self.manager.request_too_large()

    def below_limit(self) -> None:
        """See FilterPath."""
        self.manager.request_data_drained()


class EncodePath(FilterPath):
    """The response's way: last filter to first, then the codec."""

    __slots__ = ()

    def hooks(self, kind: int) -> tuple[int, ...]:
        """See FilterPath."""
        chain = self.manager.chain
        if kind == Calling.HEADERS:
            return chain.encode_headers
        return chain.encode_data if kind == Calling.DATA else chain.encode_trailers

    def call_headers(self, filter_: StreamFilter, headers: HeaderMap, end_stream: bool) -> FilterHeadersStatus:
        """See FilterPath."""
        return filter_.encode_headers(headers, end_stream)

    def call_data(self, filter_: StreamFilter, data: Buffer, end_stream: bool) -> FilterDataStatus:
        """See FilterPath."""
        return filter_.encode_data(data, end_stream)

    def call_trailers(self, filter_: StreamFilter, trailers: HeaderMap) -> FilterTrailersStatus:
        """See FilterPath."""
        return filter_.encode_trailers(trailers)

    def call_complete(self, filter_: StreamFilter) -> None:
        """See FilterPath."""
        filter_.encode_complete()

    def end_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """See FilterPath."""
        self.manager.encode_filtered_headers(headers, end_stream)

    def end_data(self, data: Buffer, end_stream: bool) -> None:
        """See FilterPath."""
        self.manager.encode_data_out(data, end_stream)

    def end_trailers(self, trailers: HeaderMap) -> None:
        """See FilterPath."""
        self.manager.encode_trailers_out(trailers)

    def terminal(self, position: int) -> bool:
        """See FilterPath."""
        return False

    def limit(self) -> int:
        """See FilterPath."""
        return self.manager.encoder_limit

    def above_limit(self, streaming: bool) -> None:
        """See FilterPath."""
        if streaming:
            self.manager.response_data_too_large()
        else:
            self.manager.response_too_large()

    def below_limit(self) -> None:
        """See FilterPath."""
        self.manager.response_data_drained()
