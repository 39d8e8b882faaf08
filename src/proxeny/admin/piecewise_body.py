"""A response body that is made while it is sent: a little per turn of the loop, and none while the client is slow."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Final

from proxeny.event.slices import BUDGET_S
from proxeny.http.filter import StreamDecoderFilterCallbacks
from proxeny.kernel.buffer import Buffer

log = logging.getLogger("proxeny.admin")

_CHUNK: Final = 64 * 1024
"""Bytes that one turn makes at most, about."""


class PiecewiseBody:
    """Sends ``pieces`` as the body of a response whose headers have left, and ends it."""

    __slots__ = ("_above", "_callbacks", "_is_due", "_is_watching", "_pieces")

    def __init__(self, callbacks: StreamDecoderFilterCallbacks, pieces: Iterator[bytes]) -> None:
        self._callbacks = callbacks
        self._pieces: Iterator[bytes] | None = pieces
        self._above = 0
        """How many buffers on the way are full."""
        self._is_due = False
        self._is_watching = False
        self._send()

    def on_above_write_buffer_high_watermark(self) -> None:
        """Wait."""
        self._above += 1

    def on_below_write_buffer_low_watermark(self) -> None:
        """Go on."""
        self._above -= 1
        self._go_on()

    def close(self) -> None:
        """The stream is gone."""
        self._pieces = None

    def _go_on(self) -> None:
        if not self._is_due and self._above == 0 and self._pieces is not None:
            self._is_due = True
            self._callbacks.dispatcher.call_soon(self._send)

    def _send(self) -> None:
        self._is_due = False
        pieces = self._pieces
        if pieces is None or self._above:
            return
        try:
            data, is_last = _make(pieces)
        except Exception:
            # Headers have left: all that can be done is to break off, so that nobody takes the part for the whole.
            log.exception("admin: a page failed while it was sent")
            self._callbacks.reset_stream()
            return
        if is_last:
            self._pieces = None
        self._watch(not is_last)
        self._callbacks.encode_data(data, is_last)
        self._go_on()

    def _watch(self, wanted: bool) -> None:
        if wanted == self._is_watching:
            return
        self._is_watching = wanted
        if wanted:
            self._callbacks.add_downstream_watermark_callbacks(self)
        else:
            self._callbacks.remove_downstream_watermark_callbacks(self)


def _make(pieces: Iterator[bytes]) -> tuple[Buffer, bool]:
    """What one turn makes, and whether that was the rest."""
    data = Buffer()
    end = time.perf_counter() + BUDGET_S
    for piece in pieces:
        data.append(piece)
        if len(data) >= _CHUNK or time.perf_counter() >= end:
            return data, False
    return data, True
