"""Buffer: against a bytes model, slab sharing, references, watermarks."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxeny.kernel.buffer import Buffer

pieces = st.binary(max_size=40) | st.integers(0, 70000).map(lambda n: bytes([n & 255]) * n)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 2), pieces),
        st.tuples(st.just("prepend"), st.integers(0, 2), pieces),
        st.tuples(st.just("drain"), st.integers(0, 2), st.integers(0, 90000)),
        st.tuples(st.just("take"), st.integers(0, 2), st.integers(0, 90000)),
        st.tuples(st.just("move"), st.integers(0, 2), st.integers(0, 90000)),
        st.tuples(st.just("copy"), st.integers(0, 2), st.integers(0, 2)),
    ),
    max_size=30,
)


@given(steps)
def test_behaves_like_bytes(script):
    buffers = [Buffer(), Buffer(), Buffer()]
    model = [b"", b"", b""]
    for action, which, argument in script:
        buffer = buffers[which]
        if action == "append":
            buffer.append(argument)
            model[which] += argument
        elif action == "prepend":
            buffer.prepend(argument)
            model[which] = argument + model[which]
        elif action == "drain":
            buffer.drain(argument)
            model[which] = model[which][argument:]
        elif action == "take":
            assert buffer.take(argument) == model[which][:argument]
            model[which] = model[which][argument:]
        elif action == "move":
            target = (which + 1) % 3
            buffers[target].move(buffer, argument)
            model[target] += model[which][:argument]
            model[which] = model[which][argument:]
        else:
            if len(model[argument]) + len(model[which]) > 500_000:
                continue
            buffer.copy_from(buffers[argument])
            model[which] += model[argument]
        for made, wanted in zip(buffers, model, strict=True):
            assert len(made) == made.length == len(wanted)
            assert made.peek() == wanted


def test_slices_that_share_a_slab_never_overwrite_each_other():
    one, two = Buffer(), Buffer()
    one.append(b"a" * 3000)
    two.move(one, 2000)
    one.append(b"b" * 500)
    two.append(b"c" * 500)
    assert one.peek() == b"a" * 1000 + b"b" * 500
    assert two.peek() == b"a" * 2000 + b"c" * 500


def test_a_moved_tail_may_grow_in_its_new_buffer_only():
    one, two = Buffer(), Buffer()
    one.append(b"x" * 2000)
    two.move_all(one)
    one.append(b"y" * 10)
    two.append(b"z" * 10)
    assert (one.peek(), two.peek()) == (b"y" * 10, b"x" * 2000 + b"z" * 10)


def test_large_bytes_are_referenced_and_given_back_unchanged():
    body = bytes(100_000)
    buffer = Buffer(body)
    assert buffer.take() is body
    assert not buffer


def test_accepts_other_bytes_like_objects():
    buffer = Buffer()
    buffer.append(bytearray(b"ab"))
    buffer.append(memoryview(b"cdef")[1:3])
    buffer.append(b"")
    assert buffer.peek() == b"abde"
    with pytest.raises((TypeError, BufferError)):
        buffer.append("text")


def test_find_across_slices_at_every_split():
    needle = b"\r\n\r\n"
    text = b"GET / HTTP/1.1\r\nhost: a\r\r\n\r\nbody\r\n\r\n"
    for split in range(len(text)):
        buffer = Buffer()
        buffer.append(text[split:])
        buffer.prepend(text[:split])
        assert buffer.find(needle) == text.find(needle)
        for start in range(len(text) + 1):
            assert buffer.find(needle, start) == text.find(needle, start)
    assert Buffer().find(b"x") == -1


def test_find_in_many_random_pieces():
    generator = random.Random(4)
    for _ in range(50):
        text = bytes(generator.choice(b"ab") for _ in range(60))
        needle = bytes(generator.choice(b"ab") for _ in range(6))
        buffer = Buffer()
        at = len(text)
        while at:
            size = min(at, generator.randint(1, 7))
            buffer.prepend(text[at - size : at])
            at -= size
        assert buffer.find(needle) == text.find(needle)


def test_watermarks_fire_once_per_crossing():
    events = []
    buffer = Buffer()
    buffer.set_watermarks(10, 5, lambda: events.append("above"), lambda: events.append("below"))
    buffer.append(b"x" * 10)
    assert events == []
    buffer.append(b"x")
    buffer.append(b"x")
    assert events == ["above"] and buffer.high_watermark_triggered
    buffer.drain(6)
    assert events == ["above"]
    buffer.drain(1)
    assert events == ["above", "below"] and not buffer.high_watermark_triggered


def test_watermarks_on_moves_touch_both_buffers():
    events = []
    source, target = Buffer(b"x" * 20), Buffer()
    source.set_watermarks(10, 5, lambda: events.append("source above"), lambda: events.append("source below"))
    target.set_watermarks(10, 5, lambda: events.append("target above"), lambda: events.append("target below"))
    target.move(source, 15)
    assert events == ["source above", "source below", "target above"]
    target.set_watermarks(0, 0)
    assert not target.high_watermark_triggered


def test_a_watermark_callback_may_use_the_buffer():
    buffer = Buffer()
    buffer.set_watermarks(3, 1, lambda: buffer.drain(100))
    buffer.append(b"abcdef")
    assert not buffer


def test_an_exception_of_a_watermark_callback_reaches_the_caller():
    buffer = Buffer()

    def fail():
        raise ValueError("no")

    buffer.set_watermarks(1, 0, fail)
    with pytest.raises(ValueError, match="no"):
        buffer.append(b"ab")
    assert buffer.peek() == b"ab"


def test_moving_onto_itself_is_refused():
    buffer = Buffer(b"a")
    with pytest.raises(ValueError):
        buffer.move_all(buffer)


def test_copy_onto_itself_doubles():
    buffer = Buffer(b"ab")
    buffer.copy_from(buffer)
    assert buffer.peek() == b"abab"
