"""One direction of one request through a user filter that is asynchronous or wants bodies.

Where a message stands is one state: its header hook's task runs (AT_HEADERS), its body is collected (COLLECTING), a
task works on the whole body (AT_BODY) or on a piece of it (AT_PIECE), or nothing is going on (IDLE). While a task runs,
what arrives is held: by the filter manager as long as the headers are held too, else here, and the sender is slowed
down.
"""

from __future__ import annotations

from asyncio import Future, Task
from contextvars import copy_context
from enum import IntEnum
from inspect import iscoroutine
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

from proxeny.extensions.http_filters.python.stats import ON_REQUEST_US, ON_RESPONSE_US
from proxeny.http.filter import FilterDataStatus, FilterHeadersStatus, FilterTrailersStatus
from proxeny.kernel.buffer import Buffer

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxeny.extensions.http_filters.python.messages import Message
    from proxeny.extensions.http_filters.python.stream_filter import PythonStreamFilter
    from proxeny.kernel.timer import Timer

HEADERS_CONTINUE: Final = FilterHeadersStatus.CONTINUE
HEADERS_STOP: Final = FilterHeadersStatus.STOP_ITERATION
DATA_CONTINUE: Final = FilterDataStatus.CONTINUE
DATA_BUFFER: Final = FilterDataStatus.STOP_ITERATION_AND_BUFFER
DATA_WATERMARK: Final = FilterDataStatus.STOP_ITERATION_AND_WATERMARK
DATA_TAKEN: Final = FilterDataStatus.STOP_ITERATION_NO_BUFFER
TRAILERS_CONTINUE: Final = FilterTrailersStatus.CONTINUE
TRAILERS_STOP: Final = FilterTrailersStatus.STOP_ITERATION

CONTENT_LENGTH: Final = b"content-length"


class BodyTooLarge(Exception):
    """More body than may be buffered."""


class FlowState(IntEnum):
    """Where the direction stands."""

    IDLE = 0
    AT_HEADERS = 1
    COLLECTING = 2
    AT_BODY = 3
    AT_PIECE = 4


IDLE = FlowState.IDLE
AT_HEADERS = FlowState.AT_HEADERS
COLLECTING = FlowState.COLLECTING
AT_BODY = FlowState.AT_BODY
AT_PIECE = FlowState.AT_PIECE


