"""HTTP/2 sessions, fuzzed: damaged frames, cut anywhere, mean the same; what is kept and sent is bounded."""

from collections.abc import Hashable
from itertools import pairwise
from random import Random
from typing import Any

from tests.fuzz.hunt import hunt

from proxeny.kernel.buffer import Buffer
from proxeny.kernel.headers import HeaderMap
from proxeny.kernel.http2_options import Http2Options
from proxeny.kernel.http2_session import Http2Session
from proxeny.kernel.http2_stream import Http2Stream
from proxeny.kernel.stream import Stream

SERVER = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
CLIENT = b"\0\0\0\4\0\0\0\0\0"
MOST_SENT = 1 << 20
"""Far more than a few KB may make a session say."""

REQUEST = HeaderMap(((b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")))


class Session(Http2Session):
    """Notes what comes, by stream."""

    def __init__(self, connection: Stream, options: Http2Options) -> None:
        self.seen: dict[int, list[Any]] = {}
        self.peer_leaves = False

    def note(self, stream: Http2Stream, what: str, *facts: Any) -> None:
        self.seen.setdefault(stream.id, []).append((what, *facts))

    def messages(self) -> dict[int, list[Any]]:
        """Without the ends of streams: one that is reset ends when the frame leaves."""
        found = {number: [note for note in notes if note[0] != "closed"] for number, notes in self.seen.items()}
        return {number: notes for number, notes in found.items() if notes}

    def headers_received(self, stream: Http2Stream, headers: HeaderMap, end_stream: bool) -> None:
        assert headers.byte_size() <= 60 * 1024 and len(headers) <= 101
        self.note(stream, "headers", tuple(headers.items()), end_stream)

    def data_received(self, stream: Http2Stream, data: Buffer, end_stream: bool) -> None:
        self.note(stream, "data", data.take(), end_stream)

    def trailers_received(self, stream: Http2Stream, trailers: HeaderMap) -> None:
        self.note(stream, "trailers", tuple(trailers.items()))

    def goaway_received(self, last_stream_id: int, error_code: int) -> None:
        self.peer_leaves = True

    def stream_closed(self, stream: Http2Stream, error_code: int) -> None:
        self.note(stream, "closed", error_code, stream.details)


def run(pieces: list[bytes], client: bool) -> Session:
    connection = Stream()
    session = Session(connection, Http2Options(client=client))
    if client:
        for _ in range(3):
            session.submit_request(None, REQUEST, True)
        session.flush()
    for piece in pieces:
        buffer = Buffer(piece)
        session.receive(buffer)
        assert session.failure is not None or not buffer.length
        assert connection.write_buffer.length < MOST_SENT
    session.abandon()
    assert session.active == 0
    return session


def judge_as(client: bool) -> Any:
    prefix = CLIENT if client else SERVER

    def judge(data: bytes, random: Random) -> Hashable:
        whole = run([prefix + data], client)
        cuts = sorted({0, len(data), *(random.randint(0, len(data)) for _ in range(random.randint(1, 6)))})
        parts = run([prefix, *(data[start:end] for start, end in pairwise(cuts))], client)
        # Behind a GOAWAY nghttp2 reads up to the end of what it was given, if no stream is left.
        assert whole.peer_leaves or (parts.messages(), parts.failure) == (whole.messages(), whole.failure)
        kinds = frozenset(note[0] for notes in whole.seen.values() for note in notes)
        details = frozenset(note[2] for notes in whole.seen.values() for note in notes if note[0] == "closed")
        return whole.failure, kinds, details, min(len(whole.seen), 3)

    return judge


def test_requests() -> None:
    assert hunt("http2_requests", judge_as(False)) > 50


def test_responses() -> None:
    assert hunt("http2_responses", judge_as(True)) > 50
