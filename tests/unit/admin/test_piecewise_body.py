"""A body is made while it is sent, turn by turn."""

import pytest

from proxeny.admin import piecewise_body
from proxeny.admin.piecewise_body import PiecewiseBody


class Stream:
    """The callbacks of a filter, and the loop: turns are made by hand."""

    def __init__(self):
        self.dispatcher = self
        self.due = []
        self.sent = []
        self.watchers = []
        self.was_reset = False

    def call_soon(self, callback):
        self.due.append(callback)

    def turn(self):
        due, self.due = self.due, []
        for callback in due:
            callback()
        return bool(due)

    def add_downstream_watermark_callbacks(self, callbacks):
        self.watchers.append(callbacks)

    def remove_downstream_watermark_callbacks(self, callbacks):
        self.watchers.remove(callbacks)

    def encode_data(self, data, end_stream):
        self.sent.append((data.take(), end_stream))

    def reset_stream(self):
        self.was_reset = True


@pytest.fixture
def stream():
    return Stream()


def test_small_pieces_go_together(stream):
    PiecewiseBody(stream, iter([b"a", b"b"]))
    assert stream.sent == [(b"ab", True)]
    assert not stream.turn()
    assert stream.watchers == []


def test_no_piece_is_an_empty_body(stream):
    PiecewiseBody(stream, iter([]))
    assert stream.sent == [(b"", True)]


def test_a_turn_makes_a_chunk(stream):
    PiecewiseBody(stream, iter([b"x" * 40_000] * 4))
    assert [len(data) for data, _ in stream.sent] == [80_000]
    while stream.turn():
        pass
    assert [(len(data), end) for data, end in stream.sent] == [(80_000, False), (80_000, False), (0, True)]


def test_a_turn_ends_when_its_time_is_up(stream, monkeypatch):
    monkeypatch.setattr(piecewise_body, "BUDGET_S", 0)
    PiecewiseBody(stream, iter([b"a", b"b"]))
    while stream.turn():
        pass
    assert stream.sent == [(b"a", False), (b"b", False), (b"", True)]


def test_a_slow_client_holds_it_up(stream, monkeypatch):
    monkeypatch.setattr(piecewise_body, "BUDGET_S", 0)
    made = []

    def pieces():
        for number in range(5):
            made.append(number)
            yield b"%d" % number

    body = PiecewiseBody(stream, pieces())
    body.on_above_write_buffer_high_watermark()
    body.on_above_write_buffer_high_watermark()
    stream.turn()
    body.on_below_write_buffer_low_watermark()
    assert not stream.turn()
    assert made == [0]
    body.on_below_write_buffer_low_watermark()
    body.on_above_write_buffer_high_watermark()
    body.on_below_write_buffer_low_watermark()
    assert len(stream.due) == 1
    while stream.turn():
        pass
    assert b"".join(data for data, _ in stream.sent) == b"01234"


def test_a_stream_that_goes_ends_it(stream):
    body = PiecewiseBody(stream, iter([b"x" * 100_000] * 2))
    body.close()
    stream.turn()
    body.on_below_write_buffer_low_watermark()
    assert (len(stream.sent), stream.due) == (1, [])


def test_a_failure_breaks_off(stream, caplog):
    def pieces():
        yield b"a" * 100_000
        raise KeyError("x")

    PiecewiseBody(stream, pieces())
    stream.turn()
    assert stream.was_reset
    assert "failed while it was sent" in caplog.text
    assert [end for _, end in stream.sent] == [False]