class BodyFlow:
    """The common half; RequestFlow and ResponseFlow know the callbacks of their direction."""

    __slots__ = (
        "_budget_timer",
        "_filter",
        "_has_trailers",
        "_headers_held",
        "_hook",
        "_message",
        "_piece",
        "_queue",
        "_queued",
        "_ready",
        "_replacement",
        "_started_ns",
        "_state",
        "_task",
        "_waiting",
        "_wants_body",
        "_whole",
        "ended",
        "paused",
        "timed_out",
    )

    slot: int
    """The histogram of this direction's hooks."""

    def __init__(self, filter_: PythonStreamFilter, message: Message, hook: Any, whole: bool, ended: bool) -> None:
        self._filter = filter_
        self._message = message
        self._hook: Callable[[Any, bytes, bool], Any] | None = hook
        """``on_request_body`` or ``on_response_body`` if the class has one."""
        self._whole = whole
        self.ended = ended
        self._state = IDLE
        self._task: Task[Any] | None = None
        self._budget_timer: Timer | None = None
        self._waiting: Future[bytes] | None = None
        self._wants_body = False
        self._replacement: bytes | None = None
        self._piece = b""
        self._queue: list[bytes] = []
        self._queued = 0
        self._has_trailers = False
        self._headers_held = False
        self._ready = b""
        self._started_ns = 0
        self.paused = False
        self.timed_out = False

    # What a direction defines.

    def held(self) -> Buffer | None:
        """What the filter manager holds for us."""
        raise NotImplementedError

    def hold(self, data: Buffer) -> None:
        """Give the filter manager body bytes to hold."""
        raise NotImplementedError

    def go_on(self) -> None:
        """Let go of all that is held."""
        raise NotImplementedError

    def inject(self, data: Buffer, end_stream: bool) -> None:
        """Body bytes to those behind us."""
        raise NotImplementedError

    def limit(self) -> int:
        """Bytes that may be held."""
        raise NotImplementedError

    def pause(self, paused: bool) -> None:
        """Slow the sender down, or let it go on."""
        raise NotImplementedError

    # The filter manager's side.

    def after_headers(self, outcome: Any) -> FilterHeadersStatus:
        """The header hook returned; ``outcome`` is its coroutine if it is async."""
        if outcome is not None:
            self._start(outcome, AT_HEADERS)
            return HEADERS_STOP
        if self._replacement is not None:
            self._install_replacement()
        if self._hook is None or self.ended:
            return HEADERS_CONTINUE
        if self._whole:
            self._state = COLLECTING
            return HEADERS_STOP
        self._release_length()
        return HEADERS_CONTINUE

    def on_data(self, data: Buffer, end_stream: bool) -> FilterDataStatus:
        """Body bytes arrived."""
        if end_stream:
            self.ended = True
        state = self._state
        if state is IDLE:
            return DATA_CONTINUE if self._hook is None else self._run_piece(data)
        if state is AT_PIECE:
            self._enqueue(data.take())
            return DATA_TAKEN
        if state is COLLECTING:
            return self._run_whole(data) if end_stream else DATA_BUFFER
        if self.ended and self._waiting is not None:
            self._resolve(data.peek())
        return DATA_BUFFER if self._wants_body else DATA_WATERMARK

    def on_trailers(self) -> FilterTrailersStatus:
        """Trailers arrived: the body is complete."""
        self.ended = self._has_trailers = True
        if self._state is IDLE:
            return TRAILERS_CONTINUE
        if self._state is COLLECTING:
            rest = Buffer()
            if self._run_whole(rest) is not DATA_CONTINUE:
                if rest.length:
                    self.hold(rest)
                return TRAILERS_STOP
            self.hold(rest)
            return TRAILERS_CONTINUE
        if self._waiting is not None:
            self._resolve(b"")
        return TRAILERS_STOP

    # Body hooks.

    def _call(self, body: bytes, end: bool) -> Any:
        """The hook's outcome: bytes, None or a coroutine; afterwards the stream may be over."""
        assert self._hook is not None
        try:
            return self._hook(self._message, body, end)
        except Exception as error:
            self._filter.fail(error)
            return None

    def skip_body(self) -> None:
        """The body hook is not wanted for this message."""
        self._hook = None

    def _run_piece(self, data: Buffer) -> FilterDataStatus:
        piece = data.take()
        outcome = self._call(piece, self.ended and not self._has_trailers)
        if self._filter.over:
            return DATA_TAKEN
        if iscoroutine(outcome):
            self._piece = piece
            self._start(outcome, AT_PIECE)
            return DATA_TAKEN
        data.append(piece if outcome is None else outcome)
        return DATA_CONTINUE

    def _run_whole(self, data: Buffer) -> FilterDataStatus:
        """All is here: what is held, and ``data``, into which what becomes of it goes."""
        held = self.held()
        body = (held.take() if held is not None else b"") + data.take()
        outcome = self._call(body, True)
        if self._filter.over:
            return DATA_TAKEN
        if iscoroutine(outcome):
            data.append(body)
            self._piece = body
            self._start(outcome, AT_BODY)
            return DATA_BUFFER
        self._state = IDLE
        if outcome is not None:
            body = outcome
            self._set_length(len(body))
        data.append(body)
        return DATA_CONTINUE

    def _enqueue(self, piece: bytes) -> None:
        self._queue.append(piece)
        self._queued += len(piece)
        if not self.paused and self._queued > self.limit() > 0:
            self.paused = True
            self.pause(True)

    # Whole bodies for header hooks.

    async def whole_body(self) -> bytes:
        """What ``await message.body()`` returns."""
        if self._state is not AT_HEADERS:
            raise RuntimeError("body() may be awaited in async on_request and on_response only")
        held = self.held()
        if self.ended:
            return held.peek() if held is not None else b""
        if held is not None and held.length > self.limit() > 0:
            raise BodyTooLarge
        self._wants_body = True
        assert self._task is not None
        self._waiting = self._task.get_loop().create_future()
        return await self._waiting

    def replace_body(self, body: bytes) -> None:
        """Use ``body`` in place of what arrived, once the header hook is done."""
        self._replacement = body
        if self._state is IDLE and not self.ended:
            raise RuntimeError("await body() before you replace it")

    def _resolve(self, last: bytes) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            held = self.held()
            waiting.set_result((held.peek() if held is not None else b"") + last)

    def _install_replacement(self) -> None:
        body, self._replacement = self._replacement, None
        assert body is not None
        held = self.held()
        if held is not None:
            held.clear()
            held.append(body)
        elif body:
            self.hold(Buffer(body))
        self._set_length(len(body))

    def _set_length(self, length: int) -> None:
        headers = self._message._headers
        headers.remove(b"transfer-encoding")
        headers.set(CONTENT_LENGTH, b"%d" % length)

    def _release_length(self) -> None:
        """The body may change on the way: its length is not known beforehand."""
        if not self._filter.factory.body_is_read_only:
            self._message._headers.remove(CONTENT_LENGTH)

    # Tasks.

    def _start(self, coroutine: Any, state: FlowState) -> None:
        factory = self._filter.factory
        self._state = state
        self._started_ns = monotonic_ns()
        self._task = task = factory.loop.create_task(coroutine, context=copy_context())
        task.add_done_callback(self._finished)
        if factory.budget_ms:
            self._budget_timer = factory.dispatcher.create_timer(self._on_budget_spent)
            self._budget_timer.enable(factory.budget_ms)

    def _on_budget_spent(self) -> None:
        if self._task is not None:
            self.timed_out = True
            self._task.cancel()

    def _finished(self, task: Task[Any]) -> None:
        if self._task is not task:
            return
        self._task = None
        if self._budget_timer is not None:
            self._budget_timer.close()
            self._budget_timer = None
        filter_ = self._filter
        filter_.factory.stats.record(self.slot, (monotonic_ns() - self._started_ns) // 1000)
        error: BaseException | None
        if self.timed_out:
            error = TimeoutError("time budget spent")
        elif task.cancelled():
            error = RuntimeError("the hook's task was cancelled")
        else:
            error = task.exception()
        if error is not None:
            filter_.fail(error)
        elif not filter_.over:
            self._after_task(task.result())

    def _after_task(self, result: bytes | None) -> None:
        state, self._state = self._state, IDLE
        if state is AT_PIECE:
            self._after_piece(self._piece if result is None else result)
        elif state is AT_BODY:
            if result is not None:
                self._replacement = result
                self._install_replacement()
            self.go_on()
        else:
            self._after_header_task()

    def _after_header_task(self) -> None:
        if self._replacement is not None:
            self._install_replacement()
        held = self.held()
        if self._hook is not None and not (self.ended and held is None):
            if self._whole:
                self._collect()
                return
            self._release_length()
            if held is not None:
                self._first_pieces(held)
                return
        self.go_on()

    def _collect(self) -> None:
        self._state = COLLECTING
        if not self.ended:
            return
        whole = Buffer()
        status = self._run_whole(whole)
        if status is DATA_TAKEN:
            return
        self.hold(whole)
        if status is DATA_CONTINUE:
            self.go_on()

    def _first_pieces(self, held: Buffer) -> None:
        """What was held while the header hook ran: the body hook has not seen it."""
        piece = Buffer()
        piece.move_all(held)
        self._headers_held = True
        status = self._run_piece(piece)
        if status is DATA_CONTINUE:
            self._headers_held = False
            held.move_all(piece)
            self.go_on()

    def _after_piece(self, piece: bytes) -> None:
        """Pass a piece on, then take the next."""
        was_held = self._headers_held
        if not was_held:
            self.inject(Buffer(piece), self.ended and not self._queue and not self._has_trailers)
        else:
            self._ready += piece
            # With the end in the queue, letting go of the headers would let go of the end too.
            if not (self.ended and self._queue):
                self._headers_held = False
                self.hold(Buffer(self._ready))
                self._ready = b""
                self.go_on()
        if self._filter.over:
            return
        if self._queue:
            following = b"".join(self._queue)
            self._queue.clear()
            self._queued = 0
            if self.paused:
                self.paused = False
                self.pause(False)
            self._next_piece(following)
        elif self._has_trailers and not was_held:
            self.go_on()

    def _next_piece(self, piece: bytes) -> None:
        data = Buffer(piece)
        if self._run_piece(data) is DATA_CONTINUE:
            self._after_piece(data.take())

    def cancel(self) -> None:
        """The stream is gone; the message knows us no more, so that no cycle stays behind."""
        self._message.flow = None
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        if self._budget_timer is not None:
            self._budget_timer.close()
            self._budget_timer = None
        self._waiting = None


class RequestFlow(BodyFlow):
    """The request's direction."""

    __slots__ = ()

    slot = ON_REQUEST_US

    def held(self) -> Buffer | None:
        """See BodyFlow."""
        return self._filter.decoder_callbacks.decoding_buffer()

    def hold(self, data: Buffer) -> None:
        """See BodyFlow."""
        self._filter.decoder_callbacks.add_decoded_data(data, False)

    def go_on(self) -> None:
        """See BodyFlow."""
        self._filter.decoder_callbacks.continue_decoding()

    def inject(self, data: Buffer, end_stream: bool) -> None:
        """See BodyFlow."""
        self._filter.decoder_callbacks.inject_decoded_data(data, end_stream)

    def limit(self) -> int:
        """See BodyFlow."""
        return self._filter.decoder_callbacks.decoder_buffer_limit()

    def pause(self, paused: bool) -> None:
        """See BodyFlow."""
        callbacks = self._filter.decoder_callbacks
        if paused:
            callbacks.on_decoder_filter_above_write_buffer_high_watermark()
        else:
            callbacks.on_decoder_filter_below_write_buffer_low_watermark()


class ResponseFlow(BodyFlow):
    """The response's direction."""

    __slots__ = ()

    slot = ON_RESPONSE_US

    def held(self) -> Buffer | None:
        """See BodyFlow."""
        return self._filter.encoder_callbacks.encoding_buffer()

    def hold(self, data: Buffer) -> None:
        """See BodyFlow."""
        self._filter.encoder_callbacks.add_encoded_data(data, False)

    def go_on(self) -> None:
        """See BodyFlow."""
        self._filter.encoder_callbacks.continue_encoding()

    def inject(self, data: Buffer, end_stream: bool) -> None:
        """See BodyFlow."""
        self._filter.encoder_callbacks.inject_encoded_data(data, end_stream)

    def limit(self) -> int:
        """See BodyFlow."""
        return self._filter.decoder_callbacks.decoder_buffer_limit()

    def pause(self, paused: bool) -> None:
        """See BodyFlow."""
        self._filter.pause_response(paused)
